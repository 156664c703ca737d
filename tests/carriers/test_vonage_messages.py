"""Vonage's Messages API. The verifier of its SDK looks at the signature only: there, it agrees with ours."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from vonage_jwt import JwtClient, verify_signature
from vonage_jwt.errors import VonageVerifyJwtError

from adapters.carriers.vonage_messages import VonageMessages, VonageMessagesOptions
from router.errors import BadPayload, BadSignature, RequestError, StoreUnavailable
from router.ports import Parsed, Secret
from router.types import Answer, Channel, Inbound, Media, RawRequest, Receipt
from tests.kit import Case, SendCase, check_forged, check_hostile, check_inbound, check_send, outgoing

SECRET, NEW_SECRET = "vonageSignatureSecret0123456789ab", "vonageSignatureSecret0123456789-new"
OTHER = "anotherSignatureSecret0123456789ab"
SENDER, RECIPIENT = "447700900309", "447700900399"
MOMENT = 1_767_225_600
PRIVATE = [SECRET, NEW_SECRET, SENDER, "Hello there"]
ACCOUNTS = {"abcd1234": (Secret(NEW_SECRET), Secret(SECRET)), "ffff9999": (Secret(OTHER),)}


def carrier(**options: Any) -> VonageMessages:
    chosen = VonageMessagesOptions(signature_secrets=ACCOUNTS, **options)
    return VonageMessages("acme", chosen, None, clock=lambda: MOMENT)


def token(body: bytes, secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    known = {
        "iat": MOMENT - 2,
        "jti": "c5ba8f24",
        "iss": "Vonage",
        "payload_hash": sha256(body).hexdigest(),
        "api_key": "abcd1234",
    }
    given = {name: value for name, value in {**known, **claims}.items() if value is not None}
    return jwt.encode(given, secret, algorithm=algorithm)


def with_token(request: RawRequest, given: str) -> RawRequest:
    return replace(request, headers={**request.headers, "authorization": f"Bearer {given}"})


def sign(request: RawRequest, secret: str = SECRET) -> RawRequest:
    return with_token(request, token(request.body, secret))


def message(kind: str | None, **fields: Any) -> bytes:
    base = {
        "channel": "sms",
        "message_uuid": "c1f7e282",
        "to": RECIPIENT,
        "from": SENDER,
        "timestamp": "2025-12-31T23:59:57Z",
        "message_type": kind,
    }
    return orjson.dumps({name: value for name, value in {**base, **fields}.items() if value is not None})


def status(**fields: Any) -> bytes:
    return message(None, timestamp="2025-12-31T23:59:57Z", **fields)


def old(content: dict[str, Any], channel: str = "whatsapp") -> bytes:
    fields = {
        "message_uuid": "c1f7e282",
        "to": {"type": channel, "number": RECIPIENT},
        "from": {"type": channel, "number": SENDER},
        "message": {"content": content},
    }
    return orjson.dumps(fields)


def text(words: str, **more: Any) -> Inbound:
    return replace(Inbound("c1f7e282", SENDER, RECIPIENT, words), **more)


def case(label: str, expected: Sequence[Parsed] | type[RequestError], body: bytes) -> Case:
    return Case(label, expected, body)


def problem(code: str) -> dict[str, str]:
    return {
        "type": f"https://developer.vonage.com/api-errors/messages#{code}",
        "title": code,
        "detail": f"{SENDER} is not reachable",
        "instance": "bf0ca0bf927b3b52e3cb03217e1a1ddf",
    }


FILE = "https://api-eu.nexmo.com/v3/media/1b456509"
MEDIA = (Media(url=FILE),)
ITEMS = [
    {"type": "image", "url": "https://media.example.com/1.jpg", "caption": "one"},
    {"type": "file", "url": "https://media.example.com/2.pdf"},
    {"type": "text", "text": "two"},
    {"type": "image", "url": "https://media.example.com/3.jpg", "caption": "three"},
    "x",
]
READ_ITEMS = tuple(Media(url=f"https://media.example.com/{name}") for name in ("1.jpg", "2.pdf", "3.jpg"))

CASES = [
    case("text", [text("Hello there")], message("text", text="Hello there")),
    case(
        "joined text",
        [text("Start ✅")],
        message("text", text="Start ✅", sms={"num_messages": "2", "keyword": "START"}, usage={"price": "0.0333"}),
    ),
    case("text is kept as it is", [text(" arrêt 👋🏽 \r\n")], message("text", text=" arrêt 👋🏽 \r\n")),
    case("plus", [text("hi", sender=f"+{SENDER}")], message("text", text="hi", **{"from": f"+{SENDER}"})),
    case("short code", [text("hi", recipient="54321")], message("text", text="hi", to="54321")),
    case(
        "whatsapp",
        [text("hi", channel="whatsapp")],
        message("text", text="hi", channel="whatsapp", profile={"name": "A"}),
    ),
    *(
        case(
            kind,
            [text("mi foto", channel="whatsapp", media=MEDIA)],
            message(kind, channel="whatsapp", **{kind: {"url": FILE, "caption": "mi foto", "name": "a"}}),
        )
        for kind in ("image", "audio", "video", "file", "vcard", "sticker")
    ),
    case("picture alone", [text("", channel="mms", media=MEDIA)], message("image", channel="mms", image={"url": FILE})),
    case(
        "several files",
        [text("one\ntwo\nthree", channel="mms", media=READ_ITEMS)],
        message("content", channel="mms", content=ITEMS),
    ),
    case("no files", [], message("content", channel="mms", content=[])),
    case(
        "reply",
        [text("Yes", channel="whatsapp", payload="join")],
        message("reply", channel="whatsapp", reply={"id": "join", "title": "Yes", "description": "Hello there"}),
    ),
    case(
        "button",
        [text("Yes", channel="whatsapp", payload="join")],
        message("button", channel="whatsapp", button={"payload": "join", "text": "Yes"}, context={"message_uuid": "x"}),
    ),
    case(
        "tap without words",
        [text("", channel="rcs", payload="join")],
        message("reply", channel="rcs", reply={"id": "join"}),
    ),
    case(
        "order",
        [text("soon please", channel="whatsapp")],
        message("order", channel="whatsapp", order={"catalog_id": "1", "text": "soon please", "product_items": []}),
    ),
    case(
        "rcs agent",
        [text("hi", channel="rcs", recipient=None, recipient_ref="VonageDemoAgent")],
        message("text", channel="rcs", text="hi", to="VonageDemoAgent"),
    ),
    case(
        "who shows no number",
        [text("hi", sender="US.1349", channel="whatsapp")],
        message("text", channel="whatsapp", text="hi", whatsapp={"sender": {"user_id": "US.1349"}}, **{"from": None}),
    ),
    case(
        "who shows a number elsewhere",
        [text("hi", channel="whatsapp")],
        message(
            "text",
            channel="whatsapp",
            text="hi",
            whatsapp={"sender": {"wa_id": SENDER, "user_id": "US.1349"}},
            **{"from": ""},
        ),
    ),
    case("version 0.1", [text("hi", channel="whatsapp")], old({"type": "text", "text": "hi"})),
    case(
        "picture of version 0.1",
        [text("look", channel="whatsapp", media=MEDIA)],
        old({"type": "image", "image": {"url": FILE, "caption": "look"}}),
    ),
    case("channel of version 0.1 without numbers", [], old({"type": "text", "text": "hi"}, "messenger")),
    case("reaction", [], message("reaction", channel="whatsapp", reaction={"action": "react", "emoji": "👍"})),
    case("place", [], message("location", channel="whatsapp", location={"lat": 1, "name": "Hello there"})),
    case("contact", [], message("contact", channel="whatsapp", contact={"name": "Hello there"})),
    case("what vonage cannot say", [], message("unsupported", channel="whatsapp")),
    case("type to come", [], message("poem", poem={"text": "Hello there"})),
    case("empty text", [], message("text", text="")),
    case("channel without numbers", [], message("text", channel="messenger", text="Hello there", to=None)),
    case("viber", [], message("text", channel="viber_service", text="Hello there")),
    case(
        "delivered",
        [Receipt("c1f7e282", RECIPIENT, SENDER, None)],
        status(status="delivered", to=SENDER, **{"from": RECIPIENT}),
    ),
    case("read", [Receipt("c1f7e282", None, None, None)], status(status="read", to=None, **{"from": None})),
    case(
        "opted out",
        [Receipt("c1f7e282", SENDER, RECIPIENT, "opted_out", "1240")],
        status(status="rejected", error=problem("1240")),
    ),
    case(
        "refused for some other reason",
        [Receipt("c1f7e282", SENDER, RECIPIENT, "permanent", "1120")],
        status(status="undeliverable", error={"title": 1120}),
    ),
    case("refused without reason", [Receipt("c1f7e282", SENDER, RECIPIENT, "permanent")], status(status="rejected")),
    case(
        "status of version 0.1",
        [Receipt("c1f7e282", RECIPIENT, SENDER, "temporary", "1180")],
        orjson.dumps(
            {
                "message_uuid": "c1f7e282",
                "to": {"type": "sms", "number": SENDER},
                "from": {"type": "sms", "id": RECIPIENT},
                "status": "undeliverable",
                "error": {"code": 1180, "reason": "Absent"},
            }
        ),
    ),
    case("on its way", [], status(status="submitted")),
    case("status without id", [], status(status="delivered", message_uuid=None)),
    case("no id", BadPayload, message("text", text="Hello there", message_uuid=None)),
    case("no sender", BadPayload, message("text", text="Hello there", **{"from": None})),
    case("no recipient", BadPayload, message("text", text="Hello there", to="")),
    case("no channel", BadPayload, message("text", text="Hello there", channel=None)),
    case("no type", BadPayload, message(None, text="Hello there")),
    case("text is no text", BadPayload, message("text", text=["Hello there"])),
    case("picture is no object", BadPayload, message("image", image="Hello there")),
    case("empty object", BadPayload, b"{}"),
    case("a list", BadPayload, b"[]"),
    case("not json", BadPayload, b"STOP"),
    case("empty body", BadPayload, b""),
    Case("unsigned", BadSignature, message("text", text="Hello there"), sign=False),
]


@pytest.mark.parametrize("found", CASES, ids=lambda found: found.label)
def test_inbound(found: Case) -> None:
    check_inbound(carrier(), found, sign, PRIVATE)


def test_rubbish_is_refused_in_order() -> None:
    check_hostile(carrier(), CASES, sign)


def test_both_secrets_are_live_during_a_rotation() -> None:
    found = case("text", [text("hi")], message("text", text="hi"))

    check_inbound(carrier(), found, lambda request: sign(request, NEW_SECRET), PRIVATE)


SAID = RawRequest("acme", "POST", b"", {}, message("text", text="hi"), MOMENT)


def test_each_account_signs_for_itself_only() -> None:
    carrier().verify(with_token(SAID, token(SAID.body, OTHER, api_key="ffff9999", application_id="a1")))

    check_forged(carrier(), with_token(SAID, token(SAID.body, OTHER)), [OTHER])
    check_forged(carrier(), with_token(SAID, token(SAID.body, SECRET, api_key="ffff9999")), [SECRET])


@pytest.mark.parametrize(
    "claims",
    [
        {"api_key": None},
        {"api_key": "eeee0000"},
        {"api_key": ["abcd1234"]},
        {"payload_hash": None},
        {"payload_hash": "0" * 64},
        {"payload_hash": 1},
        {"iat": None},
        {"iat": True},
        {"iat": "1767225600"},
        {"iat": float("nan")},
        {"iat": MOMENT - 301},
        {"iat": MOMENT + 301},
    ],
    ids=str,
)
def test_every_claim_counts(claims: dict[str, Any]) -> None:
    check_forged(carrier(), with_token(SAID, token(SAID.body, **claims)), PRIVATE)


@pytest.mark.parametrize("iat", [MOMENT - 300, MOMENT + 300, MOMENT - 0.5])
def test_the_clock_may_be_a_little_off(iat: float) -> None:
    carrier().verify(with_token(SAID, token(SAID.body, iat=iat)))


def test_the_window_can_be_wider() -> None:
    carrier(tolerance=3600).verify(with_token(SAID, token(SAID.body, iat=MOMENT - 3600)))


@pytest.mark.parametrize("algorithm", ["HS384", "HS512", "none"])
@pytest.mark.filterwarnings("ignore:The HMAC key")
def test_no_other_algorithm_is_taken(algorithm: str) -> None:
    secret = "" if algorithm == "none" else SECRET

    check_forged(carrier(), with_token(SAID, token(SAID.body, secret, algorithm)), PRIVATE)


def test_published_signature() -> None:
    body = (
        b'{"channel":"sms","message_uuid":"aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab","to":"447700900399",'
        b'"from":"447700900301","timestamp":"2026-01-01T00:00:00Z","message_type":"text","text":"STOP"}'
    )
    digest = "7f126bbd3d0fcb2b051aaeb95efb36ef45877034b12b1b3b9d3de323430efdae"
    claims = (
        b'{"iat":1767225600,"jti":"c5ba8f24-1a14-4c10-bfdf-3fbe8ce511b5","iss":"Vonage","payload_hash":"%s",'
        b'"api_key":"abcd1234"}' % digest.encode()
    )
    header = b'{"alg":"HS256","typ":"JWT"}'
    parts = [b64encode(part, b"-_").rstrip(b"=").decode() for part in (header, claims)]
    given = ".".join([*parts, "nMf6pgHR01Dh6tTj2-RoCqkjRR-YQANkyUOvLcNuxPk"])
    request = RawRequest("acme", "POST", b"", {}, body, MOMENT)

    assert sha256(body).hexdigest() == digest
    carrier().verify(with_token(request, given))
    carrier().verify(replace(request, headers={"authorization": f" bearer  {given} "}))


@given(st.data())
def test_what_we_take_the_official_verifier_takes(data: st.DataObject) -> None:
    given_token = token(SAID.body, data.draw(st.sampled_from([SECRET, NEW_SECRET, OTHER])))
    place = data.draw(st.integers(0, len(given_token) - 1))
    spoilt = given_token[:place] + data.draw(st.characters(max_codepoint=127)) + given_token[place + 1 :]
    try:
        official = any(verify_signature(spoilt, secret) for secret in (SECRET, NEW_SECRET))
    except VonageVerifyJwtError:
        official = False

    try:
        carrier().verify(with_token(SAID, spoilt))
        ours = True
    except BadSignature:
        ours = False

    assert ours == official


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "x"])
def test_an_unsigned_webhook_can_be_asked_for_again(header: str) -> None:
    request = replace(SAID, headers={"authorization": header})

    for carrier_, status_ in ((carrier(), 403), (carrier(unsigned_status=503), 503)):
        with pytest.raises(BadSignature) as raised:
            carrier_.verify(request)
        assert carrier_.answer(raised.value) == Answer(status_)
    with pytest.raises(BadSignature) as raised:
        carrier(unsigned_status=503).verify(with_token(SAID, "x.y.z"))
    assert carrier().answer(raised.value) == Answer(403)


def test_only_the_status_is_answered() -> None:
    assert carrier().answer([outgoing()]) == Answer(200)
    assert carrier().answer(StoreUnavailable("why")) == Answer(503, headers=(("retry-after", "1"),))
    assert carrier().retries


def test_who_answers_and_how_fast() -> None:
    assert set(carrier(opt_out_assist=True).answers_itself("long_code", "US")) == {"opt_out", "opt_in", "help"}
    assert set(carrier().answers_itself("toll_free", "US")) == {"opt_out", "opt_in"}
    assert set(carrier().answers_itself("long_code", "GB")) == set()
    assert [carrier().texts_per_second("long_code", country) for country in ("US", "GB")] == [1, 30]


KEY = generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
BASIC: dict[str, Any] = {"api_key": "abcd1234", "api_secret": Secret("sec_77bb")}
APPLICATION: dict[str, Any] = {"application_id": "app1", "private_key": Secret(PEM)}
TAKEN = SendCase("taken", "aaaa-1", 202, b'{"message_uuid": "aaaa-1"}')


@pytest.mark.parametrize(
    "found",
    [
        TAKEN,
        SendCase("opted out", "opted_out", 422, orjson.dumps(problem("1240"))),
        SendCase("wrong number", "invalid_number", 422, orjson.dumps(problem("1170"))),
        SendCase("illegal sender", "permanent", 422, orjson.dumps(problem("1120"))),
        SendCase("other problem", "permanent", 422, b'{"type": "https://www.rfc-editor.org", "title": "Bad Request"}'),
        SendCase("no credit", "auth", 402, b'{"type": "https://developer.vonage.com/api-errors/#low-balance"}'),
        SendCase("wrong secret", "auth", 401),
        SendCase("too many", "throttled", 429, b"", {"retry-after": "3"}),
        SendCase("throttled", "throttled", 422, orjson.dumps(problem("1000"))),
        SendCase("out of order", "temporary", 500, b"<html>"),
        SendCase("no id", "permanent", 202, b"[]"),
    ],
    ids=lambda found: found.label,
)
async def test_sending(found: SendCase) -> None:
    hidden = [*PRIVATE, "sec_77bb", "14155550101"]
    http = await check_send(carrier(**BASIC), found, outgoing("Hi & é"), hidden, fails=found is not TAKEN)

    assert carrier(**BASIC).sends
    assert not carrier().sends
    assert http.urls == [("POST", "https://api.nexmo.com/v1/messages")]
    headers, body = http.requests[0]
    authorization = "Basic " + b64encode(b"abcd1234:sec_77bb").decode()
    assert headers == {"Authorization": authorization, "Content-Type": "application/json"}
    assert orjson.loads(body) == {
        "channel": "sms",
        "message_type": "text",
        "from": "14155550199",
        "to": "14155550101",
        "text": "Hi & é",
        "client_ref": "evt_1",
    }


@pytest.mark.parametrize(("channel", "sent"), [("mms", "sms"), ("whatsapp", "whatsapp"), ("rcs", "rcs")])
async def test_a_text_goes_out_by_its_channel(channel: Channel, sent: str) -> None:
    message_ = replace(outgoing(), channel=channel)

    http = await check_send(carrier(**BASIC), TAKEN, message_, [], fails=False)

    assert orjson.loads(http.requests[0][1])["channel"] == sent


async def test_an_application_signs_what_it_sends() -> None:
    sender = carrier(**APPLICATION, **BASIC)

    http = await check_send(sender, TAKEN, outgoing(), [], fails=False)

    given_token = http.requests[0][0]["Authorization"].removeprefix("Bearer ")
    ours = jwt.decode(
        given_token, KEY.public_key(), algorithms=["RS256"], options={"verify_exp": False, "verify_iat": False}
    )
    official = JwtClient("app1", PEM).generate_application_jwt({"iat": MOMENT}).decode()
    theirs = jwt.decode(
        official, KEY.public_key(), algorithms=["RS256"], options={"verify_exp": False, "verify_iat": False}
    )
    assert sender.sends
    assert {**ours, "jti": "", "exp": 0} == {**theirs, "jti": "", "exp": 0}
    assert MOMENT < ours["exp"] <= MOMENT + 900


def test_options_hide_their_secrets_and_look_at_the_key() -> None:
    with pytest.raises(ValidationError, match="is not a private key"):
        carrier(application_id="app1", private_key=Secret("not a key"))
    with pytest.raises(ValidationError):
        VonageMessagesOptions(signature_secrets={})

    shown = repr(VonageMessagesOptions(signature_secrets=ACCOUNTS, **BASIC, **APPLICATION))
    assert not [secret for secret in (SECRET, OTHER, "sec_77bb", PEM) if secret in shown]
