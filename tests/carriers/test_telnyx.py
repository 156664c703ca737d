"""Telnyx, with its own SDK as the witness: what it finds well signed we accept, what it refuses we refuse."""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.carriers.telnyx import Telnyx, TelnyxOptions
from router.errors import BadPayload, BadSignature, RequestError, SendError, StoreUnavailable
from router.ports import Parsed, Secret
from router.types import Answer, Inbound, Media, RawRequest, Receipt
from tests.kit import Case, SendCase, check_hostile, check_inbound, check_send, outgoing

KEY = Ed25519PrivateKey.from_private_bytes(
    bytes.fromhex("2b397cf00a8d568874a3c7c44daf9486635906884c8c205b5dbee479902aa1d8")
)
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
NOW = 1_767_225_600
SENDER, RECIPIENT = "+14155550601", "+14155550699"
API_KEY = "KEY0190c2f3a4b5"
PRIVATE = [SENDER, RECIPIENT, "Hello there", API_KEY]


def load_sdk() -> ModuleType:
    """The SDK's validator alone, as a module: to import all of the SDK takes some ten seconds."""
    package = find_spec("telnyx")
    assert package
    assert package.origin
    path = Path(package.origin).with_name("lib") / "webhook_verification.py"
    found = spec_from_file_location("telnyx_webhook_verification", path)
    assert found
    assert found.loader
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module


SDK = load_sdk()


def public(key: Ed25519PrivateKey) -> str:
    return b64encode(key.public_key().public_bytes_raw()).decode()


def carrier(*keys: Ed25519PrivateKey, **more: Any) -> Telnyx:
    options = TelnyxOptions(public_keys=tuple(public(key) for key in keys or [KEY]), **more)
    return Telnyx("acme", options, "https://sms.example.com/in/telnyx")


def sign(request: RawRequest, key: Ed25519PrivateKey = KEY, timestamp: str = str(NOW)) -> RawRequest:
    signature = b64encode(key.sign(timestamp.encode() + b"|" + request.body)).decode()
    proofs = {"telnyx-signature-ed25519": signature, "telnyx-timestamp": timestamp}
    return replace(request, headers={**request.headers, **proofs})


PAYLOAD = {
    "autoresponse_type": None,
    "cc": [],
    "direction": "inbound",
    "from": {"carrier": "T-Mobile USA", "phone_number": SENDER},
    "id": "m1",
    "media": [],
    "text": "Hello there",
    "to": [{"carrier": "Telnyx", "phone_number": RECIPIENT, "status": "webhook_delivered"}],
    "type": "SMS",
}


def event(kind: str = "message.received", /, **payload: Any) -> bytes:
    data = {"event_type": kind, "id": "e1", "payload": {**PAYLOAD, **payload}}
    return json.dumps({"data": data, "meta": {"attempt": 1}}, ensure_ascii=False).encode()


def finalized(status: str, *codes: str, **payload: Any) -> bytes:
    addresses = {"from": {"phone_number": RECIPIENT}, "to": [{"phone_number": SENDER, "status": status}]}
    errors = [{"code": code, "title": "why"} for code in codes]
    return event("message.finalized", **{"direction": "outbound", **addresses, "errors": errors, **payload})


def text(words: str = "Hello there", **more: Any) -> Inbound:
    return replace(Inbound("m1", SENDER, RECIPIENT, words), **more)


def case(label: str, expected: Sequence[Parsed] | type[RequestError], body: bytes) -> Case:
    return Case(label, expected, body, headers={"content-type": "application/json"})


def without(name: str) -> bytes:
    payload = {key: value for key, value in PAYLOAD.items() if key != name}
    return json.dumps({"data": {"event_type": "message.received", "payload": payload}}).encode()


PICTURES = [
    {"url": "https://media.example.com/a.jpg", "content_type": "image/jpeg", "hash_sha256": "ab", "size": 1},
    {"url": "https://media.example.com/b.mp4", "content_type": None, "sha256": "ab", "size": 1},
]
MEDIA = (Media("https://media.example.com/a.jpg", None, "image/jpeg"), Media("https://media.example.com/b.mp4"))
GROUP = [{"phone_number": RECIPIENT, "status": "delivered"}, {"phone_number": "+14155550655", "status": "delivered"}]


def whatsapp(body: Mapping[str, Any], **more: Any) -> bytes:
    return event(**{"type": "WHATSAPP", "text": None, "to": RECIPIENT, "body": body, **more})


def rcs(body: Mapping[str, Any]) -> bytes:
    return event(type="RCS", text="", to=[{"agent_id": "agent-7", "agent_name": "Acme"}], body=body)


