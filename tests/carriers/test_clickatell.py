"""Clickatell in its three generations. There is no official Python package, and nothing is signed: no witness."""

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from pydantic import ValidationError

from adapters._credentials import BasicCredentials
from adapters.carriers.clickatell import Clickatell, ClickatellOptions
from router.errors import (
    BadPayload,
    BadSignature,
    BodyTooLarge,
    RequestError,
    SendError,
    StoreUnavailable,
    TooManyFields,
)
from router.ports import MOST_FORM_FIELDS, Parsed, Secret
from router.types import Answer, Inbound, Media, Part, RawRequest, Receipt
from tests.kit import ANY_TEXT, JUNK, Case, SendCase, check_forged, check_hostile, check_inbound, check_send, outgoing

TOKEN, NEW_TOKEN, PASSWORD, API_KEY = "ct-0b9d", "ct-n3w", "p4ssw0rd", "4p1k3y=="
SENDER, RECIPIENT = "27831234567", "27600123456"
PRIVATE = [TOKEN, NEW_TOKEN, PASSWORD, API_KEY, SENDER, RECIPIENT, "Hello there"]
JSON, FORM = {"content-type": "application/json"}, {"content-type": "application/x-www-form-urlencoded"}
BASIC = BasicCredentials(user="ct", password=Secret(PASSWORD))


def carrier(**more: Any) -> Clickatell:
    options = {"tokens": (Secret(NEW_TOKEN), Secret(TOKEN)), "basic": (BASIC,), **more}
    return Clickatell("acme", ClickatellOptions(**options), None)


def sign(request: RawRequest) -> RawRequest:
    """By a user and password; tokens have tests of their own."""
    header = "Basic " + b64encode(f"ct:{PASSWORD}".encode()).decode()
    return replace(request, headers={**request.headers, "authorization": header})


REPLY = {
    "integrationId": "i1",
    "messageId": "orig-1",
    "replyMessageId": "r1",
    "apiKey": API_KEY,
    "fromNumber": SENDER,
    "toNumber": RECIPIENT,
    "timestamp": 1770112800000,
    "text": "Hello there",
    "charset": "UTF-8",
    "udh": "",
}
ITEM = {
    "channel": "sms",
    "messageId": "r1",
    "relatedMessageId": None,
    "from": SENDER,
    "to": RECIPIENT,
    "timestamp": 1770112800000,
    "charset": "UTF-8",
    "content": "Hello there",
}
CENTRAL = {
    "api_id": "3400001",
    "moMsgId": "r1",
    "from": SENDER,
    "to": RECIPIENT,
    "timestamp": "2026-02-03 11:00:00",
    "charset": "ISO-8859-1",
    "udh": "",
}
STATUS = {"messageId": "o-1", "from": RECIPIENT, "to": SENDER, "timestamp": 1}


class Refused(BadPayload):
    """Is equal to any `BadPayload`: what is wrong with an entry is for people to read."""

    def __eq__(self, other: object) -> bool:
        return type(other) is BadPayload

    def __hash__(self) -> int:
        return 0


REFUSED = Refused()


def text(words: str = "Hello there", **more: Any) -> Inbound:
    return replace(Inbound("r1", SENDER, RECIPIENT, words), **more)


def reply(**more: Any) -> bytes:
    return json.dumps({**REPLY, **more}, ensure_ascii=False).encode()


def one(*items: Any, kind: str = "moText", integration: str = "integrationId") -> bytes:
    return json.dumps({integration: "i1", "integrationName": "router", "event": {kind: items}}).encode()


def item(**more: Any) -> dict[str, Any]:
    return {**ITEM, **more}


def central(words: str = "Hello+there", **more: str) -> bytes:
    fields = "&".join(f"{name}={quote_plus(value)}" for name, value in {**CENTRAL, **more}.items())
    return f"{fields}&text={words}".encode()


def without(name: str, fields: dict[str, Any] = REPLY) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


def case(label: str, expected: Sequence[Parsed] | type[RequestError], data: bytes) -> Case:
    return Case(label, expected, data, headers=JSON)


def form(label: str, expected: Sequence[Parsed] | type[RequestError], data: bytes) -> Case:
    return Case(label, expected, data, headers=FORM)


def get(label: str, expected: Sequence[Parsed] | type[RequestError], query: bytes) -> Case:
    return Case(label, expected, b"", query, "GET")


