"""The WhatsApp Cloud API. Meta publishes no validator for Python: its vector and the samples stand for one."""

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from pydantic import ValidationError

from adapters.carriers.whatsapp import WhatsApp, WhatsAppOptions
from router.errors import (
    BadPayload,
    BadSignature,
    BodyTooLarge,
    RequestError,
    SendError,
    StoreUnavailable,
    TooManyFields,
    WrongContentType,
)
from router.ports import MOST_FORM_FIELDS, Parsed, Secret
from router.types import Answer, Handshake, Inbound, Media, RawRequest, Receipt, SendFailure
from tests.kit import Case, SendCase, check_hostile, check_inbound, check_send, outgoing
from tests.standins.recorder import Recorder

SECRET, NEW_SECRET, VERIFY, ACCESS = "6f1c0b7a9e3d4c52", "0b7a9e3d4c526f1c", "hv-7Qz2-router", "EAAG-access"
PERSON, NUMBER, NUMBER_ID = "16505551234", "+15550783881", "106540352242922"
PRIVATE = [SECRET, NEW_SECRET, VERIFY, ACCESS, PERSON, "5550783881", "Hello there"]
BASE = {"from": PERSON, "id": "wamid.1", "timestamp": "1770112797"}
METADATA = {"display_phone_number": "15550783881", "phone_number_id": NUMBER_ID}


def carrier() -> WhatsApp:
    options = WhatsAppOptions(
        app_secrets=(Secret(NEW_SECRET), Secret(SECRET)), verify_tokens=(Secret("next"), Secret(VERIFY))
    )
    return WhatsApp("acme", options, None)


def sign(request: RawRequest, secret: str = SECRET) -> RawRequest:
    signature = hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()
    return replace(request, headers={**request.headers, "x-hub-signature-256": f"sha256={signature}"})


def change(field: str = "messages", metadata: Any = METADATA, **value: Any) -> dict[str, Any]:
    return {"field": field, "value": {"messaging_product": "whatsapp", "metadata": metadata, **value}}


def batch(*changes: Any) -> bytes:
    entry = {"id": "102290129340398", "changes": list(changes)}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


def messages(*fields: dict[str, Any]) -> bytes:
    """A batch of messages, each with what every message has."""
    return batch(change(messages=[{**BASE, **each} for each in fields]))


def said(words: str, **more: Any) -> Inbound:
    return replace(Inbound("wamid.1", PERSON, NUMBER, words, channel="whatsapp"), **more)


def preference(**fields: Any) -> dict[str, Any]:
    return {"wa_id": PERSON, "category": "marketing_messages", "timestamp": 1770112795, **fields}


def statuses(**fields: Any) -> bytes:
    return batch(change(statuses=[{"id": "wamid.OUT", "recipient_id": PERSON, **fields}]))


TEXT = {"type": "text", "text": {"body": "Hello there"}}
FILE = {"id": "1003", "mime_type": "image/jpeg", "sha256": "SfIn=", "url": "https://lookaside.fbsbx.com/1003"}
MEDIA = Media("https://lookaside.fbsbx.com/1003", "1003", "image/jpeg")
REPLY = {"id": "opt-yes", "title": "Yes"}
DAMAGED = [{"code": 131051, "title": "Unsupported message type"}]
MALFORMED = {"display_phone_number": 15550783881}

FAILED: Sequence[tuple[int, SendFailure]] = (
    (131050, "opted_out"),
    (131026, "invalid_number"),
    (130429, "throttled"),
    (1, "temporary"),
    (131047, "permanent"),
    (190, "auth"),
    (9, "permanent"),
)
LIST_REPLY = {"type": "list_reply", "list_reply": {**REPLY, "description": "one a week"}}
FLOW = {"type": "nfm_reply", "nfm_reply": {"name": "flow", "body": "Sent", "response_json": "{}"}}

