"""Bird's Channels API. There is no official validator of its signatures: what is published stands for one."""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from adapters.carriers.bird import Bird, BirdOptions
from router.errors import BadPayload, BadSignature, RequestError, SendError, StoreUnavailable
from router.ports import Parsed, Secret
from router.types import Answer, Channel, Inbound, Media, RawRequest, Receipt
from tests.kit import Case, SendCase, check_forged, check_hostile, check_inbound, check_send, outgoing
from tests.standins.recorder import Recorder

KEY, NEW_KEY = "bird-signing-key-0123456789", "bird-signing-key-new"
URL = "https://sms.example.com/in/bird"
SENDER, RECIPIENT = "+31612345501", "+31970123450"
CHANNEL = "614208aa-b153-4d5d-9989-2fddfc0ce4c3"
MOMENT = 1_767_225_600
PRIVATE = [KEY, NEW_KEY, SENDER, "Hello there"]
TIME, SIGNATURE = "messagebird-request-timestamp", "messagebird-signature"


def carrier(url: str | None = URL, **options: Any) -> Bird:
    chosen = BirdOptions(signing_keys=(Secret(NEW_KEY), Secret(KEY)), **options)
    return Bird("acme", chosen, url)


def sign(request: RawRequest, key: str = KEY, timestamp: str = str(MOMENT - 4), url: str = URL) -> RawRequest:
    full = url.encode() + (b"?" + request.query if request.query else b"")
    message = timestamp.encode() + b"\n" + full + b"\n" + hashlib.sha256(request.body).digest()
    signature = b64encode(hmac.digest(key.encode(), message, "sha256")).decode()
    return replace(request, headers={**request.headers, TIME: timestamp, SIGNATURE: signature})


def event(name: Any, payload: Any) -> bytes:
    return orjson.dumps({"service": "channels", "event": name, "payload": payload})


def inbound(
    body: Any, channel: str = "sms", receiver: str | None = RECIPIENT, sender: Any = SENDER, **fields: Any
) -> bytes:
    connector = {"id": "86cc4dc0", **({"identifierValue": receiver} if receiver is not None else {})}
    contact = {
        "id": "d043f1ea",
        "identifierKey": "phonenumber",
        "identifierValue": sender,
        "annotations": {"name": "A"},
    }
    payload = {
        "id": "edbab455",
        "channelId": CHANNEL,
        "sender": {"contact": contact},
        "receiver": {"connector": connector},
        "body": body,
        "parts": [{"platformReference": "e8077d80"}],
        "meta": None,
        "reference": "",
        "status": "delivered",
        "direction": "incoming",
        "chargeableUnits": 1,
    }
    return event(f"{channel}.inbound", {**payload, **fields})


