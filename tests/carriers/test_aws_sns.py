"""AWS End User Messaging over SNS, signed here with our own key: AWS has no validator for Python.

The signatures of the samples, which others made, stand for published ones.
"""

import asyncio
import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from pydantic import ValidationError

from adapters._certificates import KEPT
from adapters.carriers.aws_sns import AwsSns, AwsSnsOptions
from router.errors import (
    BadPayload,
    BadSignature,
    BodyTooLarge,
    DeliveryError,
    RequestError,
    SendError,
    StoreUnavailable,
)
from router.ports import FetchesKeys, Secret
from router.types import Answer, Handshake, Inbound, RawRequest, Receipt, SendFailure
from tests.certificates import KEY, PEM
from tests.kit import Case, SendCase, check_discreet, check_hostile, check_inbound, check_send, outgoing
from tests.standins.recorder import Recorder

SAMPLES = Path(__file__).parent.parent / "fixtures" / "carriers" / "aws-sns"
TOPIC, OTHER_TOPIC = "arn:aws:sns:us-east-1:123456789012:two-way-sms", "arn:aws:sns:eu-west-1:123456789012:second"
HOST = "https://sns.us-east-1.amazonaws.com"
CERTIFICATE = f"{HOST}/SimpleNotificationService-0123456789abcdef.pem"
SUBSCRIBE = f"{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f"
PERSON, NUMBER, MESSAGE_ID = "+14255550182", "+12125550101", "cae173d2-66b9-564c-8309-21f858e90001"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG"
PRIVATE = [PERSON, NUMBER, "Hello there", SECRET_KEY]
NOW = 1_767_225_600.0
AT = "2026-01-01T00:00:00.000Z"

TEXT = {
    "originationNumber": PERSON,
    "destinationNumber": NUMBER,
    "messageKeyword": "KEYWORD_602612341",
    "messageBody": "Hello there",
    "previousPublishedMessageId": None,
    "inboundMessageId": MESSAGE_ID,
}


def carrier(**more: Any) -> AwsSns:
    """An account whose certificate has been fetched."""
    found = AwsSns("acme", AwsSnsOptions(topic_arns=(OTHER_TOPIC, TOPIC), **more), None)
    asyncio.run(found.fetch_keys(Recorder(200, PEM), sign(notification("", []).request())))
    return found


def signed_text(envelope: dict[str, Any]) -> bytes:
    """What SNS signs, written after its documentation."""
    names = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
    if envelope["Type"] != "Notification":
        names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    return "".join(f"{name}\n{envelope[name]}\n" for name in names if envelope.get(name) is not None).encode()


def signature(text: bytes, version: str) -> str:
    return b64encode(KEY.sign(text, PKCS1v15(), hashes.SHA1() if version == "1" else hashes.SHA256())).decode()  # noqa: S303 (SNS's default)


def sign(request: RawRequest) -> RawRequest:
    envelope = json.loads(request.body)
    envelope["Signature"] = signature(signed_text(envelope), envelope["SignatureVersion"])
    return replace(request, body=json.dumps(envelope, ensure_ascii=False).encode())


def notification(label: str, expected: Any, inner: Any = TEXT, *, signed: bool = True, **more: Any) -> Case:
    """A message of SNS; `inner` is what was published."""
    envelope = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-000000000001",
        "TopicArn": TOPIC,
        "Message": inner if isinstance(inner, str) else json.dumps(inner, ensure_ascii=False),
        "Timestamp": AT,
        "SignatureVersion": "2",
        "SigningCertURL": CERTIFICATE,
        **more,
    }
    headers = {"content-type": "text/plain; charset=UTF-8"}
    return Case(label, expected, json.dumps(envelope).encode(), headers=headers, sign=signed)


def confirmation(label: str, expected: Any, kind: str = "SubscriptionConfirmation", **more: Any) -> Case:
    fields = {"SubscribeURL": SUBSCRIBE, "Token": "2336412f", **more}
    return notification(label, expected, "You have chosen to subscribe.", Type=kind, **fields)


