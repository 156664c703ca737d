"""Every sample through the real HTTP application: its answer, and the texts that are in the store by then."""

import http.client
import re
import socket
from collections.abc import AsyncIterator, Container, Iterable
from dataclasses import dataclass, field
from email.message import Message
from operator import itemgetter
from typing import Any

import orjson
import pytest

from router.config import Settings
from router.records import read_text
from router.service import open_store
from router.store import DeadLetters, Outbox, Store
from tests.conformance.conftest import Application, Applications
from tests.conformance.samples import Sample

#: The answer's status, where the sample does not give it.
STATUS: dict[str, Container[int]] = {
    "accept": range(200, 300),
    "ignore": range(200, 300),
    "handshake": range(200, 300),
    "reject_signature": [403],
    "reject_malformed": [400],
}


@dataclass(frozen=True)
class Reply:
    """What was answered."""

    status: int
    headers: Message
    body: bytes


@dataclass
class Kept:
    """What the store has of an account: texts as JSON, those that wait as parts too; and whether a request was kept."""

    texts: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: int = 0


async def test_sample(sample: Sample, applications: Applications, record_property: Any) -> None:
    expect = sample.expect
    record_property("sample", f"{sample.name}: {expect['status']}")
    if problem := applications.problems.get(sample.name):
        pytest.fail(problem, pytrace=False)
    application = applications.of(sample)

    reply = send(sample.message(f"127.0.0.1:{application.port}"), application.port)
    kept = await kept_of(application.settings, sample.account)

    check_reply(reply, expect.get("reply", {}), STATUS[expect["status"]])
    texts = [text for text in kept.texts.values() if text["kind"] != "receipt"]
    check_texts(texts, expect.get("messages", []))
    if expect["status"] != "accept":
        # A batch that is accepted may have entries that make no sense.
        assert bool(kept.requests) == (expect["status"] == "reject_malformed")
    check_fetched(sample, application)
    if expect["status"] == "accept":
        again = send(sample.message(f"127.0.0.1:{application.port}"), application.port)
        assert (again.status, again.body) == (reply.status, reply.body)
        assert (await kept_of(application.settings, sample.account)).texts == kept.texts


def send(message: bytes, port: int) -> Reply:
    """Sends bytes to the application and reads its answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(message)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return Reply(response.status, response.headers, response.read())


async def kept_of(settings: Settings, account: str) -> Kept:
    """What there is in the store. No program has the samples' numbers, so their texts are kept as unrouted."""
    store, _ = open_store(settings)
    kept = Kept()
    async for letter in DeadLetters(store, settings.store.unhandled_kept).each():
        if letter.record and letter.record["account"] == account:
            kept.requests += letter.record["kind"] == "request"
            if letter.record["kind"] == "text":
                kept.texts[letter.record["text"]["id"]] = _text(letter.record["text"])
    for entry in await Outbox(store, []).read(0, "0-0", 10_000):
        if entry.event.account == account:
            kept.texts[entry.event.id] = _text(orjson.loads(entry.message))
    async for name, part in waiting_parts(store):
        if part["account"] == account:
            kept.texts[name] = _text(part)
    await store.close()
    return kept


def _text(written: dict[str, Any]) -> dict[str, Any]:
    """A text as JSON, with what it does not have."""
    found: dict[str, Any] = orjson.loads(orjson.dumps(read_text(written)))
    return found


async def waiting_parts(store: Store) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """The parts that wait for others: a name for each, and its record."""
    redis: Any = store.redis  # its own types know texts only
    async for key in redis.scan_iter(store.keys.parts(0, "*")):
        for number, value in (await redis.hgetall(key)).items():
            if number.isdigit():
                yield f"{key!r} {number!r}", orjson.loads(value.split(b" ", 2)[2])


def check_reply(reply: Reply, wanted: dict[str, Any], statuses: Container[int]) -> None:
    """The answer has everything that the sample asks for."""
    assert reply.status in ([wanted["status"]] if "status" in wanted else statuses)
    if "content_type" in wanted:
        assert reply.headers.get_content_type() == wanted["content_type"].partition(";")[0]
    if "body" in wanted:
        assert reply.body.decode() == wanted["body"]
    for forbidden in listed(wanted.get("body_lacks")):
        assert forbidden not in reply.body.decode()
    for name, value in wanted.get("headers", {}).items():
        # "..." stands for any text.
        assert re.fullmatch(re.escape(value).replace(r"\.\.\.", ".*"), reply.headers.get(name, ""))


def check_texts(texts: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    """The texts are those that the sample has; the order of two counts where they are of one sender."""
    texts = sorted(texts, key=itemgetter("sender"))
    # A text is a text, and all of one, unless the sample says otherwise.
    wanted = [{"kind": "text", "concat": None} | one for one in sorted(wanted, key=itemgetter("from"))]

    assert [shown(text, asked) for text, asked in zip(texts, wanted, strict=True)] == wanted


def shown(text: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """A text from the store with the keys, and of its media the keys, that the sample speaks of."""
    known = {
        **text,
        "from": text["sender"],
        "to": text["recipient"],
        "to_ref": text["recipient_ref"],
        "concat": text["part"],
    }
    if asked.get("message_id") is None and known["message_id"]:
        known["message_id"] = None  # any will do
    if len(text["media"]) == len(asked.get("media", ())):
        pairs = zip(text["media"], asked["media"], strict=True)
        known["media"] = [{key: media[key] for key in keys} for media, keys in pairs]
    return {key: known.get(key) for key in asked}


def check_fetched(sample: Sample, application: Application) -> None:
    """What was to be visited is, and nothing else than may be."""
    expect, network = sample.expect, application.network
    if expect.get("visit"):
        network.wait_for("GET", expect["visit"])
    # What a request makes begin in the background has begun when the next one is answered.
    send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", application.port)
    asked = {url for _, url in network.asked}
    for forbidden in (expect.get("must_not_fetch"), expect.get("must_not_visit")):
        assert not asked & set(listed(forbidden))
    # Nothing but what there is reason for.
    assert asked <= {*sample.content["secret"].get("certs", {}), expect.get("visit")}


def listed(forbidden: object) -> Iterable[str]:
    """What a sample gives as a list or alone; `true` stands for all URLs, which are checked anyway."""
    if isinstance(forbidden, str):
        return [forbidden]
    return forbidden if isinstance(forbidden, list) else []
