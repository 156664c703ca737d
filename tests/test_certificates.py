"""Certificates by URL: fetched once, kept for hours, and never more than a few."""

import asyncio

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from adapters._certificates import KEPT, MOST_KEYS, Certificates
from router.errors import BadSignature, DeliveryError
from router.types import HttpResponse
from tests.certificates import KEY, PEM, certificate
from tests.standins.recorder import Recorder

URL = "https://sns.us-east-1.amazonaws.com/a.pem"
NOW = 1_770_112_800.0


class Gate:
    """A client that answers once it is let go on; `waiting` is set as soon as it has been asked."""

    def __init__(self, answer: HttpResponse | DeliveryError) -> None:
        self.asked = 0
        self.waiting = asyncio.Event()
        self.opened = asyncio.Event()
        self._answer = answer

    async def request(self, method: str, url: str, *, headers: dict[str, str], body: bytes) -> HttpResponse:
        self.asked += 1
        self.waiting.set()
        await self.opened.wait()
        if isinstance(self._answer, DeliveryError):
            raise self._answer
        return self._answer


async def test_a_key_is_fetched_once_and_kept_for_hours() -> None:
    certificates, http = Certificates(), Recorder(200, PEM)

    assert certificates.key(URL, NOW) is None
    await certificates.fetch(http, URL, NOW)
    await certificates.fetch(http, URL, NOW + KEPT - 1)
    assert certificates.key(URL, NOW + KEPT - 1) == KEY.public_key()
    assert certificates.key(URL, NOW + KEPT) is None
    assert certificates.key(URL + "x", NOW) is None
    await certificates.fetch(http, URL, NOW + KEPT)

    assert certificates.key(URL, NOW + KEPT) == KEY.public_key()
    assert http.urls == [("GET", URL)] * 2
    assert http.requests == [({}, b"")] * 2


async def test_those_who_ask_at_once_share_a_fetch() -> None:
    certificates, gate = Certificates(), Gate(HttpResponse(200, {}, PEM))
    waiting = [asyncio.create_task(certificates.fetch(gate, URL, NOW)) for _ in range(20)]
    await gate.waiting.wait()
    waiting[0].cancel()
    await asyncio.sleep(0)
    gate.opened.set()

    done = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(one) for one in done] == [asyncio.CancelledError, *[type(None)] * 19]
    assert gate.asked == 1
    assert certificates.key(URL, NOW)


async def test_a_failed_fetch_fails_all_who_wait_and_is_tried_again() -> None:
    certificates, gate = Certificates(), Gate(DeliveryError("No connection.", retryable=True))
    waiting = [asyncio.create_task(certificates.fetch(gate, URL, NOW)) for _ in range(3)]
    await gate.waiting.wait()
    gate.opened.set()

    assert [type(one) for one in await asyncio.gather(*waiting, return_exceptions=True)] == [DeliveryError] * 3
    assert gate.asked == 1
    await certificates.fetch(Recorder(200, PEM), URL, NOW)
    assert certificates.key(URL, NOW)


async def test_nobody_hears_of_a_failure_that_nobody_waits_for(caplog: pytest.LogCaptureFixture) -> None:
    certificates, gate = Certificates(), Gate(DeliveryError("No connection.", retryable=True))
    waiting = asyncio.create_task(certificates.fetch(gate, URL, NOW))
    await gate.waiting.wait()
    waiting.cancel()
    gate.opened.set()
    await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.sleep(0)

    assert not caplog.records


@pytest.mark.parametrize("status", [429, 500, 503, 504])
async def test_what_may_pass_is_not_taken_for_a_forgery(status: int) -> None:
    with pytest.raises(DeliveryError):
        await Certificates().fetch(Recorder(status), URL, NOW)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, b"<Error>"),
        (404, PEM),
        (302, PEM),
        (200, b""),
        (200, b"not PEM"),
        (200, PEM[:200]),
        (200, PEM.replace(b"A", b"B", 3)),
        (200, certificate(ec.generate_private_key(ec.SECP256R1()))),
        (200, KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1)),
    ],
)
async def test_what_is_no_certificate_makes_the_request_a_forgery(status: int, body: bytes) -> None:
    certificates = Certificates()

    with pytest.raises(BadSignature):
        await certificates.fetch(Recorder(status, body), URL, NOW)
    assert certificates.key(URL, NOW) is None


async def test_the_oldest_makes_room() -> None:
    certificates, http = Certificates(), Recorder(200, PEM)
    for number in range(MOST_KEYS + 1):
        await certificates.fetch(http, f"{URL}?{number}", NOW)

    kept = [number for number in range(MOST_KEYS + 1) if certificates.key(f"{URL}?{number}", NOW)]

    assert kept == list(range(1, MOST_KEYS + 1))
