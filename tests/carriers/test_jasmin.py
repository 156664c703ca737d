"""Jasmin, which signs nothing: its documentation and its code are what is held against.

The package `jasmin` runs only beside a broker and has nothing that reads what it sends; for its alphabet, `gsm0338` is
the witness in `tests/test_gsm.py`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, quote_from_bytes

import pytest
from pydantic import ValidationError

from adapters.carriers.jasmin import Jasmin, JasminOptions
from router.errors import BadPayload, BadSignature, BodyTooLarge, RequestError, StoreUnavailable, TooManyFields
from router.ports import MOST_FORM_FIELDS, Secret
from router.types import Answer, Inbound, RawRequest, Receipt, SendFailure
from tests.kit import Case, SendCase, check_hostile, check_inbound, check_send, outgoing
from tests.standins.recorder import Recorder

TOKEN, NEW_TOKEN, PASSWORD = "js-77aa", "js-99d0", "s3cr3t-horse"
PERSON, NUMBER = "2348031234567", "24453"
URL = "https://sms.example.com/in/jasmin"
FORM = {"content-type": "application/x-www-form-urlencoded"}
PRIVATE = [TOKEN, NEW_TOKEN, PASSWORD, "8031234567", "Hello there"]
BASE = {"id": "j-1", "from": PERSON, "to": NUMBER, "origin-connector": "smpp-mtn", "priority": "0", "coding": "0"}
ACKNOWLEDGED = Answer(200, b"ACK/Jasmin", "text/plain")


def carrier(public_url: str | None = URL, **more: Any) -> Jasmin:
    options = {"tokens": (Secret(NEW_TOKEN), Secret(TOKEN)), **more}
    return Jasmin("acme", JasminOptions(**options), public_url)


def sign(request: RawRequest, token: str = TOKEN) -> RawRequest:
    return replace(request, query=f"token={token}&".encode() + request.query)


def said(words: str, **more: Any) -> Inbound:
    return replace(Inbound("j-1", PERSON, NUMBER, words), **more)


def form(octets: bytes | None = b"Hello there", **more: str | bytes | None) -> bytes:
    """A form as Jasmin writes it: `content` and `binary` hold the same octets."""
    both = {} if octets is None else {"content": octets, "binary": octets.hex().encode()}
    fields: dict[str, str | bytes | None] = {**BASE, **both, **more}
    written = {name: value.encode() if isinstance(value, str) else value for name, value in fields.items()}
    pairs = (f"{name}={quote_from_bytes(value)}" for name, value in written.items() if value is not None)
    return "&".join(pairs).replace("%20", "+").encode()


def case(label: str, expected: Any, body: bytes) -> Case:
    return Case(label, expected, body, headers=FORM)


def utf16(text: str) -> bytes:
    return text.encode("utf-16-be")


RECEIPT = b"id=j-1&id_smsc=2567&level=2&connector=smpp-mtn&sub=001&dlvrd=001&err=000&text=STOP+it&message_status="
CAFE = bytes.fromhex("436166052000200135207d1102")

FAILED: Sequence[tuple[str, SendFailure]] = (
    *((status, "permanent") for status in ("UNDELIV", "REJECTD", "DELETED", "ESME_RSUBMITFAIL")),
    ("EXPIRED", "temporary"),
    ("ESME_RTHROTTLED", "throttled"),
    ("ESME_RINVDSTADR", "invalid_number"),
)
TEXT_CODINGS = ("240", "241", "16", "17")
DATA_CODINGS = ("2", "4", "244", "245", "246", "247", "20", "48")
UNDER_WAY = ("ESME_ROK", "ACCEPTD", "UNKNOWN", "", "ENROUTE")

CASES = [
    case("text", [said("Hello there")], form()),
    case("default alphabet", [said("Café @ £5 ñ_$")], form(CAFE)),
    case("escapes of the alphabet", [said("5 € [a]")], form(b"5 \x1be \x1b<a\x1b>")),
    *(case(f"coding {coding}", [said("Café @ £5 ñ_$")], form(CAFE, coding=coding)) for coding in TEXT_CODINGS),
    case("no coding", [said("Café @ £5 ñ_$")], form(CAFE, coding=None)),
    case("coding that is none", [said("Café @ £5 ñ_$")], form(CAFE, coding="GSM")),
    case("utf-8 in the default alphabet's place", [said("Désolé")], form("Désolé".encode())),
    case("latin in the default alphabet's place", [said("Désolé")], form("Désolé".encode("latin-1"))),
    case("ascii", [said("Join [now] @_$")], form(b"Join [now] @_$", coding="1")),
    case("latin", [said("Désolé")], form("Désolé".encode("latin-1"), coding="3")),
    case("cyrillic", [said("стоп")], form("стоп".encode("iso8859-5"), coding="6")),
    case("hebrew", [said("הסר")], form("הסר".encode("iso8859-8"), coding="7")),
    case("utf-16", [said("توقف 😀")], form(utf16("توقف 😀"), coding="8")),
    case("utf-16 at once", [said("СТОП")], form(utf16("СТОП"), coding="24")),
    case("utf-16 of a waiting message", [said("СТОП")], form(utf16("СТОП"), coding="224")),
    case("half a surrogate pair", [said("STOP\ufffd")], form(utf16("STOP😀")[:-2], coding="8")),
    case("utf-16 that is none", [said("STOP!")], form(b"STOP!", coding="8")),
    *(
        case(f"japanese, coding {coding}, {codec}", [said("停止")], form("停止".encode(codec), coding=coding))
        for coding, codec in (("5", "shift_jis"), ("5", "iso2022_jp"), ("10", "iso2022_jp"), ("13", "euc_jp"))
    ),
    case("korean", [said("수신거부")], form("수신거부".encode("euc_kr"), coding="14")),
    *(case(f"binary {coding}", [], form(coding=coding)) for coding in DATA_CODINGS),
    case("hex in capitals", [said("Join")], form(b"", binary="4A6F696E")),
    case("hex before content", [said("Café")], form(b"", content="Caf�", binary="43616605")),
    case("content alone", [said("Join")], form(b"Join", binary=None)),
    case("hex alone", [said("Join")], form(b"Join", content=None)),
    case("hex that is none", [said("Join")], form(b"Join", binary="4a6f6")),
    case("hex empty", [said("Join")], form(b"Join", binary="")),
    case("empty text", [said("")], form(b"")),
    case("empty hex alone", [said("")], form(b"", content=None)),
    case("plus", [said("hi", sender="+971501234567")], form(b"hi", **{"from": "+971501234567"})),
    case("double zero", [said("hi", sender="+971501234567")], form(b"hi", **{"from": "00971501234567"})),
    case("name", [said("hi", sender="Jasmin")], form(b"hi", **{"from": "Jasmin"})),
    case("names in capitals", [said("hi")], b"Content=hi&Coding=0&From=2348031234567&To=24453&ID=j-1"),
    case("tags", [said("hi")], form(b"hi", tlv_params='{"user_message_reference": 1}', validity="2026-02-04 10:00:00")),
    Case("get", [said("HELP me")], query=form(b"HELP me"), method="GET"),
    case("delivered", [Receipt("j-1", None, None, None)], RECEIPT + b"DELIVRD"),
    *(
        case(f"receipt {status}", [Receipt("j-1", None, None, failure, status)], RECEIPT + status.encode())
        for status, failure in FAILED
    ),
    *(case(f"on the way: {status}", [], RECEIPT + status.encode()) for status in UNDER_WAY),
    case("receipt by its level alone", [], b"id=j-1&level=1"),
    case("receipt of what has no id", [], b"level=2&message_status=DELIVRD"),
    Case("receipt by get", [Receipt("j-1", None, None, None)], query=RECEIPT + b"DELIVRD", method="GET"),
    case("no id", BadPayload, form(id=None)),
    case("no sender", BadPayload, form(**{"from": None})),
    case("no recipient", BadPayload, form(to=None)),
    case("blank recipient", BadPayload, form(to=" ")),
    case("no content", BadPayload, form(None)),
    case("empty body", BadPayload, b""),
    case("too many fields", TooManyFields, b"&".join([b"a=b"] * (MOST_FORM_FIELDS + 1))),
    Case("no token", BadSignature, form(), headers=FORM, sign=False),
    Case("wrong token", BadSignature, form(), b"token=guess", headers=FORM, sign=False),
    Case("empty token", BadSignature, form(), b"token=", headers=FORM, sign=False),
    Case("token in the body", BadSignature, form(token=TOKEN), headers=FORM, sign=False),
]


@pytest.mark.parametrize("found", CASES, ids=lambda found: found.label)
def test_inbound(found: Case) -> None:
    check_inbound(carrier(), found, sign, PRIVATE, signed=False)


def test_rubbish_is_refused_in_order() -> None:
    check_hostile(carrier(), CASES, sign)


def test_both_tokens_are_live_during_a_rotation() -> None:
    check_inbound(carrier(), CASES[0], lambda request: sign(request, NEW_TOKEN), PRIVATE, signed=False)


def test_the_token_may_have_another_name() -> None:
    named = carrier(token_parameter="key")

    named.verify(replace(CASES[0].request(), query=b"key=js-77aa"))
    with pytest.raises(BadSignature):
        named.verify(sign(CASES[0].request()))


@pytest.mark.parametrize(
    ("options", "octets", "text"),
    [
        ({"alphabet": "latin-1"}, b"D\xe9sol\xe9 @", "Désolé @"),
        ({"alphabet": "ascii"}, b"@_$", "@_$"),
        ({"alphabets": {"smpp-mtn": "latin-1"}}, b"D\xe9sol\xe9 @", "Désolé @"),
        ({"alphabets": {"smpp-other": "latin-1"}}, b"@", "¡"),
        ({"alphabet": "latin-1", "alphabets": {"smpp-mtn": "gsm"}}, b"\x00", "@"),
    ],
)
def test_a_connector_may_have_another_alphabet(options: dict[str, Any], octets: bytes, text: str) -> None:
    assert carrier(**options).parse(case("", [], form(octets)).request()) == [said(text)]


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (BadSignature("why"), Answer(403)),
        (BadPayload("to is missing."), ACKNOWLEDGED),
        (TooManyFields("why"), Answer(400, b"why", "text/plain")),
        (BodyTooLarge("why"), Answer(413, b"why", "text/plain")),
        (StoreUnavailable("why"), Answer(503, headers=(("retry-after", "1"),))),
    ],
)
def test_only_what_was_taken_or_makes_no_sense_is_acknowledged(error: RequestError, answer: Answer) -> None:
    assert carrier().answer(error) == answer
    assert carrier().answer([]) == ACKNOWLEDGED
    assert carrier().answer([outgoing("Hi")]) == ACKNOWLEDGED


def test_options_need_a_proof_and_hide_it() -> None:
    with pytest.raises(ValidationError):
        JasminOptions()

    assert JasminOptions(unauthenticated=True)
    assert TOKEN not in repr(JasminOptions(tokens=(Secret(TOKEN),)))
    assert not carrier().sends
    assert sending().sends
    assert carrier().retries
    assert not carrier(retries=False).retries
    assert not carrier().replies_inline
    assert set(carrier().answers_itself("short_code", None)) == set()
    assert carrier(texts_per_second=30.0).texts_per_second("short_code", None) == 30


def sending(public_url: str | None = URL, **more: Any) -> Jasmin:
    return carrier(public_url, send_url="http://gw:1401/send", username="key", password=Secret(PASSWORD), **more)


@pytest.mark.parametrize(
    "found",
    [
        SendCase("accepted", "07033084-5cfd", 200, b'Success "07033084-5cfd"'),
        SendCase("wrong parameter", "permanent", 400, b'Error "Mandatory argument [to] is not found."'),
        SendCase("may not send", "auth", 400, b'Error "Authorization failed for user [u] (Can not send)."'),
        SendCase("wrong password", "auth", 403, b'Error "Authentication failure for username:key"'),
        SendCase("no credit", "auth", 403, b'Error "Cannot charge submit_sm, check RouterPB log file for details"'),
        SendCase("too fast", "throttled", 403, b'Error "User throughput exceeded"'),
        SendCase("no route", "permanent", 412, b'Error "No route found"'),
        SendCase("no connector", "temporary", 412, b'Error "Failover route has no bound connectors"'),
        SendCase("too many requests", "throttled", 429, b"", {"retry-after": "7"}),
        SendCase("out of order", "temporary", 500, b'Error "Cannot send submit_sm"'),
        SendCase("no id", "permanent", 200, b'Success ""'),
        SendCase("something else", "permanent", 200, b"<html>"),
    ],
    ids=lambda found: found.label,
)
async def test_sending(found: SendCase) -> None:
    message = outgoing("Hi & é", NUMBER, f"+{PERSON}")
    http = await check_send(sending(), found, message, PRIVATE, fails=found.label != "accepted")

    assert http.urls == [("POST", "http://gw:1401/send")]
    headers, body = http.requests[0]
    assert headers == {"Content-Type": "application/x-www-form-urlencoded"}
    assert dict(parse_qsl(body.decode())) == {
        "username": "key",
        "password": PASSWORD,
        "from": NUMBER,
        "to": f"+{PERSON}",
        "coding": "0",
        "content": "Hi & é",
        "dlr": "yes",
        "dlr-url": f"{URL}?token={NEW_TOKEN}",
        "dlr-level": "3",
        "dlr-method": "POST",
    }


async def sent(gateway: Jasmin, text: str = "Hi") -> dict[str, str]:
    http = Recorder(200, b'Success "1"')
    await gateway.send(http, outgoing(text, NUMBER, f"+{PERSON}"))
    return dict(parse_qsl(http.requests[0][1].decode()))


@pytest.mark.parametrize(("text", "octets"), [("СТОП", utf16("СТОП")), ("👋", utf16("👋")), ("\ud800", utf16("?"))])
async def test_what_the_gsm_alphabet_lacks_is_sent_as_utf_16(text: str, octets: bytes) -> None:
    fields = await sent(sending(), text)

    assert (fields["coding"], bytes.fromhex(fields["hex-content"])) == ("8", octets)
    assert "content" not in fields


async def test_reports_are_asked_for_where_they_can_come() -> None:
    basic = ({"user": "jasmin", "password": Secret(PASSWORD)},)

    assert "dlr-url" not in await sent(sending(None))
    assert "dlr-url" not in await sent(sending(tokens=(), basic=basic))
    assert (await sent(sending(tokens=(), unauthenticated=True)))["dlr-url"] == URL
    assert (await sent(sending(tokens=(Secret("a&b"),))))["dlr-url"] == f"{URL}?token=a%26b"
