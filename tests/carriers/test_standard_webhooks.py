"""Standard Webhooks, with the reference library as the witness."""

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from adapters.carriers.standard_webhooks import StandardWebhooks, StandardWebhooksOptions
from router.errors import BadPayload, BadSignature, RequestError, SendError, StoreUnavailable
from router.ports import Parsed, Secret
from router.types import Answer, Inbound, Media, RawRequest
from tests.kit import Case, SendCase, check_hostile, check_inbound, check_send, outgoing

SECRET, OLD_SECRET = (
    "whsec_BwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiMkJSY=",
    "whsec_YW4gb2xkZXIgc2VjcmV0LCAyNCsgYnl0ZXMgbG9uZw==",
)
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PUBLIC_KEY = "whpk_" + b64encode(KEY.public_key().public_bytes_raw()).decode()
NOW = 1_767_225_600
SENDER, RECIPIENT = "+14155550182", "+12125550101"
URL = "https://gateway.example.com/texts"
PRIVATE = [SECRET, OLD_SECRET, SENDER, RECIPIENT, "Hello there"]


def carrier(**more: Any) -> StandardWebhooks:
    options = StandardWebhooksOptions(**{"secrets": (Secret(SECRET), Secret(OLD_SECRET)), **more})
    return StandardWebhooks("acme", options, None, clock=lambda: NOW + 0.25)


def sign(request: RawRequest, secret: str = SECRET, at: int = NOW) -> RawRequest:
    signature = Webhook(secret).sign("msg_1", datetime.fromtimestamp(at, UTC), request.body.decode())
    proofs = {"webhook-id": "msg_1", "webhook-timestamp": str(at), "webhook-signature": signature}
    return replace(request, headers={**request.headers, **proofs})


DATA = {"id": "in-1", "from": SENDER, "to": RECIPIENT, "text": "Hello there", "channel": "sms", "media": []}


def event(kind: str = "message.received", /, **data: Any) -> bytes:
    found = {"type": kind, "timestamp": "2026-02-03T10:00:00.000Z", "data": {**DATA, **data}}
    return json.dumps(found, ensure_ascii=False).encode()


def without(*names: str) -> bytes:
    data = {key: value for key, value in DATA.items() if key not in names}
    return json.dumps({"type": "message.received", "data": data}).encode()


def text(words: str = "Hello there", **more: Any) -> Inbound:
    return replace(Inbound("in-1", SENDER, RECIPIENT, words), **more)


def case(label: str, expected: Sequence[Parsed] | type[RequestError], body: bytes) -> Case:
    return Case(label, expected, body, headers={"content-type": "application/json"})


PICTURES = [{"url": "https://cdn.example.com/a.jpg", "content_type": "image/jpeg"}, {"id": "m9"}]
MEDIA = (Media("https://cdn.example.com/a.jpg", None, "image/jpeg"), Media(None, "m9"))

CASES = [
    case("text", [text()], event()),
    case("text is kept as it is", [text(" Détails 😀 \n\0")], event(text=" Détails 😀 \n\0")),
    case(
        "only what is needed",
        [text("hi", message_id="msg_1")],
        without("id", "channel", "media").replace(b"Hello there", b"hi"),
    ),
    case("pictures", [text("", channel="mms", media=MEDIA)], event(text=None, channel="mms", media=PICTURES)),
    case("whatsapp", [text(channel="whatsapp", sender="US.1349")], event(channel="WhatsApp", **{"from": "US.1349"})),
    case("rcs button", [text("", channel="rcs", payload="join")], event(channel="rcs", text="", payload="join")),
    case("answered already", [text("Stop", opt_out_type="STOP")], event(text="Stop", opt_out_type="stop")),
    case("not answered", [text()], event(opt_out_type=None, brand_new=[1])),
    case("neither text nor media", [text("")], event(text="")),
    case("another event", [], event("message.status")),
    case("an event of another shape", [], b'{"type":"contact.created","data":[1]}'),
    case("no type", BadPayload, b'{"data":{}}'),
    case("no sender", BadPayload, without("from")),
    case("no recipient", BadPayload, without("to")),
    case("unknown channel", BadPayload, event(channel="fax")),
    case("media holds a text", BadPayload, event(media=["https://cdn.example.com/a.jpg"])),
    case("text is a number", BadPayload, event(text=1)),
    case("data is a list", BadPayload, b'{"type":"message.received","data":[]}'),
    case("a list", BadPayload, b"[]"),
    case("not json", BadPayload, b"STOP"),
    case("empty body", BadPayload, b""),
    Case("unsigned", BadSignature, event(), sign=False),
]


@pytest.mark.parametrize("found", CASES, ids=lambda found: found.label)
def test_inbound(found: Case) -> None:
    check_inbound(carrier(), found, sign, PRIVATE)


def test_rubbish_is_refused_in_order() -> None:
    check_hostile(carrier(), CASES, sign)


def test_both_secrets_are_live_during_a_rotation() -> None:
    check_inbound(carrier(), CASES[0], lambda request: sign(request, OLD_SECRET), PRIVATE)


@pytest.mark.parametrize(("age", "tolerance", "good"), [(300, 300, True), (301, 300, False), (301, 400, True)])
@pytest.mark.parametrize("direction", [1, -1])
def test_a_signature_is_good_for_a_while(age: int, tolerance: int, good: bool, direction: int) -> None:
    request = sign(CASES[0].request(), at=NOW - direction * age)

    if good:
        carrier(tolerance=tolerance).verify(request)
        return
    with pytest.raises(BadSignature, match=f"{tolerance} s"):
        carrier(tolerance=tolerance).verify(request)