CASES = [
    Case("text", [said("Hello there")], messages(TEXT)),
    Case(
        "escapes are signed as sent",
        [said("Não 😀 / arrêt")],
        messages({"type": "text", "text": {"body": "Não 😀 \0 arrêt"}}).replace(rb"\u0000", rb"\/"),
    ),
    Case(
        "half a surrogate pair",
        [said("STOP ?")],
        messages({"type": "text", "text": {"body": "STOP "}}).replace(b"STOP ", rb"STOP \ud83d"),
    ),
    Case("empty text", [said("")], messages({"type": "text", "text": {"body": ""}})),
    Case("text without its object", [], messages({"type": "text"})),
    Case("reply to a forward", [said("Hello there")], messages({**TEXT, "context": {"forwarded": True, "id": "x"}})),
    Case("from an advertisement", [said("Hello there")], messages({**TEXT, "referral": {"source_id": "1"}})),
    Case("milliseconds", [said("Hello there")], messages({**TEXT, "timestamp": "1770112797000"})),
    Case(
        "no number",
        [said("Hello there", sender="US.1349")],
        messages({**TEXT, "from": None, "from_user_id": "US.1349", "from_parent_user_id": "US.ENT.1181"}),
    ),
    Case(
        "parent id alone",
        [said("Hello there", sender="US.ENT.1181")],
        messages({**TEXT, "from": "", "from_parent_user_id": "US.ENT.1181"}),
    ),
    Case("number and user id", [said("Hello there")], messages({**TEXT, "from_user_id": "US.1349"})),
    *(
        Case(
            f"{kind} with caption",
            [said("WIN", media=(MEDIA,))],
            messages({"type": kind, kind: {**FILE, "caption": "WIN"}}),
        )
        for kind in ("image", "video", "document")
    ),
    *(
        Case(kind, [said("", media=(MEDIA,))], messages({"type": kind, kind: FILE}))
        for kind in ("audio", "voice", "sticker")
    ),
    Case("id alone", [said("", media=(Media(id="1"),))], messages({"type": "image", "image": {"id": "1"}})),
    Case("file without id", [], messages({"type": "image", "image": {}})),
    Case(
        "template button",
        [said("Stop promotions", payload="STOP_PROMO")],
        messages({"type": "button", "button": {"text": "Stop promotions", "payload": "STOP_PROMO"}}),
    ),
    Case("button without payload", [said("Yes")], messages({"type": "button", "button": {"text": "Yes"}})),
    Case(
        "tapped button",
        [said("Yes", payload="opt-yes")],
        messages({"type": "interactive", "interactive": {"type": "button_reply", "button_reply": REPLY}}),
    ),
    Case(
        "tapped row of a list",
        [said("Yes", payload="opt-yes")],
        messages({"type": "interactive", "interactive": LIST_REPLY}),
    ),
    Case(
        "flow",
        [said("Sent")],
        messages({"type": "interactive", "interactive": FLOW}),
    ),
    Case("interactive without its object", [], messages({"type": "interactive"})),
    Case("interactive of a new kind", [], messages({"type": "interactive", "interactive": {"type": "call"}})),
    *(Case(kind, [said("")], messages({"type": kind, kind: {}})) for kind in ("location", "contacts", "order")),
    Case("reaction", [], messages({"type": "reaction", "reaction": {"message_id": "wamid.OUT", "emoji": "👍"}})),
    Case("reaction taken back", [], messages({"type": "reaction", "reaction": {"message_id": "wamid.OUT"}})),
    *(
        Case(kind, [], messages({"type": kind, kind: {}}))
        for kind in ("request_welcome", "unsupported", "edit", "revoke", "unknown", "poll_of_tomorrow")
    ),
    Case("unsupported", [], messages({**TEXT, "type": "unsupported", "errors": DAMAGED})),
    Case("damaged picture", [], messages({"type": "image", "image": {"id": "1"}, "errors": DAMAGED})),
    Case("damaged, but said", [said("Hello there")], messages({**TEXT, "errors": DAMAGED})),
    Case("to a group", [], messages({**TEXT, "group_id": "Y2FwaV9ncm91cDox"})),
    Case("changed number", [], messages({"type": "system", "system": {"type": "user_changed_number", "wa_id": "1"}})),
    *(
        Case(
            f"old preference: {value}",
            [said("", opt_out_type=meaning, kind="preference", scope="marketing")],
            messages({"type": "system", "system": {"type": "user_preference_changed", "marketing": value}}),
        )
        for value, meaning in (("stop", "STOP"), ("resume", "START"))
    ),
    Case("errors of the account", [], batch(change(errors=[{"code": 0, "title": "We were unable"}]))),
    Case(
        "free number format",
        [said("Hello there", recipient="+250788123200")],
        batch(change(metadata={"display_phone_number": "+250 788 123-200"}, messages=[{**BASE, **TEXT}])),
    ),
    Case(
        "number known by its id alone",
        [said("Hello there", recipient=None, recipient_ref=NUMBER_ID)],
        batch(change(metadata={"phone_number_id": NUMBER_ID}, messages=[{**BASE, **TEXT}])),
    ),
    Case(
        "several numbers and a receipt",
        [
            said("Hello there"),
            said("Hello there", message_id="wamid.2", recipient="+15550001111"),
            Receipt("wamid.OUT", "+15550001111", PERSON, None),
        ],
        batch(
            change(messages=[{**BASE, **TEXT}]),
            change(
                metadata={"display_phone_number": "15550001111"},
                messages=[{**BASE, **TEXT, "id": "wamid.2"}],
                statuses=[{"id": "wamid.OUT", "status": "read", "recipient_id": PERSON}],
            ),
        ),
    ),
    *(
        Case(field, [], batch(change(field, messages=[{**BASE, **TEXT}], message_echoes=[{**BASE, **TEXT}])))
        for field in ("account_update", "message_template_status_update", "smb_message_echoes", "history")
    ),
    *(
        Case(f"receipt: {status}", [Receipt("wamid.OUT", NUMBER, PERSON, None)], statuses(status=status))
        for status in ("delivered", "read")
    ),
    *(Case(f"receipt: {status}", [], statuses(status=status)) for status in ("sent", "deleted", "warning")),
    *(
        Case(
            f"receipt: failed, {code}",
            [Receipt("wamid.OUT", NUMBER, PERSON, failure, str(code))],
            statuses(status="failed", errors=[{"code": code, "title": "why"}]),
        )
        for code, failure in FAILED
    ),
    Case("receipt: failed without why", [Receipt("wamid.OUT", NUMBER, PERSON, "permanent")], statuses(status="failed")),
    Case(
        "receipt by user id",
        [Receipt("wamid.OUT", NUMBER, "US.1349", None)],
        statuses(status="delivered", recipient_id=None, recipient_user_id="US.1349"),
    ),
    Case("no entries", [], batch()),
    Case("another product", [], b'{"object": "instagram", "entry": [{"changes": 7}]}'),
    Case("vector of the documentation", [], b'{"object":"whatsapp_business_account","entry":[{"t":"\\u00e9\\/"}]}'),
    Case("no object", BadPayload, b"{}"),
    Case("entries of the wrong type", BadPayload, b'{"object": "whatsapp_business_account", "entry": {}}'),
    Case("truncated", BadPayload, b'{"object":"whatsapp_business_account","entry":[{"id":"1022901'),
    Case("empty body", BadPayload, b""),
    Case("a list", BadPayload, b"[]"),
    Case("not utf-8", BadPayload, b'{"object": "\xff"}'),
    Case("unsigned", BadSignature, messages(TEXT), sign=False),
    Case("old signature alone", BadSignature, messages(TEXT), headers={"x-hub-signature": "sha1=0"}, sign=False),
]


