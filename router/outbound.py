"""What requests of carriers make us fetch: the keys that they are signed with, and the URLs that they want visited."""

import asyncio
import importlib
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import structlog

from router.errors import DeliveryError
from router.ports import Http
from router.tasks import cancelled
from router.types import HttpResponse

_log = structlog.get_logger("router.outbound")
#: How long one request may take: the carrier waits for its answer meanwhile. In seconds.
_TIMEOUT = 5.0
#: The most visits that are under way at once.
_MOST_VISITS = 16


class Outbound:
    """An `Http` that is made when something is asked of it first, and the visits that are under way."""

    def __init__(self, http: Http | None) -> None:
        """`http` is used in place of a client of its own."""
        self._http = http
        self._open = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._visits: set[asyncio.Task[None]] = set()

    async def request(self, method: str, url: str, *, headers: dict[str, str], body: bytes) -> HttpResponse:
        """Only https, and no private network. Any status is an answer; none raises a retryable `DeliveryError`."""
        http = self._http or await self._client()
        return await http.request(method, url, headers=headers, body=body)

    def visit(self, account: str, url: str) -> None:
        """Fetches a URL for a carrier, which so learns that our address is ours; returns before it begins."""
        if len(self._visits) >= _MOST_VISITS:
            _not_confirmed(account, url, f"{_MOST_VISITS} others are under way")
            return
        task = asyncio.create_task(self._visit(account, url))
        self._visits.add(task)
        task.add_done_callback(self._visits.discard)

    async def close(self) -> None:
        """Ends visits that are under way."""
        await cancelled(self._visits)
        await self._open.aclose()

    async def _client(self) -> Http:
        async with self._opening:
            if self._http is not None:
                return self._http
            # Imported so late because it takes 200 ms, and few carriers need it.
            module = await asyncio.to_thread(importlib.import_module, "router.delivery.http")
            http: Http = await self._open.enter_async_context(module.HttpClient(_TIMEOUT, allow_private=False))
            self._http = http
            return http

    async def _visit(self, account: str, url: str) -> None:
        try:
            response = await self.request("GET", url, headers={}, body=b"")
        except DeliveryError as error:
            _not_confirmed(account, url, error.reason)
            return
        if response.status // 100 == 2:
            _log.info("address confirmed to the carrier", account=account)
        else:
            _not_confirmed(account, url, f"it answered {response.status}")


def _not_confirmed(account: str, url: str, reason: str) -> None:
    _log.error(
        "address not confirmed to the carrier: it sends nothing until it is. Have it ask for confirmation again",
        account=account,
        host=_host(url),  # the rest of the URL holds a token
        reason=reason,
    )


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
