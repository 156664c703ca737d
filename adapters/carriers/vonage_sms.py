"""Vonage's SMS API (Nexmo): each part of a text arrives alone, as a query, a form or JSON; replies go out by a form.

Facts: Vonage's pages on inbound SMS, signing messages and delivery receipts. How blank values are signed differs
between vonage-python 4.9 and vonage-java-sdk.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlencode

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from adapters._gsm import is_gsm
from adapters._http import HttpUrl, json_body
from adapters._networks import answered_by_both, answered_by_network, network_rate
from adapters._requests import content_type, error_answer, form_fields, json_object, required
from adapters._sending import response_json, send_error
from adapters._signing import TOLERANCE, Algorithm, SigningKey, check_timestamp, matches
from adapters._vonage import OPT_OUT_ASSIST
from router.errors import BadPayload, BadSignature, RequestError, RouterError
from router.ports import CarrierAnswers, Http, Options, OptionsType, Parsed, Secret
from router.types import Answer, Binary, Inbound, Intent, NumberType, Outgoing, Part, RawRequest, Receipt, SendFailure

#: What becomes of a text in the end, by `status`: None is delivered.
_FINAL: Mapping[str, SendFailure | None] = {
    "delivered": None,
    "expired": "temporary",
    "failed": "permanent",
    "rejected": "permanent",
}
#: By `err-code` of a receipt. 9 is what Opt-Out Assist gives for who has texted STOP.
_RECEIPT_FAILURES: Mapping[str, SendFailure] = {
    "9": "opted_out",
    **dict.fromkeys(("3", "4", "11", "12"), "invalid_number"),
    **dict.fromkeys(("2", "7", "8"), "temporary"),
    "16": "throttled",
}
#: By `status` in the answer to a text. Who is barred (7) is on a blacklist of Vonage's. 8 and 9, an account that is
#: suspended or without credit, are mended like wrong credentials.
_FAILURES: Mapping[str, SendFailure] = {
    "7": "opted_out",
    **dict.fromkeys(("6", "33"), "invalid_number"),
    **dict.fromkeys(("1", "10"), "throttled"),
    "5": "temporary",
    **dict.fromkeys(("4", "8", "9", "14"), "auth"),
}
_RATE = 30.0
_COUNT = re.compile(r"[0-9]{1,3}")


class VonageSmsOptions(Options):
    """The keys of a Vonage account in the configuration file.

    `signature_secrets` and `signature_method` are those of the account's settings, the new secret first while it is
    changed: `md5hash` is the "MD5 hash signature", the others are HMACs. `unauthenticated` is true where the account
    does not sign and something before keyroute lets only Vonage through. `tolerance` is how old a signature may be, in
    seconds. `opt_out_assist` is true where that product answers opt-outs. `api_key` and `api_secret` are for sending.
    """

    signature_secrets: Annotated[tuple[Secret, ...], Field(strict=False)] = ()
    signature_method: Literal["md5hash", "md5", "sha1", "sha256", "sha512"] = "md5hash"
    unauthenticated: bool = False
    tolerance: Annotated[int, Field(ge=1)] = TOLERANCE
    opt_out_assist: bool = False
    api_key: str | None = None
    api_secret: Secret | None = None
    api_url: HttpUrl = "https://rest.nexmo.com"

    @model_validator(mode="after")
    def _has_proof(self) -> Self:
        if bool(self.signature_secrets) == self.unauthenticated:
            remedy = "Write signature_secrets, or unauthenticated = true if Vonage does not sign for this account."
            raise PydanticCustomError("no_proof", "must either be signed or not.", {"remedy": remedy})
        return self


class VonageSms:
    """One Vonage account with the SMS API."""

    Options: ClassVar[OptionsType] = VonageSmsOptions
    retries = True
    replies_inline = False
    idempotent = False

    def __init__(self, account: str, options: VonageSmsOptions, public_url: str | None) -> None:
        self.sends = bool(options.api_key and options.api_secret)
        self._options = options
        self._signers = [
            _signer(secret.reveal().encode(), options.signature_method) for secret in options.signature_secrets
        ]

    def verify(self, request: RawRequest) -> None:
        """Raises `BadSignature` unless one of the account's secrets signed the fields, not long ago."""
        # Vonage's dashboard calls a new address without anything, to see whether it is there.
        if self._options.unauthenticated or not (request.query or request.body):
            return
        try:
            fields = _fields(request)
        except RequestError:
            raise BadSignature(
                "The fields cannot be read, so they cannot be signed. Send only Vonage's webhooks."
            ) from None
        check_timestamp(fields.get("timestamp", ""), request.received_at, self._options.tolerance, "timestamp")
        given = fields.get("sig", "").lower()
        expected = [sign(signed) for signed in _signed_texts(fields) for sign in self._signers]
        if not any(matches(given, signature) for signature in expected):
            raise BadSignature("sig does not fit. Check signature_secrets and signature_method of this account.")

    def parse(self, request: RawRequest) -> Sequence[Parsed]:
        """The one text, or part of one, in a verified request, or what became of one that was sent."""
        fields = _fields(request)
        if "status" in fields and ("err-code" in fields or "text" not in fields):
            return _receipts(fields)
        message_id, sender, recipient = (fields.get(name, "") for name in ("messageId", "msisdn", "to"))
        if not (sender or recipient):
            return []
        required(messageId=message_id, msisdn=sender, to=recipient)
        binary = _binary(fields) if fields.get("type") == "binary" else None
        words = "" if binary else fields.get("text", "")
        part = _part(fields)
        found = Inbound(message_id, sender, recipient, words, part=part, binary=binary)
        return [found] if words or binary or part else []

    def answer(self, result: Sequence[Outgoing] | RouterError) -> Answer:
        """Only the status counts."""
        return error_answer(result) if isinstance(result, RouterError) else Answer(200)

    def answers_itself(self, number_type: NumberType, country: str | None) -> Mapping[Intent, CarrierAnswers]:
        """The network of toll-free numbers, and Opt-Out Assist on US numbers where it is on."""
        assisted = self._options.opt_out_assist and country in ("US", None)
        return answered_by_both(OPT_OUT_ASSIST if assisted else {}, answered_by_network(number_type, country))

    def texts_per_second(self, number_type: NumberType, country: str | None) -> float:
        """What US networks allow unregistered numbers, and elsewhere what an API key may send."""
        return network_rate(number_type, country, _RATE)

    async def send(self, http: Http, message: Outgoing) -> str:
        """The id of the first part. Vonage has no idempotency key: what has an unknown outcome may have been sent."""
        options = self._options
        fields = {
            "api_key": options.api_key or "",
            "api_secret": options.api_secret.reveal() if options.api_secret else "",
            "from": message.sender.removeprefix("+"),
            "to": message.recipient.removeprefix("+"),
            "text": message.text,
            "type": "text" if is_gsm(message.text) else "unicode",
            "client-ref": message.id,
        }
        response = await http.request(
            "POST",
            f"{options.api_url}/sms/json",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(fields, errors="replace").encode(),
        )
        listed = response_json(response).get("messages")
        parts = [part for part in listed if isinstance(part, dict)] if isinstance(listed, list) else []
        # Errors come with the status 200, too.
        refused = [str(part.get("status", "")) for part in parts if str(part.get("status", "")) != "0"]
        if response.status // 100 == 2 and parts and not refused and parts[0].get("message-id"):
            return str(parts[0]["message-id"])
        raise send_error(response, message, refused[0] if refused else None, _FAILURES)