@pytest.mark.parametrize("found", CASES, ids=lambda found: found.label)
def test_inbound(found: Case) -> None:
    check_inbound(carrier(), found, sign, PRIVATE)


def setup(**fields: str) -> bytes:
    return urlencode({f"hub.{name}": value for name, value in fields.items()}).encode()


SETUPS = [
    Case(
        "set-up",
        [Handshake(Answer(200, b"1158201444", "text/plain"))],
        query=setup(mode="subscribe", challenge="1158201444", verify_token=VERIFY),
        method="GET",
    ),
    Case("no challenge", BadPayload, query=setup(mode="subscribe", verify_token=VERIFY), method="GET"),
    Case("wrong token", BadSignature, query=setup(mode="subscribe", challenge="1", verify_token="guess"), method="GET"),
    Case("empty token", BadSignature, query=setup(mode="subscribe", challenge="1", verify_token=""), method="GET"),
    Case("no token", BadSignature, query=setup(mode="subscribe", challenge="1"), method="GET"),
    Case("another mode", BadSignature, query=setup(mode="unsubscribe", verify_token=VERIFY), method="GET"),
    Case("no query", BadSignature, method="GET"),
    Case("too many fields", BadSignature, query=b"&".join([b"a=b"] * (MOST_FORM_FIELDS + 1)), method="GET"),
]


@pytest.mark.parametrize("found", SETUPS, ids=lambda found: found.label)
def test_set_up(found: Case) -> None:
    check_inbound(carrier(), replace(found, sign=False), sign, PRIVATE, signed=False)


def test_without_a_verify_token_there_is_no_set_up() -> None:
    closed = WhatsApp("acme", WhatsAppOptions(app_secrets=(Secret(SECRET),)), None)

    with pytest.raises(BadSignature):
        closed.verify(SETUPS[3].request())


def test_rubbish_is_refused_in_order() -> None:
    check_hostile(carrier(), CASES, sign)


def test_both_secrets_are_live_during_a_rotation() -> None:
    check_inbound(carrier(), CASES[0], lambda request: sign(request, NEW_SECRET), PRIVATE)


