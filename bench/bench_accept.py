"""What an accept does between its signature and the store, each step beside the obvious way to do the same."""

import hashlib
import hmac
import json
from base64 import b64encode
from dataclasses import asdict
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from adapters._signing import SigningKey
from bench.requests import TOKEN, TWILIO_URL, twilio
from bench.servers import configure, webhook
from router.config import load
from router.decide import decide
from router.records import write_message
from router.routing import Routing
from router.texts import prepare, reading
from router.types import Inbound, RawRequest

OURS, SENDER = "+14155550199", "+14155550101"
HEAD, _, BODY = twilio(1, SENDER, OURS, "COUPONS").partition(b"\r\n\r\n")
KEY = TOKEN.encode()
SIGNED = TWILIO_URL.encode() + BODY
TEXT = Inbound("SM1", SENDER, OURS, "COUPONS")
EVENT = ("evt_0123456789abcdef", 1_800_000_000.25, "twilio", ("alerts",))


@pytest.fixture
def routing(tmp_path: Path) -> Routing:
    return Routing(load(configure(tmp_path, webhook("hook", 9))))


def test_signature(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "signature"
    benchmark(SigningKey(KEY, "sha1").sign, SIGNED)


def test_signature_with_hmac(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "signature"
    benchmark(lambda: b64encode(hmac.new(KEY, SIGNED, hashlib.sha1).digest()))


def test_parse(benchmark: BenchmarkFixture, routing: Routing) -> None:
    benchmark.group = "parse"
    headers = {"content-type": "application/x-www-form-urlencoded; charset=UTF-8"}
    bodies = [bytes(bytearray(BODY)) for _ in range(2)]  # what an adapter remembers of one is not the other's
    requests = [RawRequest("twilio", "POST", b"", headers, body, 0.0) for body in bodies]
    carrier = routing.accounts["twilio"].carrier
    benchmark(lambda: [carrier.parse(request) for request in requests])


def test_parse_with_urllib(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "parse"
    benchmark(lambda: [dict(parse_qsl(BODY.decode(), keep_blank_values=True)) for _ in range(2)])


def test_decide(benchmark: BenchmarkFixture, routing: Routing) -> None:
    """From a parsed text to all that the store is asked."""
    benchmark.group = "decide"
    benchmark(prepare, routing, "twilio", TEXT, 1_800_000_000.25)


def test_decide_afresh(benchmark: BenchmarkFixture, routing: Routing) -> None:
    """The decision alone, without a plan that is kept."""
    benchmark.group = "decide"
    route = routing.find("twilio", "sms", OURS)

    def afresh() -> object:
        match = routing.match(route, TEXT)
        return decide(route.policies[0], match, reading(route, match, TEXT))

    benchmark(afresh)


def test_encode(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "encode"
    benchmark(write_message, *EVENT, TEXT)


def test_encode_with_json(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "encode"
    event_id, at, account, programs = EVENT
    benchmark(
        lambda: json.dumps(
            {"id": event_id, "at": at, "account": account, "programs": programs, "message": asdict(TEXT)}
        )
    )
