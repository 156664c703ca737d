"""MessageBird SMS, with the validators and the test data of its SDK as the witness for both ways of signing."""

import hmac
import time
import warnings
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import jwt
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from messagebird.error import ValidationError as Refused
from messagebird.request_validator import RequestValidator
from messagebird.signed_request import SignedRequest
from pydantic import ValidationError

from adapters.carriers.messagebird import MessageBird, MessageBirdOptions
from router.errors import BadPayload, BadSignature, RequestError, StoreUnavailable, TooManyFields
from router.ports import MOST_FORM_FIELDS, Parsed, Secret
from router.types import Answer, Inbound, Media, RawRequest, Receipt
from tests.kit import Case, SendCase, check_forged, check_hostile, check_inbound, check_send, outgoing

KEY, NEW_KEY = "36efdd1aace2e26cd490f0d951138253", "36efdd1aace2e26cd490f0d951138253-new"
URL = "https://sms.example.com/in/messagebird"
SENDER, RECIPIENT = "31612345507", "31970123450"
MOMENT = 1_767_225_600
FORM = {"content-type": "application/x-www-form-urlencoded"}
PRIVATE = [KEY, NEW_KEY, SENDER, "Hello there"]
TOKEN, SIGNATURE, TIME = "messagebird-signature-jwt", "messagebird-signature", "messagebird-request-timestamp"


def carrier(url: str | None = URL, **options: Any) -> MessageBird:
    chosen = MessageBirdOptions(signing_keys=(Secret(NEW_KEY), Secret(KEY)), **options)
    return MessageBird("acme", chosen, url)


def full_url(request: RawRequest, url: str = URL) -> str:
    return f"{url}?{request.query.decode()}" if request.query else url


def sign(
    request: RawRequest, key: str = KEY, algorithm: str = "HS256", url: str | None = None, **claims: Any
) -> RawRequest:
    known = {
        "iss": "MessageBird",
        "nbf": MOMENT - 3,
        "exp": MOMENT + 57,
        "jti": "j-1",
        "url_hash": sha256((url or full_url(request)).encode()).hexdigest(),
        "payload_hash": sha256(request.body).hexdigest() if request.body else None,
    }
    given_claims = {name: value for name, value in {**known, **claims}.items() if value is not None}
    return replace(request, headers={**request.headers, TOKEN: jwt.encode(given_claims, key, algorithm=algorithm)})


def form(**more: Any) -> bytes:
    base = {"id": "b6aa", "recipient": RECIPIENT, "originator": SENDER, "createdDatetime": "2025-12-31T23:59:57+00:00"}
    return urlencode({name: value for name, value in {**base, **more}.items() if value is not None}).encode()


def text(words: str, **more: Any) -> Inbound:
    return replace(Inbound("b6aa", SENDER, RECIPIENT, words), **more)


def case(label: str, expected: Sequence[Parsed] | type[RequestError], body: bytes) -> Case:
    return Case(label, expected, body, headers=FORM)


def got(label: str, expected: Sequence[Parsed] | type[RequestError], query: bytes) -> Case:
    return Case(label, expected, query=query, method="GET")


def status(**more: Any) -> bytes:
    return form(originator=None, recipient=SENDER, statusDatetime="2025-12-31T23:59:57+00:00", mccmnc="20408", **more)


SHORT = {"id": None, "recipient": None, "mid": "3b53", "shortcode": "51515", "receive_datetime": "20251231235957"}
#: What a short code in the US was seen to call with: two messages' worth of names.
DOUBLE = (
    b"receiver=18005551515&sender=18885551515&body=Test+again&date=1690386569&date_utc=1690418969&reference=1"
    b"&id=b6aae1b5dfb2427a8f7ea6a717ba31a9&id=3b53c137369242138120d6b0b2122607&recipient=18005551515"
    b"&originator=18885551515&body=Test+3&receive_datetime=2023-07-27T00%3A49%3A29%2B00%3A00&mms=false"
)
DOUBLE_SHORT = (
    b"shortcode=51515&sender=18885551515&message=Test+again&reference=1&id=b6aae1b5&mid=3b53c137"
    b"&recipient=18005551515&originator=18885551515&body=Test+3&receive_datetime=20230727004929&mms=false"
)
FILES = b"&mediaUrls=https%3A%2F%2Fa.example%2F1.jpg&mediaURLs=https%3A%2F%2Fa.example%2F2.jpg&mediaUrls="
MEDIA = (Media(url="https://a.example/1.jpg"), Media(url="https://a.example/2.jpg"))