def sign_with_key(request: RawRequest) -> RawRequest:
    signature = b64encode(KEY.sign(b"msg_1.%d.%s" % (NOW, request.body))).decode()
    proofs = {"webhook-id": "msg_1", "webhook-timestamp": str(NOW), "webhook-signature": f"v1,x v1a,{signature}"}
    return replace(request, headers={**request.headers, **proofs})


@pytest.mark.parametrize("key", [PUBLIC_KEY, PUBLIC_KEY.removeprefix("whpk_").rstrip("=")])
def test_a_sender_may_sign_with_a_key_that_is_configured(key: str) -> None:
    check_inbound(carrier(public_keys=(key,)), CASES[0], sign_with_key, PRIVATE)
    check_inbound(carrier(secrets=(), public_keys=(key,)), CASES[0], sign_with_key, PRIVATE)
    with pytest.raises(BadSignature):
        carrier().verify(sign_with_key(CASES[0].request()))


# What the reference library fails on (an entry without a comma, or of other than Base64) is in `test_signing.py`.
@given(
    body=st.text(),
    arrived=st.text(),
    same=st.booleans(),
    secret=st.sampled_from([SECRET, OLD_SECRET]),
    age=st.integers(-302, 302),
    before=st.sampled_from(["", "v1,AAAA ", "v1a,x ", "v2, "]),
)
def test_agrees_with_the_reference_library(
    body: str, arrived: str, same: bool, secret: str, age: int, before: str
) -> None:
    at = NOW - age
    signature = before + Webhook(secret).sign("msg_1", datetime.fromtimestamp(at, UTC), body)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(at), "webhook-signature": signature}
    received = body if same else arrived

    with patch("standardwebhooks.webhooks.datetime") as clock:
        clock.now.return_value = datetime.fromtimestamp(NOW, UTC)
        clock.fromtimestamp = datetime.fromtimestamp
        try:
            Webhook(SECRET).verify(received, headers, json_parse=False)
            reference = True
        except WebhookVerificationError:
            reference = False
    try:
        carrier(secrets=(Secret(SECRET),)).verify(RawRequest("acme", "POST", b"", headers, received.encode(), NOW))
        ours = True
    except BadSignature:
        ours = False

    assert reference == ours


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


def test_what_is_known_of_the_other_side() -> None:
    assert set(carrier().answers_itself("toll_free", "US")) == set()
    assert carrier().texts_per_second("long_code", "US") == 10
    assert carrier(texts_per_second=0.5).texts_per_second("long_code", "US") == 0.5
    assert (carrier().retries, carrier().replies_inline, carrier().sends) == (True, False, False)
    assert not carrier(retries=False).retries


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"secrets": ()},
        {"secrets": (Secret("not base64"),)},
        {"secrets": (Secret("whsec_"),)},
        {"public_keys": (PUBLIC_KEY,), "url": URL},
        {"secrets": (Secret(SECRET),), "public_keys": ("whpk_x",)},
        {"secrets": (Secret(SECRET),), "url": "gateway"},
        {"secrets": (Secret(SECRET),), "tolerance": 0},
        {"secrets": (Secret(SECRET),), "texts_per_second": 0},
    ],
)
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as raised:
        StandardWebhooksOptions(**options)

    assert SECRET not in str(raised.value)


SENT = SendCase("taken", "", 202, b'{"id": "x"}')


@pytest.mark.parametrize(
    "found",
    [
        SENT,
        SendCase("refused", "permanent", 400, f"{SENDER}: Hello there".encode()),
        SendCase("wrong secret", "auth", 401),
        SendCase("wrong url", "auth", 404),
        SendCase("gone", "permanent", 410),
        SendCase("moved", "permanent", 302),
        SendCase("too many requests", "throttled", 429),
        SendCase("out of order", "temporary", 502),
    ],
    ids=lambda found: found.label,
)
async def test_sending(found: SendCase) -> None:
    message = outgoing("Hello there", RECIPIENT, SENDER)

    http = await check_send(carrier(url=URL), found, message, PRIVATE, fails=found is not SENT)

    assert http.urls == [("POST", URL)]
    headers, body = http.requests[0]
    assert headers["Content-Type"] == "application/json"
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("evt_1", str(NOW))
    assert json.loads(body) == {
        "type": "message.send",
        "timestamp": "2026-01-01T00:00:00.250Z",
        "data": {"id": "evt_1", "from": RECIPIENT, "to": SENDER, "channel": "sms", "text": "Hello there"},
    }


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
async def test_what_is_sent_can_be_verified_with_either_secret(secret: str) -> None:
    http = await check_send(carrier(url=URL), SENT, outgoing("arrêt 👋"), PRIVATE, fails=False)
    headers, body = http.requests[0]

    with patch("standardwebhooks.webhooks.datetime") as clock:
        clock.now.return_value = datetime.fromtimestamp(NOW, UTC)
        clock.fromtimestamp = datetime.fromtimestamp
        assert Webhook(secret).verify(body.decode(), headers)["data"]["text"] == "arrêt 👋"


async def test_a_pause_that_is_asked_for_is_kept() -> None:
    found = SendCase("too many requests", "throttled", 429, b"", {"retry-after": "7"})

    with pytest.raises(SendError) as raised:
        await check_send(carrier(url=URL), found, outgoing(), PRIVATE, fails=False)

    assert raised.value.retry_after == 7
