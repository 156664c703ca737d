"""Plivo, with its own validators as the witnesses: what they find well signed we accept, what they refuse we refuse."""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from hmac import digest
from typing import Any
from urllib.parse import parse_qs, urlencode
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plivo.utils import validate_signature, validate_v3_signature
from plivo.utils.signature_v3 import construct_get_url, construct_post_url, get_signature_v3
from pydantic import ValidationError

from adapters.carriers.plivo import Plivo, PlivoOptions
from router.errors import (
    BadPayload,
    BadSignature,
    RequestError,
    SendError,
    StoreUnavailable,
    TooManyFields,
    WrongContentType,
)
from router.ports import MOST_FORM_FIELDS, Parsed, Secret
from router.types import Answer, Inbound, Media, RawRequest, Receipt
from tests.kit import ANY_TEXT, Case, SendCase, check_hostile, check_inbound, check_send, outgoing

TOKEN, NEW_TOKEN, NONCE = "MWU3YjA0", "c2Vjb25kIHRva2Vu", "05429567804466091622"
AUTH_ID = "MAXXXXXXXXXXXXXXXXXX"
URL = "https://sms.example.com/in/plivo/demo"
SENDER, RECIPIENT = "14155550182", "14156667778"
FORM = {"content-type": "application/x-www-form-urlencoded"}
BASE = {"MessageUUID": "u-1", "From": SENDER, "To": RECIPIENT, "Type": "sms", "MessageIntent": "", "Units": "1"}
PRIVATE = [TOKEN, NEW_TOKEN, SENDER, RECIPIENT, "Hi there"]


def carrier(**more: Any) -> Plivo:
    return Plivo("acme", PlivoOptions(auth_tokens=(Secret(NEW_TOKEN), Secret(TOKEN)), **more), URL)


def full_url(request: RawRequest) -> str:
    return f"{URL}?{request.query.decode()}" if request.query else URL


def v3(request: RawRequest, token: str = TOKEN) -> str:
    """The signature by Plivo's library. It takes the fields of a form as a web framework reads them."""
    fields = parse_qs(request.body.decode(), keep_blank_values=True, errors="replace")
    get = request.method == "GET"
    signed = construct_get_url(full_url(request), {}) if get else construct_post_url(full_url(request), fields)
    return str(get_signature_v3(token.encode(), signed.decode(), NONCE.encode()).decode())


def with_headers(request: RawRequest, **more: str) -> RawRequest:
    headers = {f"x-plivo-signature-{name.replace('_', '-')}": value for name, value in more.items()}
    return replace(request, headers={**request.headers, **headers})


def sign(request: RawRequest, token: str = TOKEN) -> RawRequest:
    return with_headers(request, v3=v3(request, token), v3_nonce=NONCE)


def v2(token: str = TOKEN) -> str:
    return b64encode(digest(token.encode(), f"{URL}{NONCE}".encode(), sha256)).decode()


def form(fields: Mapping[str, str] = BASE, /, **more: str) -> bytes:
    return urlencode({**fields, **more}).encode()


def text(words: str = "Hi there", **more: Any) -> Inbound:
    return replace(Inbound("u-1", SENDER, RECIPIENT, words), **more)


def case(label: str, expected: Sequence[Parsed] | type[RequestError], body: bytes, query: bytes = b"") -> Case:
    return Case(label, expected, body, query, headers=FORM)


def without(name: str) -> bytes:
    return form({key: value for key, value in BASE.items() if key != name}, Text="Hi there")


def picture(name: str) -> Media:
    return Media(f"https://media.plivo.com/{name}")


PICTURES = {f"Media{number}": f"https://media.plivo.com/{number}" for number in (10, 2, 0)}
RECEIPT = {"MessageUUID": "u-2", "ParentMessageUUID": "u-1", "From": RECIPIENT, "To": SENDER, "ErrorCode": ""}


def receipt(*result: Any) -> list[Parsed]:
    return [Receipt("u-1", RECIPIENT, SENDER, *result)]


