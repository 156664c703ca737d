"""Kannel, which signs nothing and publishes no package: its user guide and its code are what is held against."""

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, quote_from_bytes, urlencode, urlsplit

import pytest
from hypothesis import given
from pydantic import ValidationError

from adapters.carriers.kannel import Kannel, KannelOptions, KannelParameters
from router.errors import (
    BadPayload,
    BadSignature,
    BodyTooLarge,
    RequestError,
    SendError,
    StoreUnavailable,
    TooManyFields,
)
from router.ports import MOST_FORM_FIELDS, Secret
from router.types import Answer, Binary, Inbound, Outgoing, Part, RawRequest, Receipt
from tests.kit import ANY_TEXT, Case, SendCase, check_hostile, check_inbound, check_send, outgoing
from tests.standins.recorder import Recorder

TOKEN, NEW_TOKEN, PASSWORD = "kn-4f8a1c", "kn-99d0e2", "s3cr3t-horse"
PERSON, NUMBER = "+2348031234567", "24453"
URL = "https://sms.example.com/in/kannel"
PLAIN = "text/plain; charset=UTF-8"
PRIVATE = [TOKEN, NEW_TOKEN, PASSWORD, "8031234567", "Hello there"]
BASE = {
    "id": "k-1",
    "from": PERSON,
    "to": NUMBER,
    "ts": "1770112800",
    "coding": "0",
    "charset": "UTF-8",
    "smsc": "MTN1",
}
POSTED = {
    "content-type": 'text/plain; charset="UTF-8"',
    "x-kannel-from": PERSON,
    "x-kannel-to": NUMBER,
    "x-kannel-time": "2026-02-03 10:00:00",
    "x-kannel-coding": "0",
}


def options(**more: Any) -> KannelOptions:
    return KannelOptions(**{"tokens": (Secret(NEW_TOKEN), Secret(TOKEN)), **more})


def carrier(public_url: str | None = URL, **more: Any) -> Kannel:
    return Kannel("acme", options(**more), public_url)


def sign(request: RawRequest, token: str = TOKEN) -> RawRequest:
    return replace(request, query=f"token={token}&".encode() + request.query)


def said(words: str, **more: Any) -> Inbound:
    return replace(Inbound("k-1", PERSON, NUMBER, words), **more)


def get(text: bytes | str | None = "Hello there", **more: str | bytes | None) -> bytes:
    """A query as Kannel writes it: every octet that is no letter or digit is escaped."""
    fields = {**BASE, "text": text, **more}
    octets = {name: value.encode() if isinstance(value, str) else value for name, value in fields.items()}
    pairs = (f"{name}={quote_from_bytes(value, safe='')}" for name, value in octets.items() if value is not None)
    return "&".join(pairs).replace("%20", "+").encode()


def case(label: str, expected: Any, query: bytes) -> Case:
    return Case(label, expected, query=query, method="GET")


def posted(
    label: str, expected: Any, body: bytes, query: bytes = b"id=k-1", headers: dict[str, str] | None = None
) -> Case:
    return Case(label, expected, body, query, headers={**POSTED, **(headers or {})})


def utf16(text: str) -> bytes:
    return text.encode("utf-16-be")


PART = bytes.fromhex("0500032a0201")
PART_16 = bytes.fromhex("0608040102 0302")
PICTURE = bytes.fromhex("06050423f423f4")

