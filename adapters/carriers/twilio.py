"""Twilio Programmable Messaging: SMS, MMS, WhatsApp and RCS arrive as one form, and the answer is TwiML.

Error codes: Twilio's error dictionary. Rates, and who answers STOP: Twilio's pages on message queueing and on opt-out
keywords.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, ClassVar
from urllib.parse import urlencode, urlsplit

from pydantic import Field

from adapters._http import HttpUrl
from adapters._networks import US_RATES, answered_by_network
from adapters._requests import content_type, error_answer, our_address, signed_url
from adapters._sending import basic_authorization, response_json, send_error, xml_text
from adapters._signing import SigningKey, matches
from router._core import Form, TooManyFieldsError
from router.errors import BadPayload, BadSignature, RouterError, TooManyFields, WrongContentType
from router.ports import MOST_FORM_FIELDS, CarrierAnswers, Http, Options, OptionsType, Parsed, Secret
from router.types import (
    Answer,
    Channel,
    Inbound,
    Intent,
    Media,
    NumberType,
    OptOutType,
    Outgoing,
    RawRequest,
    Receipt,
    SendFailure,
)

_CHANNELS: Mapping[str, Channel] = {"whatsapp": "whatsapp", "rcs": "rcs"}
_OPT_OUT_TYPES: Mapping[str, OptOutType] = {"STOP": "STOP", "START": "START", "HELP": "HELP"}
#: What becomes of a text in the end, by `MessageStatus`: None is delivered.
_FINAL: Mapping[str, SendFailure | None] = {
    "delivered": None,
    "read": None,
    "undelivered": "permanent",
    "failed": "permanent",
}
_FAILURES: Mapping[str, SendFailure] = {
    "21610": "opted_out",
    "63050": "opted_out",
    **dict.fromkeys(("21211", "21614", "21217", "30005", "30006"), "invalid_number"),
    **dict.fromkeys(("20429", "21611", "63018", "30022"), "throttled"),
    **dict.fromkeys(("30003", "30008"), "temporary"),
    **dict.fromkeys(("21408", "21612", "21606", "30007", "30034", "63016"), "permanent"),
    "20003": "auth",
}
#: Nothing else may stand in the text: Twilio, "Twilio support for opt-out keywords (SMS STOP filtering)".
_ANSWERED: Mapping[Intent, CarrierAnswers] = {
    "opt_out": CarrierAnswers(
        frozenset(["STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"])
    ),
    "opt_in": CarrierAnswers(frozenset({"START", "YES", "UNSTOP"})),
    "help": CarrierAnswers(frozenset({"HELP", "INFO"})),
}
_MEDIA_COUNT = re.compile(r"[0-9]{1,2}")
_BODY_DIGEST = re.compile(rb"(?:^|&)bodySHA256=([0-9a-f]{64})(?:&|$)")


class TwilioOptions(Options):
    """The keys of a Twilio account in the configuration file.

    `auth_tokens` are the live tokens of the account, primary first. `shared_keys` are signing secrets by key id.
    `retries` is true where the webhook URL at Twilio ends in `#rc=3&rp=all`: without it, Twilio does not offer a text
    again after a 5xx. `account_sid` is needed to send: with `api_key` and `api_secret`, else with the first auth token.
    """

    auth_tokens: Annotated[tuple[Secret, ...], Field(min_length=1, strict=False)]
    shared_keys: Mapping[str, Secret] = {}
    retries: bool = False
    account_sid: Annotated[str, Field(pattern=r"^AC[0-9a-fA-F]{32}$")] | None = None
    api_key: str | None = None
    api_secret: Secret | None = None
    api_url: HttpUrl = "https://api.twilio.com"


class Twilio:
    """One Twilio account."""

    Options: ClassVar[OptionsType] = TwilioOptions
    replies_inline = True
    idempotent = False

    def __init__(self, account: str, options: TwilioOptions, public_url: str | None) -> None:
        self.retries = options.retries
        self.sends = options.account_sid is not None
        self._options = options
        self._tokens = [SigningKey(token.reveal().encode(), "sha1") for token in options.auth_tokens]
        self._shared_keys = {
            key_id: SigningKey(key.reveal().encode(), "sha256") for key_id, key in options.shared_keys.items()
        }
        self._public_url = public_url
        user, password = options.api_key or options.account_sid or "", options.api_secret or options.auth_tokens[0]
        self._authorization = basic_authorization(user, password.reveal())

    def verify(self, request: RawRequest) -> None:
        """Raises `BadSignature` unless one of the account's keys signed the URL and, in a POST, the body."""
        keys = self._keys(request.headers.get("x-twilio-webhooks-signature-settings", ""))
        given = request.headers.get("x-twilio-signature", "")
        tail = (b"?" + request.query if request.query else b"") + _signed_parameters(request)
        for key in keys:
            for url in _signed_urls(signed_url(self._public_url, request)):
                if matches(given, key.sign(url + tail)):
                    return
        raise BadSignature("X-Twilio-Signature does not fit. Check auth_tokens and public_url of this account.")

    def parse(self, request: RawRequest) -> Sequence[Parsed]:
        """The one text in a verified request, or what became of one that was sent; none without text, media and tap."""
        fields = _fields(request)
        if fields.get("MessageStatus", "received") != "received":
            return _receipts(fields)
        message_id = fields.get("MessageSid") or fields.get("SmsSid")
        channel, sender = _split_address(fields.get("From", ""))
        _, to = _split_address(fields.get("To", ""))
        recipient, reference = our_address(to, channel or "sms")
        if not (message_id and sender and to):
            raise BadPayload("MessageSid, From or To is missing or blank. Send only Twilio's messaging webhooks here.")
        media = _media(fields)
        message = Inbound(
            message_id,
            sender,
            recipient,
            text=fields.get("Body", ""),
            channel=channel or ("mms" if media else "sms"),
            media=media,
            opt_out_type=_OPT_OUT_TYPES.get(fields.get("OptOutType", "")),
            payload=fields.get("ButtonPayload") or None,
            recipient_ref=reference,
        )
        return [message] if message.text or media or message.opt_out_type or message.payload else []

    def answer(self, result: Sequence[Outgoing] | RouterError) -> Answer:
        """TwiML with the replies, in their order; otherwise a status that Twilio shows in its debugger."""
        if isinstance(result, RouterError):
            # Only a 4xx may carry plain text: on a 2xx Twilio sends it to the person.
            return error_answer(result)
        return _twiml(tuple(reply.text for reply in result))

    def answers_itself(self, number_type: NumberType, country: str | None) -> Mapping[Intent, CarrierAnswers]:
        """Long codes by Twilio's default handling, toll-free numbers by the network; short codes by nobody."""
        return {} if number_type == "short_code" else answered_by_network(number_type, country) or _ANSWERED

    def texts_per_second(self, number_type: NumberType, country: str | None) -> float:
        """As for numbers outside 10DLC; more is agreed on with Twilio."""
        return US_RATES[number_type]

    async def send(self, http: Http, message: Outgoing) -> str:
        """Twilio has no idempotency key: a text whose outcome is unknown may have been sent."""
        options = self._options
        prefix = f"{message.channel}:" if message.channel in _CHANNELS else ""
        fields = {"To": prefix + message.recipient, "From": prefix + message.sender, "Body": message.text}
        response = await http.request(
            "POST",
            f"{options.api_url}/2010-04-01/Accounts/{options.account_sid}/Messages.json",
            headers={"Authorization": self._authorization, "Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(fields, errors="replace").encode(),
        )
        found = response_json(response)
        if response.status // 100 == 2 and found.get("sid"):
            return str(found["sid"])
        raise send_error(response, message, str(found.get("code", "")), _FAILURES)

    def _keys(self, settings: str) -> list[SigningKey]:
        if not settings:
            return self._tokens
        parts = dict(part.strip().partition("=")[::2] for part in settings.split(","))
        key = self._shared_keys.get(parts.get("key", ""))
        if key is None or parts.get("algorithm") != "HMAC_SHA256":
            raise BadSignature("The request names a key or an algorithm that is unknown. Add the key to shared_keys.")
        return [key]


@lru_cache(maxsize=1024)
def _twiml(replies: tuple[str, ...]) -> Answer:
    messages = "".join(f"<Message>{xml_text(reply)}</Message>" for reply in replies)
    return Answer(200, (f"<Response>{messages}</Response>" if messages else "<Response/>").encode(), "text/xml")


@lru_cache(maxsize=64)
def _signed_urls(public_url: str) -> Sequence[bytes]:
    """The URL as configured and with or without its port: which of them Twilio signs is not consistent."""
    try:
        parts = urlsplit(public_url)
    except ValueError:  # what a proxy's headers made
        return [public_url.encode("utf-8", "replace")]
    host, _, port = parts.netloc.rpartition(":")
    other = host if port.isdecimal() else f"{parts.netloc}:{443 if parts.scheme == 'https' else 80}"
    return [url.encode("utf-8", "replace") for url in (public_url, parts._replace(netloc=other).geturl())]


def _signed_parameters(request: RawRequest) -> bytes:
    """What is signed after the URL: every distinct pair of a form, sorted; of anything else nothing."""
    if request.method == "GET":
        return b""
    digest = request.query and _BODY_DIGEST.search(request.query)
    if digest and not _is_form(request):
        if not hmac.compare_digest(hashlib.sha256(request.body).hexdigest().encode(), digest[1]):
            raise BadSignature("bodySHA256 does not fit the body. The body was changed on its way.")
        return b""
    try:
        return _read(request.body).joined()
    except TooManyFieldsError:
        raise BadSignature(f"The form has over {MOST_FORM_FIELDS} fields. Twilio sends some thirty.") from None


def _is_form(request: RawRequest) -> bool:
    return content_type(request) == "application/x-www-form-urlencoded"


# What `verify` has just read, `parse` reads next.
@lru_cache(maxsize=1)
def _read(form: bytes) -> Form:
    return Form(form, MOST_FORM_FIELDS)


def _fields(request: RawRequest) -> Form:
    if request.method != "GET" and not _is_form(request):
        raise WrongContentType("The body is not a form. Send application/x-www-form-urlencoded.")
    try:
        return _read(request.query if request.method == "GET" else request.body)
    except TooManyFieldsError:
        raise TooManyFields(f"The form has over {MOST_FORM_FIELDS} fields. Twilio sends some thirty.") from None


def _receipts(fields: Form) -> list[Parsed]:
    status, code = fields.get("MessageStatus", ""), fields.get("ErrorCode") or None
    if status not in _FINAL:
        return []
    failure = None if _FINAL[status] is None else _FAILURES.get(code or "", _FINAL[status])
    _, sender = _split_address(fields.get("From", ""))
    _, recipient = _split_address(fields.get("To", ""))
    return [Receipt(fields.get("MessageSid", ""), sender or None, recipient or None, failure, code)]


def _split_address(address: str) -> tuple[Channel | None, str]:
    prefix, _, rest = address.partition(":")
    channel = _CHANNELS.get(prefix)
    return (channel, rest) if channel else (None, address)


def _media(fields: Form) -> tuple[Media, ...]:
    count = fields.get("NumMedia") or "0"
    if count == "0":
        return ()
    if not _MEDIA_COUNT.fullmatch(count):
        raise BadPayload("NumMedia is not a count. Send only Twilio's messaging webhooks here.")
    return tuple(
        Media(url=fields.get(f"MediaUrl{index}") or None, content_type=fields.get(f"MediaContentType{index}") or None)
        for index in range(int(count))
    )
