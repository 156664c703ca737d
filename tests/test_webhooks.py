"""The short way for webhooks over real sockets: it answers as the ASGI application does, however requests arrive."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count, repeat
from pathlib import Path
from urllib.parse import urlencode

import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from router.app import create_app
from router.config import load
from router.reception import Reception
from router.types import Answer, RawRequest
from router.webhooks import Webhooks
from tests.running import DEALS, PUBLIC_URL, TOKEN, Keyroute, write_configuration

HELP = b"<Response><Message>Deals: call 555.</Message></Response>"
FORM = "application/x-www-form-urlencoded"
_NUMBERS = count(10_000)


def webhook(
    number: int,
    text: str = "help",
    *,
    head: str = "",
    path: str = "/in/twilio",
    version: str = "1.1",
    method: str = "POST",
    signature: str | None = None,
) -> bytes:
    """A text as Twilio posts it; `head` are more lines of the head."""
    form = {"MessageSid": f"SM{number}", "From": f"+1415555{number % 9000 + 1000}", "To": DEALS, "Body": text}
    signed = signature or RequestValidator(TOKEN).compute_signature(PUBLIC_URL, form)
    body = urlencode(form)
    return (
        f"{method} {path} HTTP/{version}\r\nHost: x\r\nx-twilio-SIGNATURE: {signed}\r\nContent-Type: {FORM}\r\n{head}"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


@dataclass(frozen=True)
class Reply:
    """An answer as it came over the wire, less its date."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """The real application behind uvicorn on a socket."""

    port: int
    uvicorn: uvicorn.Server

    @asynccontextmanager
    async def connection(self) -> AsyncIterator["Connection"]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Connection(reader, writer)
        finally:
            writer.close()


@dataclass
class Connection:
    """One connection to it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *chunks: bytes) -> None:
        """Sends chunks apart from each other."""
        for chunk in chunks:
            self.writer.write(chunk)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def reply(self) -> Reply:
        """The next answer."""
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            headers.pop("date")
            return Reply(int(first.split()[1]), headers, await self.reader.readexactly(int(headers["content-length"])))

    async def ask(self, *chunks: bytes) -> Reply:
        """The answer to a request."""
        await self.send(*chunks)
        return await self.reply()

    async def closed(self) -> bool:
        """Returns once the server has closed it; whether nothing else came before."""
        async with asyncio.timeout(10):
            return await self.reader.read() == b""


@asynccontextmanager
async def _running(server: uvicorn.Server) -> AsyncIterator[int]:
    """Runs a server, and gives its port."""
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)  # uvicorn tells nobody when it has started
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await asyncio.wait_for(running, 20)


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Server]:
    """Serves the configuration as `keyroute serve` does."""
    app = create_app(load(write_configuration(folder, account="retries = true")), role="ingress")
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, http=app.state.webhooks, log_config=None, server_header=False, lifespan="on")
    )
    async with _running(server) as port:
        yield Server(port, server)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path) as found:
        yield found


REQUESTS = {
    "a text": webhook(1),
    "another account": webhook(2, path="/in/nobody"),
    "a wrong signature": webhook(3, signature="x"),
    "an escaped name": webhook(4, path="/in/%74wilio"),
    "a query": webhook(5, path="/in/twilio?a=b"),
    "chunks": webhook(6).partition(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n\r\n4\r\nBody\r\n0\r\n\r\n",
    "an old version": webhook(7, version="1.0", head="Connection: keep-alive\r\n"),
    "a connection that ends": webhook(8, head="Connection: close\r\n"),
    "a connection that ends, as proxies say it": webhook(17, head="Proxy-Connection: close\r\n"),
    "a connection that stays, in so many words": webhook(16, head="Connection: Keep-Alive\r\n"),
    "another method": webhook(9, method="PUT"),
    "another address": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "no length": b"POST /in/twilio HTTP/1.1\r\nHost: x\r\n\r\n",
    "no HTTP": b"POST /in/twilio HTTP/1.1\r\nno header\r\n\r\n",
    "two lengths": webhook(10, head="Content-Length: 3\r\n"),
    "too many fields": webhook(11).partition(b"Content-Length")[0] + b"Content-Length: 4000\r\n\r\n" + b"a=b&" * 1000,
    "long": webhook(12).partition(b"Content-Length")[0] + b"Content-Length: 100000\r\n\r\n" + b"a" * 100_000,
    "too long": webhook(13).partition(b"Content-Length")[0] + b"Content-Length: 4000000\r\n\r\n" + b"a" * 4_000_000,
    "a header that comes twice": webhook(14, head="X-Twilio-Signature: more\r\n"),
    "no body": b"POST /in/twilio HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "an empty line before": b"\r\n" + webhook(18),
    "a long head": webhook(15, head=f"X-Long: {'x' * 40_000}\r\n"),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_the_short_way_answers_as_the_application_does(server: Server, name: str) -> None:
    async with server.connection() as short, server.connection() as long:
        healthy = await long.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")  # from here on this one is uvicorn's own
        assert healthy.body == b"ok"

        assert await short.ask(REQUESTS[name]) == await long.ask(REQUESTS[name])


async def test_a_text_is_answered_and_the_connection_goes_on(server: Server) -> None:
    async with server.connection() as connection:
        replies = [await connection.ask(webhook(100 + i)) for i in range(3)]
        healthy = await connection.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        after = await connection.ask(webhook(103))

    headers = {"content-type": "text/xml", "content-length": str(len(HELP))}
    assert [*replies, after] == [Reply(200, headers, HELP)] * 4
    assert healthy.body == b"ok"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 2000), max_size=12), texts=st.lists(st.sampled_from(["help", "STOP"]), max_size=5))