def test_published_signature() -> None:
    body = b'{"object":"whatsapp_business_account","entry":[{"t":"\\u00e9\\/"}]}'
    signature = "sha256=040a4a7d48dc357fa19bde66133dc2401b0273200eb613d6e98f665d95d1f090"
    documented = WhatsApp("acme", WhatsAppOptions(app_secrets=(Secret("app-secret-1"),)), None)

    documented.verify(RawRequest("acme", "POST", b"", {"x-hub-signature-256": signature}, body, received_at=0))
    for other in (signature.upper(), signature.removeprefix("sha256="), f"{signature}, {signature}", f" {signature}"):
        with pytest.raises(BadSignature):
            documented.verify(RawRequest("acme", "POST", b"", {"x-hub-signature-256": other}, body, received_at=0))


@pytest.mark.parametrize(
    "broken",
    [
        {"type": "text", "text": {"body": "x"}, "id": None},
        {"type": "text", "text": {"body": "x"}, "from": None},
        {"type": "text", "text": {"body": 5}},
        {"type": "text", "text": "x"},
        {"type": "image", "image": []},
        {"type": None},
        {"type": 5},
        {"type": "system", "system": {"type": "user_preference_changed", "marketing": "stop"}, "id": ""},
    ],
)
def test_a_broken_message_does_not_lose_its_neighbours(broken: dict[str, Any]) -> None:
    found = carrier().parse(Case("", [], messages(TEXT, broken, {**TEXT, "id": "wamid.2"})).request())

    assert [type(entry) for entry in found] == [Inbound, BadPayload, Inbound]


@pytest.mark.parametrize(
    ("spoilt", "kinds"),
    [
        (batch(7, change(messages=[{**BASE, **TEXT}])), [BadPayload, Inbound]),
        (batch(change(messages={}), change(messages=[{**BASE, **TEXT}])), [BadPayload, Inbound]),
        (batch(change(metadata=MALFORMED, messages=[{**BASE, **TEXT}])), [BadPayload]),
        (batch(change(metadata={}, messages=[{**BASE, **TEXT}])), [BadPayload]),
        (batch(change(messages=[7, {**BASE, **TEXT}])), [BadPayload, Inbound]),
        (batch(change(statuses=[{"status": "failed"}], messages=[{**BASE, **TEXT}])), [Inbound, BadPayload]),
        (batch(change("user_preferences", user_preferences=[{"value": "stop"}])), [BadPayload]),
        (b'{"object": "whatsapp_business_account", "entry": [5, {"changes": 5}]}', [BadPayload, BadPayload]),
    ],
)
def test_a_broken_part_of_a_batch_does_not_lose_the_others(spoilt: bytes, kinds: Sequence[type]) -> None:
    assert [type(entry) for entry in carrier().parse(Case("", [], spoilt).request())] == kinds


def consent(**fields: Any) -> Sequence[Parsed]:
    body = batch(change("user_preferences", user_preferences=[preference(**fields)]))
    request = sign(Case("", [], body).request())
    carrier().verify(request)
    return carrier().parse(request)


@pytest.mark.parametrize(("value", "meaning"), [("stop", "STOP"), ("resume", "START"), ("signup", "START")])
def test_consent_given_in_whatsapp_itself(value: str, meaning: Any) -> None:
    [found] = consent(value=value)

    assert isinstance(found, Inbound)
    assert found.message_id
    assert found == said("", message_id=found.message_id, opt_out_type=meaning, kind="preference", scope="marketing")


def test_a_consent_event_has_the_same_id_each_time_it_comes() -> None:
    ids = [event.message_id for event in consent(value="stop") if isinstance(event, Inbound)]
    again = [event.message_id for event in consent(value="stop", detail="other") if isinstance(event, Inbound)]
    others = [*consent(value="resume"), *consent(value="stop", timestamp=1), *consent(value="stop", wa_id="1")]

    assert ids == again
    assert len({*ids, *(event.message_id for event in others if isinstance(event, Inbound))}) == 4


def test_consent_of_a_person_without_a_number_and_of_other_kinds() -> None:
    [hidden] = consent(value="stop", wa_id=None, user_id="US.1349")

    assert isinstance(hidden, Inbound)
    assert hidden.sender == "US.1349"
    assert not consent(value="paused")
    assert not consent(value="stop", category="calls")


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (BadSignature("why"), Answer(403)),
        (BadPayload("From is missing."), Answer(200)),
        (TooManyFields("why"), Answer(400, b"why", "text/plain")),
        (BodyTooLarge("why"), Answer(413, b"why", "text/plain")),
        (WrongContentType("why"), Answer(415, b"why", "text/plain")),
        (StoreUnavailable("why"), Answer(503, headers=(("retry-after", "1"),))),
    ],
)
def test_what_makes_no_sense_is_not_asked_for_again(error: RequestError, answer: Answer) -> None:
    assert carrier().answer(error) == answer
    assert carrier().answer([outgoing("Hi")]) == Answer(200)