def as_octets(words: str, charset: str) -> str:
    """As Clickatell writes a text into JSON: every octet that is no letter as %XX."""
    return quote_plus(words.encode(charset))


def receipt(*result: Any) -> list[Parsed]:
    return [Receipt("o-1", RECIPIENT, SENDER, *result)]


FILE = {"content": "aGVsbG8=", "contentType": "image/jpeg", "caption": "my pic", "channel": "whatsapp"}
PICTURE = (Media(content_type="image/jpeg"),)

CASES = [
    case("platform", [text()], reply()),
    case("platform, not signed by a charset", [text("50%25 + é")], reply(text="50%25 + é", charset=None)),
    case("platform, utf-8 is not percent-encoded", [text("%41+")], reply(text="%41+", charset="utf-8")),
    case("platform, latin-1", [text("Arrêt!")], reply(text="Arr%EAt%21", charset="iso-8859-1")),
    case("platform, latin-1, unescaped", [text("Arrêt! a b%")], reply(text="Arrêt%21+a+b%", charset="ISO-8859-1")),
    case(
        "platform, utf-16",
        [text("Я хочу СТОП. 👋")],
        reply(text=as_octets("Я хочу СТОП. 👋", "utf-16-be"), charset="UTF-16BE"),
    ),
    case("platform, no octets at all", [text("Я +")], reply(text="Я +", charset="UTF-16BE")),
    case("platform, half a character", [text("\x00S\x00")], reply(text="%00S%00", charset="UTF-16BE")),
    case("platform, unknown charset", [text("%41")], reply(text="%41", charset="rot13")),
    case("platform, numbers as numbers", [text()], reply(fromNumber=int(SENDER), toNumber=int(RECIPIENT), network=5)),
    case("platform, with a plus", [text(sender=f"+{SENDER}")], reply(fromNumber=f"+{SENDER}")),
    case("platform, no id of the reply", [text(message_id="orig-1")], reply(replyMessageId=None)),
    case(
        "platform, not told to whom",
        [text(recipient=None, recipient_ref="i1")],
        json.dumps(without("toNumber")).encode(),
    ),
    case("platform, a name", [text(sender="MTN")], reply(fromNumber="MTN")),
    case("platform, nothing said", [text("")], reply(text="")),
    case("platform, text with a status", [text()], reply(status="RECEIVED")),
    form(
        "platform form",
        [text("ça")],
        b"messageId=o&replyMessageId=r1&fromNumber=27831234567&toNumber=27600123456&text=%C3%A7a",
    ),
    get("platform get", [text("hi")], b"replyMessageId=r1&fromNumber=27831234567&toNumber=27600123456&text=hi"),
    case("one api", [text()], one(item())),
    case("one api, other spelling", [text()], one(item(), integration="integrationID")),
    case("one api, as it is", [text("50%25 + ñ 👋")], one(item(content="50%25 + ñ 👋"))),
    case(
        "one api, whatsapp", [text(channel="whatsapp")], one(item(channel=" WhatsApp ", whatsapp={"profileName": "A"}))
    ),
    case("one api, new channel", [text()], one(item(channel="fax"))),
    case("one api, file", [text("my pic", channel="whatsapp", media=PICTURE)], one(item(**FILE), kind="moMedia")),
    case(
        "one api, file of no type",
        [text("", media=(Media(),))],
        one(item(contentType=None, caption=None), kind="moMedia"),
    ),
    case("one api, not told to whom", [text(recipient=None, recipient_ref="i1")], one(item(to=None))),
    case("one api, several", [text("STOP"), text("START")], one(item(content="STOP"), item(content="START"))),
    case("one api, one broken", [text(), REFUSED, REFUSED, text()], one(item(), item(messageId=None), "x", item())),
    case("one api, nothing said", [text("")], one(item(content=None))),
    case("one api, another event", [], one(item(), kind="brandNew")),
    case("one api, no event", [], b'{"event":null}'),
    case("one api, delivered", receipt(None), one({**STATUS, "statusCode": 4}, kind="messageStatusUpdate")),
    case(
        "one api, on the way, expired",
        receipt("temporary", "10"),
        one({**STATUS, "statusCode": 3}, {**STATUS, "statusCode": "10"}, kind="messageStatusUpdate"),
    ),
    case("platform, delivered", receipt(None), json.dumps({**STATUS, "status": "RECEIVED", "statusCode": 4}).encode()),
    case("platform, on the way", [], json.dumps({**STATUS, "status": "DELIVERED_TO_GATEWAY"}).encode()),
    case("platform, status without id", [], b'{"statusCode": 4}'),
    get("central, no route", receipt("permanent", "9"), b"apiMsgId=o-1&from=27600123456&to=27831234567&status=009"),
    get("central", [text("Stop été")], central("Stop+%E9t%E9")),
    form("central form", [text()], central()),
    form("central, no charset", [text("été +")], central("%E9t%E9+%2B", charset="")),
    form("central, utf-8 by default", [text("été")], central("%C3%A9t%C3%A9", charset="")),
    form("central, utf-16", [text("Да")], central("%04%14%040", charset="UTF-16BE")),
    form("central, part", [text(part=Part("66", 3, 2))], central(udh="050003420302")),
    form("central, empty part", [text("", part=Part("300", 2, 1))], central("", udh="060804012C0201")),
    form("central, other header", [text()], central(udh="not hex")),
    get("central, nothing said", [text("")], central("")),
    case("no id", BadPayload, reply(replyMessageId="", messageId="")),
    case("no sender", BadPayload, reply(fromNumber=" ")),
    case("text is a number", BadPayload, reply(text=5)),
    case("sender is a truth", BadPayload, reply(fromNumber=True)),
    case("items are no list", BadPayload, b'{"event":{"moText":{}}}'),
    case("a list", BadPayload, b"[]"),
    case("not json", BadPayload, b"Hello there"),
    case("empty body", BadPayload, b""),
    form("empty form", BadPayload, b""),
    get("empty get", BadPayload, b""),
    form("over a thousand fields", TooManyFields, b"&".join([b"a=b"] * (MOST_FORM_FIELDS + 1))),
    Case("no proof", BadSignature, reply(), sign=False),
]


