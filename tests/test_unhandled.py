"""What is kept of requests that make no sense: all that reading them again needs, and no secret."""

from pathlib import Path

import orjson
import pytest

from router.config import load
from router.records import read_request
from router.routing import Routing
from router.types import RawRequest
from router.unhandled import MOST_KEPT, request_record
from tests.running import write_configuration

KANNEL = """
[accounts.gateway]
carrier = "kannel"
allow_private = true
tokens = ["file:gateway.secret"]
sendsms_url = "http://127.0.0.1:13013/cgi-bin/sendsms"
username = "us"
password = "file:password.secret"
"""


def test_headers_that_the_carrier_speaks_in_are_kept_and_secrets_are_not(tmp_path: Path) -> None:
    (tmp_path / "gateway.secret").write_text("a secret/token")
    (tmp_path / "password.secret").write_text("password")
    account = Routing(load(write_configuration(tmp_path, extra=KANNEL))).accounts["gateway"]
    headers = {"content-type": "text/plain", "x-kannel-from": "+14155550101", "authorization": "Basic QQ=="}
    query = b"token=a%20secret%2Ftoken&again=a+secret%2Ftoken&raw=a secret/token&id=1"
    request = RawRequest("gateway", "POST", query, headers, b"STOP", 1.0, "/in/gateway")
    record = orjson.loads(request_record(request, "why", 2.0, account.kept_headers, account.secrets))
    kept = read_request(record["request"])

    assert kept.headers == {"content-type": "text/plain", "x-kannel-from": "+14155550101"}
    assert kept.query == b"token=...&again=...&raw=...&id=1"
    assert (kept.body, kept.path, record["cut"]) == (b"STOP", "/in/gateway", False)
    assert set(account.secrets) == {"a secret/token", "password"}


@pytest.mark.parametrize("written", [b"a%20secret%2ftoken%22", b"a+secret%2ftoken%22", b'{"t":"a secret/token\\""}'])
def test_a_secret_is_not_kept_however_it_is_written(written: bytes) -> None:
    request = RawRequest("gateway", "POST", written, {}, written, 1.0)
    kept = read_request(orjson.loads(request_record(request, "why", 2.0, secrets=['a secret/token"']))["request"])

    assert b"secret" not in kept.query + kept.body
    assert b"..." in kept.query


def test_an_empty_secret_takes_nothing_away() -> None:
    request = RawRequest("gateway", "POST", b"id=1", {}, b"STOP", 1.0)
    kept = read_request(orjson.loads(request_record(request, "why", 2.0, secrets=[""]))["request"])

    assert (kept.query, kept.body) == (b"id=1", b"STOP")


def test_what_is_too_long_is_cut_and_says_so() -> None:
    request = RawRequest("gateway", "POST", b"", {}, b"x" * (MOST_KEPT + 1), 1.0)
    record = orjson.loads(request_record(request, "why", 2.0))

    assert len(read_request(record["request"]).body) == MOST_KEPT
    assert record["cut"]