CASES = [
    case("text", [said("Hello there")], get()),
    case("text is kept as it is", [said(" arrêt 👋🏽 + & = % \r\n\0")], get(" arrêt 👋🏽 + & = % \r\n\0")),
    case("empty text", [said("")], get("")),
    case("utf-16 octets", [said("СТОП")], get(utf16("СТОП"), coding="2", charset="UTF-16BE")),
    case("utf-16 by its coding alone", [said("СТОП 😀")], get(utf16("СТОП 😀"), coding="2", charset=None)),
    case("recoded to utf-8", [said("СТОП")], get("СТОП", coding="2", charset="UTF-8")),
    case("half a surrogate pair", [said("STOP\ufffd")], get(utf16("STOP😀")[:-2], coding="2", charset="UTF-16BE")),
    case("utf-16 that is none", [said("STOP!")], get(b"STOP!", coding="2", charset="UTF-16BE")),
    case("windows-1252", [said("Arrêt – €")], get(b"Arr\xeat \x96 \x80", charset="WINDOWS-1252")),
    case("another charset", [said("стоп")], get("стоп".encode("iso8859-5"), charset="iso-8859-5")),
    case("no utf-8", [said("Désolé")], get(b"D\xe9sol\xe9")),
    case("gsm of an old build", [said("Café £ €")], get(b"Caf\x05 \x01 \x1be", charset="GSM")),
    case("charset that nobody knows", [said("Arrêt")], get("Arrêt", charset="X-KLINGON")),
    case("charset of Python alone", [said("STOP")], get("STOP", charset="zip_codec")),
    case("no charset, no coding", [said("Arrêt")], get("Arrêt", charset=None, coding=None)),
    case("text in 8 bit", [said("STOP é")], get("STOP é", coding="1", charset="8-BIT")),
    case("latin text in 8 bit", [said("Désolé")], get(b"D\xe9sol\xe9", coding="1", charset="binary")),
    case(
        "data in 8 bit",
        [said("", binary=Binary("001122feff", PICTURE.hex()))],
        get(bytes.fromhex("001122feff"), coding="1", charset="8-BIT", udh=PICTURE),
    ),
    case(
        "data by its charset alone",
        [said("", binary=Binary("00ff", ""))],
        get(b"\x00\xff", coding=None, charset="8-BIT"),
    ),
    case("part", [said("Hello", part=Part("42", 2, 1))], get("Hello", udh=PART)),
    case("part in hex", [said("Hello", part=Part("42", 2, 1))], get("Hello", udh=PART.hex())),
    case("part by 16 bits", [said("Hello", part=Part("258", 3, 2))], get("Hello", udh=PART_16)),
    case("empty part", [said("", part=Part("42", 2, 1))], get("", udh=PART)),
    case("only part", [said("Hello")], get("Hello", udh=bytes.fromhex("0500032a0101"))),
    case("part that is none", [said("Hello")], get("Hello", udh=bytes.fromhex("0500032a0203"))),
    case("cut header", [said("Hello")], get("Hello", udh=PART[:4])),
    case("double zero", [said("HELP", sender="+447700900123")], get("HELP", **{"from": "00447700900123"})),
    case("plain digits", [said("HELP", sender="2348031234567")], get("HELP", **{"from": "2348031234567"})),
    case("decoded plus", [said("HELP", sender=" 2348031234567")], get("HELP", **{"from": " 2348031234567"})),
    case("name", [said("HELP", sender="MTN")], get("HELP", **{"from": "MTN"})),
    case("our number with double zero", [said("HELP", recipient="+44770090099")], get("HELP", to="0044770090099")),
    case("no time", [said("HELP")], get("HELP", ts=None)),
    case("time that is none", [said("HELP")], get("HELP", ts="yesterday")),
    posted("post", [said("Murakoze ✔ JOIN")], "Murakoze ✔ JOIN".encode()),
    posted("empty post", [said("")], b""),
    posted(
        "post in utf-16",
        [said("СТОП")],
        utf16("СТОП"),
        headers={"content-type": 'text/plain; charset="UTF-16BE"', "x-kannel-coding": "2"},
    ),
    posted(
        "post without a charset", [said("СТОП")], utf16("СТОП"), headers={"content-type": "", "x-kannel-coding": "2"}
    ),
    posted(
        "post of data",
        [said("", binary=Binary("00ff", ""))],
        b"\x00\xff",
        headers={"content-type": "application/octet-stream", "x-kannel-coding": "1"},
    ),
    posted("post of data, no coding", [said("STOP")], b"STOP", headers={"content-type": "application/octet-stream"}),
    posted("part in a post", [said("Hello", part=Part("42", 2, 1))], b"Hello", headers={"x-kannel-udh": PART.hex()}),
    posted("header that is no hex", [said("Hello")], b"Hello", headers={"x-kannel-udh": "not hex"}),
    posted(
        "post with the sender in its address",
        [said("Hello", sender="+250788383383")],
        b"Hello",
        b"id=k-1&from=%2B250788383383",
        headers={"x-kannel-from": ""},
    ),
    case("delivered", [Receipt("evt_1", None, PERSON, None)], b"dlr=1&uuid=evt_1&to=%2B2348031234567&ts=1"),
    case("failed", [Receipt("evt_1", None, None, "permanent", "2")], b"status=2&uuid=evt_1"),
    case("rejected", [Receipt("evt_1", NUMBER, None, "permanent", "16")], b"dlr=16&id=evt_1&from=24453"),
    case("delivered after it was queued", [Receipt("evt_1", None, None, None)], b"dlr=5&uuid=evt_1"),
    *(
        case(f"on the way: {bits!r}", [], b"uuid=evt_1&dlr=" + bits)
        for bits in (b"4", b"8", b"12", b"0", b"", b"x", b"%B2")
    ),
    case("report of what has no id", [], b"dlr=1&to=24453"),
    case("report and empty text", [Receipt("evt_1", None, None, None)], b"dlr=1&uuid=evt_1&text="),
    posted("posted report", [Receipt("evt_1", None, None, None)], b"", b"dlr=1&uuid=evt_1"),
    case("no sender", BadPayload, get(**{"from": None})),
    case("blank sender", BadPayload, get(**{"from": " "})),
    case("no recipient", BadPayload, get(to=None)),
    case("no text", BadPayload, get(None)),
    case("nothing", BadPayload, b""),
    posted("post-xml", BadPayload, b"<message/>", headers={"content-type": "text/xml"}),
    posted("post without sender", BadPayload, b"Hello there", headers={"x-kannel-from": ""}),
    Case("no token", BadSignature, query=get(), method="GET", sign=False),
    Case("wrong token", BadSignature, query=b"token=nope&" + get(), method="GET", sign=False),
    Case("empty token", BadSignature, query=b"token=&" + get(), method="GET", sign=False),
    Case("token in the body", BadSignature, b"token=" + TOKEN.encode(), headers=POSTED, sign=False),
    case("too many fields", BadSignature, b"&".join([b"a=b"] * (MOST_FORM_FIELDS + 1))),
]


