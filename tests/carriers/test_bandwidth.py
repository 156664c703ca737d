"""Bandwidth. There is no witness: its SDK checks no callbacks, whose credentials are plain HTTP Basic."""

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from adapters._credentials import BasicCredentials
from adapters.carriers.bandwidth import Bandwidth, BandwidthOptions
from router.errors import BadPayload, BadSignature, BodyTooLarge, RequestError, SendError, StoreUnavailable
from router.ports import Parsed, Secret
from router.types import Answer, Inbound, Media, RawRequest, Receipt
from tests.kit import Case, SendCase, check_hostile, check_inbound, check_send, outgoing

USER, PASSWORD, NEW_PASSWORD, API_SECRET = "bw-router", "s3cr3t-horse", "n3w:p4ss", "4p1-s3cr3t"
SENDER, RECIPIENT = "+12065551234", "+19195551000"
PRIVATE = [PASSWORD, NEW_PASSWORD, API_SECRET, SENDER, RECIPIENT, "Hello there"]
API = {
    "account_id": "9900000",
    "application_id": "93de2206",
    "api_token": "t0k3n",
    "api_secret": Secret(API_SECRET),
}


def carrier(**more: Any) -> Bandwidth:
    known = ((USER, NEW_PASSWORD), (USER, PASSWORD), ("bw-out", PASSWORD))
    users = tuple(BasicCredentials(user=user, password=Secret(password)) for user, password in known)
    return Bandwidth("acme", BandwidthOptions(basic=users, **more), None)


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def sign(request: RawRequest, user: str = USER, password: str = PASSWORD) -> RawRequest:
    return replace(request, headers={**request.headers, "authorization": basic(user, password)})


MESSAGE = {
    "id": "m1",
    "time": "2026-02-03T09:59:58.123Z",
    "to": [RECIPIENT],
    "from": SENDER,
    "text": "Hello there",
    "applicationId": "93de2206",
    "owner": RECIPIENT,
    "direction": "in",
    "segmentCount": 1,
}


def event(kind: str = "message-received", /, outer_to: Any = RECIPIENT, **message: Any) -> dict[str, Any]:
    return {"time": "t", "type": kind, "to": outer_to, "message": {**MESSAGE, **message}}


def ours(kind: str, code: Any = None, **message: Any) -> dict[str, Any]:
    fields = {"direction": "out", "from": RECIPIENT, "to": [SENDER], "text": "", "tag": "evt_1", **message}
    return {**event(kind, SENDER, **fields), "errorCode": code}


def body(*events: Any) -> bytes:
    return json.dumps(events, ensure_ascii=False).encode()


def text(words: str = "Hello there", **more: Any) -> Inbound:
    return replace(Inbound("m1", SENDER, RECIPIENT, words), **more)


def without(*names: str) -> bytes:
    return body({"type": "message-received", "message": {k: v for k, v in MESSAGE.items() if k not in names}})


class Refused(BadPayload):
    """Is equal to any `BadPayload`: what is wrong with an entry is for people to read."""

    def __eq__(self, other: object) -> bool:
        return type(other) is BadPayload

    def __hash__(self) -> int:
        return 0


REFUSED = Refused()
FILES = [f"https://messaging.bandwidth.com/api/v2/users/1/media/m1/{name}" for name in ("0.smil", "1.txt", "2.jpg")]
MEDIA = tuple(Media(file) for file in FILES)
TAP = {"text": "Yes", "postbackData": b64encode("join é".encode()).decode(), "pairedMessageId": "m0"}
POSTER = {"fileUrl": "https://rbm.example.com/a.mp4", "thumbnailUrl": "https://rbm.example.com/a.jpg"}


def case(label: str, expected: Sequence[Parsed] | type[RequestError], data: bytes) -> Case:
    return Case(label, expected, data, headers={"content-type": "application/json; charset=utf-8"})