async def test_requests_may_arrive_in_any_pieces(server: Server, cuts: Sequence[int], texts: Sequence[str]) -> None:
    stream = b"".join(webhook(next(_NUMBERS), text) for text in texts) + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    places = sorted(min(cut, len(stream)) for cut in cuts)
    chunks = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
    async with server.connection() as connection:
        await connection.send(*chunks)
        replies = [await connection.reply() for _ in texts]
        last = await connection.reply()

    assert [reply.status for reply in replies] == [200] * len(texts)
    assert all((b"call 555" in reply.body) == (text == "help") for reply, text in zip(replies, texts, strict=True))
    assert last.body == b"ok"


@pytest.mark.parametrize("body", [b"", b"\r\n\r\n", webhook(400), b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_what_a_body_holds_is_no_request(server: Server, body: bytes) -> None:
    other = b"POST /in/twilio HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    async with server.connection() as connection:
        await connection.send(other + webhook(next(_NUMBERS)) + other + webhook(next(_NUMBERS)))
        replies = [await connection.reply() for _ in range(4)]

    assert [reply.status for reply in replies] == [403, 200, 403, 200]
    assert [reply.body for reply in replies[1::2]] == [HELP, HELP]


async def test_whoever_sends_more_than_is_answered_has_to_wait(server: Server) -> None:
    async with server.connection() as connection:
        many = 2000
        sending = asyncio.create_task(connection.send(*(webhook(1000 + i) for i in range(many))))
        replies = [await connection.reply() for _ in range(many)]
        await sending

    assert {reply.body for reply in replies} == {HELP}


async def test_a_text_counts_although_nobody_waits_for_its_answer(server: Server) -> None:
    async with server.connection() as connection:
        await connection.send(webhook(300))
    async with server.connection() as connection:
        assert (await connection.ask(webhook(300))).body == HELP


class Slow:
    """A reception that answers when it is told to, or fails."""

    def __init__(self, *, fails: bool = False) -> None:
        self.begun = asyncio.Event()
        self.answered = asyncio.Event()
        self._fails = fails

    def shed(self, account: str) -> Answer | None:
        return None

    def begin(self, request: RawRequest, answered: object) -> None:
        if self._fails:
            raise RuntimeError("a fault")
        self.begun.set()
        assert callable(answered)
        waiting = asyncio.ensure_future(self.answered.wait())
        waiting.add_done_callback(lambda _: answered(Answer(200, request.body)))


class Echo:
    """A reception that answers with what it was given."""

    def shed(self, account: str) -> Answer | None:
        return None

    def begin(self, request: RawRequest, answered: Callable[[Answer], object]) -> None:
        told = f"{request.account} {request.query!r} {request.headers.get('x')} {request.body!r}"
        answered(Answer(200, told.encode()))


@asynccontextmanager
async def of(reception: Slow | Echo) -> AsyncIterator[Server]:
    """A server whose webhooks go to this reception."""

    async def application(scope: dict[str, object], receive: object, send: object) -> None:
        raise AssertionError("nothing was to be handed over")

    webhooks = Webhooks(reception, 1_000_000, lambda: 0.0)  # type: ignore[arg-type]  # what is used of it
    config = uvicorn.Config(application, port=0, http=webhooks, log_config=None, lifespan="off")  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    async with _running(server) as port:
        yield Server(port, server)


async def test_what_is_under_way_when_the_server_ends_is_answered_first() -> None:
    reception = Slow()
    async with of(reception) as server, server.connection() as connection, server.connection() as silent:
        await connection.send(webhook(1))
        await reception.begun.wait()
        server.uvicorn.should_exit = True
        assert await silent.closed()
        reception.answered.set()
        assert (await connection.reply()).status == 200
        assert await connection.closed()


async def test_the_end_of_the_server_waits_for_what_is_under_way_also_if_whoever_asked_has_left() -> None:
    reception = Slow()
    async with of(reception) as server, server.connection() as silent:
        async with server.connection() as connection:
            await connection.send(webhook(1))
            await reception.begun.wait()
        server.uvicorn.should_exit = True
        assert await silent.closed()  # so that the server has heard of the other one, too
        assert server.uvicorn.server_state.connections
        reception.answered.set()


async def test_a_fault_of_ours_is_answered_and_written_down(caplog: pytest.LogCaptureFixture) -> None:
    async with of(Slow(fails=True)) as server, server.connection() as connection:
        assert (await connection.ask(webhook(1))).status == 500
        assert (await connection.ask(webhook(2))).status == 500


async def test_each_request_of_a_connection_is_read_for_itself() -> None:
    asked = [
        (b"/in/a", b"1", b"a body"),
        (b"/in/a", b"", b"another"),
        (b"/in/b?x=1", b"", b""),
        (b"/in/b?x=2", b"2", b"POST /in/c HTTP/1.1\r\nContent-Length: 0\r\n\r\n"),
        (b"/in/a", b"3", b""),
    ]
    requests = [
        b"POST %s HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s" % (path, x and b"X: %s\r\n" % x, len(body), body)
        for path, x, body in asked
    ]
    told = ["a b'' 1 {}", "a b'' None {}", "b b'x=1' None {}", "b b'x=2' 2 {}", "a b'' 3 {}"]
    expected = [line.format(body).encode() for line, (_, _, body) in zip(told, asked, strict=True)]
    async with of(Echo()) as server, server.connection() as connection:
        assert [(await connection.ask(request)).body for request in requests] == expected
        await connection.send(b"".join(requests))
        assert [(await connection.reply()).body for _ in requests] == expected


async def test_header_names_that_others_have_made_up_change_nothing() -> None:
    def asking(names: Iterable[str]) -> bytes:
        lines = "".join(f"{name}: 7\r\n" for name in names)
        return f"POST /in/a HTTP/1.1\r\n{lines}Content-Length: 0\r\n\r\n".encode()

    async with of(Echo()) as server, server.connection() as connection:
        for first in range(0, 3000, 60):
            await connection.ask(asking(f"Made-Up-{number}" for number in range(first, first + 60)))
        assert (await connection.ask(asking(["X"]))).body == b"a b'' 7 b''"


def _soon_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KEEP_ALIVE", "_ARRIVAL", "_SWEEP"):
        monkeypatch.setattr(f"router.webhooks.{name}", 0.05)


@pytest.mark.parametrize("begun", [b"", b"POST /in/twi"])
async def test_silent_connections_are_closed_in_the_end(begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    _soon_impatient(monkeypatch)
    async with of(Slow()) as server, server.connection() as connection:
        await connection.send(begun)
        assert await connection.closed()


async def test_a_request_has_to_arrive_in_time_however_steadily_it_trickles(monkeypatch: pytest.MonkeyPatch) -> None:
    _soon_impatient(monkeypatch)
    trickle = webhook(1, head=f"X-Long: {'x' * 30_000}\r\n")[:-1]
    async with of(Slow()) as server, server.connection() as connection:
        sent = 0
        with suppress(ConnectionError):
            while sent < len(trickle) and not connection.reader.at_eof():
                await connection.send(trickle[sent : sent + 1])
                sent += 1

    assert sent < len(trickle)


async def test_whoever_never_reads_the_answers_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    _soon_impatient(monkeypatch)
    reception = Slow()
    reception.answered.set()
    body = b"a" * 60_000
    asking = b"POST /in/twilio HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    async with of(reception) as server, server.connection() as connection, asyncio.timeout(10):
        with pytest.raises(ConnectionError):
            await connection.send(*repeat(asking, 10_000))


def test_the_reception_that_stands_in_is_called_as_the_real_one() -> None:
    assert Reception.begin.__annotations__.keys() == {"request", "answered", "return"}
    assert Reception.shed.__annotations__.keys() == {"account", "return"}


async def test_requests_that_come_together_are_answered_in_their_order_by_the_real_server(tmp_path: Path) -> None:
    # On the loop that it really runs on.
    async with Keyroute(write_configuration(tmp_path)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        connection = Connection(reader, writer)
        texts = ["help", "COUPONS"] * 300
        sending = asyncio.create_task(connection.send(*(webhook(20_000 + i, text) for i, text in enumerate(texts))))
        replies = [await connection.reply() for _ in texts]
        await sending
        writer.close()

    assert [b"call 555" in reply.body for reply in replies] == [text == "help" for text in texts]