def said(words: str, **more: Any) -> Inbound:
    return replace(Inbound(MESSAGE_ID, PERSON, NUMBER, words), **more)


def event(kind: str, **more: Any) -> dict[str, Any]:
    both = {"originationPhoneNumber": NUMBER, "destinationPhoneNumber": PERSON, "messageId": "m-1"}
    return {"eventType": kind, "eventVersion": "1.0", "isFinal": True, "messageStatus": "why", **both, **more}


FAILED: Sequence[tuple[str, SendFailure]] = (
    ("TEXT_INVALID", "invalid_number"),
    ("TEXT_TTL_EXPIRED", "temporary"),
    ("TEXT_CARRIER_UNREACHABLE", "temporary"),
    ("TEXT_BLOCKED", "permanent"),
    ("TEXT_CARRIER_BLOCKED", "permanent"),
    ("TEXT_SPAM", "permanent"),
    ("TEXT_UNKNOWN", "permanent"),
)
CASES = [
    notification("text", [said("Hello there")]),
    notification("version 1", [said("Hello there")], SignatureVersion="1"),
    notification("other topic", [said("Hello there")], TopicArn=OTHER_TOPIC),
    notification("subject", [said("Hello there")], Subject="SMS"),
    notification("text is kept as it is", [said(' ¡Baja 😢 "ya"\nñ ')], {**TEXT, "messageBody": ' ¡Baja 😢 "ya"\nñ '}),
    notification("empty text", [said("")], {**TEXT, "messageBody": ""}),
    notification("no text", [said("")], {name: TEXT[name] for name in TEXT if name != "messageBody"}),
    notification(
        "short code", [said("hi", recipient="384387")], {**TEXT, "messageBody": "hi", "destinationNumber": "384387"}
    ),
    notification("further fields", [said("Hello there")], {**TEXT, "isoCountryCode": "US"}),
    confirmation("subscription", [Handshake(Answer(200), visit=SUBSCRIBE)]),
    confirmation("end of a subscription", [], "UnsubscribeConfirmation"),
    confirmation(
        "end of a subscription, elsewhere", [], "UnsubscribeConfirmation", SubscribeURL="https://evil.example/"
    ),
    notification("delivered", [Receipt("m-1", NUMBER, PERSON, None)], event("TEXT_DELIVERED")),
    notification("handed over for good", [Receipt("m-1", NUMBER, PERSON, None)], event("TEXT_SUCCESSFUL")),
    notification("handed over", [], event("TEXT_SUCCESSFUL", isFinal=False)),
    *(notification(kind, [Receipt("m-1", NUMBER, PERSON, failure, kind)], event(kind)) for kind, failure in FAILED),
    *(notification(kind, [], event(kind)) for kind in ("TEXT_SENT", "TEXT_QUEUED", "TEXT_PENDING", "VOICE_COMPLETED")),
    notification("event without an id", [], event("TEXT_DELIVERED", messageId=None)),
    notification("no sender", BadPayload, {**TEXT, "originationNumber": None}),
    notification("no recipient", BadPayload, {**TEXT, "destinationNumber": " "}),
    notification("no id", BadPayload, {**TEXT, "inboundMessageId": ""}),
    notification("text of the wrong type", BadPayload, {**TEXT, "messageBody": 7}),
    notification("published by hand", BadPayload, "hello from the console"),
    notification("a list", BadPayload, "[]"),
    notification("nothing", BadPayload, ""),
    notification("unsigned", BadSignature, signed=False),
    notification("signature of nobody", BadSignature, signed=False, Signature=""),
    notification("signature that is no base64", BadSignature, signed=False, Signature="é="),
    notification("signature of the wrong type", BadSignature, signed=False, Signature=["x"]),
    notification("foreign topic", BadSignature, TopicArn="arn:aws:sns:us-east-1:999999999999:two-way-sms"),
    notification("unknown version", BadSignature, SignatureVersion="3"),
    notification("version of the wrong type", BadSignature, SignatureVersion=2),
    notification("unknown type", BadSignature, Type="Other", signed=False),
    notification("no time", BadSignature, Timestamp=None),
    notification("subject of the wrong type", BadSignature, Subject=5),
    notification("another certificate", BadSignature, SigningCertURL=f"{HOST}/other.pem"),
    confirmation("subscription elsewhere", BadSignature, SubscribeURL=f"{HOST}.attacker.example/?Action=Confirm"),
    confirmation("subscription nowhere", BadSignature, SubscribeURL=None),
    Case(
        "raw delivery", BadSignature, json.dumps(TEXT).encode(), headers={"x-amz-sns-rawdelivery": "true"}, sign=False
    ),
    Case("empty body", BadSignature, sign=False),
    Case("not json", BadSignature, b'{"Type": ', sign=False),
    Case("a list for a body", BadSignature, b"[1]", sign=False),
    Case("get", BadSignature, method="GET", query=b"Type=Notification", sign=False),
]


