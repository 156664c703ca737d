"""Infobip. Its SDKs have no validator that could be a witness, and how its HMAC is written is published nowhere."""

import hmac
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from adapters._requests import made_id
from adapters.carriers.infobip import Infobip, InfobipOptions
from router.errors import BadPayload, BadSignature, RequestError, SendError, StoreUnavailable
from router.ports import Parsed, Secret
from router.types import Answer, Inbound, Media, OptOutType, RawRequest, Receipt
from tests.kit import Case, SendCase, check_forged, check_hostile, check_inbound, check_send, outgoing
from tests.standins.scripted import Scripted

PASSWORD, TOKEN, KEY = "s3cr3t", "tok_4f9c0a", "hmac-key-0123"
SENDER, RECIPIENT = "385916242401", "385921004026"
PRIVATE = [PASSWORD, TOKEN, KEY, SENDER, "Hello there"]
BASIC = {"basic": [{"user": "infobip", "password": Secret(PASSWORD)}]}


def carrier(**options: Any) -> Infobip:
    return Infobip("acme", InfobipOptions.model_validate({**BASIC, **options}), None)


def sign(request: RawRequest) -> RawRequest:
    return replace(request, headers={**request.headers, "authorization": "Basic aW5mb2JpcDpzM2NyM3Q="})


def batch(*entries: Any, **more: Any) -> bytes:
    return orjson.dumps({"results": entries, "messageCount": len(entries), "pendingMessageCount": 0, **more})


def entry(**fields: Any) -> dict[str, Any]:
    base = {
        "messageId": "817790313235066401",
        "from": SENDER,
        "to": RECIPIENT,
        "receivedAt": "2019-11-09T16:00:00.000+0000",
        "price": {"pricePerMessage": 0, "currency": "EUR"},
        "callbackData": "callbackData",
    }
    return {**base, **fields}


def sms(words: str | None, **fields: Any) -> dict[str, Any]:
    return entry(text=words, cleanText="no", keyword=None, smsCount=1, **fields)


def whatsapp(kind: str, **content: Any) -> dict[str, Any]:
    contact = {"name": "Frank", "phoneNumber": SENDER, "userId": "HR.123123123"}
    return entry(integrationType="WHATSAPP", message={"type": kind, **content}, contact=contact)


def consent(status: Any, **more: Any) -> bytes:
    content = {"sender": RECIPIENT, "from": SENDER, "notificationMessagesStatus": status, "description": "Hello there"}
    return orjson.dumps(
        {"from": RECIPIENT, "content": {**content, **more}, "createdAt": "2025-12-31T23:59:57.000+0000"}
    )


def receipt(group: str, **fields: Any) -> dict[str, Any]:
    status = {"groupName": group, "id": 5, "name": "DELIVERED_TO_HANDSET", **fields.pop("status", {})}
    return {"messageId": "m1", "to": SENDER, "sender": RECIPIENT, "status": status, **fields}


def text(words: str, **more: Any) -> Inbound:
    return replace(Inbound("817790313235066401", SENDER, RECIPIENT, words), **more)


def said(words: str, **more: Any) -> Inbound:
    return text(words, channel="whatsapp", **more)


def case(label: str, expected: Sequence[Parsed] | type[RequestError], body: bytes) -> Case:
    return Case(label, expected, body)


def asked(hint: OptOutType, body: bytes) -> Inbound:
    found = Inbound(made_id(body), SENDER, RECIPIENT, "", channel="whatsapp", opt_out_type=hint)
    return replace(found, kind="preference", scope="marketing")