def said(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": {"text": words, **more}}


def outbound(status: str | None, **fields: Any) -> bytes:
    payload = {
        "id": "bb-1",
        "channelId": CHANNEL,
        "sender": {"connector": {"id": "86cc4dc0", "identifierValue": RECIPIENT}},
        "receiver": {"contacts": [{"identifierKey": "phonenumber", "identifierValue": SENDER}]},
        "status": status,
        "reason": "",
        "direction": "outgoing",
    }
    return event("sms.outbound", {**payload, **fields})


def text(words: str, **more: Any) -> Inbound:
    return replace(Inbound("edbab455", SENDER, RECIPIENT, words, recipient_ref=CHANNEL), **more)


def case(label: str, expected: Sequence[Parsed] | type[RequestError], body: bytes) -> Case:
    return Case(label, expected, body)


IMAGES = [{"mediaUrl": "https://media.example.com/b3.jpg", "altText": "x"}]
PICTURE = {"type": "image", "image": {"images": IMAGES}}
CAPTION = {"type": "image", "image": {"images": IMAGES, "text": "kijk"}}
FILES = {
    "type": "file",
    "file": {
        "files": [
            {"mediaUrl": "https://media.example.com/a.pdf", "contentType": "application/pdf", "filename": "a.pdf"},
            {"mediaUrl": "", "contentType": "text/plain"},
            "x",
        ]
    },
}
MEDIA = (Media(url="https://media.example.com/b3.jpg"),)
PDF = (Media(url="https://media.example.com/a.pdf", content_type="application/pdf"),)
TAP = [{"type": "postback", "postback": {"text": "Ja", "payload": "join"}}, {"type": "link"}, "x"]

CASES = [
    case("text", [text("Hello there")], inbound(said("Hello there"))),
    case("our number is not told", [text("STOP 🛑", recipient=None)], inbound(said("STOP 🛑"), receiver=None)),
    case(
        "our number is an id",
        [text("hi", recipient=None)],
        inbound(said("hi"), receiver="86cc4dc0-3dc0-41b7-ac43-8ec829"),
    ),
    case("text is kept as it is", [text(" arrêt 👋🏽 \r\n")], inbound(said(" arrêt 👋🏽 \r\n", actions=None))),
    case("short code", [text("hi", recipient="54321")], inbound(said("hi"), receiver="54321")),
    case("whatsapp", [text("hoi", channel="whatsapp")], inbound(said("hoi"), "whatsapp")),
    case("rcs", [text("hoi", channel="rcs")], inbound(said("hoi"), "rcs")),
    case("tapped", [text("Ja!", channel="whatsapp", payload="join")], inbound(said("Ja!", actions=TAP), "whatsapp")),
    case(
        "tapped, words behind",
        [text("Ja", channel="whatsapp", payload="join")],
        inbound(said("", actions=TAP), "whatsapp"),
    ),
    case("picture", [text("kijk", channel="whatsapp", media=MEDIA)], inbound(CAPTION, "whatsapp")),
    case("picture by sms", [text("", channel="mms", media=MEDIA)], inbound(PICTURE)),
    case("files", [text("", channel="whatsapp", media=PDF)], inbound(FILES, "whatsapp")),
    case(
        "some other kind of file",
        [text("", channel="whatsapp", media=MEDIA)],
        inbound({"type": "video", "video": {"videos": IMAGES}}, "whatsapp"),
    ),
    case("direction is not told", [text("hi")], inbound(said("hi"), direction=None)),
    case("place", [], inbound({"type": "location", "location": {"coordinates": {"latitude": 1}}}, "whatsapp")),
    case("list", [], inbound({"type": "list", "list": {"items": [{"title": "Hello there"}]}}, "whatsapp")),
    case("empty text", [], inbound(said(""))),
    case("no body", [], inbound(None)),
    case("body of no type", [], inbound({"text": {"text": "Hello there"}})),
    case("our own text", [], inbound(said("Hello there"), direction="outgoing")),
    case("channel without numbers", [], inbound(said("Hello there"), "email", sender="a@example.com")),
    case("reaction", [], event("whatsapp.interaction", {"id": "edbab455", "type": "reacted"})),
    case("another service", [], event("contact.created", {"id": "c1"})),
    case("delivered", [Receipt("bb-1", RECIPIENT, SENDER, None)], outbound("delivered")),
    case(
        "not sent",
        [Receipt("bb-1", RECIPIENT, SENDER, "permanent", "no route to …01")],
        outbound("sending_failed", reason=f"no route to {SENDER}"),
    ),
    case(
        "not delivered",
        [Receipt("bb-1", RECIPIENT, None, "permanent")],
        outbound("delivery_failed", reason=None, receiver=None),
    ),
    case("on its way", [], outbound("sent")),
    case("accepted", [], outbound("accepted")),
    case("receipt without id", [], outbound("delivered", id=None)),
    case("no sender", BadPayload, inbound(said("Hello there"), sender=None)),
    case(
        "no contact",
        BadPayload,
        inbound(said("Hello there")).replace(b'"contact"', b'"nobody"'),
    ),
    case("no id", BadPayload, inbound(said("Hello there"), id=None)),
    case("text is no text", BadPayload, inbound({"type": "text", "text": {"text": ["Hello there"]}})),
    case("body is a text", BadPayload, inbound("Hello there")),
    case("no event", BadPayload, event(None, {"id": "1"})),
    case("no payload", BadPayload, event("sms.inbound", None)),
    case("a list", BadPayload, b"[]"),
    case("not json", BadPayload, b"STOP"),
    case("empty body", BadPayload, b""),
    Case("query is signed", [text("hi")], inbound(said("hi")), b"t=1&x=%2f"),
    Case("unsigned", BadSignature, inbound(said("Hello there")), sign=False),
]


@pytest.mark.parametrize("found", CASES, ids=lambda found: found.label)
def test_inbound(found: Case) -> None:
    check_inbound(carrier(), found, sign, PRIVATE)


def test_rubbish_is_refused_in_order() -> None:
    check_hostile(carrier(), CASES, sign)


def test_both_keys_are_live_during_a_rotation() -> None:
    found = case("text", [text("hi")], inbound(said("hi")))

    check_inbound(carrier(), found, lambda request: sign(request, NEW_KEY), PRIVATE)


def test_published_signature() -> None:
    body = b'{"service":"channels","event":"sms.inbound","payload":{"id":"1"}}'
    headers = {TIME: "1767225600", SIGNATURE: "S5KOhULESHZfrqg9VJ31y6YT3DU7XcT63Xz/nJvNsqs="}

    carrier().verify(RawRequest("acme", "POST", b"t=1", headers, body, received_at=MOMENT))


SAID = RawRequest("acme", "POST", b"", {}, inbound(said("hi")), received_at=MOMENT)


@pytest.mark.parametrize("age", [0, 86_400, -300])
def test_a_webhook_is_repeated_for_a_day_with_its_first_timestamp(age: int) -> None:
    carrier().verify(sign(SAID, timestamp=str(MOMENT - age)))


@pytest.mark.parametrize("timestamp", [str(MOMENT - 86_401), str(MOMENT + 301), "now", "", "-1", "1767225600.0"])
def test_what_is_older_or_from_the_future_is_refused(timestamp: str) -> None:
    check_forged(carrier(), sign(SAID, timestamp=timestamp), PRIVATE)


def test_the_window_can_be_narrower() -> None:
    check_forged(carrier(tolerance=300), sign(SAID, timestamp=str(MOMENT - 301)), PRIVATE)


def test_behind_a_proxy_its_headers_tell_the_url() -> None:
    proxied = {"x-forwarded-proto": "https", "x-forwarded-host": "sms.example.com"}
    request = replace(SAID, headers=proxied, path="/in/bird")

    carrier(None).verify(sign(request))
    check_forged(carrier(None), replace(sign(request), path="/in/other"), PRIVATE)


BOTH = {"sms": {RECIPIENT: CHANNEL}, "whatsapp": {RECIPIENT: "wa-1"}}


def test_our_number_is_found_by_the_channel() -> None:
    known = carrier(channel_ids=BOTH)

    assert list(known.parse(replace(SAID, body=inbound(said("hi"), receiver=None)))) == [text("hi")]
    other = inbound(said("hi"), receiver=None, channelId="other")
    assert list(known.parse(replace(SAID, body=other))) == [text("hi", recipient=None, recipient_ref="other")]
    report = outbound("delivered", sender=None)
    assert list(known.parse(replace(SAID, body=report))) == [Receipt("bb-1", RECIPIENT, SENDER, None)]


def test_options_need_a_key_and_hide_it() -> None:
    with pytest.raises(ValidationError):
        BirdOptions(signing_keys=())
    with pytest.raises(ValidationError):
        BirdOptions.model_validate({"signing_keys": [Secret(KEY)], "channel_ids": {"email": {}}})
    assert KEY not in repr(BirdOptions(signing_keys=(Secret(KEY),)))


def test_only_the_status_is_answered() -> None:
    assert carrier().answer([outgoing()]) == Answer(200)
    assert carrier().answer(BadPayload("why")) == Answer(400, b"why", "text/plain")
    assert carrier().answer(StoreUnavailable("why")) == Answer(503, headers=(("retry-after", "1"),))
    assert carrier().retries
    assert set(carrier().answers_itself("toll_free", "US")) == {"opt_out", "opt_in"}
    assert set(carrier().answers_itself("long_code", "NL")) == set()
    assert [carrier().texts_per_second("long_code", country) for country in ("US", "NL")] == [1, 500]


OURS = {"sms": {"+14155550199": "sms-1"}, "whatsapp": {"+14155550199": "wa-1"}}
SENDING: dict[str, Any] = {"workspace_id": "ws1", "access_key": Secret("key_77bb"), "channel_ids": OURS}
TAKEN = SendCase("taken", "bb-1", 202, b'{"id": "bb-1", "status": "accepted"}')


@pytest.mark.parametrize(
    "found",
    [
        TAKEN,
        SendCase("malformed", "permanent", 422, b'{"code": "InvalidPayload", "message": "+14155550101"}'),
        SendCase("wrong key", "auth", 401),
        SendCase("forbidden", "auth", 403),
        SendCase("too many", "throttled", 429, b"", {"retry-after": "3"}),
        SendCase("out of order", "temporary", 500, b"<html>"),
        SendCase("no id", "permanent", 202, b"[]"),
    ],
    ids=lambda found: found.label,
)
async def test_sending(found: SendCase) -> None:
    hidden = [*PRIVATE, "key_77bb", "14155550101"]
    http = await check_send(carrier(**SENDING), found, outgoing("Hi & é"), hidden, fails=found is not TAKEN)

    assert carrier(**SENDING).sends
    assert not carrier().sends
    assert http.urls == [("POST", "https://api.bird.com/workspaces/ws1/channels/sms-1/messages")]
    headers, body = http.requests[0]
    assert headers == {"Authorization": "AccessKey key_77bb", "Content-Type": "application/json"}
    assert orjson.loads(body) == {
        "receiver": {"contacts": [{"identifierKey": "phonenumber", "identifierValue": "+14155550101"}]},
        "body": {"type": "text", "text": {"text": "Hi & é"}},
        "reference": "evt_1",
    }


@pytest.mark.parametrize(("channel", "channel_id"), [("mms", "sms-1"), ("whatsapp", "wa-1")])
async def test_each_kind_of_channel_has_its_own(channel: Channel, channel_id: str) -> None:
    http = await check_send(carrier(**SENDING), TAKEN, replace(outgoing(), channel=channel), [], fails=False)

    assert http.urls == [("POST", f"https://api.bird.com/workspaces/ws1/channels/{channel_id}/messages")]


async def test_a_number_without_a_channel_waits_for_the_operator() -> None:
    http = Recorder(202, b'{"id": "bb-1"}')

    with pytest.raises(SendError, match=r"Add it to channel_ids\.rcs") as raised:
        await carrier(**SENDING).send(http, replace(outgoing(), channel="rcs"))

    assert raised.value.failure == "auth"
    assert raised.value.retryable
    assert raised.value.retry_after == 60
    assert http.requests == []