CASES = [
    case("form", [text("Hello there")], form(body="Hello there")),
    got("query", [text("hallo wereld")], form(body="hallo wereld")),
    case("text is kept as it is", [text(" Stop aub €5 👋🏽 \r\n")], form(body=" Stop aub €5 👋🏽 \r\n")),
    case("names in capitals", [text("hi")], b"ID=b6aa&Recipient=31970123450&ORIGINATOR=31612345507&Body=hi"),
    case("plus that became a blank", [text("hi", sender=f" {SENDER}")], form(body="hi", originator=f" {SENDER}")),
    case(
        "the last of two counts",
        [text("Test 3", message_id="3b53c137369242138120d6b0b2122607", sender="18885551515", recipient="18005551515")],
        DOUBLE,
    ),
    case("short code", [text("Test", message_id="3b53", recipient="51515")], form(message="Test", **SHORT)),
    case(
        "short code and all the rest",
        [text("Test again", message_id="3b53c137", sender="18885551515", recipient="51515")],
        DOUBLE_SHORT,
    ),
    case("text by its other name", [text("Test")], form(message="Test")),
    case("pictures", [text("", channel="mms", media=MEDIA)], form() + FILES),
    case("pictures with words", [text("look", channel="mms", media=MEDIA)], form(body="look", subject="pic") + FILES),
    case(
        "pictures in a list",
        [text("", channel="mms", media=MEDIA[:1])],
        form(**{"mediaUrls[0]": "https://a.example/1.jpg"}),
    ),
    case("neither text nor picture", [], form(body="", subject="Hello there")),
    got("delivered", [Receipt("b6aa", None, SENDER, None)], status(status="delivered", statusErrorCode="0")),
    got(
        "opted out",
        [Receipt("b6aa", None, SENDER, "opted_out", "103")],
        status(status="delivery_failed", statusErrorCode="103"),
    ),
    got(
        "not delivered",
        [Receipt("b6aa", None, SENDER, "permanent", "1")],
        status(status="delivery_failed", statusErrorCode="1"),
    ),
    got("expired", [Receipt("b6aa", None, SENDER, "temporary")], status(status="expired")),
    got("on its way", [], status(status="buffered")),
    got("status without id", [], status(status="delivered", id=None)),
    case("no id", BadPayload, form(id=None, body="Hello there")),
    case("no sender", BadPayload, form(originator="", body="Hello there")),
    case("no recipient", BadPayload, form(recipient=None, body="Hello there")),
    case("blank sender", BadPayload, form(originator=" ", body="Hello there")),
    case("not a form", BadPayload, b"{}"),
    Case("empty body", BadPayload),
    Case("over a thousand fields", TooManyFields, query=b"&".join([b"a=b"] * (MOST_FORM_FIELDS + 1))),
    Case("form with a query", [text("hi")], form(body="hi"), b"t=1&x=%2f", headers=FORM),
    Case("post without a body", [text("hi")], query=form(body="hi")),
    Case("unsigned", BadSignature, form(body="Hello there"), headers=FORM, sign=False),
]


@pytest.mark.parametrize("found", CASES, ids=lambda found: found.label)
def test_inbound(found: Case) -> None:
    if found.label == "over a thousand fields":  # each byte of it need not be spoilt
        with pytest.raises(TooManyFields):
            carrier().parse(found.request())
        return
    check_inbound(carrier(), found, sign, PRIVATE)


def test_rubbish_is_refused_in_order() -> None:
    check_hostile(carrier(), CASES, sign)


def test_both_keys_are_live_during_a_rotation() -> None:
    found = case("text", [text("hi")], form(body="hi"))

    check_inbound(carrier(), found, partial(sign, key=NEW_KEY), PRIVATE)


SAID = RawRequest("acme", "POST", b"", FORM, form(body="hi"), received_at=MOMENT)
ASKED = RawRequest("acme", "GET", form(body="hi"), {}, b"", received_at=MOMENT)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": None},
        {"iss": "Messagebird"},
        {"nbf": None},
        {"exp": None},
        {"nbf": "1767225597"},
        {"exp": True},
        {"exp": float("nan")},
        {"nbf": MOMENT + 2},
        {"exp": MOMENT - 1},
        {"url_hash": None},
        {"url_hash": 1},
        {"url": URL + "/"},
        {"url": "http://sms.example.com/in/messagebird"},
        {"payload_hash": "0" * 64},
        {"payload_hash": ["0"]},
        {"payload_hash": ""},
    ],
    ids=str,
)
def test_every_claim_counts(claims: dict[str, Any]) -> None:
    check_forged(carrier(), sign(SAID, **claims), PRIVATE)


