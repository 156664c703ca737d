"""Sinch's SMS API, with the validator of its SDK as the witness: what it signs we accept, what it refuses we refuse."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sinch.domains.authentication.sinch_events.v1.authentication_validation import (
    calculate_sinch_event_signature,
    compute_signed_data,
    validate_sinch_event_signature_with_nonce,
)

from adapters._credentials import BasicCredentials
from adapters.carriers.sinch_sms import SinchSms, SinchSmsOptions
from router.errors import (
    BadPayload,
    BadSignature,
    BodyTooLarge,
    RequestError,
    SendError,
    StoreUnavailable,
)
from router.ports import Parsed, Secret
from router.types import Answer, Binary, Inbound, Media, RawRequest, Receipt
from tests.kit import Case, SendCase, check_forged, check_hostile, check_inbound, check_send, outgoing
from tests.standins.scripted import Scripted

SECRET, NEW_SECRET = "sinch-sms-callback-secret", "sinch-sms-callback-secret-2"
SENDER, RECIPIENT = "14155550201", "14155550299"
HEADER = "x-sinch-webhook-signature"
PRIVATE = [SECRET, NEW_SECRET, SENDER, "Hello there"]
MOMENT = 1_767_225_600.0


def carrier(**options: Any) -> SinchSms:
    return SinchSms("acme", SinchSmsOptions(hmac_secrets=(Secret(NEW_SECRET), Secret(SECRET)), **options), None)


def sign(
    request: RawRequest, secret: str = SECRET, nonce: str = "01NONCE", timestamp: str = "1767225598"
) -> RawRequest:
    signature = calculate_sinch_event_signature(compute_signed_data(request.body.decode(), nonce, timestamp), secret)
    proofs = {HEADER: signature, f"{HEADER}-nonce": nonce, f"{HEADER}-timestamp": timestamp}
    return replace(request, headers={**request.headers, **proofs})


def message(**fields: Any) -> bytes:
    base = {"type": "mo_text", "id": "01A", "from": SENDER, "to": RECIPIENT, "received_at": "2026-01-01T00:00:00.000Z"}
    return orjson.dumps({**base, **fields})


def picture(**body: Any) -> bytes:
    return message(type="mo_media", body=body)


def binary(**fields: Any) -> bytes:
    return message(type="mo_binary", **fields)


def report(**fields: Any) -> bytes:
    return orjson.dumps({"type": "recipient_delivery_report_sms", "batch_id": "01B", "recipient": SENDER, **fields})


def text(words: str, **more: Any) -> Inbound:
    return replace(Inbound("01A", SENDER, RECIPIENT, words), **more)


def case(label: str, expected: Sequence[Parsed] | type[RequestError], body: bytes) -> Case:
    # The algorithm is only told.
    return Case(label, expected, body, headers={f"{HEADER}-algorithm": "HmacSHA256"})


KEPT = {"url": "https://mms.example.com/a.png", "content_type": "image/png", "status": "Uploaded", "code": 0}
LOST = {"content_type": "image/png", "status": "Failed", "code": 3}
PICTURE = Media(url="https://mms.example.com/a.png", content_type="image/png")

CASES = [
    case("text", [text("Hello there")], message(body="Hello there")),
    case(
        "text is kept as it is", [text(" arrêt 👋🏽 \r\n\0")], message(body=" arrêt 👋🏽 \r\n\0", operator_id="24001")
    ),
    case("half a surrogate pair", [text("?!")], message(body="X!").replace(b"X", b"\\ud83d")),
    case("answer to a text of ours", [text("ja")], message(body="ja", client_reference="order-77", sent_at=None)),
    case("plus", [text("hi", sender=f"+{SENDER}")], message(**{"from": f"+{SENDER}", "body": "hi"})),
    case("short code", [text("hi", recipient="54321")], message(to="54321", body="hi")),
    case("name", [text("hi", sender="ACME")], message(**{"from": "ACME", "body": "hi"})),
    case("empty text", [], message(body="")),
    case("no text", [], message()),
    case(
        "binary",
        [text("", binary=Binary("001122feff", "06050423f423f4"))],
        binary(body="ABEi/v8=", udh="06050423F423F4"),
    ),
    case("binary without header", [text("", binary=Binary("00", ""))], binary(body="AA==")),
    case("header without data", [text("", binary=Binary("", "0605"))], binary(body="", udh="0605")),
    case("empty binary", [], binary(body="")),
    case("binary is not Base64", BadPayload, binary(body="Hello there")),
    case("header is not hex", BadPayload, binary(body="AA==", udh="06X5")),
    case(
        "picture",
        [text("look", channel="mms", media=(PICTURE,))],
        picture(subject="pic", message="look", media=[KEPT, LOST]),
    ),
    case("picture alone", [text("", channel="mms", media=(PICTURE,))], picture(subject="pic", media=[KEPT])),
    case("picture lost, words kept", [text("look", channel="mms")], picture(message="look", media=[LOST])),
    case("subject alone", [text("STOP", channel="mms")], picture(subject="STOP", message=None, media=None)),
    case("picture lost", [], picture(media=[LOST, {**KEPT, "url": None}, "x"])),
    case("body of a picture is a text", BadPayload, message(type="mo_media", body="Hello there")),
    case("body of a text is an object", BadPayload, message(body={"message": "Hello there"})),
    case("delivered", [Receipt("01B", None, SENDER, None)], report(code=0, status="Delivered")),
    case(
        "not delivered",
        [Receipt("01B", RECIPIENT, SENDER, "opted_out", "257")],
        report(code=257, status="Failed", applied_originator=RECIPIENT),
    ),
    case("expired", [Receipt("01B", None, SENDER, "temporary", "406")], report(code=406, status="Expired")),
    case("rejected", [Receipt("01B", None, SENDER, "permanent", "402")], report(code=402, status="Rejected")),
    case("aborted, no code", [Receipt("01B", None, SENDER, "permanent")], report(status="ABORTED")),
    case("on its way", [], report(code=401, status="Dispatched")),
    case("nobody knows", [], report(code=400, status="Unknown")),
    case("report without id", [], report(batch_id=None, status="Delivered")),
    case(
        "report on a batch",
        [Receipt("01B", None, SENDER, None), Receipt("01B", None, None, "temporary", "404")],
        report(
            type="delivery_report_sms",
            statuses=[
                {"code": 0, "status": "Delivered", "count": 1, "recipients": [SENDER]},
                {"code": 404, "status": "Aborted", "count": 1},
                {"code": 401, "status": "Dispatched", "count": 1},
            ],
        ),
    ),
    case("event of another kind", [], message(type="mo_fax", body="Hello there")),
    case("no kind", BadPayload, message(type=None, body="Hello there")),
    case("no id", BadPayload, message(id=None, body="Hello there")),
    case("blank id", BadPayload, message(id=" ", body="Hello there")),
    case("no sender", BadPayload, message(**{"from": None, "body": "Hello there"})),
    case("no recipient", BadPayload, message(to="", body="Hello there")),
    case("sender is a number", BadPayload, message(**{"from": int(SENDER), "body": "Hello there"})),
    case("empty object", BadPayload, b"{}"),
    case("a list", BadPayload, b"[]"),
    case("not json", BadPayload, b"STOP"),
    case("empty body", BadPayload, b""),
    Case("unsigned", BadSignature, message(body="Hello there"), sign=False),
]


@pytest.mark.parametrize("found", CASES, ids=lambda found: found.label)
def test_inbound(found: Case) -> None:
    check_inbound(carrier(), found, sign, PRIVATE)


def test_rubbish_is_refused_in_order() -> None:
    check_hostile(carrier(), CASES, sign)


def test_both_secrets_are_live_during_a_rotation() -> None:
    found = case("text", [text("hi")], message(body="hi"))

    check_inbound(carrier(), found, lambda request: sign(request, NEW_SECRET), PRIVATE)


PUBLISHED = (
    b'{"type":"mo_text","id":"01A","from":"14155550201","to":"14155550299","body":"STOP \xc3\xa9",'
    b'"received_at":"2026-01-01T00:00:00.000Z"}'
)


def test_published_signature() -> None:
    headers = {
        HEADER: "IClzy2S8HIqXmxHGb/bIWidk4gXE3dBsXH9eWb1fLRk=",
        f"{HEADER}-nonce": "01NONCE",
        f"{HEADER}-timestamp": "1767225600",
    }

    carrier().verify(RawRequest("acme", "POST", b"", headers, PUBLISHED, received_at=0))


@given(
    body=st.text(st.characters(codec="utf-8")),
    sent=st.text(st.characters(codec="utf-8")),
    nonce=st.text(st.characters(max_codepoint=127), min_size=1),
    timestamp=st.text(st.characters(max_codepoint=127), min_size=1),
    same=st.booleans(),
)
def test_agrees_with_the_official_validator(body: str, sent: str, nonce: str, timestamp: str, same: bool) -> None:
    arrived = sent if not same else body
    request = sign(RawRequest("acme", "POST", b"", {}, body.encode(), received_at=0), SECRET, nonce, timestamp)
    request = replace(request, body=arrived.encode())
    official = validate_sinch_event_signature_with_nonce(SECRET, dict(request.headers), arrived)

    try:
        carrier().verify(request)
        ours = True
    except BadSignature:
        ours = False

    assert official == ours


@pytest.mark.parametrize(("timestamp", "fits"), [("1767225300", True), ("1767225901", False), ("soon", False)])
def test_the_age_of_a_signature_counts_only_if_that_is_asked_for(timestamp: str, fits: bool) -> None:
    request = sign(case("text", [], message(body="hi")).request(), timestamp=timestamp)

    carrier().verify(request)
    if fits:
        carrier(tolerance=300).verify(request)
    else:
        check_forged(carrier(tolerance=300), request, PRIVATE)


def unsigned(**options: Any) -> SinchSms:
    return SinchSms("acme", SinchSmsOptions(**options), None)


def with_header(name: str, value: str) -> RawRequest:
    return RawRequest("acme", "POST", b"", {name: value}, message(body="hi"), MOMENT)


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def test_a_password_or_a_header_is_proof_where_nothing_is_signed() -> None:
    by_password = unsigned(basic=[{"user": "sinch", "password": Secret("pa:ss wörd")}])
    by_header = unsigned(headers=[{"name": "X-Token", "value": Secret("tok_4f9c0a")}])

    by_password.verify(with_header("authorization", basic("sinch", "pa:ss wörd")))
    by_header.verify(with_header("x-token", "tok_4f9c0a"))

    for wrong in ("", "tok_4f9c0", basic("sinch", "wrong"), basic("wrong", "pa:ss wörd"), "\ud800"):
        check_forged(by_password, with_header("authorization", wrong), ["pa:ss wörd", "tok_4f9c0a"])
        check_forged(by_header, with_header("x-token", wrong), ["pa:ss wörd", "tok_4f9c0a"])


def test_of_several_proofs_any_is_enough() -> None:
    either = carrier(headers=[{"name": "X-Token", "value": Secret("old")}, {"name": "X-Token", "value": Secret("new")}])

    either.verify(sign(case("text", [], message(body="hi")).request()))
    either.verify(with_header("x-token", "old"))
    either.verify(with_header("x-token", "new"))
    check_forged(either, with_header("x-token", "older"), PRIVATE)


def test_nothing_is_asked_for_only_where_the_options_say_so() -> None:
    with pytest.raises(ValidationError, match="has nothing by which"):
        SinchSmsOptions()

    unsigned(unauthenticated=True).verify(with_header("x-any", "thing"))


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (BadSignature("why"), Answer(403)),
        (BadPayload("id is missing."), Answer(400, b"id is missing.", "text/plain")),
        (BodyTooLarge("why"), Answer(413, b"why", "text/plain")),
        (StoreUnavailable("why"), Answer(503, headers=(("retry-after", "1"),))),
    ],
)
def test_only_what_passes_gets_a_5xx_and_comes_again(error: RequestError, answer: Answer) -> None:
    assert carrier().retries
    assert carrier().answer(error) == answer


def test_a_text_is_acknowledged_without_a_reply() -> None:
    assert not carrier().replies_inline
    assert carrier().answer([outgoing()]) == Answer(200)


def test_networks_answer_on_toll_free_numbers() -> None:
    assert set(carrier().answers_itself("toll_free", "US")) == {"opt_out", "opt_in"}
    assert set(carrier().answers_itself("toll_free", "SE")) == set()
    assert set(carrier().answers_itself("long_code", "US")) == set()
    assert [carrier().texts_per_second("long_code", country) for country in ("US", "SE")] == [1, 30]


SENDING: dict[str, Any] = {"service_plan_id": "plan1", "api_token": Secret("tok_51aa")}
TAKEN = SendCase("taken", "01B", 201, b'{"id": "01B", "canceled": false}')


@pytest.mark.parametrize(
    "found",
    [
        TAKEN,
        SendCase(
            "malformed", "permanent", 400, b'{"code": "syntax_invalid_parameter_format", "text": "to: 14155550101"}'
        ),
        SendCase("forbidden", "permanent", 403, b'{"code": "missing_callback_url", "text": "no"}'),
        SendCase("blocked", "auth", 403, b"{}"),
        SendCase("wrong token", "auth", 401),
        SendCase("too many", "throttled", 429, b"", {"retry-after": "7"}),
        SendCase("out of order", "temporary", 503, b"<html>"),
        SendCase("no id", "permanent", 201, b"[]"),
    ],
    ids=lambda found: found.label,
)
async def test_sending(found: SendCase) -> None:
    hidden = [*PRIVATE, "tok_51aa", "14155550101"]
    http = await check_send(carrier(**SENDING), found, outgoing("Hi & é"), hidden, fails=found is not TAKEN)

    assert carrier(**SENDING).sends
    assert http.urls == [("POST", "https://us.sms.api.sinch.com/xms/v1/plan1/batches")]
    headers, body = http.requests[0]
    assert headers == {"Authorization": "Bearer tok_51aa", "Content-Type": "application/json"}
    assert orjson.loads(body) == {
        "from": "14155550199",
        "to": ["14155550101"],
        "body": "Hi & é",
        "type": "mt_text",
        "delivery_report": "per_recipient_final",
        "client_reference": "evt_1",
    }


async def test_a_pause_that_sinch_asks_for_is_kept() -> None:
    with pytest.raises(SendError) as raised:
        await carrier(**SENDING).send(Scripted((429, b"", {"retry-after": "7"})), outgoing())

    assert raised.value.retry_after == 7


PROJECT: dict[str, Any] = {
    "project_id": "project1",
    "key_id": "key1",
    "key_secret": Secret("sec_77bb"),
    "api_url": "https://zt.eu.sms.api.sinch.com",
}
TOKEN = (200, b'{"access_token": "t1", "expires_in": 3599}')
NEW_TOKEN = (200, b'{"access_token": "t2"}')
SENT = (201, b'{"id": "01B"}')
EXPIRED = (401, b"")


async def test_a_project_sends_with_a_token_that_it_fetches_once() -> None:
    http = Scripted(TOKEN, SENT, SENT)
    sender = carrier(**PROJECT)

    assert sender.sends
    assert [await sender.send(http, outgoing()) for _ in range(2)] == ["01B", "01B"]
    batches = "https://zt.eu.sms.api.sinch.com/xms/v1/project1/batches"
    assert [url for url, _, _ in http.requests] == ["https://auth.sinch.com/oauth2/token", batches, batches]
    assert http.requests[0][1]["Authorization"] == basic("key1", "sec_77bb")
    assert http.requests[0][2] == b"grant_type=client_credentials"
    assert {headers["Authorization"] for _, headers, _ in http.requests[1:]} == {"Bearer t1"}


async def test_a_token_that_has_expired_is_fetched_anew() -> None:
    http = Scripted(TOKEN, EXPIRED, NEW_TOKEN, SENT, SENT)
    sender = carrier(**PROJECT)

    assert [await sender.send(http, outgoing()) for _ in range(2)] == ["01B", "01B"]
    assert [headers["Authorization"] for _, headers, _ in http.requests[3:]] == ["Bearer t2", "Bearer t2"]


@pytest.mark.parametrize(
    ("answers", "failure"),
    [
        ([(401, b"")], "auth"),
        ([(400, b'{"error": "invalid_client"}')], "auth"),
        ([(200, b"{}")], "auth"),
        ([(503, b"")], "temporary"),
        ([(429, b"")], "throttled"),
        ([TOKEN, EXPIRED, NEW_TOKEN, EXPIRED], "auth"),
    ],
)
async def test_a_token_that_is_not_given_is_a_failure(answers: list[Any], failure: str) -> None:
    with pytest.raises(SendError) as raised:
        await carrier(**PROJECT).send(Scripted(*answers), outgoing())

    assert raised.value.failure == failure
    assert "sec_77bb" not in f"{raised.value} {raised.value!r}"


def test_options_hide_their_secrets() -> None:
    basic = BasicCredentials(user="u", password=Secret("pass_1"))
    options = SinchSmsOptions(hmac_secrets=(Secret(SECRET),), basic=(basic,), **SENDING)

    assert not [secret for secret in (SECRET, "pass_1", "tok_51aa") if secret in repr(options)]
    assert not carrier().sends