@pytest.mark.parametrize("found", CASES, ids=lambda found: found.label)
def test_inbound(found: Case) -> None:
    check_inbound(carrier(), found, sign, PRIVATE)


def test_rubbish_is_refused_in_order() -> None:
    check_hostile(carrier(), [found for found in CASES if found.sign], sign)


def test_what_is_not_signed_may_be_anything() -> None:
    request = sign(notification("", [], Subject=None, UnsubscribeURL="https://evil.example/").request())

    carrier().verify(request)
    assert carrier().parse(request) == [said("Hello there")]


def test_token_need_not_be_signed_in_what_is_ignored_anyway() -> None:
    """AWS's validator for JavaScript leaves it out there, and there alone."""
    ignored = json.loads(confirmation("", [], "UnsubscribeConfirmation").body)
    heeded = json.loads(confirmation("", []).body)
    for envelope in (ignored, heeded):
        without = {name: value for name, value in envelope.items() if name != "Token"}
        envelope["Signature"] = signature(signed_text(without), "2")

    carrier().verify(replace(Case("", []).request(), body=json.dumps(ignored).encode()))
    with pytest.raises(BadSignature):
        carrier().verify(replace(Case("", []).request(), body=json.dumps(heeded).encode()))


class Store:
    """A client that has the certificates of a sample."""

    def __init__(self, certificates: dict[str, str]) -> None:
        self._recorders = {url: Recorder(200, pem.encode()) for url, pem in certificates.items()}

    async def request(self, method: str, url: str, *, headers: dict[str, str], body: bytes) -> Any:
        return await self._recorders[url].request(method, url, headers=headers, body=body)


@pytest.mark.parametrize(
    ("name", "authentic"),
    [
        ("02-sms-signature-v1", True),
        ("03-sms-signature-v2", True),
        ("07-unicode", True),
        ("01-subscription-confirmation", True),
        ("09-unsubscribe-confirmation", True),
        ("04-tampered-message", False),
        ("12-unknown-signature-version", False),
    ],
)
async def test_signatures_made_by_others(name: str, authentic: bool) -> None:
    sample = json.loads((SAMPLES / f"{name}.json").read_text())
    request = replace(Case("", [], sample["request"]["body"].encode()).request(), received_at=sample["now"])
    found = AwsSns("acme", AwsSnsOptions(topic_arns=tuple(sample["secret"]["topic_arns"])), None)

    if not authentic:
        with pytest.raises(BadSignature):
            await fetched(found, Store(sample["secret"]["certs"]), request)
        return
    await fetched(found, Store(sample["secret"]["certs"]), request)


async def fetched(found: AwsSns, http: Any, request: RawRequest) -> None:
    await found.fetch_keys(http, request)
    found.verify(request)


