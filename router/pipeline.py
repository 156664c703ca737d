"""The one way in: what carriers, callers of the API and the spill bring is made durable, or kept with its reason."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import orjson

from router.acceptance import Acceptance, Accepted, Lost, Told
from router.calls import Call
from router.errors import BadPayload, Overloaded, RequestError
from router.outage import Outage
from router.ports import Parsed
from router.records import read_request, read_text
from router.routing import API_ACCOUNT, Routing
from router.store import DeadLetters
from router.telemetry import Metrics
from router.texts import prepare
from router.types import Decision, RawRequest, Receipt
from router.unhandled import MOST_KEPT, request_record


class Pipeline:
    """Takes what carriers, neighbour services and the spill bring. `routing` may be swapped between two texts."""

    def __init__(
        self,
        routing: Routing,
        acceptance: Acceptance,
        dead: DeadLetters,
        outage: Outage,
        metrics: Metrics,
        clock: Callable[[], float],
        most_waiting: Callable[[], int],
    ) -> None:
        """`most_waiting` texts may wait for the store before more are asked to come again."""
        self.routing = routing
        self._acceptance = acceptance
        self._dead = dead
        self._outage = outage
        self._metrics = metrics
        self._clock = clock
        self._most_waiting = most_waiting

    @property
    def crowded(self) -> bool:
        """Whether those who can should come again later. The others must be taken: what they bring would be lost."""
        return self._acceptance.waiting >= self._most_waiting()

    def submit(self, request: RawRequest, parsed: Sequence[Parsed], told: Told, lost: Lost | None) -> bool:
        """Puts the one whole text that most requests are in line; False for all others, which `accept` takes.

        `told` is called once the text is durable, or with why it may not be. Raises as `accept` does.
        """
        self._outage.check()
        lone = self._acceptance.lone(self.routing, request, parsed, lost)
        if lone is None:
            return False
        self._acceptance.submit(request.account, lone, told)
        return True

    def accept(
        self, request: RawRequest, parsed: Sequence[Parsed], lost: Lost | None = None
    ) -> Coroutine[None, None, list[Accepted]]:
        """Makes what is in a request durable, in its order; awaited, the texts that are complete now.

        Whole texts take their places in line before this returns. If an entry makes no sense, the request is kept as a
        dead letter and the others go on. Raises `BadPayload` if none makes sense, and `StoreUnavailable`, at once while
        earlier texts wait for the store. `lost` is called when the store did not take them, before any later text is
        told so.
        """
        self._outage.check()
        return self._accept(request, parsed, lost=lost)

    async def call(self, calls: Sequence[Call]) -> list[Decision]:
        """Makes durable what callers of the API say; none of it on `BadPayload`. Raises `StoreUnavailable` too."""
        self._outage.check()
        if self.crowded:
            raise Overloaded
        return await self._acceptance.call(self.routing, calls)

    async def block(self, account: str, receipt: Receipt) -> None:
        """Notes that the carrier of an account sends a person nothing. Raises `StoreUnavailable`."""
        await self._acceptance.block(self.routing, account, receipt)

    async def sweep(self) -> None:
        """Accepts the long texts that wait for parts no longer. Raises `StoreUnavailable`."""
        if self._outage.over:
            await self._acceptance.sweep(self.routing)

    async def keep(self, request: RawRequest, reason: str) -> None:
        """Keeps an authentic request that cannot be used, with its raw body, as a dead letter."""
        known = self.routing.accounts.get(request.account)
        more = (known.kept_headers, known.secrets) if known else ()
        await self._dead.keep(request_record(request, reason, self._clock(), *more))

    async def replay(self, requests: Sequence[RawRequest]) -> None:
        """Spilled requests: they were verified and answered with silence when they came. Raises `StoreUnavailable`."""
        await asyncio.gather(*(self._replay(request) for request in requests))

    async def _replay(self, request: RawRequest) -> None:
        try:
            await self._accept(request, self._parsed_again(request), late=True)
        except RequestError as error:
            await self.keep(request, str(error))
        self._metrics.replayed.inc()

    async def retry(self, record: Mapping[str, Any]) -> None:
        """Takes what `router.unhandled` recorded as if it came now, unanswered.

        Raises `BadPayload` if it would be recorded again, and leaves everything as it is.
        """
        if record["kind"] == "request":
            if record["cut"]:
                raise BadPayload(f"only the first {MOST_KEPT} bytes of it were kept. Ask the carrier to send it again.")
            request = read_request(record["request"])
            await self._accept(request, self._parsed_again(request), late=True)
            return
        text = read_text(record["text"])
        again = prepare(self.routing, record["account"], text, record["at"], late=True, again=True)
        if again.commit.undelivered:
            raise BadPayload(orjson.loads(again.commit.undelivered)["reason"])
        await self._acceptance.commit(self.routing, record["account"], [again])

    def _accept(
        self, request: RawRequest, parsed: Sequence[Parsed], *, late: bool = False, lost: Lost | None = None
    ) -> Coroutine[None, None, list[Accepted]]:
        taking = self._acceptance.take(self.routing, request, parsed, late=late, lost=lost)
        return self._accepted(request, taking)

    async def _accepted(
        self, request: RawRequest, taking: Coroutine[None, None, tuple[list[Accepted], list[str]]]
    ) -> list[Accepted]:
        accepted, problems = await taking
        if problems:
            await self.keep(request, "; ".join(problems))
        return accepted

    def _parsed_again(self, request: RawRequest) -> Sequence[Parsed]:
        """What is in a request that was verified when it came."""
        if request.account == API_ACCOUNT:
            raise BadPayload("it came to /v1/messages. Its caller was told what is wrong, and must send it again.")
        account = self.routing.accounts.get(request.account)
        if account is None:
            raise BadPayload(f"the account {request.account!r} is not configured. Configure it, then retry.")
        return account.carrier.parse(request)
