"""Vonage's SMS API, with the signer of its SDK as the witness for HMACs. It cannot do the plain MD5 hash any more."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from vonage_http_client.auth import Auth

from adapters.carriers.vonage_sms import VonageSms, VonageSmsOptions
from router.errors import BadPayload, BadSignature, RequestError, SendError, StoreUnavailable, TooManyFields
from router.ports import MOST_FORM_FIELDS, Parsed, Secret
from router.types import Answer, Binary, Inbound, Part, RawRequest, Receipt
from tests.kit import Case, SendCase, check_forged, check_hostile, check_inbound, check_send, outgoing

SECRET, NEW_SECRET = "vonageSignatureSecret0123456789ab", "vonageSignatureSecret-new"
SENDER, RECIPIENT = "447700900301", "447700900399"
FORM = {"content-type": "application/x-www-form-urlencoded"}
JSON = {"content-type": "application/json; charset=utf-8"}
PRIVATE = [SECRET, NEW_SECRET, SENDER, "Hello there"]
BASE = {
    "msisdn": SENDER,
    "to": RECIPIENT,
    "messageId": "0A01",
    "type": "text",
    "api-key": "abcd1234",
    "message-timestamp": "2026-01-01 00:00:00",
    "timestamp": "1767225600",
    "nonce": "n-1",
}


def carrier(method: Any = "sha256", **options: Any) -> VonageSms:
    secrets = (Secret(NEW_SECRET), Secret(SECRET))
    return VonageSms("acme", VonageSmsOptions(signature_secrets=secrets, signature_method=method, **options), None)


def signature(fields: Mapping[str, Any], secret: str = SECRET, method: Any = "sha256") -> str:
    signed: str = Auth(api_key="abcd1234", signature_secret=secret, signature_method=method).sign_params({**fields})
    return signed


def sign(request: RawRequest, secret: str = SECRET) -> RawRequest:
    """Puts `sig` where the fields are."""
    if request.headers.get("content-type", "").startswith("application/json"):
        fields = orjson.loads(request.body)
        return replace(request, body=orjson.dumps({**fields, "sig": signature(fields, secret)}))
    part = "query" if request.method == "GET" else "body"
    form = getattr(request, part)
    given = dict(parse_qsl(form.decode(errors="replace"), keep_blank_values=True, max_num_fields=2000))
    return replace(request, **{part: form + b"&sig=" + signature(given, secret).encode()})


def fields(**more: Any) -> dict[str, Any]:
    return {name: value for name, value in {**BASE, **more}.items() if value is not None}


def form(**more: Any) -> bytes:
    return urlencode(fields(**more)).encode()


def text(words: str, **more: Any) -> Inbound:
    return replace(Inbound("0A01", SENDER, RECIPIENT, words), **more)


def posted(label: str, expected: Sequence[Parsed] | type[RequestError], **more: Any) -> Case:
    return Case(label, expected, form(**more), headers=FORM)


def got(label: str, expected: Sequence[Parsed] | type[RequestError], **more: Any) -> Case:
    return Case(label, expected, query=form(**more), method="GET")


def as_json(label: str, expected: Sequence[Parsed] | type[RequestError], **more: Any) -> Case:
    return Case(label, expected, orjson.dumps(fields(**more)), headers=JSON)


PART = {"concat": "true", "concat-ref": "170", "concat-total": "3", "concat-part": "2"}
BINARY: dict[str, Any] = {"type": "binary", "data": "0011AAff", "udh": "06050415811581"}
RECEIPT: dict[str, Any] = {
    "type": None,
    "to": RECIPIENT,
    "network-code": "23410",
    "price": "0.03",
    "scts": "2601010000",
}

CASES = [
    posted("form", [text("Hello there")], text="Hello there", keyword="HELLO"),
    got("query", [text("STOP")], text="STOP", keyword="STOP"),
    as_json("json", [text("¿Qué tal? 🌮")], text="¿Qué tal? 🌮", type="unicode"),
    posted("what is signed cleaned", [text("Join us & win=yes")], text="Join us & win=yes"),
    posted("text is kept as it is", [text(" arrêt 👋🏽 % + \r\n")], text=" arrêt 👋🏽 % + \r\n"),
    posted("short code", [text("hi", recipient="54321")], to="54321", text="hi"),
    posted("name", [text("hi", sender="ACME")], msisdn="ACME", text="hi"),
    posted("part", [text("second", part=Part("170", 3, 2))], text="second", **PART),
    posted("part without words", [text("", part=Part("170", 3, 2))], text="", **PART),
    as_json("part in json", [text("x", part=Part("170", 3, 2))], text="x", **PART),
    posted("part of no number", [text("x")], text="x", **{**PART, "concat-part": "4"}),
    posted("part of what is not counted", [text("x")], text="x", **{**PART, "concat-total": "many"}),
    posted("not a part", [text("x")], text="x", **{**PART, "concat": "false"}),
    got("binary", [text("", binary=Binary("0011aaff", "06050415811581"))], **BINARY),
    got("binary without header", [text("", binary=Binary("0011aaff", ""))], **{**BINARY, "udh": None}),
    got(
        "part of a binary",
        [text("", binary=Binary("00", ""), part=Part("1", 2, 1))],
        type="binary",
        data="00",
        concat="true",
        **{"concat-ref": "1", "concat-total": "2", "concat-part": "1"},
    ),
    got("empty binary", [], type="binary"),
    got("binary is not hex", BadPayload, **{**BINARY, "data": "Hello there"}),
    posted("empty text", [], text=""),
    posted("no text", []),
    posted("delivered", [Receipt("0A01", RECIPIENT, SENDER, None)], status="delivered", **RECEIPT, **{"err-code": "0"}),
    got(
        "opted out",
        [Receipt("0A01", RECIPIENT, SENDER, "opted_out", "9")],
        status="failed",
        **RECEIPT,
        **{"err-code": "9"},
    ),
    as_json(
        "gone",
        [Receipt("0A01", RECIPIENT, SENDER, "invalid_number", "3")],
        status="rejected",
        **RECEIPT,
        **{"err-code": "3"},
    ),
    posted("expired", [Receipt("0A01", RECIPIENT, SENDER, "temporary")], status="expired", **RECEIPT),
    posted(
        "refused for some other reason",
        [Receipt("0A01", RECIPIENT, SENDER, "permanent", "99")],
        status="failed",
        **RECEIPT,
        **{"err-code": "99"},
    ),
    posted("on its way", [], status="buffered", **RECEIPT, **{"err-code": "0"}),
    posted("nobody knows", [], status="unknown", **RECEIPT),
    posted("receipt without id", [], status="delivered", messageId=None),
    posted("neither sender nor recipient", [], msisdn=None, to=None, text="Hello there"),
    posted("no sender", BadPayload, msisdn=None, text="Hello there"),
    posted("no recipient", BadPayload, to="", text="Hello there"),
    posted("no id", BadPayload, messageId=None, text="Hello there"),
    got("stale", BadSignature, timestamp="1767225299", text="Hello there"),
    got("from the future", BadSignature, timestamp="1767225901", text="Hello there"),
    got("time is no number", BadSignature, timestamp="now", text="Hello there"),
    got("no time", BadSignature, timestamp="", text="Hello there"),
    Case("unsigned", BadSignature, form(text="Hello there"), headers=FORM, sign=False),
    Case("unsigned query", BadSignature, query=form(text="Hello there"), method="GET", sign=False),
    Case("not json", BadSignature, b"{STOP", headers=JSON, sign=False),
    Case("a list", BadSignature, b"[]", headers=JSON, sign=False),
    Case("over a thousand fields", BadSignature, b"&".join([b"a=b"] * (MOST_FORM_FIELDS + 1)), sign=False),
]


@pytest.mark.parametrize("found", CASES, ids=lambda found: found.label)
def test_inbound(found: Case) -> None:
    check_inbound(carrier(), found, sign, PRIVATE)


class Strict(VonageSms):
    """Refuses the call without anything by which the dashboard tries an address: to the runner that is rubbish."""

    def verify(self, request: RawRequest) -> None:
        super().verify(request)
        if not (request.query or request.body):
            raise BadSignature("The request is empty.")


def test_rubbish_is_refused_in_order() -> None:
    strict = Strict("acme", VonageSmsOptions(signature_secrets=(Secret(SECRET),)), None)

    check_hostile(strict, [found for found in CASES if found.sign], sign)


def test_the_dashboard_may_try_the_address() -> None:
    for method in ("GET", "POST"):
        empty = RawRequest("acme", method, b"", {}, b"", received_at=0)
        carrier().verify(empty)

        assert list(carrier().parse(empty)) == []
    assert carrier().answer([]) == Answer(200)


def test_both_secrets_are_live_during_a_rotation() -> None:
    found = posted("text", [text("hi")], text="hi")

    check_inbound(carrier(), found, partial(sign, secret=NEW_SECRET), PRIVATE)


SAID = fields(text="a=b & c", keyword="A=B")


@pytest.mark.parametrize(
    ("method", "sig"),
    [
        ("md5hash", "1a3949d5fcf4f90ef9366f68355e1d72"),
        ("md5", "9ddada15eed1c95bf06bcafa92a99f49"),
        ("sha1", "95a046d582a32b3316f8b98a4ca7d81b52830fcd"),
        ("sha256", "ec3a948ae0ee7ffebe210c39d12629fb1f69d21ff9c2476a67462b81d70df5b9"),
        (
            "sha512",
            "4749195e95126e55a8749fe61f85b5fffc73c6035787860eee7db23c49a0580c"
            "6bba4884cbd6724891914511ea678783dbcac0293eee645a24b2c21a1801d2f2",
        ),
    ],
)
@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_published_signatures(method: str, sig: str, case: Any) -> None:
    query = urlencode({**SAID, "sig": case(sig)}).encode()
    request = RawRequest("acme", "GET", query, {}, b"", received_at=1_767_225_600)

    carrier(method).verify(request)
    assert list(carrier(method).parse(request)) == [text("a=b & c")]
    others = {"md5hash", "md5", "sha1", "sha256", "sha512"} - {method}
    for other in others:
        check_forged(carrier(other), request, PRIVATE)


@pytest.mark.parametrize(
    ("method", "sig"),
    [
        ("md5hash", "7d43241108912b32cc315b48ce681acf"),
        ("sha256", "8d1b0428276b6a070578225914c3502cc0687a454dfbbbb370c76a14234cb546"),
    ],
)
def test_signatures_published_with_the_java_sdk(method: Any, sig: str) -> None:
    options = VonageSmsOptions(signature_secrets=(Secret("abcde"),), signature_method=method)
    query = f"a=alphabet&b=bananas&timestamp=2100&sig={sig}".encode()

    VonageSms("acme", options, None).verify(RawRequest("acme", "GET", query, {}, b"", received_at=2100))


def test_blank_values_may_be_left_out_of_what_is_signed() -> None:
    # The SDK for Java leaves them out, and cleans names, too.
    signed = "".join(f"&{name}={value}" for name, value in sorted(fields(text="hi", a_b="1").items()))
    sig = hashlib.md5(signed.encode() + SECRET.encode()).hexdigest()  # noqa: S324 (what Vonage does)
    query = urlencode({**fields(text="hi", keyword=" ", udh=""), "a&b": "1", "sig": sig}).encode()

    carrier("md5hash").verify(RawRequest("acme", "GET", query, {}, b"", received_at=1_767_225_600))


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="&="), min_size=1)
VALUES = st.text(st.characters(codec="utf-8"))
#: Not so the SDK for Java, which we heed as well: it does not sign what is blank.
SIGNED_BY_ALL = VALUES.filter(str.strip)


@given(
    signed=st.dictionaries(NAMES, VALUES),
    sent=st.dictionaries(NAMES, SIGNED_BY_ALL),
    method=st.sampled_from(["md5", "sha1", "sha256", "sha512"]),
    same=st.booleans(),
)
def test_agrees_with_the_official_validator(
    signed: dict[str, str], sent: dict[str, str], method: str, same: bool
) -> None:
    signed["timestamp"] = sent["timestamp"] = "1767225600"
    sig = signature({name: value for name, value in signed.items() if name != "sig"}, SECRET, method)
    arrived = {**(signed if same else sent), "sig": sig}
    request = RawRequest("acme", "GET", urlencode(arrived).encode(), {}, b"", received_at=1_767_225_600)
    official = Auth(api_key="abcd1234", signature_secret=SECRET, signature_method=method).check_signature({**arrived})

    try:
        carrier(method).verify(request)
        ours = True
    except BadSignature:
        ours = False

    assert official == ours


def test_numbers_in_json_are_signed_as_they_are_written() -> None:
    written = {
        **fields(text="hi"),
        "timestamp": 1767225600,
        "concat": True,
        "concat-ref": 170,
        "concat-total": 2,
        "concat-part": 1,
        "nonce": None,
    }
    sent = {
        **fields(text="hi"),
        "concat": "true",
        "concat-ref": "170",
        "concat-total": "2",
        "concat-part": "1",
        "nonce": "",
    }
    body = orjson.dumps({**written, "sig": signature(sent)})
    request = RawRequest("acme", "POST", b"", JSON, body, received_at=1_767_225_600)

    carrier().verify(request)
    assert list(carrier().parse(request)) == [text("hi", part=Part("170", 2, 1))]


def test_the_window_can_be_wider() -> None:
    stale = sign(got("stale", [], timestamp="1767222000", text="hi").request())

    check_forged(carrier(), stale, PRIVATE)
    carrier(tolerance=3600).verify(stale)


def unsigned() -> VonageSms:
    return VonageSms("acme", VonageSmsOptions(unauthenticated=True), None)


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (form(text="hi"), FORM, [text("hi")]),
        (orjson.dumps(fields(text="hi")), {}, [text("hi")]),
        (b"", {}, []),
        (b"[]", JSON, BadPayload),
        (b"STOP", JSON, BadPayload),
        (b"{STOP", FORM, BadPayload),
        (b"&".join([b"a=b"] * (MOST_FORM_FIELDS + 1)), FORM, TooManyFields),
    ],
)
def test_without_signatures_everything_is_read(body: bytes, headers: dict[str, str], expected: Any) -> None:
    request = RawRequest("acme", "POST", b"", headers, body, received_at=0)
    unsigned().verify(request)

    if isinstance(expected, type):
        with pytest.raises(expected):
            unsigned().parse(request)
    else:
        assert list(unsigned().parse(request)) == expected


def test_a_post_may_have_its_fields_in_the_query() -> None:
    request = RawRequest("acme", "POST", form(text="hi"), {}, b"", received_at=0)

    assert list(unsigned().parse(request)) == [text("hi")]


def test_options_say_whether_vonage_signs() -> None:
    for wrong in ({}, {"signature_secrets": (Secret(SECRET),), "unauthenticated": True}):
        with pytest.raises(ValidationError, match="must either be signed or not"):
            VonageSmsOptions.model_validate(wrong)
    assert SECRET not in repr(VonageSmsOptions(signature_secrets=(Secret(SECRET),)))


def test_who_answers_and_how_fast() -> None:
    assist = carrier(opt_out_assist=True)

    assert set(assist.answers_itself("long_code", "US")) == {"opt_out", "opt_in", "help"}
    assert set(assist.answers_itself("long_code", "GB")) == set()
    assert set(carrier().answers_itself("long_code", "US")) == set()
    assert set(carrier().answers_itself("toll_free", "US")) == {"opt_out", "opt_in"}
    assert [carrier().texts_per_second("long_code", country) for country in ("US", "GB")] == [1, 30]
    assert carrier().answer(StoreUnavailable("why")) == Answer(503, headers=(("retry-after", "1"),))
    assert carrier().retries


SENDING: dict[str, Any] = {"api_key": "abcd1234", "api_secret": Secret("sec_77bb")}
TAKEN = SendCase("taken", "0C01", 200, b'{"message-count": "1", "messages": [{"status": "0", "message-id": "0C01"}]}')


def refused(label: str, failure: Any, status: str) -> SendCase:
    content = {"message-count": "1", "messages": [{"status": status, "error-text": "to 14155550101"}]}
    return SendCase(label, failure, 200, orjson.dumps(content))


@pytest.mark.parametrize(
    "found",
    [
        TAKEN,
        refused("throttled", "throttled", "1"),
        refused("wrong parameter", "permanent", "3"),
        refused("wrong secret", "auth", "4"),
        refused("fault of theirs", "temporary", "5"),
        refused("not routable", "invalid_number", "6"),
        refused("barred", "opted_out", "7"),
        refused("no credit", "auth", "9"),
        refused("demo account", "permanent", "29"),
        refused("deactivated", "invalid_number", "33"),
        refused("unknown code", "permanent", "77"),
        SendCase(
            "second part refused",
            "throttled",
            200,
            b'{"messages": [{"status": "0", "message-id": "0C01"}, {"status": "1"}]}',
        ),
        SendCase("wrong token", "auth", 401, b"Invalid API token"),
        SendCase("too many", "throttled", 429, b"", {"retry-after": "3"}),
        SendCase("out of order", "temporary", 502, b"<html>"),
        SendCase("no parts", "permanent", 200, b'{"messages": []}'),
        SendCase("no id", "permanent", 200, b'{"messages": [{"status": "0"}]}'),
        SendCase("no list", "permanent", 200, b'{"messages": "none"}'),
    ],
    ids=lambda found: found.label,
)
async def test_sending(found: SendCase) -> None:
    sender = carrier(**SENDING)
    hidden = [*PRIVATE, "sec_77bb", "14155550101"]
    http = await check_send(sender, found, outgoing("Hi & é"), hidden, fails=found is not TAKEN)

    assert sender.sends
    assert not carrier().sends
    assert http.urls == [("POST", "https://rest.nexmo.com/sms/json")]
    headers, body = http.requests[0]
    assert headers == {"Content-Type": "application/x-www-form-urlencoded"}
    assert dict(parse_qsl(body.decode())) == {
        "api_key": "abcd1234",
        "api_secret": "sec_77bb",
        "from": "14155550199",
        "to": "14155550101",
        "text": "Hi & é",
        "type": "text",
        "client-ref": "evt_1",
    }


async def test_what_the_phones_alphabet_lacks_is_sent_as_unicode() -> None:
    http = await check_send(carrier(**SENDING), TAKEN, outgoing("ça 👋 \ud800"), PRIVATE, fails=False)

    sent = dict(parse_qsl(http.requests[0][1].decode()))
    assert (sent["text"], sent["type"]) == ("ça 👋 ?", "unicode")


async def test_a_pause_that_vonage_asks_for_is_kept() -> None:
    with pytest.raises(SendError) as raised:
        await check_send(
            carrier(**SENDING), SendCase("", "0C01", 429, b"", {"retry-after": "3"}), outgoing(), [], fails=False
        )

    assert raised.value.retry_after == 3