ELSEWHERE = [
    "https://sns.us-east-1.amazonaws.com.evil.example/x.pem",
    "https://sns.s3-us-west-2.amazonaws.com/x.pem",
    "https://sns.us-east-1.amazonaws.com:443/x.pem",
    "https://sns.us-east-1.amazonaws.com:80@evil.example/x.pem",
    "https://me@sns.us-east-1.amazonaws.com/x.pem",
    "https://evil.example/https://sns.us-east-1.amazonaws.com/x.pem",
    "https://evil.sns.us-east-1.amazonaws.com/x.pem",
    "https://xsns.us-east-1.amazonaws.com/x.pem",
    "https://sns.us-east-1xamazonaws.com/x.pem",
    "https://sns.us-east-1.amazonaws.com.us/x.pem",
    "https://sns..amazonaws.com/x.pem",
    "https://sns.us-east-11.amazonaws.com/x.pem",
    "https://sns.us-east-١.amazonaws.com/x.pem",
    "https://sns.US-EAST-1.amazonaws.com/x.pem",
    "http://sns.us-east-1.amazonaws.com/x.pem",
    "HTTPS://sns.us-east-1.amazonaws.com/x.pem",
    "//sns.us-east-1.amazonaws.com/x.pem",
    " https://sns.us-east-1.amazonaws.com/x.pem",
    "https://sns.us-east-1.amazonaws.com/x.pem\n",
    "https://sns.us-east-1.amazonaws.com/x y.pem",
    "https://sns.us-east-1.amazonaws.com\\@evil.example/x.pem",
    "https://sns.us-east-1.amazonaws.com?/x.pem",
    "file:///x.pem",
    "",
]
NO_CERTIFICATES = [
    "https://sns.us-east-1.amazonaws.com/x.pem?.pem",
    "https://sns.us-east-1.amazonaws.com/x?y=.pem",
    "https://sns.us-east-1.amazonaws.com/x#.pem",
    "https://sns.us-east-1.amazonaws.com/x.crt",
    "https://sns.us-east-1.amazonaws.com/.pem",
    "https://sns.us-east-1.amazonaws.com/x%2Fy.pem",
]


@pytest.mark.parametrize("url", [*ELSEWHERE, *NO_CERTIFICATES])
async def test_no_certificate_is_fetched_from_elsewhere(url: str) -> None:
    found, http = AwsSns("acme", AwsSnsOptions(topic_arns=(TOPIC,)), None), Recorder(200, PEM)
    request = sign(notification("", [], SigningCertURL=url).request())

    with pytest.raises(BadSignature) as raised:
        await found.fetch_keys(http, request)
    check_discreet(found, raised.value, PRIVATE)
    with pytest.raises(BadSignature):
        found.verify(request)
    assert http.urls == []


@pytest.mark.parametrize("url", ELSEWHERE)
def test_no_subscription_is_confirmed_elsewhere(url: str) -> None:
    with pytest.raises(BadSignature):
        carrier().verify(sign(confirmation("", [], SubscribeURL=url).request()))


@pytest.mark.parametrize(
    "url",
    [
        "https://sns.us-gov-west-1.amazonaws.com/a/b-c_d.pem",
        "https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-0.pem",
        "https://sns.ap-southeast-2.amazonaws.com/x.pem",
    ],
)
async def test_certificates_of_all_regions_are_fetched(url: str) -> None:
    found, http = AwsSns("acme", AwsSnsOptions(topic_arns=(TOPIC,)), None), Recorder(200, PEM)

    await fetched(found, http, sign(notification("", [], SigningCertURL=url).request()))

    assert http.urls == [("GET", url)]


@pytest.mark.parametrize(
    "found",
    [
        notification("foreign topic", [], TopicArn="arn:aws:sns:us-east-1:999999999999:two-way-sms"),
        notification("unknown version", [], SignatureVersion="3"),
        confirmation("subscription elsewhere", [], SubscribeURL="https://evil.example/"),
        notification("unsigned", [], signed=False),
        Case("not json", [], b"{", sign=False),
    ],
    ids=lambda found: found.label,
)
async def test_nothing_is_fetched_for_what_is_refused_anyway(found: Case) -> None:
    http = Recorder(200, PEM)
    request = sign(found.request()) if found.sign else found.request()

    with pytest.raises(BadSignature):
        await AwsSns("acme", AwsSnsOptions(topic_arns=(TOPIC,)), None).fetch_keys(http, request)
    assert http.urls == []