def test_a_body_and_its_hash_come_together() -> None:
    digest = sha256(b"").hexdigest()

    check_forged(carrier(), sign(ASKED, payload_hash=digest), PRIVATE)
    check_forged(carrier(), replace(sign(ASKED), body=b"x"), PRIVATE)
    check_forged(carrier(), replace(sign(SAID), body=b""), PRIVATE)


@pytest.mark.parametrize(("late", "fits"), [(57, True), (58, False), (-4, True), (-5, False)])
def test_a_token_is_good_for_a_minute_and_a_second_either_way(late: int, fits: bool) -> None:
    request = replace(sign(SAID), received_at=MOMENT + late)

    if fits:
        carrier().verify(request)
    else:
        check_forged(carrier(), request, PRIVATE)
        carrier(leeway=2).verify(request)


@pytest.mark.filterwarnings("ignore:The HMAC key")
@pytest.mark.parametrize(("algorithm", "fits"), [("HS384", True), ("HS512", True), ("none", False)])
def test_three_algorithms_are_taken(algorithm: str, fits: bool) -> None:
    request = sign(SAID, "" if algorithm == "none" else KEY, algorithm)

    if fits:
        carrier().verify(request)
    else:
        check_forged(carrier(), request, PRIVATE)


def test_the_query_or_the_url_can_be_left_out_of_what_is_signed() -> None:
    check_forged(carrier(), sign(ASKED, url=URL), PRIVATE)
    carrier(signed_url="without_query").verify(sign(ASKED, url=URL))
    check_forged(carrier(signed_url="without_query"), sign(ASKED), PRIVATE)
    carrier(signed_url="none").verify(sign(ASKED, url="http://10.0.0.1/x"))


def test_behind_a_proxy_its_headers_tell_the_url() -> None:
    proxied = {"x-forwarded-proto": "https", "x-forwarded-host": "sms.example.com"}
    request = replace(ASKED, headers=proxied, path="/in/messagebird")

    carrier(None).verify(sign(request))
    check_forged(carrier(None), replace(sign(request), path="/in/other"), PRIVATE)


def segment(text_: str) -> str:
    return urlsafe_b64encode(text_.encode()).rstrip(b"=").decode()


def published(jti: str, signature: str, url: str, body: bytes, algorithm: str, nbf: int) -> RawRequest:
    """A request with a token whose signature was published."""
    claims: dict[str, Any] = {"iss": "MessageBird", "nbf": nbf, "exp": nbf + 60, "jti": jti}
    claims["url_hash"] = sha256(url.encode()).hexdigest()
    if body:
        claims["payload_hash"] = sha256(body).hexdigest()
    header = segment(f'{{"alg":"{algorithm}","typ":"JWT"}}')
    token = f"{header}.{segment(orjson.dumps(claims).decode())}.{signature}"
    return RawRequest("acme", "POST", url.partition("?")[2].encode(), {TOKEN: token}, body, received_at=nbf)


def test_published_signature() -> None:
    body = b"id=1&originator=31612345507&body=STOP"
    request = published("j-1", "qOeqx0hGnxWCDNbN_tHCLbK1UlhFBJancB-i1LgHaJw", URL, body, "HS256", MOMENT)

    carrier().verify(request)


A, B, C = (
    "59a244dc-e9ad-4e23-9778-371faa238f72",
    "c946af77-e182-4eaa-b2ff-1a545b5e991a",
    "93e55006-a0e8-4526-a190-fa5ff00ea116",
)