def _signer(secret: bytes, method: Algorithm | Literal["md5hash"]) -> Callable[[bytes], bytes]:
    """What signs a text, in lower-case hex."""
    if method == "md5hash":
        # Vonage's own default; nothing else can be chosen for it.
        return lambda text: hashlib.md5(text + secret, usedforsecurity=False).hexdigest().encode()
    return SigningKey(secret, method).hex


def _fields(request: RawRequest) -> Mapping[str, str]:
    if request.method == "GET" or not request.body:
        return _from_form(request.query)
    is_json = content_type(request) == "application/json" or request.body.lstrip().startswith(b"{")
    return _from_json(request.body) if is_json else _from_form(request.body)


# What `verify` has just read, `parse` reads next.
@lru_cache(maxsize=1)
def _from_form(form: bytes) -> Mapping[str, str]:
    return form_fields(form)


@lru_cache(maxsize=1)
def _from_json(body: bytes) -> Mapping[str, str]:
    """The fields of a JSON object; what is no text is taken as JSON writes it, null as blank."""
    return {
        name: value if isinstance(value, str) else "" if value is None else json_body(value).decode()
        for name, value in json_object(body).items()
    }


def _signed_texts(fields: Mapping[str, str]) -> set[bytes]:
    """What may have been signed: with blank values, or without them and with clean names."""
    pairs = sorted((name, value) for name, value in fields.items() if name != "sig")
    with_blanks = "".join(f"&{name}={_cleaned(value)}" for name, value in pairs)
    without = "".join(f"&{_cleaned(name)}={_cleaned(value)}" for name, value in pairs if value.strip())
    return {with_blanks.encode(), without.encode()}


def _cleaned(text: str) -> str:
    return text.replace("&", "_").replace("=", "_")


def _binary(fields: Mapping[str, str]) -> Binary | None:
    try:
        data, header = (bytes.fromhex(fields.get(name, "")).hex() for name in ("data", "udh"))
    except ValueError:
        raise BadPayload("data or udh of a binary message is not hex. Send only Vonage's own webhooks here.") from None
    return Binary(data, header) if data or header else None


def _part(fields: Mapping[str, str]) -> Part | None:
    """Which part of a long text this is; one that does not say so rightly is taken as a text by itself."""
    ref, total, seq = (fields.get(f"concat-{name}", "") for name in ("ref", "total", "part"))
    if fields.get("concat", "").lower() != "true" or not (_COUNT.fullmatch(total) and _COUNT.fullmatch(seq)):
        return None
    return Part(ref, int(total), int(seq)) if 1 <= int(seq) <= int(total) else None


def _receipts(fields: Mapping[str, str]) -> list[Parsed]:
    message_id, status, code = fields.get("messageId", ""), fields["status"], fields.get("err-code", "")
    if not message_id or status not in _FINAL:
        return []
    final = _FINAL[status]
    failure = final and _RECEIPT_FAILURES.get(code, final)
    # Of a receipt, `to` is who the text was from.
    sender, recipient = fields.get("to") or None, fields.get("msisdn") or None
    return [Receipt(message_id, sender, recipient, failure, (code or None) if final else None)]
