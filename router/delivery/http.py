"""The outbound client, one per destination: pooled, bounded, and kept off private networks.

aiohttp takes some 200 ms to import. Only this module does so, and a process that delivers nothing need not load it.
"""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp import ClientConnectorError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, TraceConfig
from aiohttp.tracing import TraceRequestHeadersSentParams

from router._version import VERSION
from router.errors import DeliveryError
from router.network import Private, is_public
from router.types import HttpResponse

#: What is read of a response, in bytes.
RESPONSE_LIMIT = 65536

#: How long an idle connection is kept, in seconds: just under the minute after which common load balancers drop it.
_KEEP_ALIVE = 55

#: What makes a host that is not public one that may be sent to.
_CONSENT = "name it in private_hosts, or set allow_private = true"

_AddrInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[str | int, ...]]


class HttpClient:
    """An `async with` client for the requests of one destination.

    Follows no redirect, keeps no cookie, uses no proxy from the environment. `timeout_seconds` is for a whole request.
    Only https is spoken and only public addresses are connected to, unless `allow_private` is set, or for the hosts,
    addresses and networks of `private_hosts`.
    """

    def __init__(self, timeout_seconds: float, allow_private: bool, private_hosts: Sequence[str] = ()) -> None:
        self._timeout_seconds = timeout_seconds
        self._private = Private.of(allow_private, private_hosts)
        self._sessions: dict[bool, ClientSession] = {}

    async def __aenter__(self) -> Self:
        return self

    def _session(self, host: str) -> ClientSession:
        """The pool for a host: whose addresses are looked at is another one than whose are not."""
        unguarded = self._private.named(host)
        if unguarded not in self._sessions:
            self._sessions[unguarded] = self._new_session(None if unguarded else partial(guarded_socket, self._private))
        return self._sessions[unguarded]

    def _new_session(self, socket_factory: Callable[[_AddrInfo], socket.socket] | None) -> ClientSession:
        trace = TraceConfig()
        trace.on_request_headers_sent.append(_note_sending)
        return ClientSession(
            connector=TCPConnector(
                # As many as its user has under way: that is limited elsewhere.
                limit=0,
                keepalive_timeout=_KEEP_ALIVE,
                socket_factory=socket_factory,
            ),
            timeout=ClientTimeout(total=self._timeout_seconds),
            cookie_jar=DummyCookieJar(),
            headers={"User-Agent": f"keyroute/{VERSION}", "Accept-Encoding": "identity"},
            auto_decompress=False,
            trace_configs=[trace],
        )

    async def __aexit__(self, *_: object) -> None:
        for session in self._sessions.values():
            await session.close()

    async def request(self, method: str, url: str, *, headers: dict[str, str], body: bytes) -> HttpResponse:
        """Sends one request; any status is an answer, also when the body behind it breaks off.

        No answer raises a retryable `DeliveryError`, with `outcome_unknown` once the request had begun to leave.
        """
        host = _host(url)
        if not url.lower().startswith("https://") and not self._private.allows(host):
            raise DeliveryError(
                f"{host} would be sent people's texts unencrypted. Use an https url, or {_CONSENT}.",
                retryable=True,
            )
        progress = _Progress()
        try:
            async with self._session(host).request(
                method, url, headers=headers, data=body, allow_redirects=False, trace_request_ctx=progress
            ) as response:
                return HttpResponse(response.status, _joined(response), await _read(response), f"{method} {host}")
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            raise DeliveryError(
                self._explain(error, host),
                retryable=True,
                outcome_unknown=progress.sending,
                request=f"{method} {host}",
            ) from error

    def _explain(self, error: Exception, host: str) -> str:
        if isinstance(error, TimeoutError):
            return (
                f"{host} did not answer within {self._timeout_seconds:g} s. "
                "See whether it is overloaded, or raise timeout_seconds."
            )
        if isinstance(error, ClientConnectorError):
            if isinstance(error.os_error, _PrivateAddress):
                return f"{host} is not at a public address. Use a public url, or {_CONSENT}."
            why = error.os_error.strerror or type(error.os_error).__name__
            return f"No connection to {host} ({why}). Check the url and that the receiver is up."
        if isinstance(error, (aiohttp.InvalidURL, UnicodeError)):
            # UnicodeError: a label that DNS cannot carry.
            return f"{host} is not the name or address of a server. Mend the url."
        return f"{host} broke off without an answer ({type(error).__name__}). See its own log for why."


def _host(url: str) -> str:
    # Only the host is ever shown: a path or query may hold a token.
    try:
        return urlsplit(url).hostname or "The url"
    except ValueError:
        return "The url"


@dataclass(slots=True)
class _Progress:
    sending: bool = False


async def _note_sending(_: ClientSession, trace: SimpleNamespace, __: TraceRequestHeadersSentParams) -> None:
    trace.trace_request_ctx.sending = True


class _PrivateAddress(OSError):
    pass


def guarded_socket(private: Private, address: _AddrInfo) -> socket.socket:
    """A socket for an address about to be connected to: what is checked is that very address, however it was found."""
    family, kind, protocol, _, place = address
    if not (is_public(str(place[0])) or private.holds(str(place[0]))):
        raise _PrivateAddress
    return socket.socket(family, kind, protocol)


def _joined(response: aiohttp.ClientResponse) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in response.headers.items():
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return headers


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    try:
        while len(body) < RESPONSE_LIMIT and (chunk := await response.content.read(RESPONSE_LIMIT - len(body))):
            body += chunk
    except (aiohttp.ClientError, OSError):
        # The status has told what became of the request; sending it again for the rest of the answer would do harm.
        response.close()
    return bytes(body)