@pytest.mark.parametrize("found", CASES, ids=lambda found: found.label)
def test_inbound(found: Case) -> None:
    check_inbound(carrier(), found, sign, PRIVATE, signed=False)


def test_rubbish_is_refused_in_order() -> None:
    check_hostile(carrier(), CASES, sign)


def test_both_tokens_are_live_during_a_rotation() -> None:
    check_inbound(carrier(), CASES[0], lambda request: sign(request, NEW_TOKEN), PRIVATE, signed=False)


def test_credentials_in_the_url_are_a_proof_too() -> None:
    from_url = carrier(tokens=(), basic=({"user": "kannel", "password": Secret(PASSWORD)},))
    request = CASES[0].request()

    from_url.verify(replace(request, headers={"authorization": "Basic a2FubmVsOnMzY3IzdC1ob3JzZQ=="}))
    with pytest.raises(BadSignature):
        from_url.verify(replace(request, headers={"authorization": "Basic a2FubmVsOm5vcGU="}))
    with pytest.raises(BadSignature):
        from_url.verify(request)


def test_names_of_parameters_are_configured() -> None:
    names = KannelParameters(sender="sender", recipient="dest", text="message", token="key", report=("state",))
    ours = carrier(parameters=names)
    request = Case("", [], query=b"key=kn-4f8a1c&sender=MTN&dest=24453&message=hi&id=1", method="GET").request()

    ours.verify(request)
    assert ours.parse(request) == [Inbound("1", "MTN", "24453", "hi")]
    assert ours.parse(replace(request, query=b"state=1&uuid=7")) == [Receipt("7", None, None, None)]
    with pytest.raises(BadPayload):
        ours.parse(replace(request, query=get()))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("08031234567", "+2348031234567"),
        ("2348031234567", "+2348031234567"),
        ("002348031234567", "+2348031234567"),
        ("+447700900123", "+447700900123"),
        ("447700900123", "447700900123"),
        ("24453", "24453"),
        ("1" * 40, "1" * 40),
        ("MTN", "MTN"),
    ],
)
def test_numbers_without_a_country_code_belong_to_the_region(written: str, read: str) -> None:
    [found] = carrier(region="NG").parse(case("", [], get(**{"from": written})).request())

    assert isinstance(found, Inbound)
    assert found.sender == read