CASES = [
    case("text", [text()], form(Text="Hi there")),
    case("text is kept as it is", [text(" arrêt 👋🏽 + & = % \r\n\0")], form(Text=" arrêt 👋🏽 + & = % \r\n\0")),
    case("blanks for plusses", [text(sender=f" {SENDER}")], form(Text="Hi there", From=f" {SENDER}")),
    case("short code", [text(recipient="20202")], form(Text="Hi there", To="20202")),
    case("a name", [text(sender="MTN")], form(Text="Hi there", From="MTN")),
    case("the url has a query", [text()], form(Text="Hi there"), b"b=2&a=x%20y&a=&c"),
    case("a name comes twice", [text("b")], form() + b"&Text=z&Text=b"),
    case(
        "pictures, counted from 0",
        [text("look", channel="mms", media=(picture("0"), picture("2"), picture("10")))],
        form(Type="mms", Body="look", MediaCount="3", **PICTURES),
    ),
    case(
        "a picture, not said so",
        [text("", channel="mms", media=(picture("0"),))],
        form(Type="", Media0=PICTURES["Media0"]),
    ),
    case("blank picture", [text("look", channel="mms")], form(Type="MMS", Body="look", Media1="", MediaURL="x")),
    case("whatsapp", [text("hola", channel="whatsapp")], form(Type="whatsapp", ContentType="text", Body="hola")),
    case(
        "whatsapp picture",
        [text("", channel="whatsapp", media=(Media("https://media.plivo.com/2", None, "image/png"),))],
        form(Type="whatsapp", ContentType="media", MimeType="image/png", Media1="https://media.plivo.com/2"),
    ),
    case(
        "whatsapp button",
        [text("Yes", channel="whatsapp", payload="join")],
        form(Type="whatsapp", ContentType="button", ButtonText="Yes", ButtonPayload="join"),
    ),
    case("whatsapp, unknown", [text("", channel="whatsapp")], form(Type="whatsapp", ContentType="unknown")),
    case("type absent", [text()], without("Type")),
    case("opt-out", [text("Stop", opt_out_type="STOP")], form(Text="Stop", MessageIntent="optout")),
    case("opt-in", [text("Start", opt_out_type="START")], form(Text="Start", MessageIntent="optin")),
    case("help", [text("Info", opt_out_type="HELP")], form(Text="Info", MessageIntent="Help")),
    case("opt-out without text", [text("", opt_out_type="STOP")], form(MessageIntent="optout")),
    case("unknown intent", [text()], form(Text="Hi there", MessageIntent="smile")),
    case("neither text nor media", [text("")], form()),
    case("text with a status", [text()], form(Text="Hi there", Status="received")),
    case("delivered", receipt(None), form(RECEIPT, Status="delivered", ErrorCode="000")),
    case("read", receipt(None), form(RECEIPT, Status="read")),
    case("opted out", receipt("opted_out", "200"), form(RECEIPT, Status="failed", ErrorCode="200")),
    case("no such number", receipt("invalid_number", "50"), form(RECEIPT, Status="undelivered", ErrorCode="50")),
    case("phone is off", receipt("temporary", "80"), form(RECEIPT, Status="undelivered", ErrorCode="80")),
    case("rejected", receipt("permanent"), form(RECEIPT, Status="rejected")),
    case("receipt on the way", [], form(RECEIPT, Status="sent")),
    case("receipt without an id", [], b"Status=delivered"),
    case(
        "receipt of a first part",
        receipt(None),
        form({**RECEIPT, "MessageUUID": "u-1", "ParentMessageUUID": ""}, Status="read"),
    ),
    case("no id", BadPayload, without("MessageUUID")),
    case("no sender", BadPayload, without("From")),
    case("blank recipient", BadPayload, form(Text="Hi there", To=" ")),
    case("empty body", BadPayload, b""),
    Case("json", WrongContentType, b"{}", headers={"content-type": "application/json"}),
    Case("form without a type", WrongContentType, form(Text="Hi there")),
    Case("get", [text("HELP me")], b"", form(Text="HELP me"), "GET"),
    Case("get of nothing", BadPayload, method="GET"),
    Case("unsigned", BadSignature, form(Text="Hi there"), headers=FORM, sign=False),
    Case("over a thousand fields", BadSignature, b"&".join([b"a=b"] * (MOST_FORM_FIELDS + 1)), headers=FORM),
]


