"""Every sample through the real HTTP application: its answer, and the texts that are in the store by then."""

import http.client
import re
from collections.abc import Container
from operator import itemgetter
from typing import Any

import pytest

from router.config import Settings
from router.service import open_store
from router.store import DeadLetters
from tests.conformance.conftest import Application
from tests.conformance.samples import ACCOUNTS, Sample

#: The answer's status, where the sample does not give it.
STATUS = {"accept": range(200, 300), "ignore": range(200, 300), "reject_signature": [403], "reject_malformed": [400]}


async def test_sample(sample: Sample, application: Application, record_property: Any) -> None:
    expect = sample.content["expect"]
    record_property("sample", f"{sample.name}: {expect['status']}")
    if sample.adapter not in ACCOUNTS:
        pytest.fail(f"No adapter speaks {sample.adapter!r}. Add it to ACCOUNTS in samples.py.", pytrace=False)
    application.clock.now = sample.content["now"]

    response, body = send(sample, application.port)
    kept = await kept_records(application.settings, sample.account)

    check_reply(response, body, expect.get("reply", {}), STATUS[expect["status"]])
    check_texts([record["text"]["message"] for record in kept if record["kind"] == "text"], expect["messages"])
    assert any(record["kind"] == "request" for record in kept) == (expect["status"] == "reject_malformed")


def send(sample: Sample, port: int) -> tuple[http.client.HTTPResponse, bytes]:
    """Sends the sample's request as it is, only to the address of its own account."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    request = sample.content["request"]
    connection.putrequest(request["method"], sample.target, skip_host=True, skip_accept_encoding=True)
    for name, value in request["headers"].items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(sample.body)))
    connection.endheaders(sample.body)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


async def kept_records(settings: Settings, account: str) -> list[dict[str, Any]]:
    """What the store has of an account. No program has its numbers, so its texts are all kept as unrouted."""
    store, _ = open_store(settings)
    letters = [letter.record async for letter in DeadLetters(store, settings.store.unhandled_kept).each()]
    await store.close()
    return [record for record in letters if record and record["account"] == account]


def check_reply(
    response: http.client.HTTPResponse, body: bytes, wanted: dict[str, Any], statuses: Container[int]
) -> None:
    """The answer has everything that the sample asks for."""
    assert response.status in ([wanted["status"]] if "status" in wanted else statuses)
    if "content_type" in wanted:
        assert response.headers.get_content_type() == wanted["content_type"].partition(";")[0]
    if "body" in wanted:
        assert body.decode() == wanted["body"]
    if "body_lacks" in wanted:
        assert wanted["body_lacks"] not in body.decode()
    for name, value in wanted.get("headers", {}).items():
        # "..." stands for any text.
        assert re.fullmatch(re.escape(value).replace(r"\.\.\.", ".*"), response.headers.get(name, ""))


def check_texts(texts: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    """The texts are those that the sample has; the order of two counts where they are of one sender."""
    texts = sorted(texts, key=itemgetter("sender"))
    wanted = sorted(wanted, key=itemgetter("from"))

    assert [shown(text, asked) for text, asked in zip(texts, wanted, strict=True)] == wanted


def shown(text: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """A text from the store with the keys, and of its media the keys, that the sample speaks of."""
    known = {**text, "from": text["sender"], "to": text["recipient"]}
    if len(text["media"]) == len(asked["media"]):
        pairs = zip(text["media"], asked["media"], strict=True)
        known["media"] = [{key: media[key] for key in keys} for media, keys in pairs]
    return {key: known.get(key) for key in asked}