CASES = [
    case("text", [text()], body(event())),
    case("text is kept as it is", [text(" ¡ALTO! 🛑 \n")], body(event(text=" ¡ALTO! 🛑 \n"))),
    case("direction absent", [text()], without("direction")),
    case("pictures", [text(channel="mms", media=MEDIA)], body(event(media=FILES))),
    case("no text", [text("", channel="mms", media=MEDIA[:1])], body(event(text=None, media=FILES[:1]))),
    case("media is null", [text()], body(event(media=None))),
    case("sms with a channel", [text(media=MEDIA[:1])], body(event(channel="SMS", media=FILES[:1]))),
    case("a copy of a group", [text(recipient="+19195551001")], body(event(owner="+19195551001", outer_to=""))),
    case("no owner", [text(recipient="19195551000")], body(event(owner=None, outer_to="19195551000"))),
    case("neither owner nor outer to", [text()], without("owner")),
    case("short codes", [text(sender="28581", recipient="20202")], body(event(**{"from": "28581"}, owner="20202"))),
    case("rcs", [text("hi", channel="rcs")], body(event(text=None, channel="RBM", content={"text": "hi"}))),
    case(
        "rcs file",
        [text("", channel="rcs", media=(Media("https://rbm.example.com/a.mp4"),))],
        body(event(text=None, channel="RBM", content={"media": POSTER})),
    ),
    case(
        "rcs files",
        [text("", channel="rcs", media=(*MEDIA[:1], Media("https://rbm.example.com/a.mp4")))],
        body(event(text=None, channel="RBM", content={"media": [FILES[0], POSTER]})),
    ),
    case(
        "suggestion tapped",
        [text("Yes", channel="rcs", payload="join é")],
        body(event("suggestion-response", text=None, channel="RBM", suggestionResponse=TAP)),
    ),
    case(
        "suggestion tapped, not in base64",
        [text("", channel="rcs", payload="join!")],
        body(event("suggestion-response", text="", channel="RBM", suggestionResponse={"postbackData": "join!"})),
    ),
    case(
        "place",
        [text("")],
        body(event("requested-location-response", text=None, locationResponse={"latitude": 1.5, "longitude": 2})),
    ),
    case("neither text nor media", [text("")], body(event(text=None))),
    case("several", [text("STOP"), text("START")], body(event(text="STOP"), event(text="START"))),
    case(
        "several kinds, one broken",
        [text(), REFUSED, Receipt("m1", RECIPIENT, SENDER, None), REFUSED, text("b")],
        body(event(), event(id=None), ours("message-delivered"), "event", event(text="b")),
    ),
    case("our own text", [], body(event(direction="out"))),
    case("under way", [], body(ours("message-sending"), ours("message-sent"), ours("message-read"))),
    case("another event", [], body({"type": "brand-new", "message": []})),
    case("no events", [], b"[]"),
    case("opted out", [Receipt("m1", RECIPIENT, SENDER, "opted_out", "4775")], body(ours("message-failed", 4775))),
    case(
        "no such number",
        [Receipt("m1", RECIPIENT, SENDER, "invalid_number", "4432")],
        body(ours("message-failed", 4432)),
    ),
    case("too many", [Receipt("m1", RECIPIENT, SENDER, "throttled", "4781")], body(ours("message-failed", "4781"))),
    case("service down", [Receipt("m1", RECIPIENT, SENDER, "temporary", "5600")], body(ours("message-failed", 5600))),
    case("no receipt", [Receipt("m1", RECIPIENT, SENDER, "temporary", "9902")], body(ours("message-failed", 9902))),
    case("blocked", [Receipt("m1", RECIPIENT, SENDER, "permanent", "4772")], body(ours("message-failed", 4772))),
    case("no code", [Receipt("m1", RECIPIENT, SENDER, "permanent")], body(ours("message-failed"))),
    case(
        "receipt with little in it",
        [Receipt("m1", None, None, None)],
        body({"type": "message-delivered", "message": {"id": "m1"}}),
    ),
    case("receipt without id", [REFUSED], body(ours("message-delivered", id=None))),
    case("no id", [REFUSED], without("id")),
    case("no sender", [REFUSED], without("from")),
    case("no recipient", [REFUSED], without("to", "owner")),
    case("recipient is a number", [REFUSED], body(event(owner=5))),
    case("media holds a number", [REFUSED], body(event(media=[1]))),
    case("no type", [REFUSED], body({"message": MESSAGE})),
    case("an object", BadPayload, json.dumps(event()).encode()),
    case("not json", BadPayload, b"Hello there"),
    case("empty body", BadPayload, b""),
    Case("no credentials", BadSignature, body(event()), sign=False),
]


@pytest.mark.parametrize("found", CASES, ids=lambda found: found.label)
def test_inbound(found: Case) -> None:
    check_inbound(carrier(), found, sign, PRIVATE, signed=False)


def test_rubbish_is_refused_in_order() -> None:
    check_hostile(carrier(), CASES, sign)