def test_what_has_no_id_gets_the_same_one_each_time() -> None:
    def made(found: Case) -> str:
        [text] = carrier().parse(sign(found.request()))
        assert isinstance(text, Inbound)
        return text.message_id

    same = {made(case("", [], get(id=None))), made(case("", [], get(id=""))), made(case("", [], get(id=None)))}
    others = {
        made(case("", [], get(id=None, ts="1770112801"))),
        made(case("", [], get("Hello", id=None))),
        made(case("", [], get(id=None, udh=PART))),
        made(case("", [], get(id=None, to="24454"))),
        made(posted("", [], b"Hello there", b"")),
        made(posted("", [], b"Hello there", b"", headers={"x-kannel-time": "2026-02-03 10:00:01"})),
    }

    assert len(same) == 1
    assert len(same | others) == 7


@pytest.mark.parametrize(
    ("replies", "answer"),
    [
        ([], Answer(200, b"", PLAIN)),
        (["You are in."], Answer(200, b"You are in.", PLAIN)),
        (["a", "b"], Answer(200, b"a\nb", PLAIN)),
        (["5 € ñ"], Answer(200, "5 € ñ".encode(), PLAIN)),
        (["СТОП"], Answer(200, "СТОП".encode(), PLAIN, (("x-kannel-coding", "2"),))),
        (["\ud800"], Answer(200, b"?", PLAIN, (("x-kannel-coding", "2"),))),
    ],
)
def test_the_reply_is_the_body(replies: list[str], answer: Answer) -> None:
    assert carrier().answer([outgoing(reply) for reply in replies]) == answer


@given(ANY_TEXT)
def test_nothing_is_lost_of_a_reply(reply: str) -> None:
    answer = carrier().answer([outgoing(reply)])

    assert answer.body.decode() == reply.encode("utf-8", "replace").decode()


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (BadSignature("why"), Answer(403)),
        (BadPayload("from is missing."), Answer(200, b"", PLAIN)),
        (TooManyFields("why"), Answer(400, b"why", "text/plain")),
        (BodyTooLarge("why"), Answer(413, b"why", "text/plain")),
        (StoreUnavailable("why"), Answer(503, headers=(("retry-after", "1"),))),
    ],
)
def test_no_error_is_ever_a_text_to_the_person(error: RequestError, answer: Answer) -> None:
    assert carrier().answer(error) == answer


def test_options_need_a_proof_and_hide_it() -> None:
    with pytest.raises(ValidationError):
        KannelOptions()
    with pytest.raises(ValidationError):
        options(region="Nigeria")

    assert KannelOptions(unauthenticated=True)
    assert TOKEN not in repr(options())
    assert not carrier().sends
    assert sending().sends
    assert not carrier().retries
    assert carrier(retries=True).retries
    assert carrier().replies_inline
    assert set(carrier().answers_itself("short_code", None)) == set()
    assert carrier(texts_per_second=30.0).texts_per_second("short_code", None) == 30


def sending(public_url: str | None = URL, **more: Any) -> Kannel:
    gateway = {"sendsms_url": "http://gw:13013/cgi-bin/sendsms", "username": "key", "password": Secret(PASSWORD)}
    return carrier(public_url, **gateway, **more)