def test_options_need_a_secret_and_hide_it() -> None:
    with pytest.raises(ValidationError):
        WhatsAppOptions(app_secrets=())
    with pytest.raises(ValidationError):
        WhatsAppOptions(app_secrets=(Secret(SECRET),), phone_number_ids={"15550783881": NUMBER_ID})
    with pytest.raises(ValidationError):
        WhatsAppOptions(app_secrets=(Secret(SECRET),), phone_number_ids={NUMBER: "../me"})

    assert SECRET not in repr(WhatsAppOptions(app_secrets=(Secret(SECRET),)))
    assert not carrier().sends
    assert sending().sends
    assert carrier().retries
    assert not carrier().replies_inline
    assert set(carrier().answers_itself("long_code", "US")) == set()
    assert carrier().texts_per_second("long_code", "US") == 80


def sending() -> WhatsApp:
    options = WhatsAppOptions(
        app_secrets=(Secret(SECRET),), access_token=Secret(ACCESS), phone_number_ids={NUMBER: NUMBER_ID}
    )
    return WhatsApp("acme", options, None)


def refused(code: int) -> bytes:
    return json.dumps({"error": {"message": f"(#{code}) to {PERSON}", "code": code, "fbtrace_id": "Az8"}}).encode()


@pytest.mark.parametrize(
    "found",
    [
        SendCase("accepted", "wamid.OUT", 200, b'{"contacts": [{"wa_id": "1"}], "messages": [{"id": "wamid.OUT"}]}'),
        SendCase("stopped marketing", "opted_out", 400, refused(131050)),
        SendCase("not on WhatsApp", "invalid_number", 400, refused(131026)),
        *(
            SendCase(f"limit {code}", "throttled", 400, refused(code))
            for code in (4, 80007, 130429, 131048, 131056, 133016)
        ),
        SendCase("too many requests", "throttled", 429, b"", {"retry-after": "7"}),
        SendCase("something went wrong", "temporary", 500, refused(131000)),
        *(
            SendCase(f"not now {code}", "permanent", 400, refused(code))
            for code in (131021, 131047, 131049, 130472, 131062)
        ),
        *(SendCase(f"token {code}", "auth", 400, refused(code)) for code in (190, 10, 200, 299)),
        SendCase("token expired", "auth", 401, b""),
        SendCase("unknown code", "permanent", 400, refused(100)),
        SendCase("out of order", "temporary", 503, b"<html>"),
        SendCase("no id", "permanent", 200, b'{"messages": [{}]}'),
        SendCase("odd shapes", "permanent", 400, b'{"error": "x", "messages": {}}'),
    ],
    ids=lambda found: found.label,
)
async def test_sending(found: SendCase) -> None:
    message = outgoing("Hi & é", NUMBER, f"+{PERSON}")
    http = await check_send(sending(), found, message, PRIVATE, fails=found.label != "accepted")

    assert http.urls == [("POST", f"https://graph.facebook.com/v25.0/{NUMBER_ID}/messages")]
    headers, body = http.requests[0]
    assert headers == {"Authorization": f"Bearer {ACCESS}", "Content-Type": "application/json"}
    assert json.loads(body) == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": PERSON,
        "type": "text",
        "text": {"body": "Hi & é", "preview_url": False},
        "biz_opaque_callback_data": "evt_1",
    }


async def test_a_person_without_a_number_is_reached_by_user_id() -> None:
    http = Recorder(200, b'{"messages": [{"id": "wamid.OUT"}]}')

    await sending().send(http, outgoing("Hi", NUMBER, "US.1349"))

    sent = json.loads(http.requests[0][1])
    assert sent["recipient"] == "US.1349"
    assert "to" not in sent


async def test_the_pause_that_meta_asks_for_is_kept() -> None:
    with pytest.raises(SendError) as raised:
        await sending().send(Recorder(429, b"", {"retry-after": "7"}), outgoing("Hi", NUMBER, f"+{PERSON}"))

    assert raised.value.retry_after == 7
    assert raised.value.retryable


async def test_a_number_without_an_id_waits_for_the_operator() -> None:
    http = Recorder()

    with pytest.raises(SendError) as raised:
        await sending().send(http, outgoing("Hi", "+15550001111", f"+{PERSON}"))

    assert raised.value.failure == "auth"
    assert http.urls == []