async def test_keys_are_fetched_once_for_some_hours() -> None:
    found, http = AwsSns("acme", AwsSnsOptions(topic_arns=(TOPIC,)), None), Recorder(200, PEM)
    request = sign(notification("", []).request())
    assert isinstance(found, FetchesKeys)

    with pytest.raises(BadSignature):
        found.verify(request)
    await asyncio.gather(*(fetched(found, http, request) for _ in range(5)))
    late = replace(request, received_at=NOW + KEPT)
    with pytest.raises(BadSignature):
        found.verify(late)
    await fetched(found, http, late)

    assert http.urls == [("GET", CERTIFICATE)] * 2


async def test_a_certificate_that_cannot_be_had_is_a_matter_for_later() -> None:
    found, request = AwsSns("acme", AwsSnsOptions(topic_arns=(TOPIC,)), None), sign(notification("", []).request())

    with pytest.raises(DeliveryError) as raised:
        await found.fetch_keys(Recorder(503), request)
    assert found.answer(raised.value).status == 503


@pytest.mark.parametrize(
    ("timestamp", "taken"),
    [
        (AT, True),
        ("2025-12-31T23:00:00.000Z", True),
        ("2025-12-31T22:59:59.999Z", False),
        ("2026-01-01T01:00:00", True),
        ("2025-12-31T00:00:00", False),
        ("yesterday", False),
        ("", False),
    ],
)
def test_old_messages_can_be_refused(timestamp: str, taken: bool) -> None:
    request = sign(notification("", [], Timestamp=timestamp).request())

    carrier().verify(request)
    if taken:
        carrier(max_age_seconds=3600.0).verify(request)
        return
    with pytest.raises(BadSignature):
        carrier(max_age_seconds=3600.0).verify(request)


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (BadSignature("why"), Answer(403)),
        (BadPayload("Message is no JSON."), Answer(400, b"Message is no JSON.", "text/plain")),
        (BodyTooLarge("why"), Answer(413, b"why", "text/plain")),
        (StoreUnavailable("why"), Answer(503, headers=(("retry-after", "1"),))),
    ],
)
def test_only_what_is_to_come_again_gets_a_5xx(error: RequestError, answer: Answer) -> None:
    assert carrier().answer(error) == answer
    assert carrier().answer([outgoing("Hi")]) == Answer(200)


def test_options_need_a_topic_and_hide_secrets() -> None:
    for wrong in ((), ("two-way-sms",), ("arn:aws:sqs:us-east-1:123456789012:queue",)):
        with pytest.raises(ValidationError):
            AwsSnsOptions(topic_arns=wrong)
    with pytest.raises(ValidationError):
        AwsSnsOptions(topic_arns=(TOPIC,), region="evil.example/#")

    assert SECRET_KEY not in repr(AwsSnsOptions(topic_arns=(TOPIC,), secret_access_key=Secret(SECRET_KEY)))
    assert AwsSnsOptions(topic_arns=("arn:aws-us-gov:sns:us-gov-west-1:1:t",))
    assert not carrier().sends
    assert sending().sends
    assert carrier().retries
    assert not carrier(retries=False).retries
    assert not carrier().replies_inline


def test_who_answers_and_how_fast() -> None:
    managed = carrier(self_managed_opt_outs=True)

    assert set(carrier().answers_itself("long_code", "US")) == {"opt_out", "help"}
    assert set(carrier().answers_itself("short_code", None)) == {"opt_out", "help"}
    assert set(carrier().answers_itself("toll_free", "US")) == {"opt_out", "opt_in", "help"}
    assert set(managed.answers_itself("long_code", "US")) == set()
    assert set(managed.answers_itself("toll_free", "US")) == {"opt_out", "opt_in"}
    assert [managed.texts_per_second(kind, "US") for kind in ("long_code", "toll_free", "short_code")] == [1, 3, 100]


def sending(**more: Any) -> AwsSns:
    options = AwsSnsOptions(
        topic_arns=(TOPIC,),
        region="us-east-1",
        access_key_id="AKIDEXAMPLE",
        secret_access_key=Secret(SECRET_KEY),
        **more,
    )
    return AwsSns("acme", options, None, clock=lambda: NOW)