class Broken(BadPayload):
    """Stands for an entry that makes no sense: errors are equal only to themselves, this one to all of its kind."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BadPayload)

    __hash__ = BadPayload.__hash__


BROKEN = Broken("anything")
URL = "https://api.example.com/whatsapp/1/senders/41793026731/media/f1b96d31"
SEGMENTS = [
    {"contentType": "image/jpeg", "url": "https://api.example.com/mms/123456"},
    {"contentType": "text/plain", "value": "This is"},
    {"contentType": "text/plain; charset=utf-8", "value": "a text"},
    {"contentType": "text/plain", "url": "https://api.example.com/mms/long"},
    {"contentType": "application/smil", "value": "<smil/>"},
]
FILES = (
    Media(url="https://api.example.com/mms/123456", content_type="image/jpeg"),
    Media(url="https://api.example.com/mms/long", content_type="text/plain"),
)
LONG_ID = b"123456789012345678901234567890"

CASES = [
    case("text", [text("Hello there")], batch(sms("Hello there"))),
    case(
        "keyword is only a hint",
        [text("QUIZ Paris")],
        batch(entry(text="QUIZ Paris", cleanText="Paris", keyword="QUIZ")),
    ),
    case("text is kept as it is", [text(" čćžšđ 👋 \r\n")], batch(sms(" čćžšđ 👋 \r\n"))),
    case(
        "batch",
        [
            text("STOP"),
            text("ja", message_id="2", sender="+447700900403"),
            text("START", message_id="3", recipient="60606"),
        ],
        batch(
            sms("STOP"), sms("ja", messageId="2", **{"from": "+447700900403"}), sms("START", messageId="3", to="60606")
        ),
    ),
    case("name", [text("hi", sender="ACME")], batch(sms("hi", **{"from": "ACME"}))),
    case("id is a number", [text("hi")], batch(sms("hi", messageId=817790313235066401))),
    case(
        "id is a long number",
        [text("hi", message_id=LONG_ID.decode()), text("ho", message_id="2"), BROKEN],
        batch(sms("hi", messageId="X"), sms("ho", messageId="2"), "x").replace(b'"X"', LONG_ID),
    ),
    case("id is no whole number", [BROKEN], batch(sms("hi", messageId=1.5))),
    case("numbers are numbers", [text("hi")], batch(sms("hi", **{"from": int(SENDER), "to": int(RECIPIENT)}))),
    case("numbers are not", [BROKEN], batch(sms("Hello there", **{"from": True}))),
    case("empty text", [], batch(sms(""))),
    case("no text", [], batch(sms(None))),
    case(
        "one is broken",
        [text("a"), BROKEN, text("b", message_id="2")],
        batch(sms("a"), sms("x", to=None), sms("b", messageId="2")),
    ),
    case("an entry is no object", [text("a"), BROKEN, BROKEN], batch(sms("a"), "Hello there", None)),
    case("no id", [BROKEN], batch(sms("Hello there", messageId=None))),
    case("no sender", [BROKEN], batch(sms("Hello there", **{"from": " "}))),
    case(
        "mms",
        [text("This is\na text", channel="mms", media=FILES)],
        batch(entry(message=SEGMENTS, userAgent="iPhone", group=[{"to": "1"}])),
    ),
    case("empty mms", [], batch(entry(message=[]))),
    case("segment is no object", [BROKEN], batch(entry(message=["Hello there"]))),
    case("whatsapp text", [said("Hello there")], batch(whatsapp("TEXT", text="Hello there"))),
    *(
        case(kind, [said("Look", media=(Media(url=URL),))], batch(whatsapp(kind, url=URL, caption="Look")))
        for kind in ("IMAGE", "VIDEO", "DOCUMENT", "AUDIO", "VOICE", "STICKER")
    ),
    case("picture alone", [said("", media=(Media(url=URL),))], batch(whatsapp("IMAGE", url=URL))),
    case("button", [said("Yes", payload="join")], batch(whatsapp("BUTTON", text="Yes", payload="join"))),
    case("reply", [said("Yes", payload="join")], batch(whatsapp("INTERACTIVE_BUTTON_REPLY", id="join", title="Yes"))),
    case(
        "choice of a list",
        [said("Yes", payload="join")],
        batch(whatsapp("INTERACTIVE_LIST_REPLY", id="join", title="Yes", description="Hello there")),
    ),
    case("order", [said("soon")], batch(whatsapp("ORDER", text="soon", catalogId="1", productItems=[]))),
    *(
        case(kind, [], batch(whatsapp(kind, text="Hello there", url=URL, emoji="👍")))
        for kind in (
            "REACTION",
            "INFECTED_CONTENT",
            "INTERACTIVE_FLOW_REPLY",
            "LOCATION",
            "CONTACT",
            "CALL_PERMISSION_REPLY",
        )
    ),
    case(
        "who shows no number",
        [said("hi", sender="HR.123123123")],
        batch({**whatsapp("TEXT", text="hi"), "from": None, "contact": {"userId": "HR.123123123"}}),
    ),
    case("who shows a number elsewhere", [said("hi")], batch({**whatsapp("TEXT", text="hi"), "from": ""})),
    case(
        "rcs", [text("hi", channel="rcs")], batch(entry(integrationType="RCS", message={"type": "TEXT", "text": "hi"}))
    ),
    case("channel without numbers", [], batch(entry(integrationType="VIBER", message={"type": "TEXT", "text": "hi"}))),
    case("text is no text", [BROKEN], batch(whatsapp("TEXT", text=["Hello there"]))),
    case("marketing stopped", [asked("STOP", consent("stop"))], consent("stop")),
    case("marketing resumed", [asked("START", consent("resume"))], consent("resume")),
    case("marketing of no sense", [], consent("paused")),
    case("marketing of nobody", BadPayload, consent("stop", **{"from": None})),
    case("marketing without a word", BadPayload, consent(None)),
    case(
        "delivered", [Receipt("m1", RECIPIENT, SENDER, None)], batch(receipt("DELIVERED", error={"permanent": False}))
    ),
    case(
        "delivered, no more said",
        [Receipt("m1", None, None, None)],
        batch({"messageId": "m1", "status": {"groupName": "DELIVERED"}}),
    ),
    case(
        "opted out",
        [Receipt("m1", RECIPIENT, SENDER, "opted_out", "14")],
        batch(receipt("REJECTED", status={"id": 14})),
    ),
    case(
        "passes",
        [Receipt("m1", RECIPIENT, SENDER, "temporary", "9")],
        batch(receipt("UNDELIVERABLE", status={"id": 9}, error={"name": "EC_ABSENT_SUBSCRIBER", "permanent": False})),
    ),
    case(
        "does not pass",
        [Receipt("m1", RECIPIENT, SENDER, "permanent", "9")],
        batch(receipt("UNDELIVERABLE", status={"id": 9}, error={"permanent": True})),
    ),
    case("expired", [Receipt("m1", RECIPIENT, SENDER, "temporary", "5")], batch(receipt("EXPIRED"))),
    case("on its way", [], batch(receipt("PENDING"), receipt("ACCEPTED"))),
    case("receipt without id", [], batch(receipt("DELIVERED", messageId=None))),
    case("receipt of no sense", [BROKEN], batch({"messageId": "m1", "status": "DELIVERED"})),
    case(
        "seen",
        [],
        batch({"messageId": "m1", "from": RECIPIENT, "to": SENDER, "seenAt": "2025-12-31T23:59:57.000+0000"}),
    ),
    case("empty", [], batch()),
    case("nothing counted", [], b'{"messageCount": 0, "pendingMessageCount": 0}'),
    case("results missing", BadPayload, orjson.dumps({"unexpected": [sms("Hello there")], "messageCount": 1})),
    case("results null", BadPayload, b'{"results": null}'),
    case("results no list", BadPayload, b'{"results": {"text": "Hello there"}}'),
    case("a list", BadPayload, b"[]"),
    case("not json", BadPayload, b"results=1&messageCount=1"),
    case("empty body", BadPayload, b""),
    Case("no password", BadSignature, batch(sms("Hello there")), sign=False),
]


@pytest.mark.parametrize("found", CASES, ids=lambda found: found.label)
def test_inbound(found: Case) -> None:
    check_inbound(carrier(), found, sign, PRIVATE, signed=False)


@pytest.mark.parametrize("found", CASES, ids=lambda found: found.label)
def test_what_is_said_of_a_broken_entry_repeats_nothing(found: Case) -> None:
    if isinstance(found.expected, type):
        return
    errors = [entry for entry in carrier().parse(found.request()) if isinstance(entry, BadPayload)]

    assert not [error for error in errors if any(hidden in f"{error} {error!r}" for hidden in PRIVATE)]


def test_lists_in_lists_are_refused_if_they_are_too_many() -> None:
    deep = batch(sms("hi", messageId="X", more="Y")).replace(b'"X"', LONG_ID).replace(b'"Y"', b"[" * 1010 + b"]" * 1010)

    with suppress(BadPayload):  # from Python 3.12 on they are not too many
        carrier().parse(replace(SAID, body=deep))


def test_rubbish_is_refused_in_order() -> None:
    check_hostile(carrier(), CASES, sign)


SAID = RawRequest("acme", "POST", b"", {}, batch(sms("Hello there")), received_at=0)


def showing(**headers: str) -> RawRequest:
    return replace(SAID, headers={name.replace("_", "-"): value for name, value in headers.items()})


def basic(password: str) -> str:
    return "Basic " + b64encode(f"infobip:{password}".encode()).decode()


def test_a_password_can_be_changed() -> None:
    both = carrier(basic=[{"user": "infobip", "password": Secret(password)} for password in ("new", "old")])

    both.verify(showing(authorization=basic("old")))
    both.verify(showing(authorization=basic("new")))
    check_forged(both, showing(authorization=basic("older")), PRIVATE)


def test_a_bearer_token_or_a_header_is_proof_too() -> None:
    either = carrier(
        basic=[],
        bearer_tokens=[Secret("b1"), Secret(TOKEN)],
        headers=[{"name": "X-Webhook-Token", "value": Secret(TOKEN)}],
    )

    either.verify(showing(authorization=f"Bearer {TOKEN}"))
    either.verify(showing(authorization="Bearer b1"))
    either.verify(showing(x_webhook_token=TOKEN))
    for wrong in (f"bearer{TOKEN}", TOKEN, "Bearer ", basic(PASSWORD), "\ud800"):
        check_forged(either, showing(authorization=wrong), PRIVATE)
    check_forged(either, showing(x_webhook_token=TOKEN + "x"), PRIVATE)


ALGORITHMS = ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("prefix", "encoding"), [("", "hex"), ("sha=", "hex"), ("", "base64"), ("v1,", "base64")])
def test_an_hmac_is_written_as_configured(algorithm: str, prefix: str, encoding: str) -> None:
    chosen = {"header": "X-Signature", "secrets": [Secret("new"), Secret(KEY)], "algorithm": algorithm}
    signed = carrier(basic=[], hmac={**chosen, "prefix": prefix, "encoding": encoding})
    digest = hmac.digest(KEY.encode(), SAID.body, algorithm)
    written = digest.hex().upper() if encoding == "hex" else b64encode(digest).decode()

    signed.verify(showing(x_signature=prefix + written))
    for wrong in ("", prefix, "é", f"x{written}", prefix + written[:-1], "\ud800"):
        check_forged(signed, showing(x_signature=wrong), PRIVATE)
    check_forged(signed, replace(showing(x_signature=prefix + written), body=SAID.body + b" "), PRIVATE)
    if prefix:
        check_forged(signed, showing(x_signature=written), PRIVATE)


def test_options_need_a_proof_and_hide_it() -> None:
    with pytest.raises(ValidationError, match="has nothing by which"):
        InfobipOptions()

    carrier(basic=[], unauthenticated=True).verify(SAID)
    shown = repr(InfobipOptions.model_validate({**BASIC, "hmac": {"header": "X", "secrets": [Secret(KEY)]}}))
    assert not [secret for secret in (PASSWORD, KEY) if secret in shown]


def test_a_batch_is_acknowledged_as_a_whole() -> None:
    assert carrier().answer([outgoing(), outgoing()]) == Answer(200)
    assert carrier().answer(BadPayload("results is missing.")) == Answer(400, b"results is missing.", "text/plain")
    assert carrier().answer(StoreUnavailable("why")) == Answer(503, headers=(("retry-after", "1"),))
    assert not carrier().retries
    assert carrier(retries=True).retries


def test_who_answers_and_how_fast() -> None:
    assert set(carrier().answers_itself("toll_free", "US")) == {"opt_out", "opt_in"}
    assert set(carrier().answers_itself("long_code", "HR")) == set()
    assert [carrier().texts_per_second("long_code", country) for country in ("US", "HR")] == [1, 30]


SENDING: dict[str, Any] = {"api_key": Secret("key_77bb"), "api_url": "https://xyz.api.infobip.com"}


def answer(status: Any, message_id: str | None = "m1") -> bytes:
    return orjson.dumps({"bulkId": "b1", "messages": [{"messageId": message_id, "status": status, "destination": "1"}]})


PENDING = {"groupId": 1, "groupName": "PENDING", "id": 26, "name": "PENDING_ACCEPTED"}
GOOD = [
    SendCase("pending", "m1", 200, answer(PENDING)),
    SendCase("only the group", "m1", 200, answer({"groupId": 1})),
    SendCase("delivered", "m1", 200, answer({"groupId": 3, "groupName": "DELIVERED"})),
    SendCase("no id", "evt_1", 200, answer(PENDING, None)),
    SendCase("sent before", "evt_1", 200, answer({"groupId": 5, "groupName": "REJECTED", "id": 23})),
]


def rejected(label: str, failure: Any, status: int) -> SendCase:
    return SendCase(label, failure, 200, answer({"groupId": 5, "groupName": "REJECTED", "id": status}))


@pytest.mark.parametrize(
    "found",
    [
        *GOOD,
        rejected("blocked", "opted_out", 14),
        rejected("do not disturb", "opted_out", 10),
        rejected("no such number", "invalid_number", 52),
        rejected("prefix missing", "invalid_number", 8),
        rejected("our sender", "permanent", 13),
        rejected("flooding", "throttled", 20),
        rejected("no credit", "auth", 12),
        rejected("unknown code", "permanent", 99),
        SendCase("only the number of the group", "permanent", 200, answer({"groupId": 2})),
        SendCase("wrong key", "auth", 401, b'{"requestError": {"serviceException": {"messageId": "UNAUTHORIZED"}}}'),
        SendCase("malformed", "permanent", 400, b'{"errorCode": "E400", "description": "+14155550101"}'),
        SendCase("too many", "throttled", 429, b"", {"retry-after": "3"}),
        SendCase("out of order", "temporary", 503, b"<html>"),
        SendCase("no status", "permanent", 200, b'{"messages": [{"messageId": "m1"}]}'),
        SendCase("no messages", "permanent", 200, b'{"messages": ["x"]}'),
    ],
    ids=lambda found: found.label,
)
async def test_sending(found: SendCase) -> None:
    hidden = [*PRIVATE, "key_77bb", "14155550101"]
    http = await check_send(carrier(**SENDING), found, outgoing("Hi & é"), hidden, fails=found not in GOOD)

    assert carrier(**SENDING).sends
    assert not carrier().sends
    assert http.urls == [("POST", "https://xyz.api.infobip.com/sms/3/messages")]
    headers, body = http.requests[0]
    assert headers == {
        "Authorization": "App key_77bb",
        "Content-Type": "application/json",
        "Accept": "application/json",
    }
    destinations = [{"to": "14155550101", "messageId": "evt_1"}]
    message = {"sender": "14155550199", "destinations": destinations, "content": {"text": "Hi & é"}}
    assert orjson.loads(body) == {"messages": [message]}


async def test_whatsapp_has_an_address_of_its_own() -> None:
    taken = SendCase(
        "taken", "m1", 200, orjson.dumps({"to": "1", "messageCount": 1, "messageId": "m1", "status": PENDING})
    )
    message = replace(outgoing("Hi", recipient="US.1349"), channel="whatsapp")

    http = await check_send(carrier(**SENDING), taken, message, PRIVATE, fails=False)

    assert http.urls == [("POST", "https://xyz.api.infobip.com/whatsapp/1/message/text")]
    content = {"from": "14155550199", "to": "US.1349", "messageId": "evt_1", "content": {"text": "Hi"}}
    assert orjson.loads(http.requests[0][1]) == content


async def test_a_refused_text_comes_again_with_another_id() -> None:
    flooding = (200, answer({"groupId": 5, "groupName": "REJECTED", "id": 20}))
    http = Scripted(flooding, (503, b""), flooding, (200, answer(PENDING)), (200, answer(PENDING)))
    sender = carrier(**SENDING)

    for _ in range(3):
        with pytest.raises(SendError):
            await sender.send(http, outgoing())
    for _ in range(2):
        await sender.send(http, outgoing())

    sent = [orjson.loads(body)["messages"][0]["destinations"][0]["messageId"] for _, _, body in http.requests]
    # A 503 says nothing about the id. Once a text is taken, its refusals are forgotten.
    assert sent == ["evt_1", "evt_1-1", "evt_1-1", "evt_1-2", "evt_1"]


async def test_only_so_many_refused_texts_are_remembered() -> None:
    flooding = (200, answer({"groupId": 5, "groupName": "REJECTED", "id": 20}))
    texts = [replace(outgoing(), id=f"evt_{number}") for number in range(1001)]
    http = Scripted(*[flooding] * 1003)
    sender = carrier(**SENDING)

    for message in (*texts, texts[0], texts[1000]):
        with pytest.raises(SendError):
            await sender.send(http, message)

    sent = [orjson.loads(body)["messages"][0]["destinations"][0]["messageId"] for _, _, body in http.requests[-2:]]
    assert sent == ["evt_0", "evt_1000-1"]
