"""Sinch's Conversation API: its channels, its opt-out events, and sending by the token of a project."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
from pydantic import ValidationError
from sinch.domains.authentication.sinch_events.v1.authentication_validation import (
    calculate_sinch_event_signature,
    compute_signed_data,
)

from adapters._requests import made_id
from adapters.carriers.sinch_conversation import SinchConversation, SinchConversationOptions
from router.errors import BadPayload, BadSignature, RequestError, SendError, StoreUnavailable
from router.ports import Parsed, Secret
from router.types import Answer, Channel, Inbound, Media, OptOutType, RawRequest, Receipt
from tests.kit import Case, check_hostile, check_inbound, outgoing
from tests.standins.scripted import Scripted

SECRET = "sinch-conversation-webhook-secret"
SENDER, RECIPIENT, APP = "14155550210", "14155550299", "01KDVYAPP1"
HEADER = "x-sinch-webhook-signature"
PRIVATE = [SECRET, SENDER, "Hello there"]


def carrier(**options: Any) -> SinchConversation:
    return SinchConversation("acme", SinchConversationOptions(hmac_secrets=(Secret(SECRET),), **options), None)


def sign(request: RawRequest) -> RawRequest:
    signature = calculate_sinch_event_signature(compute_signed_data(request.body.decode(), "01N", "1767225598"), SECRET)
    proofs = {HEADER: signature, f"{HEADER}-nonce": "01N", f"{HEADER}-timestamp": "1767225598"}
    return replace(request, headers={**request.headers, **proofs})


def event(**fields: Any) -> bytes:
    """An event in its envelope; `app_id` can be taken out of it."""
    envelope = {
        "app_id": APP,
        "accepted_time": "2025-12-31T23:59:57.724083Z",
        "project_id": "p1",
        "message_metadata": "",
    }
    return orjson.dumps({**envelope, **fields})


def message(content: Any, channel: str | None = "SMS", identity: Any = SENDER, **fields: Any) -> bytes:
    base = {
        "id": "01M",
        "direction": "TO_APP",
        "contact_message": content,
        "channel_identity": {"channel": channel, "identity": identity, "app_id": ""},
        "sender_id": RECIPIENT,
        "processing_mode": "CONVERSATION",
        "injected": False,
    }
    return event(message={**base, **fields}, correlation_id="")


def said(words: str) -> dict[str, Any]:
    return {"text_message": {"text": words}}


def notice(name: str, **fields: Any) -> bytes:
    base = {"request_id": "01R", "contact_id": "c1", "channel": "SMS", "identity": SENDER}
    return event(**{name: {**base, **fields}})


def delivery(**fields: Any) -> bytes:
    base = {"message_id": "01S", "channel_identity": {"channel": "SMS", "identity": SENDER}}
    return event(message_delivery_report={**base, **fields})


def text(words: str, **more: Any) -> Inbound:
    return replace(Inbound("01M", SENDER, RECIPIENT, words), **more)


def asked(hint: OptOutType, **more: Any) -> Inbound:
    found = Inbound("01R", SENDER, None, "", opt_out_type=hint, kind="preference", recipient_ref=APP)
    return replace(found, **more)


def case(label: str, expected: Sequence[Parsed] | type[RequestError], body: bytes) -> Case:
    return Case(label, expected, body, headers={f"{HEADER}-algorithm": "HmacSHA256"})


PICTURE = {"media_message": {"url": "https://media.example.com/x.jpg", "thumbnail_url": ""}}
CARD = {"media_card_message": {"url": "https://media.example.com/x.jpg", "caption": "look"}}
MEDIA = (Media(url="https://media.example.com/x.jpg"),)
CHOICE = {"choice_response_message": {"message_id": "01X", "postback_data": "join_yes"}}
SUCCEEDED = notice("opt_out_notification", status="OPT_OUT_SUCCEEDED", processing_mode="CONVERSATION")
NAMELESS = notice("opt_out_notification", request_id="", status="OPT_OUT_SUCCEEDED")

CASES = [
    case("text", [text("Hello there")], message(said("Hello there"))),
    case("text is kept as it is", [text(" arrêt 👋🏽 \r\n")], message(said(" arrêt 👋🏽 \r\n"))),
    case("answer to a text", [text("ja")], message({**said("ja"), "reply_to": {"message_id": "01X"}})),
    case("dispatch", [text("ja")], message(said("ja"), contact_id="", conversation_id="", processing_mode="DISPATCH")),
    case("injected", [text("ja")], message(said("ja"), injected=True)),
    case("mms", [text("", channel="mms", media=MEDIA)], message(PICTURE, "MMS")),
    case("whatsapp", [text("hola", channel="whatsapp")], message(said("hola"), "WHATSAPP")),
    case("whatsapp picture", [text("", channel="whatsapp", media=MEDIA)], message(PICTURE, "WHATSAPP")),
    case("picture with caption", [text("look", channel="whatsapp", media=MEDIA)], message(CARD, "WHATSAPP")),
    case("tapped", [text("join_yes", channel="rcs", payload="join_yes")], message(CHOICE, "RCS")),
    case(
        "whatsapp user id",
        [text("hi", sender="US.1349", channel="whatsapp")],
        message(said("hi"), "WHATSAPP", "US.1349"),
    ),
    case("plus", [text("hi", sender=f"+{SENDER}")], message(said("hi"), identity=f"+{SENDER}")),
    case("short code", [text("hi", recipient="54321")], message(said("hi"), sender_id="54321")),
    case("our number is not told", [text("hi", recipient=None, recipient_ref=APP)], message(said("hi"), sender_id="")),
    case(
        "rcs agent",
        [text("hi", recipient=None, channel="rcs", recipient_ref="acme-agent-01@rcs")],
        message(said("hi"), "RCS", sender_id="acme-agent-01@rcs"),
    ),
    case("place", [], message({"location_message": {"title": "Hello there", "coordinates": {"latitude": 1}}})),
    case("what the channel could not say", [], message({"fallback_message": {"raw_message": "{}"}})),
    case("products", [], message({"product_response_message": {"products": [], "title": "Hello there"}})),
    case("form", [], message({"channel_specific_message": {"message_type": "NFM_REPLY"}}, "WHATSAPP")),
    case("empty text", [], message(said(""))),
    case("picture without address", [], message({"media_message": {"url": ""}})),
    case("no content", [], message(None)),
    case("channel without numbers", [], message(said("Hello there"), "MESSENGER", "7746490198930851")),
    case("our own text", [], message(said("Hello there"), direction="TO_CONTACT")),
    case("opt-out", [asked("STOP")], SUCCEEDED),
    case("opt-out not registered", [asked("STOP")], notice("opt_out_notification", status="OPT_OUT_FAILED")),
    case("opt-in", [asked("START")], notice("opt_in_notification", status="OPT_IN_SUCCEEDED")),
    case(
        "opt-out on whatsapp", [asked("STOP", channel="whatsapp")], notice("opt_out_notification", channel="WHATSAPP")
    ),
    case("opt-out without id", [asked("STOP", message_id=made_id(NAMELESS))], NAMELESS),
    case(
        "opt-out without app",
        [asked("STOP", recipient_ref=None)],
        event(
            app_id=None, message=None, opt_out_notification={"request_id": "01R", "channel": "SMS", "identity": SENDER}
        ),
    ),
    case("opt-out elsewhere", [], notice("opt_out_notification", channel="TELEGRAM", identity="1234567")),
    case("opt-out of nobody", BadPayload, notice("opt_out_notification", identity="")),
    case("delivered", [Receipt("01S", None, SENDER, None)], delivery(status="DELIVERED")),
    case("read", [Receipt("01S", None, SENDER, None)], delivery(status="READ", reason=None)),
    case(
        "not delivered",
        [Receipt("01S", None, SENDER, "opted_out", "RECIPIENT_NOT_OPTED_IN")],
        delivery(status="FAILED", reason={"code": "RECIPIENT_NOT_OPTED_IN"}),
    ),
    case(
        "not delivered for some other reason",
        [Receipt("01S", None, None, "permanent", "CHANNEL_REJECT")],
        delivery(status="FAILED", reason={"code": "CHANNEL_REJECT"}, channel_identity=None),
    ),
    case("not delivered, no reason", [Receipt("01S", None, SENDER, "permanent")], delivery(status="FAILED")),
    case("on its way", [], delivery(status="QUEUED_ON_CHANNEL")),
    case("report without id", [], delivery(message_id=None, status="DELIVERED")),
    case("typing", [], event(event={"contact_event": {"composing_event": {}}})),
    case("submitted", [], event(message_submit_notification={"message_id": "01S"})),
    case("redacted copy", [], event(message_redaction={"id": "01M", "contact_message": said("Hello there")})),
    case("new contact", [], event(contact_create_notification={"contact": {"id": "c1"}})),
    case("no event", BadPayload, event()),
    case("no id", BadPayload, message(said("Hello there"), id=None)),
    case("no sender", BadPayload, message(said("Hello there"), identity=None)),
    case("no channel", BadPayload, message(said("Hello there"), None)),
    case("identity is no object", BadPayload, message(said("Hello there"), channel_identity=[SENDER])),
    case("text is no text", BadPayload, message({"text_message": {"text": ["Hello there"]}})),
    case("event is a text", BadPayload, event(message="Hello there", other={})),
    case("a list", BadPayload, b"[]"),
    case("not json", BadPayload, b"STOP"),
    case("empty body", BadPayload, b""),
    Case("unsigned", BadSignature, SUCCEEDED, sign=False),
]


@pytest.mark.parametrize("found", CASES, ids=lambda found: found.label)
def test_inbound(found: Case) -> None:
    check_inbound(carrier(), found, sign, PRIVATE)


def test_rubbish_is_refused_in_order() -> None:
    check_hostile(carrier(), CASES, sign)


def test_options_need_a_proof() -> None:
    with pytest.raises(ValidationError, match="has nothing by which"):
        SinchConversationOptions()


def test_only_the_status_is_answered() -> None:
    assert carrier().answer([outgoing()]) == Answer(200)
    assert carrier().answer(StoreUnavailable("why")) == Answer(503, headers=(("retry-after", "1"),))
    assert not carrier().retries
    assert carrier(retries=True).retries


def test_consent_management_answers_where_it_is_on() -> None:
    assert set(carrier(consent_management=True).answers_itself("long_code", "SE")) == {"opt_out", "opt_in"}
    assert set(carrier().answers_itself("long_code", "SE")) == set()
    assert set(carrier().answers_itself("toll_free", "CA")) == {"opt_out", "opt_in"}
    assert carrier().texts_per_second("short_code", None) == 30


SENDING: dict[str, Any] = {"project_id": "p1", "app_id": APP, "key_id": "key1", "key_secret": Secret("sec_77bb")}
TOKEN = (200, b'{"access_token": "t1"}')


@pytest.mark.parametrize(
    ("channel", "sent_by", "properties"),
    [
        ("sms", "SMS", {"channel_properties": {"SMS_SENDER": "14155550199"}}),
        ("mms", "SMS", {"channel_properties": {"SMS_SENDER": "14155550199"}}),
        ("whatsapp", "WHATSAPP", {}),
        ("rcs", "RCS", {}),
    ],
)
async def test_sending(channel: Channel, sent_by: str, properties: dict[str, Any]) -> None:
    http = Scripted(TOKEN, (200, b'{"message_id": "01S", "accepted_time": "2026-01-01T00:00:00Z"}'))

    assert carrier(**SENDING).sends
    assert await carrier(**SENDING).send(http, replace(outgoing("Hi & é"), channel=channel)) == "01S"
    url, headers, body = http.requests[1]
    assert url == "https://us.conversation.api.sinch.com/v1/projects/p1/messages:send"
    assert headers == {"Authorization": "Bearer t1", "Content-Type": "application/json"}
    identity = {"channel": sent_by, "identity": "14155550101"}
    assert orjson.loads(body) == {
        "app_id": APP,
        "recipient": {"identified_by": {"channel_identities": [identity]}},
        "message": {"text_message": {"text": "Hi & é"}},
        "correlation_id": "evt_1",
        **properties,
    }


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (400, b'{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "+14155550101"}}', "permanent"),
        (403, b"{}", "auth"),
        (404, b'{"error": "none"}', "permanent"),
        (429, b'{"error": {"status": "RESOURCE_EXHAUSTED"}}', "throttled"),
        (500, b"<html>", "temporary"),
        (200, b"{}", "permanent"),
    ],
)
async def test_what_sinch_does_not_take_is_a_failure(status: int, body: bytes, failure: str) -> None:
    with pytest.raises(SendError) as raised:
        await carrier(**SENDING).send(Scripted(TOKEN, (status, body)), outgoing("Hi & é"))

    assert raised.value.failure == failure
    assert not [hidden for hidden in ("14155550101", "sec_77bb", "Hi & é") if hidden in str(raised.value)]