@pytest.mark.parametrize("found", CASES, ids=lambda found: found.label)
def test_inbound(found: Case) -> None:
    check_inbound(carrier(), found, sign, PRIVATE, signed=False)


def test_rubbish_is_refused_in_order() -> None:
    check_hostile(carrier(), CASES, sign)


@pytest.mark.parametrize("token", [TOKEN, NEW_TOKEN])
@pytest.mark.parametrize("query", ["token={}", "a=1&token={}&b", "token=x&token={}"])
def test_a_token_in_the_query_is_proof_enough(token: str, query: str) -> None:
    carrier().verify(replace(CASES[0].request(), query=query.format(token).encode()))


def test_a_password_is_proof_enough() -> None:
    check_inbound(carrier(tokens=()), CASES[0], sign, PRIVATE, signed=False)


@pytest.mark.parametrize("query", ["", "token", "token=", "token=guess", "Token=ct-0b9d", "token=ct-0b9d&token=x"])
def test_any_other_token_is_none(query: str) -> None:
    check_forged(carrier(basic=()), replace(CASES[0].request(), query=query.encode()), PRIVATE)
    check_forged(carrier(), replace(CASES[0].request(), query=query.encode()), PRIVATE)


@pytest.mark.parametrize("junk", JUNK)
def test_junk_is_no_token(junk: str) -> None:
    query = quote_plus(junk, errors="surrogatepass")

    check_forged(carrier(basic=()), replace(CASES[0].request(), query=f"token={query}".encode()), PRIVATE)


def test_too_many_fields_are_no_proof() -> None:
    query = b"token=ct-0b9d" + b"&a" * MOST_FORM_FIELDS

    check_forged(carrier(basic=()), replace(CASES[0].request(), query=query), PRIVATE)


@given(ANY_TEXT)
def test_a_text_in_octets_is_what_was_written(words: str) -> None:
    written = words.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    [found] = carrier().parse(
        replace(CASES[0].request(), body=reply(text=as_octets(f"!{written}", "utf-16-be"), charset="utf-16be"))
    )

    assert found == text(f"!{written}")


def test_where_the_number_is_not_told_it_may_be_configured() -> None:
    request = replace(CASES[0].request(), body=one(item(to=None)))

    assert list(carrier(default_to="+27600123456").parse(request)) == [text(recipient="+27600123456")]


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        ([], Answer(200)),
        (BadSignature("why"), Answer(403)),
        (BadPayload("why"), Answer(200)),
        (BodyTooLarge("why"), Answer(413, b"why", "text/plain")),
        (StoreUnavailable("why"), Answer(503, headers=(("retry-after", "1"),))),
    ],
)
def test_only_the_status_counts(result: Any, answer: Answer) -> None:
    assert carrier().answer(result) == answer