@pytest.mark.parametrize("found", CASES, ids=lambda found: found.label)
def test_inbound(found: Case) -> None:
    check_inbound(carrier(), found, sign, PRIVATE)


def test_rubbish_is_refused_in_order() -> None:
    check_hostile(carrier(), CASES, sign)


def test_too_many_fields_are_refused_in_order() -> None:
    with pytest.raises(TooManyFields):
        carrier().parse(replace(CASES[0].request(), body=b"a&" * (MOST_FORM_FIELDS + 1)))


def test_both_tokens_are_live_during_a_rotation() -> None:
    check_inbound(carrier(), CASES[0], lambda request: sign(request, NEW_TOKEN), PRIVATE)


def test_the_main_account_may_sign_alone_and_for_several_tokens() -> None:
    request = CASES[0].request()
    listed = f"b2xk, {v3(request)} ,bmV3"

    carrier().verify(with_headers(request, ma_v3=listed, v3_nonce=NONCE))
    carrier().verify(with_headers(request, ma_v3=listed, v3="b2xk", v3_nonce=NONCE))
    with pytest.raises(BadSignature):
        carrier().verify(with_headers(request, ma_v3="b2xk,", v3_nonce=NONCE))


@pytest.mark.parametrize(
    "proofs",
    [
        {"v3": "b2xk", "v3_nonce": NONCE},
        {"v3": ""},
        {"ma_v3": "b2xk"},
        {"v3_nonce": NONCE},
    ],
)
def test_where_there_is_any_sign_of_v3_only_v3_counts(proofs: dict[str, str]) -> None:
    request = with_headers(CASES[0].request(), v2=v2(), ma_v2=v2(), v2_nonce=NONCE)

    carrier().verify(request)
    with pytest.raises(BadSignature):
        carrier().verify(with_headers(request, **proofs))


def test_v3_needs_its_nonce() -> None:
    request = sign(CASES[0].request())
    headers = {name: value for name, value in request.headers.items() if not name.endswith("nonce")}

    with pytest.raises(BadSignature):
        carrier().verify(replace(request, headers=headers))


@pytest.mark.parametrize("name", ["v2", "ma_v2"])
@pytest.mark.parametrize("query", [b"", b"a=1"])
def test_v2_counts_where_it_stands_alone_and_is_allowed(name: str, query: bytes) -> None:
    request = replace(CASES[0].request(), query=query)
    signed = with_headers(request, **{name: f"b2xk,{v2(NEW_TOKEN)}", "v2_nonce": NONCE})

    carrier().verify(signed)
    with pytest.raises(BadSignature, match="allow_v2"):
        carrier(allow_v2=False).verify(signed)
    with pytest.raises(BadSignature):
        carrier().verify(with_headers(signed, v2_nonce=""))
    with pytest.raises(BadSignature):
        carrier().verify(with_headers(request, **{name: v2("other"), "v2_nonce": NONCE}))


PUBLISHED = form({"From": SENDER, "To": RECIPIENT, "Type": "sms"}, MessageIntent="", MessageUUID="u-1", Text="Hi there")


@pytest.mark.parametrize(
    ("query", "proofs"),
    [
        (b"b=2&a=x%20y", {"v3": "vK7JJGDdpzMDZDyKn5ThT3NFJQwejeT4BH4QYg9ZqS4=", "v3_nonce": NONCE}),
        (b"", {"v3": "m8HB7I51B2C2xJHHEYOI/7l3gYzecrFJDWhhftRpQE0=", "v3_nonce": NONCE}),
        (b"", {"v2": "C7PGSrnpeuNnzvqkt/l2BNWbPm+rRKFAlSZ+9kTY4Zw=", "v2_nonce": NONCE}),
    ],
)
def test_published_signatures(query: bytes, proofs: dict[str, str]) -> None:
    carrier().verify(with_headers(RawRequest("acme", "POST", query, FORM, PUBLISHED, received_at=0), **proofs))


