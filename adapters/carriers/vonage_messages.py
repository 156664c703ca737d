"""Vonage's Messages API: SMS, MMS, WhatsApp and RCS as JSON with a signed token; replies go out by its API.

Facts: Vonage's pages on inbound messages, signed webhooks and error codes, and the models of vonage-java-sdk.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, ClassVar, Literal

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from adapters._http import HttpUrl, json_body
from adapters._networks import answered_by_both, answered_by_network, network_rate
from adapters._requests import entries, error_answer, json_object, our_address, required, table, text
from adapters._sending import basic_authorization, response_json, send_error
from adapters._signing import TOLERANCE
from adapters._tokens import hash_fits, time_claim, verified_claims
from adapters._vonage import OPT_OUT_ASSIST
from router.errors import BadSignature, RouterError
from router.ports import CarrierAnswers, Http, Options, OptionsType, Parsed, Secret
from router.types import Answer, Channel, Inbound, Intent, Media, NumberType, Outgoing, RawRequest, Receipt, SendFailure

_CHANNELS: Mapping[str, Channel] = {"sms": "sms", "mms": "mms", "whatsapp": "whatsapp", "rcs": "rcs"}
_MEDIA_TYPES = ("image", "audio", "video", "file", "vcard", "sticker")
#: What becomes of a text in the end, by `status`: None is delivered.
_FINAL: Mapping[str, SendFailure | None] = {
    "delivered": None,
    "read": None,
    "rejected": "permanent",
    "undeliverable": "permanent",
}
#: 1240 is what Opt-Out Assist gives for who has texted STOP, and who is barred (1050) is on a blacklist of Vonage's. An
#: account that is suspended or without credit (1060, 1070) is mended like wrong credentials.
_FAILURES: Mapping[str, SendFailure] = {
    **dict.fromkeys(("1050", "1240"), "opted_out"),
    **dict.fromkeys(("1040", "1170", "1190", "1250", "1260", "1300", "1310"), "invalid_number"),
    **dict.fromkeys(("1000", "1241"), "throttled"),
    **dict.fromkeys(("1030", "1100", "1180", "1220", "1230", "1360"), "temporary"),
    **dict.fromkeys(("1060", "1070", "1110", "low-balance"), "auth"),
}
_RATE = 30.0
#: How long the token of a request to Vonage is good, in seconds.
_TOKEN_LIFE = 300


def _check_private_key(key: Secret) -> Secret:
    try:
        load_pem_private_key(key.reveal().encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        remedy = "Keep the file private.key there that Vonage made for the application, as it is."
        raise PydanticCustomError("key_shape", "is not a private key.", {"remedy": remedy}) from None
    return key


class VonageMessagesOptions(Options):
    """The keys of one or more Vonage accounts in the configuration file.

    `signature_secrets` are those of the accounts' settings by API key, the new one of each first while it is changed.
    `tolerance` is how old a signature may be, in seconds. `unsigned_status` answers a request without a signature:
    Vonage says that 503 makes it come again, signed. `opt_out_assist` is true where that product answers opt-outs. To
    send, `application_id` and `private_key` are needed, so that receipts come where the application says, or `api_key`
    and `api_secret`.
    """

    signature_secrets: Annotated[
        Mapping[str, Annotated[tuple[Secret, ...], Field(min_length=1, strict=False)]], Field(min_length=1)
    ]
    tolerance: Annotated[int, Field(ge=1)] = TOLERANCE
    unsigned_status: Literal[403, 503] = 403
    opt_out_assist: bool = False
    application_id: str | None = None
    private_key: Annotated[Secret, AfterValidator(_check_private_key)] | None = None
    api_key: str | None = None
    api_secret: Secret | None = None
    api_url: HttpUrl = "https://api.nexmo.com"


class VonageMessages:
    """One or more Vonage accounts that post to the same address with the Messages API."""

    Options: ClassVar[OptionsType] = VonageMessagesOptions
    retries = True
    replies_inline = False
    idempotent = False

    def __init__(
        self,
        account: str,
        options: VonageMessagesOptions,
        public_url: str | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._options = options
        self._clock = clock
        self._secrets = {
            key: [known.reveal() for known in secrets] for key, secrets in options.signature_secrets.items()
        }
        self._by_application = bool(options.application_id and options.private_key)
        self.sends = self._by_application or bool(options.api_key and options.api_secret)

    def verify(self, request: RawRequest) -> None:
        """Raises `BadSignature` unless one of the accounts' secrets signed the body, not long ago."""
        scheme, _, token = request.headers.get("authorization", "").strip().partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            unsigned = BadSignature("There is no token in Authorization. Switch signed webhooks on at Vonage.")
            unsigned.status = self._options.unsigned_status
            raise unsigned
        claims = self._claims(token.strip())
        if not hash_fits(claims, "payload_hash", request.body):
            raise BadSignature("payload_hash in the token does not fit the body. The body was changed on its way.")
        if not abs(request.received_at - time_claim(claims, "iat")) <= self._options.tolerance:
            raise BadSignature("iat in the token is too far from our clock. Set both clocks by NTP.")

    def parse(self, request: RawRequest) -> Sequence[Parsed]:
        """The one text in a verified request, or what became of one that was sent."""
        fields = _flattened(json_object(request.body))
        kind = text(fields, "message_type")
        if "status" in fields and not kind:
            return _receipts(fields)
        message_id, channel = text(fields, "message_uuid"), text(fields, "channel")
        if channel and channel not in _CHANNELS:
            return []
        sender, to = text(fields, "from") or _whatsapp_sender(fields), text(fields, "to")
        required(**{"message_uuid": message_id, "message_type": kind, "channel": channel, "from": sender, "to": to})
        words, media, payload = _content(kind, fields)
        recipient, reference = our_address(to, _CHANNELS[channel])
        found = Inbound(
            message_id,
            sender,
            recipient,
            words,
            channel=_CHANNELS[channel],
            media=media,
            payload=payload or None,
            recipient_ref=reference,
        )
        return [found] if words or media or payload else []

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
        """Vonage has no idempotency key: a text whose outcome is unknown may have been sent."""
        content = {
            # A text that answers a picture goes out as SMS.
            "channel": "sms" if message.channel == "mms" else message.channel,
            "message_type": "text",
            "from": message.sender.removeprefix("+"),
            "to": message.recipient.removeprefix("+"),
            "text": message.text,
            "client_ref": message.id,
        }
        headers = {"Authorization": self._authorization(message.id), "Content-Type": "application/json"}
        response = await http.request(
            "POST", f"{self._options.api_url}/v1/messages", headers=headers, body=json_body(content)
        )
        found = response_json(response)
        if response.status // 100 == 2 and found.get("message_uuid"):
            return str(found["message_uuid"])
        raise send_error(response, message, _error_code(found), _FAILURES)

    def _claims(self, token: str) -> dict[str, Any]:
        """The claims of a token that an account signed which they name. Nothing is read that is not proven."""
        for api_key, secrets in self._secrets.items():
            with suppress(BadSignature):
                claims = verified_claims(token, secrets, ["HS256"])
                if claims.get("api_key") == api_key:
                    return claims
        raise BadSignature("The token does not fit. Check signature_secrets, and the API key that each belongs to.")

    def _authorization(self, message_id: str) -> str:
        options = self._options
        if not self._by_application or not options.private_key:
            return basic_authorization(options.api_key or "", options.api_secret.reveal() if options.api_secret else "")
        now = self._clock()
        claims = {
            "application_id": options.application_id,
            "iat": int(now),
            "exp": int(now) + _TOKEN_LIFE,
            "jti": f"{message_id}.{now}",
        }
        return f"Bearer {jwt.encode(claims, options.private_key.reveal(), algorithm='RS256')}"