def test_what_clickatell_does_by_itself() -> None:
    assert set(carrier().answers_itself("long_code", "ZA")) == set()
    assert set(carrier().answers_itself("short_code", None)) == set()
    assert set(carrier().answers_itself("toll_free", "US")) == {"opt_out", "opt_in"}
    assert carrier().texts_per_second("long_code", "ZA") == 1
    assert (carrier().retries, carrier().replies_inline, carrier().sends) == (True, False, False)


def test_options_need_a_proof_and_hide_it() -> None:
    with pytest.raises(ValidationError):
        ClickatellOptions()
    with pytest.raises(ValidationError):
        ClickatellOptions(tokens=())

    assert TOKEN not in repr(ClickatellOptions(tokens=(Secret(TOKEN),)))


def answered(**more: Any) -> bytes:
    return json.dumps({"messages": [{"apiMessageId": "o-1", "accepted": True, "to": SENDER, **more}]}).encode()


def refusal(code: int) -> bytes:
    error = {"code": code, "description": f"{SENDER}: Hello there", "documentation": ""}
    return answered(apiMessageId=None, accepted=False, error=error)


SENT = SendCase("accepted", "o-1", 202, answered(error=None))


@pytest.mark.parametrize(
    "found",
    [
        SENT,
        SendCase("opted out", "opted_out", 207, refusal(26)),
        SendCase("no such number", "invalid_number", 400, refusal(25)),
        SendCase("too many", "throttled", 207, refusal(43)),
        SendCase("wrong number of ours", "permanent", 400, refusal(45)),
        SendCase("wrong key", "auth", 401, b'{"messages": [], "error": {"code": 1, "description": "why"}}'),
        SendCase("no money left", "temporary", 402, b'{"messages": [], "error": {"code": 20}}'),
        SendCase("code of the platform", "invalid_number", 202, answered(accepted=False, errorCode=25, error="why")),
        SendCase("too many requests", "throttled", 429, b""),
        SendCase("out of order", "temporary", 503, b"<html>"),
        SendCase("no id", "permanent", 202, answered(apiMessageId="")),
        SendCase("no messages", "permanent", 202, b'{"messages": []}'),
    ],
    ids=lambda found: found.label,
)
async def test_sending(found: SendCase) -> None:
    message = outgoing("Hello there", f"+{RECIPIENT}", f"+{SENDER}")

    http = await check_send(carrier(api_key=Secret(API_KEY)), found, message, PRIVATE, fails=found is not SENT)

    assert http.urls == [("POST", "https://platform.clickatell.com/v1/message")]
    headers, body = http.requests[0]
    assert headers == {"Authorization": API_KEY, "Content-Type": "application/json"}
    sent = {"channel": "sms", "to": SENDER, "from": RECIPIENT, "content": "Hello there", "clientMessageId": "evt_1"}
    assert json.loads(body) == {"messages": [sent]}


@pytest.mark.parametrize(
    ("api", "channel", "path"),
    [("one", "whatsapp", "/v1/message"), ("platform", "whatsapp", "/v1/message"), ("platform", "sms", "/messages")],
)
async def test_the_platform_has_an_address_of_its_own_for_sms(api: str, channel: Any, path: str) -> None:
    message = replace(outgoing("Hi", f"+{RECIPIENT}", f"+{SENDER}"), channel=channel)

    http = await check_send(carrier(api_key=Secret(API_KEY), api=api), SENT, message, PRIVATE, fails=False)

    assert http.urls == [("POST", f"https://platform.clickatell.com{path}")]
    sent = {"from": RECIPIENT, "content": "Hi", "clientMessageId": "evt_1"}
    assert json.loads(http.requests[0][1]) == (
        {**sent, "to": [SENDER]}
        if path == "/messages"
        else {"messages": [{**sent, "to": SENDER, "channel": "whatsapp"}]}
    )


async def test_a_pause_that_is_asked_for_is_kept() -> None:
    found = SendCase("too many requests", "throttled", 429, b"", {"retry-after": "7"})

    with pytest.raises(SendError) as raised:
        await check_send(carrier(api_key=Secret(API_KEY)), found, outgoing(), PRIVATE, fails=False)

    assert raised.value.retry_after == 7
