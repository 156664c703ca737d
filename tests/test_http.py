"""The outbound client on real sockets: what counts as an answer, what may have arrived, and where it never goes."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import adapters
import router
from router.delivery.http import RESPONSE_LIMIT, HttpClient, guarded_socket
from router.errors import DeliveryError
from router.network import Private, is_public

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Wire:
    """A TCP server that reads requests and writes bytes as a test says."""

    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def wire(answer: Answer) -> AsyncIterator[Wire]:
    seen = Wire()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                seen.requests.append(head + await reader.readexactly(length))
                await answer(writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        seen.port = server.sockets[0].getsockname()[1]
        yield seen
    finally:
        server.close()  # and is not waited for: some answers hang


def says(data: bytes, *, then_closes: bool = False, then_hangs: bool = False) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        if then_hangs:
            await asyncio.Event().wait()
        if then_closes:
            writer.close()

    return answer


OK = says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def post(client: HttpClient, url: str) -> tuple[int, dict[str, str], bytes]:
    response = await client.request("POST", url, headers={"X-Test": "1"}, body=b"hello")
    return response.status, dict(response.headers), response.body


async def failure(
    url: str, *, timeout_seconds: float = 5.0, allow_private: bool = True, private_hosts: Sequence[str] = ()
) -> DeliveryError:
    async with HttpClient(timeout_seconds, allow_private, private_hosts) as client:
        with pytest.raises(DeliveryError) as caught:
            await post(client, url)
    return caught.value


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", (200, b"ok")),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", (503, b"")),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n", (302, b"")),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nzzzz", (200, b"zzzz")),
    ],
    ids=["ok", "error", "redirect is not followed", "compression is not undone"],
)
async def test_any_status_is_an_answer(head: bytes, expected: tuple[int, bytes]) -> None:
    async with wire(says(head)) as server, HttpClient(5, True) as client:
        status, _, body = await post(client, f"http://127.0.0.1:{server.port}/")

    assert expected == (status, body)
    assert server.connections == 1


async def test_the_request_leaves_as_given() -> None:
    async with wire(OK) as server, HttpClient(5, True) as client:
        await post(client, f"http://127.0.0.1:{server.port}/a?b=%20c")

    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /a?b=%20c HTTP/1.1\r\n")
    assert b"X-Test: 1" in head
    assert body == b"hello"


async def test_header_names_are_lower_case_and_repeats_are_joined() -> None:
    head = b"HTTP/1.1 200 OK\r\nX-One: a\r\nx-one: b\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n"
    async with wire(says(head)) as server, HttpClient(5, True) as client:
        _, headers, _ = await post(client, f"http://127.0.0.1:{server.port}/")

    assert headers == {"x-one": "a, b", "retry-after": "3", "content-length": "0"}


async def test_a_connection_serves_many_requests_and_keeps_no_cookie() -> None:
    head = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    async with wire(says(head)) as server, HttpClient(5, True) as client:
        for _ in range(3):
            await post(client, f"http://127.0.0.1:{server.port}/")

    assert (server.connections, len(server.requests)) == (1, 3)
    assert b"cookie" not in b"".join(server.requests).lower()


async def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with wire(OK) as server, HttpClient(5, True) as client:
        status, _, _ = await post(client, f"http://127.0.0.1:{server.port}/")

    assert status == 200


async def test_a_response_is_read_up_to_the_limit() -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000
    async with wire(says(data)) as server, HttpClient(5, True) as client:
        _, _, first = await post(client, f"http://127.0.0.1:{server.port}/")
        _, _, second = await post(client, f"http://127.0.0.1:{server.port}/")

    assert (len(first), len(second)) == (RESPONSE_LIMIT, RESPONSE_LIMIT)


@pytest.mark.parametrize(("then_closes", "then_hangs"), [(True, False), (False, True)], ids=["breaks off", "trickles"])
async def test_a_status_with_a_broken_body_is_still_the_answer(then_closes: bool, then_hangs: bool) -> None:
    data = b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\npart"
    answer = says(data, then_closes=then_closes, then_hangs=then_hangs)
    async with wire(answer) as server, HttpClient(0.3, True) as client:
        status, _, body = await post(client, f"http://127.0.0.1:{server.port}/")

    assert (status, body) == (201, b"part")


@pytest.mark.parametrize(
    ("answer", "scheme", "unknown"),
    [
        (says(b"", then_hangs=True), "http", True),
        (says(b"", then_closes=True), "http", True),
        (says(b"nonsense\r\n\r\n", then_closes=True), "http", True),
        (says(b"HTTP/1.1 200 OK\r\nContent-Le", then_closes=True), "http", True),
        (says(b"", then_hangs=True), "https", False),
    ],
    ids=["no answer", "cut", "not http", "half a head", "TLS hangs"],
)
async def test_the_outcome_is_unknown_once_the_request_began_to_leave(
    answer: Answer, scheme: str, unknown: bool
) -> None:
    async with wire(answer) as server:
        error = await failure(f"{scheme}://127.0.0.1:{server.port}/path?key=s3cret", timeout_seconds=0.3)

    assert (True, unknown) == (error.retryable, error.outcome_unknown)
    assert "127.0.0.1" in error.reason
    assert "s3cret" not in error.reason


async def test_a_refused_connection_has_a_known_outcome() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port
        error = await failure(f"http://127.0.0.1:{taken.getsockname()[1]}/")

    assert (error.retryable, error.outcome_unknown) == (True, False)
    assert "No connection to 127.0.0.1" in error.reason


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "127.1", "2130706433", "", "[::1"])
async def test_a_host_that_cannot_be_is_a_delivery_error_that_says_so(host: str) -> None:
    error = await failure(f"http://{host}/")

    assert (error.retryable, error.outcome_unknown) == (True, False)
    assert "Mend the url" in error.reason


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "0x7f000001",
        "0.0.0.0",  # noqa: S104
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "10.0.0.1",
        "[fd00:ec2::254]",
        "[fe80::1]",
    ],
)
async def test_no_connection_is_made_to_a_private_address_however_it_is_written(host: str) -> None:
    async with wire(OK) as server:
        error = await failure(f"https://{host}:{server.port}/", allow_private=False)

    assert server.connections == 0
    assert (error.retryable, error.outcome_unknown) == (True, False)
    assert "allow_private" in error.reason


async def test_without_tls_nothing_is_sent_unless_private_networks_are_allowed() -> None:
    async with wire(OK) as server:
        error = await failure(f"http://127.0.0.1:{server.port}/", allow_private=False)

    assert server.connections == 0
    assert "unencrypted" in error.reason


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("64:ff9b::8.8.8.8", True),
        ("::ffff:8.8.8.8", True),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.0.1", False),
        ("100.64.0.1", False),
        ("100.100.100.200", False),
        ("168.63.129.16", False),
        ("192.0.0.192", False),
        ("198.18.0.1", False),
        ("169.254.169.254", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("::1", False),
        ("::7f00:1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2001::1", False),
        ("2002:a00:1::", False),
        ("fc00::1", False),
        ("fe80::1%lo", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("2001:db8::1", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert public == is_public(address)


@pytest.mark.parametrize(
    ("allowed", "host"),
    [("127.0.0.1", "127.0.0.1"), ("127.0.0.0/8", "127.0.0.1"), ("localhost", "localhost"), ("LocalHost.", "localhost")],
)
async def test_a_private_host_that_is_named_may_be_sent_to(allowed: str, host: str) -> None:
    async with wire(OK) as seen, HttpClient(5.0, allow_private=False, private_hosts=[allowed]) as client:
        response = await client.request("POST", f"http://{host}:{seen.port}/", headers={}, body=b"x")

    assert response.status == 200


@pytest.mark.parametrize("url", ["http://localhost:1/", "https://localhost:1/", "https://127.0.0.1:1/"])
async def test_a_private_host_that_is_not_named_may_not(url: str) -> None:
    error = await failure(url, allow_private=False, private_hosts=["10.9.9.9", "crm.internal"])

    assert "private_hosts" in error.reason


def test_a_public_address_gets_a_socket_of_its_family() -> None:
    with guarded_socket(
        Private(), (socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("2606:4700::1111", 443, 0, 0))
    ) as made:
        assert (made.family, made.type) == (socket.AF_INET6, socket.SOCK_STREAM)


def test_nothing_else_makes_a_process_wait_for_aiohttp() -> None:
    sources = [path for room in (router, adapters) for path in Path(room.__path__[0]).rglob("*.py")]

    assert [path.name for path in sources if "import aiohttp" in path.read_text("utf-8")] == ["http.py"]