def accepts(request: RawRequest) -> bool:
    try:
        Plivo("acme", PlivoOptions(auth_tokens=(Secret(TOKEN),)), URL).verify(request)
    except BadSignature:
        return False
    return True


FIELDS = st.lists(st.tuples(st.text(), st.text()), max_size=5)
# The official validator fails on other letters in a query.
ASCII = st.text(st.characters(codec="ascii"))
QUERY = st.lists(st.tuples(ASCII, ASCII), max_size=5).map(lambda pairs: urlencode(pairs).encode())


@given(signed=FIELDS, arrived=FIELDS, query=QUERY, method=st.sampled_from(["GET", "POST"]), same=st.booleans())
def test_agrees_with_the_official_validator_of_v3(
    signed: list[tuple[str, str]], arrived: list[tuple[str, str]], query: bytes, method: str, same: bool
) -> None:
    request = sign(RawRequest("acme", method, query, FORM, urlencode(signed).encode(), received_at=0))
    request = request if same else replace(request, body=urlencode(arrived).encode())
    fields = {} if method == "GET" else parse_qs(request.body.decode(), keep_blank_values=True)
    signature = request.headers["x-plivo-signature-v3"]

    official = validate_v3_signature(method, full_url(request), NONCE, TOKEN, signature, fields)

    assert official == accepts(request)


@given(token=st.sampled_from([TOKEN, NEW_TOKEN]), nonce=st.sampled_from([NONCE, "1"]), query=QUERY)
def test_agrees_with_the_official_validator_of_v2(token: str, nonce: str, query: bytes) -> None:
    request = RawRequest("acme", "POST", query, FORM, b"", received_at=0)
    signed = with_headers(request, v2=v2(token), v2_nonce=nonce)

    assert validate_signature(full_url(request), nonce, v2(token), TOKEN) == accepts(signed)


@pytest.mark.parametrize("query", ["Text=arrêt", "Text=arr%C3%AAt"])
def test_letters_in_a_query_are_signed_in_utf_8(query: str) -> None:
    signature = b64encode(digest(TOKEN.encode(), f"{URL}?Text=arrêt.{NONCE}".encode(), sha256)).decode()
    request = RawRequest("acme", "GET", query.encode(), {}, b"", received_at=0)

    carrier().verify(with_headers(request, v3=signature, v3_nonce=NONCE))


MESSAGE = f'<Message src="{RECIPIENT}" dst="{SENDER}" type="sms">'


def reply(words: str) -> Any:
    return outgoing(words, f"+{RECIPIENT}", f"+{SENDER}")


@pytest.mark.parametrize(
    ("replies", "body"),
    [
        ([], "<Response></Response>"),
        (["You are in."], f"<Response>{MESSAGE}You are in.</Message></Response>"),
        (["a", "b"], f"<Response>{MESSAGE}a</Message>{MESSAGE}b</Message></Response>"),
        (["<b>&é\x00\ud800"], f"<Response>{MESSAGE}&lt;b&gt;&amp;é</Message></Response>"),
    ],
)
def test_replies_become_xml(replies: list[str], body: str) -> None:
    assert carrier().answer([reply(words) for words in replies]) == Answer(200, body.encode(), "application/xml")


def test_a_reply_by_whatsapp_says_so() -> None:
    answer = carrier().answer([replace(reply("a"), channel="whatsapp", recipient='US.1<"')])

    [message] = ElementTree.fromstring(answer.body)  # noqa: S314 (our own document)
    assert message.attrib == {"src": RECIPIENT, "dst": 'US.1<"', "type": "whatsapp"}


@given(ANY_TEXT)
def test_any_reply_is_well_formed(words: str) -> None:
    found = ElementTree.fromstring(carrier().answer([reply(f"!{words}")]).body)  # noqa: S314 (our own document)

    assert set(found.findtext("Message") or "") <= {"!", *words}


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (BadSignature("why"), Answer(403)),
        (BadPayload("From is missing."), Answer(400, b"From is missing.", "text/plain")),
        (StoreUnavailable("why"), Answer(503, headers=(("retry-after", "1"),))),
    ],
)
def test_errors_become_a_status(error: RequestError, answer: Answer) -> None:
    assert carrier().answer(error) == answer