@pytest.mark.parametrize(
    ("jti", "signature", "url", "body", "algorithm"),
    [
        (A, "6Fp0rVOsRr1fj9S2GidXAfkmPVofKr8_RTffC6G6r2E", "https://example.com/", b"", "HS256"),
        (B, "huo2ou6JDoDc7sV25d75UMWeYhBeavQlLsqIibSZuac", "https://example.com/path?bar=1&foo=2", b"", "HS256"),
        (
            C,
            "_H--TOuYFLpeEH39-rg5E3IHVkjHozBcaKVWPRC5m9I",
            "https://example.com/path?bar=1&foo=2",
            b"Hello, World!",
            "HS256",
        ),
        (A, "vcpa0IicGAbpo064dOjiA2VbVOR2S5uZBEaBOP16sS8", "https://example.com:8080/", b"", "HS256"),
        (
            A,
            "mJBCMfEjKmN3IMuzqPXPHktWETrcu0iNdF3agE8PDyI",
            "https://example.com/?obj%5Bfield1%5D=val1&obj%5Bfield2%5D=val2&param=value+with+spaces",
            b"",
            "HS256",
        ),
        (A, "KNMW-29X77lZeuPmThmHWc_RUAvTkaDkpxIZK6mqE08v8mWKiU9Edh4QXwAJO2nv", "https://example.com/", b"", "HS384"),
        (
            A,
            "rd6r0iMyNGnVPCwurETphE3Y8rpAyvvnUK0S8WvGUkt2E1QSRAZ7NZJZBHw1Y_Wb5W-sK9HJr_PRL2vz4jRT3Q",
            "https://example.com/",
            b"",
            "HS512",
        ),
    ],
)
def test_signatures_published_with_the_sdk(jti: str, signature: str, url: str, body: bytes, algorithm: str) -> None:
    key = "36efdd1aace2e26cd490f0d951138253bef2f7c6d34d18981da781555cc4cebb"
    account = MessageBird("acme", MessageBirdOptions(signing_keys=(Secret(key),)), url.partition("?")[0])

    account.verify(published(jti, signature, url, body, algorithm, 1_625_479_200))


BYTES = st.binary(max_size=20)
QUERIES = st.sampled_from([b"", b"a=1", b"a=%2F&b", b"a=1&A=2"])


@given(signed=BYTES, sent=BYTES, query=QUERIES, other=QUERIES, same=st.booleans(), age=st.sampled_from([0, 30, 300]))
def test_agrees_with_the_official_validator(
    signed: bytes, sent: bytes, query: bytes, other: bytes, same: bool, age: int
) -> None:
    # The validator looks at the clock.
    now = time.time()
    request = RawRequest("acme", "POST", query, {}, signed, received_at=now)
    request = sign(request, nbf=int(now) - age - 3, exp=int(now) - age + 57)
    arrived = request if same else replace(request, body=sent, query=other)
    try:
        RequestValidator(KEY).validate_signature(request.headers[TOKEN], full_url(arrived), arrived.body)
        official = True
    except Refused:
        official = False

    try:
        carrier().verify(arrived)
        ours = True
    except BadSignature:
        ours = False

    assert official == ours


def old(key: str = KEY) -> MessageBird:
    chosen = MessageBirdOptions(signing_keys=(Secret(key),), signature="timestamp")
    return MessageBird("acme", chosen, None)


def with_signature(request: RawRequest, signature: str) -> RawRequest:
    headers = {TIME: str(int(request.received_at)), SIGNATURE: signature}
    return replace(request, headers={**request.headers, **headers})


STATUS = (
    b"recipient=31612345678&reference=FOO&statusDatetime=2019-01-11T09%3A17%3A11%2B00%3A00"
    b"&id=eef0ab57a9e049be946f3821568c2b2e&status=delivered&mccmnc=20408&ported=1"
)
OLD_KEY = "PlLrKaqvZNRR5zAjm42ZT6q1SQxgbbGd"


@pytest.mark.parametrize(
    ("key", "timestamp", "query", "body", "signature"),
    [
        (
            "other-secret",
            1544544948,
            b"def=bar&abc=foo",
            b'{"a key":"some value"}',
            "orb0adPhRCYND1WCAvPBr+qjm4STGtyvNDIDNBZ4Ir4=",
        ),
        (OLD_KEY, 1547198231, STATUS, b"", "KVBdcVdz2lYMwcBLZCRITgxUfA/WkwSi+T3Wxl2HL6w="),
        (OLD_KEY, 1547198231, STATUS, b'{"foo":"bar"}', "2bl+38H4oHVg03pC3bk2LvCB0IHFgfC4cL5HPQ0LdmI="),
    ],
)
def test_published_signatures_of_the_old_way(
    key: str, timestamp: int, query: bytes, body: bytes, signature: str
) -> None:
    request = with_signature(RawRequest("acme", "GET", query, {}, body, received_at=timestamp), signature)

    old(key).verify(request)
    old(key).verify(replace(request, received_at=timestamp + 86_400))
    check_forged(old(key), replace(request, received_at=timestamp + 86_401), [key])
    check_forged(old(key), replace(request, received_at=timestamp - 301), [key])
    check_forged(old(key), replace(request, body=body + b"x"), [key])
    check_forged(old(key), replace(request, query=query + b"&x=1"), [key])
    check_forged(old(key), sign(replace(request, headers={})), [key])