RCS = {"channel": "rcs", "recipient": None, "recipient_ref": "agent-7"}
TAPPED = {"type": "button_reply", "button_reply": {"id": "join", "title": "Yes"}}
PHOTO = {"id": "9", "mime_type": "image/png", "caption": "look"}

CASES = [
    case("text", [text()], event()),
    case("without meta", [text()], json.dumps({"data": json.loads(event())["data"]}).encode()),
    case("text is kept as it is", [text(" arrêt 👋🏽 שלום \n\0")], event(text=" arrêt 👋🏽 שלום \n\0")),
    case("direction absent", [text()], without("direction")),
    case("type absent", [text()], without("type")),
    case("type unknown, media", [text(channel="mms", media=MEDIA)], event(type="FAX", media=PICTURES)),
    case("pictures", [text("", channel="mms", media=MEDIA)], event(type="MMS", text=None, media=PICTURES)),
    case("sms type with a picture", [text(media=MEDIA[:1])], event(media=PICTURES[:1])),
    case("fields that are new", [text()], event(is_spam=False, tcr_campaign_id=None, brand_new={"a": [1]})),
    case("opt-out answered", [text("Stop", opt_out_type="STOP")], event(text="Stop", autoresponse_type="STOP")),
    case("opt-in answered", [text("Start", opt_out_type="START")], event(text="Start", autoresponse_type="START")),
    case("help answered", [text("Info", opt_out_type="HELP")], event(text="Info", autoresponse_type="HELP")),
    case("opt-out without text", [text("", opt_out_type="STOP")], event(text="", autoresponse_type="stop")),
    case("unknown autoresponse", [text()], event(autoresponse_type="SMILE")),
    case("group", [text(channel="mms")], event(type="MMS", to=GROUP, cc=[{"phone_number": "+14155550656"}])),
    case("short codes", [text(sender="28581", recipient="20202")], event(**{"from": "28581", "to": ["20202"]})),
    case("a name", [text(sender="MTN")], event(**{"from": {"phone_number": "MTN"}})),
    case("neither text nor media", [], event(text=None)),
    case("whatsapp", [text("hola", channel="whatsapp")], whatsapp({"type": "text", "text": {"body": "hola"}})),
    case(
        "whatsapp without a number",
        [text("hi", sender="US.1349", channel="whatsapp")],
        whatsapp({"from": "", "from_user_id": "US.1349", "text": {"body": "hi"}}, **{"from": {"phone_number": ""}}),
    ),
    case(
        "whatsapp picture",
        [text("look", channel="whatsapp", media=(Media(None, "9", "image/png"),))],
        whatsapp({"type": "image", "image": PHOTO}),
    ),
    case(
        "whatsapp reply button",
        [text("Yes", channel="whatsapp", payload="join")],
        whatsapp({"type": "interactive", "interactive": TAPPED}),
    ),
    case(
        "whatsapp template button",
        [text("Yes", channel="whatsapp", payload="join")],
        whatsapp({"type": "button", "button": {"payload": "join", "text": "Yes"}}),
    ),
    case("whatsapp reaction", [], whatsapp({"type": "reaction", "reaction": {"emoji": "👍"}})),
    case("whatsapp revoked", [], whatsapp({"type": "revoke", "revoke": {"original_message_id": "m0"}})),
    case("rcs", [text("hi", **RCS)], rcs({"text": "hi"})),
    case(
        "rcs suggestion",
        [text("Yes", payload="join", **RCS)],
        rcs({"suggestion_response": {"text": "Yes", "postback_data": "join"}}),
    ),
    case(
        "rcs file",
        [text("", media=(Media("https://rcs.example.com/f", None, "image/gif"),), **RCS)],
        rcs({"user_file": {"payload": {"file_uri": "https://rcs.example.com/f", "mime_type": "image/gif"}}}),
    ),
    case("rcs place", [], rcs({"location": {"latitude": 1.5, "longitude": 2}})),
    case("our own text", [], event(direction="outbound")),
    case("sent", [], event("message.sent", direction="outbound")),
    case("read", [], event("message.read", direction="outbound")),
    case("another event", [], json.dumps({"data": {"event_type": "call.initiated", "payload": []}}).encode()),
    case("delivered", [Receipt("m1", RECIPIENT, SENDER, None)], finalized("delivered", "40008")),
    case("opted out", [Receipt("m1", RECIPIENT, SENDER, "opted_out", "40300")], finalized("sending_failed", "40300")),
    case(
        "landline",
        [Receipt("m1", RECIPIENT, SENDER, "invalid_number", "40001")],
        finalized("delivery_failed", "40001", "40008"),
    ),
    case("failed, no code", [Receipt("m1", RECIPIENT, SENDER, "permanent")], finalized("delivery_failed")),
    case("unknown code", [Receipt("m1", RECIPIENT, SENDER, "permanent", "1")], finalized("sending_failed", "1")),
    case("expired", [Receipt("m1", RECIPIENT, SENDER, "temporary")], finalized("expired")),
    case("nobody knows", [], finalized("delivery_unconfirmed")),
    case("finalized, no status", [], finalized("webhook_delivered", to=["+14155550601"])),
    case("receipt without id", BadPayload, finalized("delivered", id=None)),
    case("no id", BadPayload, without("id")),
    case("no sender", BadPayload, without("from")),
    case("blank sender", BadPayload, event(**{"from": {"phone_number": None}})),
    case("no recipient", BadPayload, without("to")),
    case("nobody it was sent to", BadPayload, event(to=[])),
    case("text is no text", BadPayload, event(text=5)),
    case("media is no list", BadPayload, event(media={"url": "https://media.example.com/a.jpg"})),
    case("media holds a number", BadPayload, event(media=[1])),
    case("no event type", BadPayload, b'{"data":{"payload":{}}}'),
    case("data is a list", BadPayload, b'{"data":[]}'),
    case("a list", BadPayload, b"[]"),
    case("not json", BadPayload, b"Hello there"),
    case("empty body", BadPayload, b""),
    Case("unsigned", BadSignature, event(), sign=False),
]


