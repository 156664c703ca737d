"""MessageBird SMS, which Bird still runs: a form or query for each text, with a signed token; replies by its REST API.

Facts: MessageBird's pages on receiving SMS and on signed requests, its validators and test data in
messagebird-python 2.2, and nyaruka/courier for the callbacks of short codes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlencode

from pydantic import Field

from adapters._http import HttpUrl, json_body
from adapters._networks import answered_by_network, network_rate
from adapters._requests import error_answer, required, signed_url
from adapters._sending import response_json, send_error
from adapters._signing import TOLERANCE, SigningKey, check_timestamp, matches
from adapters._tokens import hash_fits, time_claim, verified_claims
from router._core import TooManyFieldsError, scan_form
from router.errors import BadSignature, RouterError, TooManyFields
from router.ports import MOST_FORM_FIELDS, CarrierAnswers, Http, Options, OptionsType, Parsed, Secret
from router.types import Answer, Inbound, Intent, Media, NumberType, Outgoing, RawRequest, Receipt, SendFailure

#: What becomes of a text in the end, by `status`: None is delivered.
_FINAL: Mapping[str, SendFailure | None] = {"delivered": None, "expired": "temporary", "delivery_failed": "permanent"}
#: By `statusErrorCode`: 103 is what is reported of who has texted STOP.
_RECEIPT_FAILURES: Mapping[str, SendFailure] = {"103": "opted_out"}
#: By `code` of an error. An account without credit (25) is mended like wrong credentials.
_FAILURES: Mapping[str, SendFailure] = {**dict.fromkeys(("2", "25"), "auth"), "99": "temporary"}
_DAY = 86_400
_RATE = 30.0


class MessageBirdOptions(Options):
    """The keys of a MessageBird account in the configuration file.

    `signing_keys` are the account's, not its access keys; the new one first while it is changed. `signature` is
    `timestamp` where requests are still signed in the old way, without a token. `leeway` is how far the times in a
    token may be off, in seconds; `tolerance` is how old a request signed in the old way may be. `signed_url` is
    `without_query` where MessageBird signs only that, `none` where a proxy changes the URL: then nothing in a query can
    be trusted. `retries` can be true once it is known that requests which are repeated are signed anew: a token is good
    for a minute. `access_key` is needed to send.
    """

    signing_keys: Annotated[tuple[Secret, ...], Field(min_length=1, strict=False)]
    signature: Literal["token", "timestamp"] = "token"
    leeway: Annotated[int, Field(ge=0)] = 1
    tolerance: Annotated[int, Field(ge=1)] = _DAY
    signed_url: Literal["full", "without_query", "none"] = "full"
    retries: bool = False
    access_key: Secret | None = None
    api_url: HttpUrl = "https://rest.messagebird.com"


class MessageBird:
    """One MessageBird account."""

    Options: ClassVar[OptionsType] = MessageBirdOptions
    replies_inline = False
    idempotent = False

    def __init__(self, account: str, options: MessageBirdOptions, public_url: str | None) -> None:
        self.retries = options.retries
        self.sends = options.access_key is not None
        self._options = options
        self._secrets = [key.reveal() for key in options.signing_keys]
        self._keys = [SigningKey(secret.encode(), "sha256") for secret in self._secrets]
        self._public_url = public_url

    def verify(self, request: RawRequest) -> None:
        """Raises `BadSignature` unless one of the account's keys signed the request, not long ago."""
        if self._options.signature == "token":
            self._check_token(request)
        else:
            self._check_timestamped(request)

    def parse(self, request: RawRequest) -> Sequence[Parsed]:
        """The one text in a verified request, or what became of one that was sent."""
        pairs = _pairs(request.body if request.method != "GET" and request.body else request.query)
        fields = dict(pairs)
        if "status" in fields and not (fields.get("body") or fields.get("message")):
            return _receipts(fields)
        media = tuple(Media(url=url) for name, url in pairs if name.partition("[")[0] == "mediaurls" and url)
        if fields.get("shortcode"):
            message_id, recipient = fields.get("mid") or fields.get("id", ""), fields["shortcode"]
            words = fields.get("message") or fields.get("body", "")
        else:
            message_id, recipient = fields.get("id") or fields.get("mid", ""), fields.get("recipient", "")
            words = fields.get("body") or fields.get("message", "")
        sender = fields.get("originator", "")
        required(id=message_id, originator=sender, recipient=recipient)
        found = Inbound(message_id, sender, recipient, words, channel="mms" if media else "sms", media=media)
        return [found] if words or media else []

    def answer(self, result: Sequence[Outgoing] | RouterError) -> Answer:
        """MessageBird looks for this word."""
        return error_answer(result) if isinstance(result, RouterError) else Answer(200, b"OK", "text/plain")

    def answers_itself(self, number_type: NumberType, country: str | None) -> Mapping[Intent, CarrierAnswers]:
        """The network of toll-free numbers; whether MessageBird answers on other US numbers is not known."""
        return answered_by_network(number_type, country)

    def texts_per_second(self, number_type: NumberType, country: str | None) -> float:
        """What US networks allow unregistered numbers, and elsewhere a modest rate: MessageBird publishes none."""
        return network_rate(number_type, country, _RATE)

    async def send(self, http: Http, message: Outgoing) -> str:
        """MessageBird has no idempotency key: a text whose outcome is unknown may have been sent."""
        options = self._options
        content = {
            "originator": message.sender.removeprefix("+"),
            "recipients": [message.recipient.removeprefix("+")],
            "body": message.text,
            "reference": message.id,
            "datacoding": "auto",
        }
        key = options.access_key.reveal() if options.access_key else ""
        response = await http.request(
            "POST",
            f"{options.api_url}/messages",
            headers={"Authorization": f"AccessKey {key}", "Content-Type": "application/json"},
            body=json_body(content),
        )
        found = response_json(response)
        if response.status // 100 == 2 and found.get("id"):
            return str(found["id"])
        errors = found.get("errors")
        first = errors[0] if isinstance(errors, list) and errors else None
        raise send_error(response, message, str(first.get("code", "")) if isinstance(first, dict) else "", _FAILURES)

    def _check_token(self, request: RawRequest) -> None:
        claims = verified_claims(
            request.headers.get("messagebird-signature-jwt", ""), self._secrets, ["HS256", "HS384", "HS512"]
        )
        not_before, expires = time_claim(claims, "nbf"), time_claim(claims, "exp")
        if claims.get("iss") != "MessageBird":
            raise BadSignature("The token is not of MessageBird. Send only MessageBird's own webhooks here.")
        leeway = self._options.leeway
        if not not_before - leeway <= request.received_at < expires + leeway:
            raise BadSignature("The token is not valid now. Set both clocks by NTP.")
        if self._options.signed_url != "none" and not hash_fits(claims, "url_hash", self._url(request)):
            raise BadSignature("url_hash in the token does not fit. Check public_url of this account.")
        if bool(request.body) != bool(claims.get("payload_hash")):
            raise BadSignature("There is a body or a payload_hash in the token, without the other.")
        if request.body and not hash_fits(claims, "payload_hash", request.body):
            raise BadSignature("payload_hash in the token does not fit. The body was changed on its way.")

    def _url(self, request: RawRequest) -> bytes:
        url = signed_url(self._public_url, request).encode("utf-8", "replace")
        has_query = request.query and self._options.signed_url == "full"
        return url + b"?" + request.query if has_query else url

    def _check_timestamped(self, request: RawRequest) -> None:
        """The old way: it covers the query, sorted, and the body, but not the URL."""
        timestamp = request.headers.get("messagebird-request-timestamp", "")
        name = "MessageBird-Request-Timestamp"
        check_timestamp(timestamp, request.received_at, self._options.tolerance, name, ahead=TOLERANCE)
        try:
            pairs = sorted(scan_form(request.query, MOST_FORM_FIELDS), key=lambda pair: pair[0])
        except TooManyFieldsError:
            raise BadSignature(f"The query has over {MOST_FORM_FIELDS} fields. MessageBird sends some ten.") from None
        digest = hashlib.sha256(request.body).digest()
        message = b"%s\n%s\n%s" % (timestamp.encode(), urlencode(pairs).encode(), digest)
        given = request.headers.get("messagebird-signature", "")
        if not any(matches(given, key.sign(message)) for key in self._keys):
            raise BadSignature("MessageBird-Signature does not fit. Check signing_keys of this account.")


def _pairs(form: bytes) -> list[tuple[str, str]]:
    """The pairs of a form or query, with names in lower case: MessageBird's products do not agree on them."""
    try:
        return [(name.lower(), value) for name, value in scan_form(form, MOST_FORM_FIELDS)]
    except TooManyFieldsError:
        raise TooManyFields(f"The form has over {MOST_FORM_FIELDS} fields. MessageBird sends some ten.") from None


def _receipts(fields: Mapping[str, str]) -> list[Parsed]:
    message_id, status, code = fields.get("id", ""), fields["status"], fields.get("statuserrorcode", "")
    if not message_id or status not in _FINAL:
        return []
    final = _FINAL[status]
    failure = final and _RECEIPT_FAILURES.get(code, final)
    sender, recipient = fields.get("originator") or None, fields.get("recipient") or None
    return [Receipt(message_id, sender, recipient, failure, (code or None) if final else None)]