LATIN = st.text(st.characters(codec="latin-1"))


@given(query=st.dictionaries(LATIN, LATIN), body=LATIN, sent=LATIN, same=st.booleans())
def test_the_old_way_agrees_with_its_official_validator(
    query: dict[str, str], body: str, sent: str, same: bool
) -> None:
    ordered = urlencode(sorted(query.items()))
    message = f"{MOMENT}\n{ordered}\n".encode() + sha256(body.encode("latin-1")).digest()
    signature = b64encode(hmac.digest(KEY.encode(), message, "sha256")).decode()
    arrived = body if same else sent
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        official = SignedRequest(signature, MOMENT, arrived, query).verify(KEY)
    request = RawRequest("acme", "GET", urlencode(query).encode(), {}, arrived.encode("latin-1"), received_at=MOMENT)

    try:
        old().verify(with_signature(request, signature))
        ours = True
    except BadSignature:
        ours = False

    assert official == ours


def test_nothing_else_is_raised_in_the_old_way() -> None:
    too_many = replace(ASKED, query=b"&".join([b"a=b"] * (MOST_FORM_FIELDS + 1)))

    for request in (with_signature(too_many, "x"), with_signature(ASKED, "\ud800"), ASKED):
        check_forged(old(), request, PRIVATE)


def test_options_need_a_key_and_hide_it() -> None:
    with pytest.raises(ValidationError):
        MessageBirdOptions(signing_keys=())
    assert KEY not in repr(MessageBirdOptions(signing_keys=(Secret(KEY),)))


def test_it_wants_to_read_ok() -> None:
    assert carrier().answer([outgoing()]) == Answer(200, b"OK", "text/plain")
    assert carrier().answer(BadPayload("why")) == Answer(400, b"why", "text/plain")
    assert carrier().answer(StoreUnavailable("why")) == Answer(503, headers=(("retry-after", "1"),))
    assert not carrier().retries
    assert carrier(retries=True).retries


def test_who_answers_and_how_fast() -> None:
    assert set(carrier().answers_itself("toll_free", "US")) == {"opt_out", "opt_in"}
    assert set(carrier().answers_itself("long_code", "NL")) == set()
    assert [carrier().texts_per_second("long_code", country) for country in ("US", "NL")] == [1, 30]


TAKEN = SendCase("taken", "efa6", 201, b'{"id": "efa6", "recipients": {"items": [{"status": "sent"}]}}')


def error(label: str, failure: Any, status_: int, code: int) -> SendCase:
    content = {"errors": [{"code": code, "description": "+14155550101 is wrong", "parameter": "recipient"}]}
    return SendCase(label, failure, status_, orjson.dumps(content))


@pytest.mark.parametrize(
    "found",
    [
        TAKEN,
        error("wrong key", "auth", 401, 2),
        error("no credit", "auth", 422, 25),
        error("wrong parameter", "permanent", 422, 10),
        error("fault of theirs", "temporary", 422, 99),
        SendCase("too many", "throttled", 429, b"", {"retry-after": "3"}),
        SendCase("out of order", "temporary", 500, b"<html>"),
        SendCase("no id", "permanent", 201, b"[]"),
        SendCase("errors of no sense", "permanent", 422, b'{"errors": ["x"]}'),
    ],
    ids=lambda found: found.label,
)
async def test_sending(found: SendCase) -> None:
    sender = carrier(access_key=Secret("key_77bb"))
    hidden = [*PRIVATE, "key_77bb", "14155550101"]
    http = await check_send(sender, found, outgoing("Hi & é"), hidden, fails=found is not TAKEN)

    assert sender.sends
    assert not carrier().sends
    assert http.urls == [("POST", "https://rest.messagebird.com/messages")]
    headers, body = http.requests[0]
    assert headers == {"Authorization": "AccessKey key_77bb", "Content-Type": "application/json"}
    assert orjson.loads(body) == {
        "originator": "14155550199",
        "recipients": ["14155550101"],
        "body": "Hi & é",
        "reference": "evt_1",
        "datacoding": "auto",
    }
