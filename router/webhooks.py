"""The short way for webhooks: HTTP/1.1 read and answered without ASGI, whose scopes, tasks and events cost as much as
all that a text needs.

It takes what carriers send as good as always, a POST to `/in/ACCOUNT` with a length, and nothing else. A connection on
which anything else comes is handed over to uvicorn's own protocol, from the first byte of that request on, and so to
the ASGI application, which answers webhooks just the same.
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NamedTuple

import httptools
import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from router._core import RequestHead
from router.errors import TooManyFields
from router.inbox import check_fields
from router.reception import Reception
from router.types import Answer, RawRequest

_log = structlog.get_logger("router.webhooks")

_BEGINS = b"POST /in/"
_VERSION = b" HTTP/1.1"
_HEAD_ENDS = b"\r\n\r\n"
_TARGET = re.compile(rb"/in/([A-Za-z0-9_-]+)(?:\?([^#]*))?")
#: The longest head, and the longest body that is waited for here, in bytes; whatever is longer is handed over.
_LONGEST = 65_536
#: How long a connection may be silent between two requests, in seconds: longer than the pools of proxies and carriers
#: keep theirs (60 s by default at most), so that they close them first and never send into one that is being closed.
KEEP_ALIVE = 75
#: How long a request may take to arrive, in seconds.
_ARRIVAL = 30.0
#: How often silent connections are looked for, in seconds.
_SWEEP = 5.0
_KEPT = "keep-alive"
#: Headers by which a request asks for more than this protocol does.
_UNUSUAL = frozenset({"expect", "proxy-connection", "transfer-encoding", "upgrade"})


class _Head(NamedTuple):
    """The head of a request, `length` bytes long."""

    account: str
    query: bytes
    headers: dict[str, str]
    length: int
    body_length: int


class _Heads:
    """Reads the heads of the requests of one connection."""

    def __init__(self) -> None:
        self._told = RequestHead()
        self._parser = httptools.HttpRequestParser(self._told)
        self._url: bytes | None = None
        self._target: re.Match[bytes] | None = None

    def read(self, data: bytes) -> _Head | None:
        """A head, `data` with the empty line that ends it; None if this protocol is not for it and what follows."""
        told = self._told
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return None
        headers = told.headers
        if told.url != self._url:  # who comes again mostly comes to the same place
            self._url, self._target = told.url, _TARGET.fullmatch(told.url)
        target = self._target
        length = headers.get("content-length")
        usual = data.startswith(_BEGINS) and data.endswith(_VERSION, 0, data.find(b"\r"))
        usual = usual and headers.get("connection", _KEPT).lower() == _KEPT
        if not target or not length or not usual or not _UNUSUAL.isdisjoint(headers):
            return None
        return _Head(target[1].decode(), target[2] or b"", headers, len(data), int(length))

    def pass_over(self, body: bytes) -> None:
        """Goes on to the next head: what has just been read has this body."""
        self._parser.feed_data(body)


class Webhooks:
    """Makes the protocol of each connection, as uvicorn asks for it, and closes those that are silent for too long."""

    def __init__(self, reception: Reception, max_body_bytes: int, clock: Callable[[], float]) -> None:
        self.reception = reception
        self.clock = clock
        self.longest = min(_LONGEST, max_body_bytes)
        self._connections: set[_Connection] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._headers: list[tuple[bytes, bytes]] | None = None
        self._lines = b""

    def __call__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> asyncio.Protocol:
        """The protocol of a new connection."""
        loop = _loop or asyncio.get_running_loop()
        if self._sweeping is None:
            self._sweeping = loop.call_later(_SWEEP, self._sweep, loop)

        def usual() -> HttpToolsProtocol:
            return HttpToolsProtocol(config, server_state, app_state, _loop)

        return _Connection(self, server_state, self._connections, usual, loop)

    def lines_of_all(self, server_state: ServerState) -> bytes:
        """The header lines of every answer; uvicorn makes them anew each second, for the date."""
        if server_state.default_headers is not self._headers:
            self._headers = server_state.default_headers
            self._lines = _lines(self._headers)
        return self._lines

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        for connection in list(self._connections):
            connection.close_if_silent(loop.time())
        self._sweeping = loop.call_later(_SWEEP, self._sweep, loop) if self._connections else None


class _Connection(asyncio.Protocol):
    """One connection: one request at a time, and what came behind it waits."""

    def __init__(
        self,
        webhooks: Webhooks,
        server_state: ServerState,
        connections: "set[_Connection]",
        usual: Callable[[], HttpToolsProtocol],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._webhooks = webhooks
        self._server_state = server_state
        self._connections = connections
        self._usual = usual
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._unread = b""
        self._heads = _Heads()
        self._head: _Head | None = None
        self._busy = False
        self._writable = True
        self._ending = False
        self._since = loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody has connected."""
        self._transport = transport  # type: ignore[assignment]  # a server's connections are read and written
        self._connections.add(self)
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # that is where uvicorn ends them

    def connection_lost(self, error: Exception | None) -> None:
        """What is under way still counts, and the server does not end before; nobody is there to be told."""
        self._transport = None
        if not self._busy:
            self._leave()

    def data_received(self, data: bytes) -> None:
        """Part of a request, or more than one."""
        if self._unread:
            self._unread += data
        else:  # a request begins: that more of it comes earns it no more time
            self._unread = data
            self._since = self._loop.time()
        if self._busy or not self._writable:
            if len(self._unread) > 2 * _LONGEST and self._transport:
                self._transport.pause_reading()
            return
        self._read()

    def pause_writing(self) -> None:
        """Whoever does not read the answers is asked nothing more."""
        self._writable = False

    def resume_writing(self) -> None:
        """The answers have left."""
        self._writable = True
        self._read_on()

    def shutdown(self) -> None:
        """The server ends: what is under way is answered first."""
        self._ending = True
        if not self._busy and self._transport:
            self._transport.close()

    def close_if_silent(self, now: float) -> None:
        """Closes a connection on which no whole request has come for too long."""
        waits = _ARRIVAL if self._unread else KEEP_ALIVE
        if not self._busy and self._transport and now - self._since > waits:
            self._transport.abort()  # to close it would wait for answers to leave that nobody reads

    def _read(self) -> None:
        """Takes the next request, if it has come whole."""
        data = self._unread
        head = self._head
        if head is None:
            end = data.find(_HEAD_ENDS)
            if end < 0:
                if len(data) > _LONGEST or not _BEGINS.startswith(data[: len(_BEGINS)]):
                    self._hand_over()
                return
            head = self._heads.read(data[: end + len(_HEAD_ENDS)])
            if head is None or head.body_length > self._webhooks.longest:
                self._hand_over()
                return
        whole = head.length + head.body_length
        if len(data) < whole:
            self._head = head
            return
        body = data[head.length : whole]
        self._heads.pass_over(body)
        self._head = None
        self._unread = data[whole:]
        self._busy = True
        self._begin(head, body)

    def _begin(self, head: _Head, body: bytes) -> None:
        webhooks = self._webhooks
        try:
            shed = webhooks.reception.shed(head.account)
            if shed is not None:
                self._answer(shed)
                return
            request = RawRequest(
                head.account, "POST", head.query, head.headers, body, webhooks.clock(), f"/in/{head.account}"
            )
            try:
                check_fields(head.query, body)
            except TooManyFields as error:
                self._answer(webhooks.reception.unreadable(head.account, error))
                return
            webhooks.reception.begin(request, self._answer)
        except Exception as error:  # noqa: BLE001 (whatever it is, somebody waits for an answer)
            _log.error("a request could not be taken, this is a fault of keyroute", exc_info=error)
            self._answer(Answer(500))

    def _answer(self, answer: Answer) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            self._leave()
            return
        head = _answer_head(answer.status, answer.content_type, answer.headers)
        date = self._webhooks.lines_of_all(self._server_state)
        transport.write(b"%scontent-length: %d\r\n%s\r\n%s" % (head, len(answer.body), date, answer.body))
        self._busy = False
        self._since = self._loop.time()
        if self._ending:
            transport.close()
        elif self._unread:
            self._loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        if self._transport and not self._transport.is_closing() and not self._busy and self._writable:
            self._transport.resume_reading()
            if self._unread:
                self._read()

    def _hand_over(self) -> None:
        transport, data = self._transport, self._unread
        if transport is None:
            return
        self._leave()
        self._transport = None
        protocol = self._usual()
        protocol.connection_made(transport)
        transport.set_protocol(protocol)
        protocol.data_received(data)

    def _leave(self) -> None:
        self._connections.discard(self)
        self._server_state.connections.discard(self)


@lru_cache(maxsize=256)
def _answer_head(status: int, content_type: str | None, headers: tuple[tuple[str, str], ...]) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    more = (("content-type", content_type), *headers) if content_type else headers
    encoded = ((name.encode("latin-1"), value.encode("latin-1")) for name, value in more)
    return f"HTTP/1.1 {status} {phrase}\r\n".encode("latin-1") + _lines(encoded)


def _lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%s: %s\r\n" % header for header in headers)
