"""AWS End User Messaging: each text is published to an SNS topic, which posts it here signed; replies go by its API.

Source: AWS's documentation of both services, SNS's own validators, the service model of botocore.
"""

import re
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from pydantic import Field

from adapters._aws import AwsCredentials, signed_headers
from adapters._certificates import Certificates
from adapters._http import HttpUrl, json_body
from adapters._networks import US_RATES, answered_by_network
from adapters._requests import error_answer, json_object, required, text
from adapters._sending import response_json, send_error
from router.errors import BadPayload, BadSignature, RouterError
from router.ports import CarrierAnswers, Http, Options, OptionsType, Parsed, Secret
from router.types import Answer, Handshake, Inbound, Intent, NumberType, Outgoing, RawRequest, Receipt, SendFailure

# Stricter than AWS's own validators: `sns.s3-us-west-2.amazonaws.com` is anybody's bucket.
_HOST = r"https://sns\.[a-z]{2}(?:-[a-z]+)+-[0-9]\.amazonaws\.com(?:\.cn)?"
_CERTIFICATE_URL = re.compile(rf"{_HOST}/[A-Za-z0-9/._~-]+\.pem")
_SUBSCRIBE_URL = re.compile(rf"{_HOST}/[!-~]*")

_REQUIRED = ("Type", "MessageId", "TopicArn", "Message", "Timestamp", "SignatureVersion", "Signature", "SigningCertURL")
_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
#: What is signed, by type. AWS's own validators do not agree on the last one; nothing follows from it.
_SIGNED: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "Notification": (("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),),
    "SubscriptionConfirmation": (_CONFIRMATION,),
    "UnsubscribeConfirmation": (_CONFIRMATION, tuple(name for name in _CONFIRMATION if name != "Token")),
}
_HASHES: Mapping[str, hashes.HashAlgorithm] = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303 (SNS's default)

#: What becomes of a text in the end, by event type: None is delivered.
_FINAL: Mapping[str, SendFailure | None] = {
    "TEXT_DELIVERED": None,
    "TEXT_INVALID": "invalid_number",
    **dict.fromkeys(("TEXT_UNREACHABLE", "TEXT_CARRIER_UNREACHABLE", "TEXT_TTL_EXPIRED"), "temporary"),
    **dict.fromkeys(("TEXT_BLOCKED", "TEXT_CARRIER_BLOCKED", "TEXT_PROTECT_BLOCKED", "TEXT_SPAM"), "permanent"),
    **dict.fromkeys(("TEXT_INVALID_MESSAGE", "TEXT_UNKNOWN"), "permanent"),
}
#: By the reason of a conflict, otherwise by the error.
_FAILURES: Mapping[str, SendFailure] = {
    "DESTINATION_PHONE_NUMBER_OPTED_OUT": "opted_out",
    **dict.fromkeys(("ThrottlingException", "ServiceQuotaExceededException"), "throttled"),
    **dict.fromkeys(("InternalServerException", "RequestTimeoutException"), "temporary"),
    **dict.fromkeys(("AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException"), "auth"),
    **dict.fromkeys(
        ("ExpiredTokenException", "IncompleteSignatureException", "MissingAuthenticationTokenException"), "auth"
    ),
}
#: By default, whatever stands behind them: AWS, "Required opt-out keywords" and "Keywords".
_ANSWERED: Mapping[Intent, CarrierAnswers] = {
    "opt_out": CarrierAnswers(
        frozenset(["ARRET", "CANCEL", "END", "OPT-OUT", "OPTOUT", "QUIT", "REMOVE", "STOP", "TD", "UNSUBSCRIBE"]),
        beginning=True,
    ),
    "help": CarrierAnswers(frozenset({"HELP"}), beginning=True),
}


class AwsSnsOptions(Options):
    """The keys of an AWS account in the configuration file.

    `topic_arns` are the topics that our numbers publish to: a signature alone proves no more than that some customer of
    AWS sent it. `max_age_seconds` refuses what was published longer ago. `retries` is false if the delivery policy of
    the subscription (by default one minute) is too short for an outage. `self_managed_opt_outs` says that AWS leaves
    STOP and HELP to us on all of our numbers. To send, `region`, `access_key_id` and `secret_access_key` are needed;
    `api_url` is another endpoint of the service, without a path.
    """

    topic_arns: Annotated[
        tuple[Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:sns:")], ...], Field(min_length=1, strict=False)
    ]
    max_age_seconds: Annotated[float, Field(gt=0)] | None = None
    retries: bool = True
    self_managed_opt_outs: bool = False
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")] | None = None
    access_key_id: str | None = None
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    message_type: Literal["TRANSACTIONAL", "PROMOTIONAL"] = "TRANSACTIONAL"
    configuration_set_name: str | None = None
    api_url: HttpUrl | None = None


class AwsSns:
    """Two-way numbers of one AWS account, by the topics that they publish to."""

    Options: ClassVar[OptionsType] = AwsSnsOptions
    replies_inline = False
    idempotent = False

    def __init__(
        self, account: str, options: AwsSnsOptions, public_url: str | None, clock: Callable[[], float] = time.time
    ) -> None:
        self.retries = options.retries
        self.sends = None not in (options.region, options.access_key_id, options.secret_access_key)
        self._options = options
        self._topics = frozenset(options.topic_arns)
        self._certificates = Certificates()
        self._credentials = AwsCredentials(
            options.access_key_id or "",
            options.secret_access_key.reveal() if options.secret_access_key else "",
            options.session_token.reveal() if options.session_token else None,
        )
        self._clock = clock

    async def fetch_keys(self, http: Http, request: RawRequest) -> None:
        """Fetches the certificate that the request names, if it is AWS's and the topic is ours."""
        envelope = self._envelope(request)
        await self._certificates.fetch(http, envelope["SigningCertURL"], request.received_at)

    def verify(self, request: RawRequest) -> None:
        """Raises `BadSignature` unless AWS signed the request, and for a topic of ours."""
        envelope = self._envelope(request)
        key = self._certificates.key(envelope["SigningCertURL"], request.received_at)
        if key is None:
            raise BadSignature("The certificate of the request has not been fetched. Let SNS send the request again.")
        if not any(_fits(key, envelope, signed) for signed in _signed_texts(envelope)):
            raise BadSignature("Signature does not fit. Send only what SNS has signed.")

    def parse(self, request: RawRequest) -> Sequence[Parsed]:
        """The text in a verified request, or what became of one that was sent; or that a subscription is confirmed."""
        envelope = json_object(request.body)
        kind = text(envelope, "Type")
        if kind == "SubscriptionConfirmation":
            return [Handshake(Answer(200), visit=text(envelope, "SubscribeURL"))]
        # Visiting the URL in an UnsubscribeConfirmation would subscribe us again, which is not for us to decide.
        return _published(text(envelope, "Message")) if kind == "Notification" else []

    def answer(self, result: Sequence[Outgoing] | RouterError) -> Answer:
        """SNS offers again what gets a 5xx, and never what gets a 4xx."""
        return error_answer(result) if isinstance(result, RouterError) else Answer(200)

    def answers_itself(self, number_type: NumberType, country: str | None) -> Mapping[Intent, CarrierAnswers]:
        """AWS answers texts that begin with STOP or HELP, unless opt-outs are self-managed.

        Behind toll-free numbers, opt-outs and opt-ins are the network's.
        """
        by_aws = {} if self._options.self_managed_opt_outs else _ANSWERED
        return {**by_aws, **answered_by_network(number_type, country)}

    def texts_per_second(self, number_type: NumberType, country: str | None) -> float:
        """AWS's default limits in the US, which count parts of texts; elsewhere they are no lower."""
        return US_RATES[number_type]

    async def send(self, http: Http, message: Outgoing) -> str:
        """There is no client token: a text whose outcome is unknown may have been sent."""
        options = self._options
        fields = {
            "DestinationPhoneNumber": message.recipient,
            "OriginationIdentity": message.sender,
            "MessageBody": message.text,
            "MessageType": options.message_type,
        }
        if options.configuration_set_name:
            fields["ConfigurationSetName"] = options.configuration_set_name
        url = (options.api_url or f"https://sms-voice.{options.region}.amazonaws.com").rstrip("/") + "/"
        body = json_body(fields)
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": "PinpointSMSVoiceV2.SendTextMessage",
        }
        signed = signed_headers(self._credentials, options.region or "", "sms-voice", url, headers, body, self._clock())
        response = await http.request("POST", url, headers=signed, body=body)
        found = response_json(response)
        if response.status // 100 == 2 and found.get("MessageId"):
            return str(found["MessageId"])
        # Written with or without the namespace of the service before it.
        error = str(found.get("__type", "")).rpartition("#")[2]
        raise send_error(response, message, _failure_code(error, found), _FAILURES)

    def _envelope(self, request: RawRequest) -> dict[str, Any]:
        """The SNS message that a request is; `BadSignature` for what need not even be checked further."""
        try:
            envelope = json_object(request.body)
        except BadPayload:
            envelope = {}
        if not all(isinstance(envelope.get(name), str) for name in _REQUIRED) or envelope["Type"] not in _SIGNED:
            raise BadSignature("The request is no message of SNS. Turn raw message delivery off in the subscription.")
        if envelope["TopicArn"] not in self._topics:
            raise BadSignature("The topic is not one of ours. Add it to topic_arns of this account.")
        if not _CERTIFICATE_URL.fullmatch(envelope["SigningCertURL"]):
            raise BadSignature("SigningCertURL does not lead to SNS. Send only what SNS has signed.")
        if envelope["SignatureVersion"] not in _HASHES:
            raise BadSignature("SignatureVersion is neither 1 nor 2. Set it to 2 in the attributes of the topic.")
        if envelope["Type"] == "SubscriptionConfirmation" and not _is_subscribe_url(envelope.get("SubscribeURL")):
            raise BadSignature("SubscribeURL does not lead to SNS. Send only what SNS has signed.")
        self._check_age(envelope["Timestamp"], request.received_at)
        return envelope

    def _check_age(self, timestamp: str, now: float) -> None:
        longest = self._options.max_age_seconds
        if longest is None:
            return
        try:
            published = datetime.fromisoformat(timestamp)
        except ValueError:
            raise BadSignature("Timestamp is not a time. Send only what SNS has signed.") from None
        published = published if published.tzinfo else published.replace(tzinfo=UTC)
        if now - published.timestamp() > longest:
            raise BadSignature(
                "The message was published too long ago. Raise max_age_seconds, or set our clock by NTP."
            )


def _is_subscribe_url(url: object) -> bool:
    return isinstance(url, str) and _SUBSCRIBE_URL.fullmatch(url) is not None


def _signed_texts(envelope: Mapping[str, Any]) -> Iterator[bytes]:
    """What a signature of the message may be over: its fields by name, in order, each with its value."""
    for names in _SIGNED[envelope["Type"]]:
        values = {name: envelope[name] for name in names if envelope.get(name) is not None}
        if all(isinstance(value, str) for value in values.values()):
            yield "".join(f"{name}\n{value}\n" for name, value in values.items()).encode()


def _fits(key: RSAPublicKey, envelope: Mapping[str, Any], signed: bytes) -> bool:
    given: str = envelope["Signature"]
    try:
        signature = b64decode(given, validate=True)
        key.verify(signature, signed, PKCS1v15(), _HASHES[envelope["SignatureVersion"]])
    except (InvalidSignature, ValueError):
        return False
    # One way to write it, so that a changed character is a changed signature.
    return b64encode(signature).decode() == given


def _published(message: str) -> list[Parsed]:
    """What End User Messaging published: a text from a person, or what became of one of ours."""
    try:
        fields = json_object(message.encode())
    except BadPayload:
        raise BadPayload("Message is no JSON object. Let nothing but our numbers publish to this topic.") from None
    if "eventType" in fields:
        return _receipts(fields)
    message_id = text(fields, "inboundMessageId")
    sender, recipient = text(fields, "originationNumber"), text(fields, "destinationNumber")
    required(inboundMessageId=message_id, originationNumber=sender, destinationNumber=recipient)
    return [Inbound(message_id, sender, recipient, text(fields, "messageBody"))]


def _receipts(event: Mapping[str, Any]) -> list[Parsed]:
    kind, message_id = text(event, "eventType"), text(event, "messageId")
    # Networks without receipts end with the hand-over to them.
    final = kind in _FINAL or (kind == "TEXT_SUCCESSFUL" and event.get("isFinal") is True)
    if not final or not message_id:
        return []
    failure = _FINAL.get(kind)
    sender, recipient = text(event, "originationPhoneNumber"), text(event, "destinationPhoneNumber")
    return [Receipt(message_id, sender or None, recipient or None, failure, kind if failure else None)]


def _failure_code(error: str, found: Mapping[str, Any]) -> str:
    return str(found.get("Reason", "")) if error == "ConflictException" else error