def _flattened(fields: dict[str, Any]) -> dict[str, Any]:
    """A message or status in the shape of version 1; in that of version 0.1, addresses and content are objects."""
    sender, recipient = fields.get("from"), fields.get("to")
    if not isinstance(sender, dict) or not isinstance(recipient, dict):
        return fields
    content = table(table(fields, "message"), "content")
    addresses = {"from": _old_address(sender), "to": _old_address(recipient), "channel": text(sender, "type")}
    return {**content, **fields, "message_type": text(content, "type"), **addresses}


def _old_address(address: Mapping[str, Any]) -> str:
    return text(address, "number") or text(address, "id")


def _whatsapp_sender(fields: Mapping[str, Any]) -> str:
    """Who wrote, if they do not show their number."""
    sender = table(table(fields, "whatsapp"), "sender")
    return text(sender, "wa_id") or text(sender, "user_id")


def _content(kind: str, fields: Mapping[str, Any]) -> tuple[str, tuple[Media, ...], str]:
    """The text, the files and the payload of a tapped button, each empty if there is none."""
    if kind == "reply":
        reply = table(fields, "reply")
        return text(reply, "title"), (), text(reply, "id")
    if kind == "button":
        button = table(fields, "button")
        return text(button, "text"), (), text(button, "payload")
    if kind == "text":
        return text(fields, "text"), (), ""
    if kind == "order":
        return text(table(fields, "order"), "text"), (), ""
    items = entries(fields, "content") if kind == "content" else [table(fields, kind)] if kind in _MEDIA_TYPES else []
    items = [item for item in items if isinstance(item, dict)]
    words = [text(item, "caption") or text(item, "text") for item in items]
    media = tuple(Media(url=text(item, "url")) for item in items if text(item, "url"))
    return "\n".join(filter(None, words)), media, ""


def _receipts(fields: Mapping[str, Any]) -> list[Parsed]:
    message_id, status, code = text(fields, "message_uuid"), text(fields, "status"), _error_code(table(fields, "error"))
    if not message_id or status not in _FINAL:
        return []
    final = _FINAL[status]
    failure = final and _FAILURES.get(code, final)
    sender, recipient = text(fields, "from") or None, text(fields, "to") or None
    return [Receipt(message_id, sender, recipient, failure, (code or None) if final else None)]


def _error_code(error: Mapping[str, Any]) -> str:
    """The code of a problem: at the end of its type, as its title, or by itself in version 0.1."""
    for written in (str(error.get("type", "")).rpartition("#")[2], error.get("title"), error.get("code")):
        if (code := str(written or "")) and (code.isdecimal() or code in _FAILURES):
            return code
    return ""