def refused(error: str, reason: str | None = None) -> bytes:
    return json.dumps({"__type": error, "Message": f"{PERSON} cannot be reached", "Reason": reason}).encode()


OPTED_OUT = refused("ConflictException", "DESTINATION_PHONE_NUMBER_OPTED_OUT")
PROTECTED = refused("ConflictException", "DESTINATION_PHONE_NUMBER_BLOCKED_BY_PROTECT_NUMBER_OVERRIDE")
OVER_QUOTA = refused("ServiceQuotaExceededException", "MONTHLY_SPEND_LIMIT_REACHED_FOR_TEXT")
IN_FULL = OPTED_OUT.replace(b"Conflict", b"com.amazonaws.pinpointsmsvoicev2#Conflict")
SEND_CASES = [
    SendCase("accepted", "m-1", 200, b'{"MessageId": "m-1"}'),
    SendCase("opted out", "opted_out", 400, OPTED_OUT),
    SendCase("opted out, in full", "opted_out", 400, IN_FULL),
    SendCase("protected", "permanent", 400, PROTECTED),
    SendCase("conflict without a reason", "permanent", 400, refused("ConflictException")),
    SendCase("too fast", "throttled", 400, refused("ThrottlingException")),
    SendCase("over the quota", "throttled", 400, OVER_QUOTA),
    SendCase("too many requests", "throttled", 429, b"", {"retry-after": "7"}),
    SendCase("not valid", "permanent", 400, refused("ValidationException", "INVALID_PARAMETER")),
    SendCase("no such number of ours", "permanent", 400, refused("ResourceNotFoundException")),
    SendCase("no permission", "auth", 400, refused("AccessDeniedException")),
    SendCase("wrong key", "auth", 403, refused("InvalidSignatureException")),
    SendCase("expired key", "auth", 400, refused("ExpiredTokenException")),
    SendCase("fault of AWS", "temporary", 500, refused("InternalServerException")),
    SendCase("out of order", "temporary", 503, b"<html>"),
    SendCase("unknown error", "permanent", 400, refused("NewException")),
    SendCase("no id", "permanent", 200, b"{}"),
]


@pytest.mark.parametrize("found", SEND_CASES, ids=lambda found: found.label)
async def test_sending(found: SendCase) -> None:
    message = outgoing("Hi & é", NUMBER, PERSON)
    http = await check_send(sending(), found, message, PRIVATE, fails=found.label != "accepted")

    assert http.urls == [("POST", "https://sms-voice.us-east-1.amazonaws.com/")]
    headers, body = http.requests[0]
    assert headers["X-Amz-Target"] == "PinpointSMSVoiceV2.SendTextMessage"
    assert headers["Content-Type"] == "application/x-amz-json-1.0"
    assert headers["X-Amz-Date"] == "20260101T000000Z"
    assert headers["Authorization"].startswith(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/sms-voice/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature="
    )
    assert json.loads(body) == {
        "DestinationPhoneNumber": PERSON,
        "OriginationIdentity": NUMBER,
        "MessageBody": "Hi & é",
        "MessageType": "TRANSACTIONAL",
    }


async def test_what_else_can_be_set_for_sending() -> None:
    http = Recorder(200, b'{"MessageId": "m-1"}')
    options = {"message_type": "PROMOTIONAL", "configuration_set_name": "events", "session_token": Secret("lent")}

    await sending(api_url="http://localhost:4566", **options).send(http, outgoing("Hi", NUMBER, PERSON))

    assert http.urls == [("POST", "http://localhost:4566/")]
    headers, body = http.requests[0]
    assert headers["X-Amz-Security-Token"] == "lent"
    sent = json.loads(body)
    assert (sent["MessageType"], sent["ConfigurationSetName"]) == ("PROMOTIONAL", "events")


async def test_the_pause_that_aws_asks_for_is_kept() -> None:
    with pytest.raises(SendError) as raised:
        await sending().send(Recorder(503, b"", {"retry-after": "7"}), outgoing("Hi", NUMBER, PERSON))

    assert raised.value.retry_after == 7