@pytest.mark.parametrize("found", CASES, ids=lambda found: found.label)
def test_inbound(found: Case) -> None:
    check_inbound(carrier(), found, sign, PRIVATE)


def test_rubbish_is_refused_in_order() -> None:
    check_hostile(carrier(), CASES, sign)


def test_both_keys_are_live_while_they_are_changed() -> None:
    check_inbound(carrier(OTHER_KEY, KEY), CASES[0], sign, PRIVATE)
    check_inbound(carrier(KEY, OTHER_KEY), CASES[0], sign, PRIVATE)


def test_a_key_that_is_not_ours_does_not_count() -> None:
    with pytest.raises(BadSignature):
        carrier().verify(sign(CASES[0].request(), Ed25519PrivateKey.generate()))


@pytest.mark.parametrize(("age", "tolerance", "good"), [(300, 300, True), (301, 300, False), (301, 400, True)])
@pytest.mark.parametrize("direction", [1, -1])
def test_a_signature_is_good_for_a_while(age: int, tolerance: int, good: bool, direction: int) -> None:
    request = sign(CASES[0].request(), timestamp=str(NOW - direction * age))

    if good:
        carrier(tolerance=tolerance).verify(request)
        return
    with pytest.raises(BadSignature, match="clock"):
        carrier(tolerance=tolerance).verify(request)


@pytest.mark.parametrize("timestamp", [f"{NOW}.0", f" {NOW}", f"+{NOW}", "1_767_225_600", "", "never"])
def test_a_timestamp_is_digits(timestamp: str) -> None:
    with pytest.raises(BadSignature):
        carrier().verify(sign(CASES[0].request(), timestamp=timestamp))


def test_the_published_signature() -> None:
    body = b'{"data":{"event_type":"message.received","payload":{"id":"1"}}}'
    signature = "wJ8U4uNjdOcKkCiz0bfyKL3B+uPUsPL76EKdtjipHeulPQaS1ekmajhtx57gly56TFoxB7zljrHNUWbcdhQSDw=="
    headers = {"telnyx-signature-ed25519": signature, "telnyx-timestamp": str(NOW)}

    Telnyx("acme", TelnyxOptions(public_keys=("juWgnAizENsyfsKaG/wnqJAI3L138C97+1H+kt/IG5A=",)), None).verify(
        RawRequest("acme", "POST", b"", headers, body, received_at=NOW)
    )


@given(
    body=st.text(),
    arrived=st.text(),
    same=st.booleans(),
    key=st.sampled_from([KEY, OTHER_KEY]),
    age=st.integers(-302, 302),
    spoilt=st.sampled_from(["", "A", "AAAA", "é"]),  # the official one skips over what is not Base64
)
def test_agrees_with_the_official_validator(
    body: str, arrived: str, same: bool, key: Ed25519PrivateKey, age: int, spoilt: str
) -> None:
    signed = sign(RawRequest("acme", "POST", b"", {}, body.encode(), received_at=NOW), key, str(NOW - age))
    signature = spoilt + signed.headers["telnyx-signature-ed25519"]
    request = replace(
        signed,
        headers={**signed.headers, "telnyx-signature-ed25519": signature},
        body=signed.body if same else arrived.encode(),
    )

    with patch("time.time", return_value=NOW):
        try:
            SDK.verify_webhook_signature(request.body, request.headers, public(KEY))
            official = True
        except SDK.WebhookVerificationError:
            official = False
    try:
        carrier().verify(request)
        ours = True
    except BadSignature:
        ours = False

    assert official == ours


