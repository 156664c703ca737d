"""Twilio, with its own validator as the witness: what it signs we accept, what it refuses we refuse."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlencode
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from twilio.request_validator import RequestValidator

from adapters.carriers.twilio import Twilio, TwilioOptions
from router.errors import (
    BadPayload,
    BadSignature,
    BodyTooLarge,
    RequestError,
    StoreUnavailable,
    TooManyFields,
    WrongContentType,
)
from router.ports import MOST_FORM_FIELDS, Parsed, Secret
from router.types import Answer, Inbound, Media, RawRequest, Receipt
from tests.kit import ANY_TEXT, Case, SendCase, check_hostile, check_inbound, check_send, outgoing

TOKEN, NEW_TOKEN, SHARED = "0123456789abcdef0123456789abcdef", "fedcba9876543210", "c2hhcmVkLWtleS1mb3ItdGVzdHM"
URL = "https://sms.example.com/in/twilio"
SENDER, RECIPIENT = "+14155550101", "+14155550199"
FORM = {"content-type": "application/x-www-form-urlencoded; charset=UTF-8"}
JSON = {"content-type": "application/json"}
BASE = {"MessageSid": "SM1", "From": SENDER, "To": RECIPIENT, "FromCity": "", "ToCity": "", "NumMedia": "0"}
PRIVATE = [TOKEN, NEW_TOKEN, SHARED, SENDER, "Hello there"]


class Parameters(dict[str, list[str]]):
    """Form fields in the shape of web frameworks that the validator takes."""

    def getlist(self, name: str) -> list[str]:
        return self[name]


def carrier(url: str = URL) -> Twilio:
    options = TwilioOptions(auth_tokens=(Secret(NEW_TOKEN), Secret(TOKEN)), shared_keys={"key1": Secret(SHARED)})
    return Twilio("acme", options, url)


def parameters(request: RawRequest) -> Parameters:
    found = Parameters()
    if request.method == "POST":
        for name, value in parse_qsl(request.body.decode(), keep_blank_values=True, errors="replace"):
            found.setdefault(name, []).append(value)
    return found


def full_url(request: RawRequest, url: str = URL) -> str:
    return f"{url}?{request.query.decode()}" if request.query else url


def sign(request: RawRequest, token: str = TOKEN, url: str = URL) -> RawRequest:
    over_url_alone = request.headers.get("content-type") == JSON["content-type"]
    signed = {} if over_url_alone else parameters(request)
    signature = RequestValidator(token).compute_signature(full_url(request, url), signed)
    return replace(request, headers={**request.headers, "x-twilio-signature": signature})


def sign_with_shared_key(request: RawRequest) -> RawRequest:
    signature = RequestValidator(SHARED).compute_signature(full_url(request), parameters(request), "HMAC_SHA256")
    settings = "key=key1,algorithm=HMAC_SHA256"
    proofs = {"x-twilio-signature": signature, "x-twilio-webhooks-signature-settings": settings}
    return replace(request, headers={**request.headers, **proofs})


def form(fields: Mapping[str, str], **more: str) -> bytes:
    return urlencode({**fields, **more}).encode()


def text(words: str, **more: Any) -> Inbound:
    return replace(Inbound("SM1", SENDER, RECIPIENT, words), **more)


def case(label: str, expected: Sequence[Parsed] | type[RequestError], body: bytes) -> Case:
    return Case(label, expected, body, headers=FORM)


PICTURES = {
    "NumMedia": "2",
    "MediaUrl0": "https://api.twilio.com/ME0",
    "MediaContentType0": "image/jpeg",
    "MediaUrl1": "https://api.twilio.com/ME1",
}
MEDIA = (Media("https://api.twilio.com/ME0", None, "image/jpeg"), Media("https://api.twilio.com/ME1"))
WHATSAPP = {"From": f"whatsapp:{SENDER}", "To": f"whatsapp:{RECIPIENT}"}
GET_QUERY = form(BASE, Body="HELP me")

CASES = [
    case("text", [text("Hello there")], form(BASE, Body="Hello there")),
    case("text is kept as it is", [text(" arrêt 👋🏽 + & = % \r\n\0")], form(BASE, Body=" arrêt 👋🏽 + & = % \r\n\0")),
    case(
        "raw utf-8 and colon",
        [text("né", channel="rcs")],
        "MessageSid=SM1&From=rcs:%2B14155550101&To=%2B14155550199&Body=né".encode(),
    ),
    case("body absent, media", [text("", channel="mms", media=MEDIA)], form(BASE, **PICTURES)),
    case("media without url", [text("", channel="mms", media=(Media(),))], form(BASE, NumMedia="1")),
    case("whatsapp", [text("hola", channel="whatsapp")], form(BASE, **WHATSAPP, Body="hola")),
    case("whatsapp picture", [text("", channel="whatsapp", media=MEDIA)], form(BASE, **WHATSAPP, **PICTURES)),
    case(
        "whatsapp user id",
        [text("hi", sender="US.1349", channel="whatsapp")],
        form(BASE, From="whatsapp:US.1349", Body="hi"),
    ),
    case("rcs", [text("hi", channel="rcs")], form(BASE, From=f"rcs:{SENDER}", To=f"rcs:{RECIPIENT}", Body="hi")),
    case(
        "rcs agent",
        [Inbound("SM1", SENDER, None, "STOP", channel="rcs", recipient_ref="acme_support_abcdefgh_agent")],
        form(BASE, From=f"rcs:{SENDER}", To="rcs:acme_support_abcdefgh_agent", Body="STOP"),
    ),
    case("short code", [text("hi", recipient="384387")], form(BASE, To="384387", Body="hi")),
    case("unknown prefix stays", [text("hi", sender="messenger:1")], form(BASE, From="messenger:1", Body="hi")),
    case("button", [text("Yes", payload="join")], form(BASE, Body="Yes", ButtonText="Yes", ButtonPayload="join")),
    case("button alone", [text("", payload="join")], form(BASE, ButtonPayload="join")),
    case("opt-out answered by Twilio", [text("Stop", opt_out_type="STOP")], form(BASE, Body="Stop", OptOutType="STOP")),
    case("opt-out without text", [text("", opt_out_type="STOP")], form(BASE, OptOutType="STOP")),
    case("unknown opt-out type", [text("Stop")], form(BASE, Body="Stop", OptOutType="PAUSE")),
    case("old name of the id", [text("hi")], form({"SmsSid": "SM1", "From": SENDER, "To": RECIPIENT}, Body="hi")),
    case("received", [text("hi")], form(BASE, Body="hi", SmsStatus="received", MessageStatus="received")),
    case("receipt on the way", [], form(BASE, MessageStatus="sent", SmsStatus="sent")),
    case("delivered", [Receipt("SM1", SENDER, RECIPIENT, None)], form(BASE, MessageStatus="delivered")),
    case(
        "not delivered",
        [Receipt("SM1", SENDER, RECIPIENT, "opted_out", "21610")],
        form(BASE, MessageStatus="failed", ErrorCode="21610"),
    ),
    case("neither text nor media", [], form(BASE, Latitude="1", Longitude="2")),
    case("no id", BadPayload, b"From=%2B14155550101&To=%2B14155550199&Body=hi"),
    case("no sender", BadPayload, form({"MessageSid": "SM1", "To": RECIPIENT}, Body="Hello there")),
    case("blank sender", BadPayload, form(BASE, From="whatsapp:", Body="hi")),
    case("no recipient", BadPayload, form({"MessageSid": "SM1", "From": SENDER}, Body="Hello there")),
    case("media count is no count", BadPayload, form(BASE, NumMedia="two", Body="Hello there")),
    case("media count without end", BadPayload, form(BASE, NumMedia="100")),
    case("empty body", BadPayload, b""),
    Case("form of another type", WrongContentType, form(BASE, Body="hi"), headers={"content-type": "text/plain"}),
    Case("form without a type", WrongContentType, form(BASE, Body="hi")),
    Case(
        "type in capitals",
        [text("hi")],
        form(BASE, Body="hi"),
        headers={"content-type": "Application/X-WWW-Form-URLEncoded"},
    ),
    Case("query is signed", [text("hi")], form(BASE, Body="hi"), b"tenant=7&x=%2f", headers=FORM),
    Case("get", [text("HELP me")], b"", GET_QUERY, "GET"),
    Case("json", WrongContentType, b"{}", b"a=1&bodySHA256=" + sha256(b"{}").hexdigest().encode(), headers=JSON),
    Case("unsigned", BadSignature, form(BASE, Body="Hello there"), headers=FORM, sign=False),
    Case("json without a digest", BadSignature, b"{}", headers=JSON),
    Case("json of another digest", BadSignature, b"{}", b"bodySHA256=" + b"0" * 64, headers=JSON),
    case("over a thousand fields", BadSignature, b"&".join([b"a=b"] * (MOST_FORM_FIELDS + 1))),
    Case("over a thousand fields in a get", TooManyFields, b"", b"&".join([b"a=b"] * (MOST_FORM_FIELDS + 1)), "GET"),
]


@pytest.mark.parametrize("found", CASES, ids=lambda found: found.label)
def test_inbound(found: Case) -> None:
    check_inbound(carrier(), found, sign, PRIVATE)


def test_shared_key() -> None:
    found = case("shared key", [text("JOIN")], form(BASE, Body="JOIN"))

    check_inbound(carrier(), found, sign_with_shared_key, PRIVATE)


def test_rubbish_is_refused_in_order() -> None:
    check_hostile(carrier(), CASES, sign_with_shared_key)


def test_both_tokens_are_live_during_a_rotation() -> None:
    found = case("text", [text("hi")], form(BASE, Body="hi"))

    check_inbound(carrier(), found, lambda request: sign(request, NEW_TOKEN), PRIVATE)


@pytest.mark.parametrize(
    "settings",
    [
        "key=key1,algorithm=HMAC_SHA1",
        "key=key1,algorithm=none",
        "key=key1",
        "key=key2,algorithm=HMAC_SHA256",
        "algorithm=HMAC_SHA256",
        "key=,algorithm=",
        "key1",
    ],
)
def test_only_configured_keys_and_their_algorithm_count(settings: str) -> None:
    request = sign_with_shared_key(case("text", [], form(BASE, Body="hi")).request())
    request = replace(request, headers={**request.headers, "x-twilio-webhooks-signature-settings": settings})

    with pytest.raises(BadSignature):
        carrier().verify(request)


@pytest.mark.parametrize(
    ("ours", "signed"),
    [
        ("https://a.example/in", "https://a.example:443/in"),
        ("https://a.example:443/in", "https://a.example/in"),
        ("http://a.example/in", "http://a.example:80/in"),
        ("https://a.example:8443/in", "https://a.example:8443/in"),
        ("https://a.example:8443/in", "https://a.example/in"),
        ("https://me:pass@a.example/in", "https://me:pass@a.example:443/in"),
        ("https://me:pass@a.example:443/in", "https://me:pass@a.example/in"),
        ("https://[::1]/in", "https://[::1]:443/in"),
    ],
)
def test_the_port_may_be_signed_or_not(ours: str, signed: str) -> None:
    request = case("text", [], form(BASE, Body="hi")).request()
    signature = RequestValidator(TOKEN).compute_signature(signed, parameters(request))

    carrier(ours).verify(replace(request, headers={**FORM, "x-twilio-signature": signature}))


@pytest.mark.parametrize("signed", ["http://a.example/in", "https://a.example:80/in", "https://b.example/in"])
def test_another_url_is_not_ours(signed: str) -> None:
    with pytest.raises(BadSignature):
        carrier("https://a.example/in").verify(sign(case("text", [], form(BASE)).request(), url=signed))


CALL = b"CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212"
SAID = (
    b"Body=Stop+%26+go+%F0%9F%91%8B&AccountSid=AC0001&From=%2B14155550101&To=%2B14155550199"
    b"&NumMedia=0&ToCity=&MessageSid=SM0001"
)


@pytest.mark.parametrize(
    ("token", "url", "query", "body", "signature"),
    [
        ("12345", "https://mycompany.com/myapp.php", b"foo=1&bar=2", CALL, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        ("12345", "https://mycompany.com/myapp.php", b"foo=1&bar=2", CALL, "kvajT1Ptam85bY51eRf/AJRuM3w="),
        (
            "12345",
            "https://mycompany.com/myapp.php",
            b"foo=1&bar=2",
            b"Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234",
            "IK+Dwps556ElfBT0I3Rgjkr1wJU=",
        ),
        (TOKEN, URL, b"tenant=7", SAID, "JBaP0Uu3YWaTNP69t0g5JRREPjE="),
    ],
)
def test_published_signatures(token: str, url: str, query: bytes, body: bytes, signature: str) -> None:
    headers = {**FORM, "x-twilio-signature": signature}

    Twilio("acme", TwilioOptions(auth_tokens=(Secret(token),)), url).verify(
        RawRequest("acme", "POST", query, headers, body, received_at=0)
    )


FIELDS = st.lists(st.tuples(st.text(), st.text()), max_size=6)


@given(signed=FIELDS, sent=FIELDS, query=st.sampled_from(["", "a=1", "a=%2F&b"]), same=st.booleans())
def test_agrees_with_the_official_validator(
    signed: list[tuple[str, str]], sent: list[tuple[str, str]], query: str, same: bool
) -> None:
    body = urlencode(signed).encode()
    request = sign(RawRequest("acme", "POST", query.encode(), FORM, body, received_at=0))
    arrived = request if same else replace(request, body=urlencode(sent).encode())
    signature = arrived.headers["x-twilio-signature"]
    official = RequestValidator(TOKEN).validate(full_url(arrived), parameters(arrived), signature)

    try:
        carrier().verify(arrived)
        ours = True
    except BadSignature:
        ours = False

    assert official == ours


@pytest.mark.parametrize(
    ("replies", "body"),
    [
        ([], b"<Response/>"),
        (["You are in."], b"<Response><Message>You are in.</Message></Response>"),
        (["a", "b"], b"<Response><Message>a</Message><Message>b</Message></Response>"),
        (["<b>&é"], "<Response><Message>&lt;b&gt;&amp;é</Message></Response>".encode()),
        (["a\x00\x0b\ud800\ufffe"], b"<Response><Message>a</Message></Response>"),
    ],
)
def test_replies_become_twiml(replies: list[str], body: bytes) -> None:
    assert carrier().answer([outgoing(reply) for reply in replies]) == Answer(200, body, "text/xml")


def is_xml(character: str) -> bool:
    try:
        ElementTree.fromstring(f"<a>&#{ord(character)};</a>")  # noqa: S314 (our own document)
    except ElementTree.ParseError:
        return False
    return True


@given(ANY_TEXT)
def test_a_reply_arrives_as_written_less_what_xml_cannot_carry(reply: str) -> None:
    twiml = ElementTree.fromstring(carrier().answer([outgoing(f"!{reply}")]).body)  # noqa: S314 (our own document)

    assert twiml.findtext("Message") == "!" + "".join(filter(is_xml, reply))


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (BadSignature("why"), Answer(403)),
        (BadPayload("From is missing."), Answer(400, b"From is missing.", "text/plain")),
        (TooManyFields("why"), Answer(400, b"why", "text/plain")),
        (BodyTooLarge("why"), Answer(413, b"why", "text/plain")),
        (WrongContentType("why"), Answer(415, b"why", "text/plain")),
        (StoreUnavailable("why"), Answer(503, headers=(("retry-after", "1"),))),
    ],
)
def test_errors_become_a_status_and_never_a_text_to_the_person(error: RequestError, answer: Answer) -> None:
    assert carrier().answer(error) == answer


def test_options_need_a_token_and_hide_it() -> None:
    with pytest.raises(ValidationError):
        TwilioOptions(auth_tokens=())

    options = TwilioOptions(auth_tokens=(Secret(TOKEN),), shared_keys={"key1": Secret(SHARED)}, retries=True)
    assert Twilio("acme", options, URL).retries
    assert TOKEN not in repr(options)
    assert SHARED not in repr(options)


SENDING = TwilioOptions(auth_tokens=(Secret(TOKEN),), account_sid="AC" + "0" * 32)


@pytest.mark.parametrize(
    "found",
    [
        SendCase("queued", "SM2", 201, b'{"sid": "SM2", "status": "queued"}'),
        SendCase("opted out", "opted_out", 400, b'{"code": 21610, "message": "unsubscribed"}'),
        SendCase("no such number", "invalid_number", 400, b'{"code": 21211}'),
        SendCase("queue full", "throttled", 400, b'{"code": 21611}'),
        SendCase("too many requests", "throttled", 429, b'{"code": 20429}'),
        SendCase("wrong token", "auth", 401, b'{"code": 20003}'),
        SendCase("unknown code", "permanent", 400, b'{"code": 1}'),
        SendCase("out of order", "temporary", 503, b"<html>"),
        SendCase("no id", "permanent", 200, b"[]"),
    ],
    ids=lambda found: found.label,
)
async def test_sending(found: SendCase) -> None:
    http = await check_send(Twilio("acme", SENDING, URL), found, outgoing("Hi & é"), PRIVATE, fails=found.status != 201)

    assert http.urls == [("POST", f"https://api.twilio.com/2010-04-01/Accounts/AC{'0' * 32}/Messages.json")]
    headers, body = http.requests[0]
    assert headers["Authorization"] == "Basic " + b64encode(f"AC{'0' * 32}:{TOKEN}".encode()).decode()
    assert parse_qsl(body.decode()) == [("To", SENDER), ("From", RECIPIENT), ("Body", "Hi & é")]


async def test_whatsapp_addresses_are_sent_with_their_prefix() -> None:
    message = replace(outgoing(), channel="whatsapp")
    sent = SendCase("queued", "SM2", 201, b'{"sid": "SM2"}')

    http = await check_send(Twilio("acme", SENDING, URL), sent, message, PRIVATE, fails=False)

    assert parse_qsl(http.requests[0][1].decode())[:2] == [
        ("To", f"whatsapp:{SENDER}"),
        ("From", f"whatsapp:{RECIPIENT}"),
    ]


def test_behind_a_proxy_its_headers_tell_the_url() -> None:
    proxied = {**FORM, "x-forwarded-proto": "https", "x-forwarded-host": "sms.example.com"}
    request = replace(case("text", [], form(BASE)).request(), headers=proxied, path="/in/twilio")
    behind = Twilio("acme", TwilioOptions(auth_tokens=(Secret(TOKEN),)), None)

    behind.verify(sign(request))
    with pytest.raises(BadSignature):
        behind.verify(replace(sign(request), path="/in/other"))
    with pytest.raises(BadSignature):
        behind.verify(replace(sign(request), headers={**sign(request).headers, "x-forwarded-host": "[a"}))