@pytest.mark.parametrize(
    ("user", "password", "good"),
    [
        (USER, PASSWORD, True),
        (USER, NEW_PASSWORD, True),
        ("bw-out", PASSWORD, True),
        ("bw-out", NEW_PASSWORD, False),
        (USER, "wrong", False),
        (USER, "", False),
        ("", PASSWORD, False),
        (USER.upper(), PASSWORD, False),
    ],
)
def test_a_user_needs_a_live_password(user: str, password: str, good: bool) -> None:
    request = sign(CASES[0].request(), user, password)

    if good:
        carrier().verify(request)
        return
    with pytest.raises(BadSignature):
        carrier().verify(request)


@pytest.mark.parametrize(
    ("header", "good"),
    [
        ("Basic Ynctcm91dGVyOnMzY3IzdC1ob3JzZQ==", True),
        ("bAsIc  Ynctcm91dGVyOnMzY3IzdC1ob3JzZQ== ", True),
        ("Bearer Ynctcm91dGVyOnMzY3IzdC1ob3JzZQ==", False),
        ("Basic Ynctcm91dGVyOnMzY3IzdC1ob3JzZQ", False),
        ("Basic", False),
    ],
)
def test_the_published_header(header: str, good: bool) -> None:
    request = replace(CASES[0].request(), headers={"authorization": header})

    if good:
        carrier().verify(request)
        return
    with pytest.raises(BadSignature):
        carrier().verify(request)


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        ([], Answer(200)),
        (BadSignature("why"), Answer(401, headers=(("www-authenticate", 'Basic realm="keyroute"'),))),
        (BadPayload("why"), Answer(200)),
        (BodyTooLarge("why"), Answer(413, b"why", "text/plain")),
        (StoreUnavailable("why"), Answer(503, headers=(("retry-after", "1"),))),
    ],
)
def test_who_shows_no_credentials_is_challenged(result: Any, answer: Answer) -> None:
    assert carrier().answer(result) == answer


def test_what_bandwidth_does_by_itself() -> None:
    assert set(carrier().answers_itself("long_code", "US")) == set()
    assert set(carrier().answers_itself("toll_free", "US")) == {"opt_out", "opt_in"}
    assert carrier().texts_per_second("long_code", "US") == 1
    assert (carrier().retries, carrier().replies_inline) == (True, False)


@pytest.mark.parametrize("missing", API)
def test_to_send_it_needs_all_of_the_api(missing: str) -> None:
    assert carrier(**API).sends
    assert not carrier(**{**API, missing: None}).sends


def test_options_need_a_proof_and_hide_it() -> None:
    with pytest.raises(ValidationError):
        BandwidthOptions()
    with pytest.raises(ValidationError):
        carrier(account_id="../1")

    assert PASSWORD not in repr(BandwidthOptions(basic=(BasicCredentials(user=USER, password=Secret(PASSWORD)),)))


SENT = SendCase("queued", "m2", 202, b'{"id": "m2", "segmentCount": 1}')
ERROR = json.dumps({"type": "request-validation", "description": f"{SENDER}: Hello there"}).encode()


@pytest.mark.parametrize(
    "found",
    [
        SENT,
        SendCase("bad number", "permanent", 400, ERROR),
        SendCase("wrong secret", "auth", 401, ERROR),
        SendCase("forbidden", "auth", 403, ERROR),
        SendCase("queue full", "throttled", 429, ERROR),
        SendCase("out of order", "temporary", 503, b"<html>"),
        SendCase("no id", "permanent", 202, b"[]"),
    ],
    ids=lambda found: found.label,
)
async def test_sending(found: SendCase) -> None:
    message = outgoing("Hello there", RECIPIENT, SENDER)

    http = await check_send(carrier(**API), found, message, PRIVATE, fails=found is not SENT)

    assert http.urls == [("POST", "https://messaging.bandwidth.com/api/v2/users/9900000/messages")]
    headers, data = http.requests[0]
    assert headers == {
        "Authorization": basic("t0k3n", API_SECRET),
        "Content-Type": "application/json; charset=utf-8",
    }
    assert json.loads(data) == {
        "applicationId": "93de2206",
        "from": RECIPIENT,
        "to": [SENDER],
        "text": "Hello there",
        "tag": "evt_1",
    }


async def test_a_pause_that_is_asked_for_is_kept() -> None:
    found = SendCase("queue full", "throttled", 429, b"", {"retry-after": "7"})

    with pytest.raises(SendError) as raised:
        await check_send(carrier(**API), found, outgoing(), PRIVATE, fails=False)

    assert raised.value.retry_after == 7