def test_what_plivo_does_by_itself() -> None:
    assert set(carrier().answers_itself("long_code", "US")) == {"opt_out", "help"}
    assert set(carrier().answers_itself("toll_free", "US")) == {"opt_out", "opt_in", "help"}
    assert set(carrier().answers_itself("long_code", "GB")) == set()
    assert set(carrier().answers_itself("short_code", None)) == set()
    assert carrier().texts_per_second("short_code", None) == 100
    assert (carrier().retries, carrier().replies_inline, carrier().sends) == (True, True, False)


def test_options_need_a_token_and_hide_it() -> None:
    with pytest.raises(ValidationError):
        PlivoOptions(auth_tokens=())
    with pytest.raises(ValidationError):
        PlivoOptions(auth_tokens=(Secret(TOKEN),), auth_id="MA/../x")

    assert TOKEN not in repr(PlivoOptions(auth_tokens=(Secret(TOKEN),)))


SENT = SendCase("queued", "u-9", 202, b'{"api_id": "x", "message": "message(s) queued", "message_uuid": ["u-9"]}')
REFUSED = json.dumps({"api_id": "x", "error": f"{SENDER}: Hi there"}).encode()


@pytest.mark.parametrize(
    "found",
    [
        SENT,
        SendCase("too many requests", "throttled", 429, REFUSED),
        SendCase("wrong token", "auth", 401, b"Could not verify your access level"),
        SendCase("bad number", "permanent", 400, REFUSED),
        SendCase("blocked", "opted_out", 400, b'{"error": "why", "error_code": 200}'),
        SendCase("out of order", "temporary", 500, b"<html>"),
        SendCase("no id", "permanent", 202, b'{"message_uuid": []}'),
    ],
    ids=lambda found: found.label,
)
async def test_sending(found: SendCase) -> None:
    http = await check_send(carrier(auth_id=AUTH_ID), found, reply("Hi there"), PRIVATE, fails=found is not SENT)

    assert http.urls == [("POST", f"https://api.plivo.com/v1/Account/{AUTH_ID}/Message/")]
    headers, body = http.requests[0]
    assert headers == {
        "Authorization": "Basic " + b64encode(f"{AUTH_ID}:{NEW_TOKEN}".encode()).decode(),
        "Content-Type": "application/json",
    }
    assert json.loads(body) == {
        "src": RECIPIENT,
        "dst": SENDER,
        "text": "Hi there",
        "type": "sms",
        "url": URL,
        "method": "POST",
    }


async def test_receipts_are_asked_for_only_if_wanted_and_where_they_can_come() -> None:
    tokens = (Secret(TOKEN),)
    unwanted = Plivo("acme", PlivoOptions(auth_tokens=tokens, auth_id=AUTH_ID, receipts=False), URL)
    nowhere = Plivo("acme", PlivoOptions(auth_tokens=tokens, auth_id=AUTH_ID), None)

    for found in (unwanted, nowhere):
        http = await check_send(found, SENT, replace(reply("Hi"), channel="whatsapp"), PRIVATE, fails=False)
        assert json.loads(http.requests[0][1]) == {"src": RECIPIENT, "dst": SENDER, "text": "Hi", "type": "whatsapp"}


async def test_a_pause_that_is_asked_for_is_kept() -> None:
    found = SendCase("too many requests", "throttled", 429, b"", {"retry-after": "7"})

    with pytest.raises(SendError) as raised:
        await check_send(carrier(auth_id=AUTH_ID), found, outgoing(), PRIVATE, fails=False)

    assert raised.value.retry_after == 7


def test_behind_a_proxy_its_headers_tell_the_url() -> None:
    proxied = {**FORM, "x-forwarded-proto": "https", "x-forwarded-host": "sms.example.com"}
    request = replace(CASES[0].request(), headers=proxied, path="/in/plivo/demo")
    behind = Plivo("acme", PlivoOptions(auth_tokens=(Secret(TOKEN),)), None)

    behind.verify(sign(request))
    with pytest.raises(BadSignature):
        behind.verify(replace(sign(request), path="/in/other"))