@pytest.mark.parametrize(
    "found",
    [
        SendCase("accepted", "evt_1", 202, b"0: Accepted for delivery"),
        SendCase("queued", "evt_1", 202, b"3: Queued for later delivery"),
        SendCase("sent", "evt_1", 200, b"Sent."),
        SendCase("bad request", "permanent", 400, b"Missing receiver number, rejected"),
        SendCase("wrong password", "auth", 403, b"Authorization failed for sendsms"),
        SendCase("not routable", "permanent", 403, b"Not routable. Do not try again."),
        SendCase("too many requests", "throttled", 429, b"", {"retry-after": "7"}),
        SendCase("not now", "temporary", 503, b"Temporal failure, try again later."),
    ],
    ids=lambda found: found.label,
)
async def test_sending(found: SendCase) -> None:
    http = await check_send(sending(smsc="MTN1"), found, message(), PRIVATE, fails=found.status >= 400)

    [(method, url)] = http.urls
    assert (method, http.requests) == ("GET", [({}, b"")])
    assert url.startswith("http://gw:13013/cgi-bin/sendsms?")
    assert dict(parse_qsl(urlsplit(url).query)) == {
        "username": "key",
        "password": PASSWORD,
        "from": NUMBER,
        "to": PERSON,
        "text": "Hi & é",
        "charset": "UTF-8",
        "coding": "0",
        "smsc": "MTN1",
        "dlr-mask": "19",
        "dlr-url": f"{URL}?token={NEW_TOKEN}&dlr=%d&uuid=evt_1&from=24453&to=%%2B2348031234567",
    }


def message(text: str = "Hi & é") -> Outgoing:
    return outgoing(text, NUMBER, PERSON)


async def sent(gateway: Kannel, text: str = "Hi") -> tuple[str, dict[str, str]]:
    http = Recorder(202, b"0: Accepted for delivery")
    message_id = await gateway.send(http, message(text))
    return message_id, dict(parse_qsl(urlsplit(http.urls[0][1]).query))


@pytest.mark.parametrize(("text", "coding"), [("Hi €{}", "0"), ("СТОП", "2"), ("👋", "2"), ("\ud800", "2")])
async def test_what_the_gsm_alphabet_lacks_is_sent_as_utf_16(text: str, coding: str) -> None:
    _, fields = await sent(sending(), text)

    assert (fields["coding"], fields["text"]) == (coding, text.encode("utf-8", "replace").decode())


async def test_a_report_names_the_text_that_it_is_about() -> None:
    """What Kannel makes of the address: `%d` is the report, and `%%` a percent sign."""
    message_id, fields = await sent(sending(tokens=(Secret("a&b=%é"),)))
    query = urlsplit(fields["dlr-url"].replace("%d", "1").replace("%%", "%")).query
    report = RawRequest("acme", "GET", query.encode(), {}, b"", received_at=0)
    ours = carrier(tokens=(Secret("a&b=%é"),))

    ours.verify(report)
    assert ours.parse(report) == [Receipt(message_id, NUMBER, PERSON, None)]


async def test_without_an_address_for_reports_there_is_no_id() -> None:
    basic = ({"user": "kannel", "password": Secret(PASSWORD)},)
    for gateway in (sending(None), sending(tokens=(), basic=basic)):
        message_id, fields = await sent(gateway)

        assert message_id == ""
        assert "dlr-url" not in fields
        assert "dlr-mask" not in fields
    _, fields = await sent(sending(tokens=(), unauthenticated=True))
    assert fields["dlr-url"].startswith(f"{URL}?dlr=%d&uuid=evt_1")


async def test_errors_do_not_repeat_what_was_sent() -> None:
    echo = urlencode({"to": PERSON, "text": "Hello there"}).encode()
    with pytest.raises(SendError) as raised:
        await sending().send(Recorder(400, b"Bad request: " + echo), message("Hello there"))

    assert PERSON not in str(raised.value)