def test_of_a_group_our_own_number_is_taken() -> None:
    request = case("group", [], event(type="MMS", to=GROUP)).request()

    [found] = carrier(numbers=("+14155550655",)).parse(request)

    assert found == text(channel="mms", recipient="+14155550655")


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        ([], Answer(200)),
        (BadSignature("why"), Answer(403)),
        (BadPayload("why"), Answer(400, b"why", "text/plain")),
        (StoreUnavailable("why"), Answer(503, headers=(("retry-after", "1"),))),
    ],
)
def test_only_the_status_counts(result: Any, answer: Answer) -> None:
    assert carrier().answer(result) == answer


def test_what_telnyx_does_by_itself() -> None:
    assert set(carrier().answers_itself("long_code", "US")) == {"opt_out", "opt_in"}
    assert carrier().texts_per_second("toll_free", "US") == 3
    assert (carrier().retries, carrier().replies_inline, carrier().sends) == (True, False, False)


@pytest.mark.parametrize("keys", [(), ("",), ("nonsense",), ("QUJD",), (public(KEY), "é")])
def test_options_need_good_keys(keys: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError):
        TelnyxOptions(public_keys=keys)


def sender(**more: Any) -> Telnyx:
    return carrier(api_key=Secret(API_KEY), **more)


def refusal(code: str) -> bytes:
    found = {"code": code, "title": "why", "detail": f"Not to {SENDER}: Hello there", "source": {}, "meta": {}}
    return json.dumps({"errors": [found]}).encode()


SENT = SendCase("queued", "m2", 200, b'{"data": {"id": "m2", "to": [{"status": "queued"}], "parts": 1}}')


@pytest.mark.parametrize(
    "found",
    [
        SENT,
        SendCase("opted out", "opted_out", 400, refusal("40300")),
        SendCase("no such number", "invalid_number", 422, refusal("40310")),
        SendCase("queue full", "throttled", 400, refusal("40318")),
        SendCase("too many requests", "throttled", 429, refusal("10011"), {"retry-after": "7"}),
        SendCase("wrong key", "auth", 401, refusal("10009")),
        SendCase("unknown code", "permanent", 400, refusal("1")),
        SendCase("code is a number", "opted_out", 400, b'{"errors": [{"code": 40300}]}'),
        SendCase("out of order", "temporary", 503, b"<html>"),
        SendCase("no id", "permanent", 200, b'{"data": []}'),
        SendCase("errors of another kind", "permanent", 400, b'{"errors": ["why"]}'),
    ],
    ids=lambda found: found.label,
)
async def test_sending(found: SendCase) -> None:
    message = outgoing("Hello there", RECIPIENT, SENDER)

    http = await check_send(sender(), found, message, PRIVATE, fails=found is not SENT)

    assert http.urls == [("POST", "https://api.telnyx.com/v2/messages")]
    headers, body = http.requests[0]
    assert headers == {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
    assert json.loads(body) == {"from": RECIPIENT, "to": SENDER, "text": "Hello there"}


async def test_what_may_go_along() -> None:
    more = {"messaging_profile_id": "p1", "idempotency_key": True, "api_url": "https://telnyx.example.com"}

    http = await check_send(sender(**more), SENT, outgoing(), PRIVATE, fails=False)

    assert http.urls == [("POST", "https://telnyx.example.com/v2/messages")]
    headers, body = http.requests[0]
    assert headers["Idempotency-Key"] == "evt_1"
    assert json.loads(body)["messaging_profile_id"] == "p1"


async def test_whatsapp_has_an_address_of_its_own() -> None:
    message = replace(outgoing("Hi"), channel="whatsapp", recipient="US.1349")

    http = await check_send(sender(messaging_profile_id="p1"), SENT, message, PRIVATE, fails=False)

    assert http.urls == [("POST", "https://api.telnyx.com/v2/messages/whatsapp")]
    assert json.loads(http.requests[0][1]) == {
        "from": message.sender,
        "to": "US.1349",
        "whatsapp_message": {"type": "text", "text": {"body": "Hi"}},
    }


async def test_a_pause_that_is_asked_for_is_kept() -> None:
    found = SendCase("too many requests", "throttled", 429, b"", {"retry-after": "7"})

    with pytest.raises(SendError) as raised:
        await check_send(sender(), found, outgoing(), PRIVATE, fails=False)

    assert raised.value.retry_after == 7
