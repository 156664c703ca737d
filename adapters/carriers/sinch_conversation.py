"""Sinch's Conversation API: SMS, MMS, WhatsApp and RCS in one form; opt-outs are events of their own.

Facts: Sinch's pages on Conversation callbacks and consent management, and the models of sinch-sdk-python 2.3.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import model_validator

from adapters._credentials import caller_checks, check_any, require_proof
from adapters._http import HttpUrl, json_body
from adapters._networks import answered_by_both, answered_by_network, network_rate
from adapters._requests import error_answer, json_object, made_id, our_address, required, table, text
from adapters._sending import response_json, send_error
from adapters.carriers.sinch import RATE, ProjectToken, SinchOptions, signature_checks
from router.errors import BadPayload, RouterError
from router.ports import CarrierAnswers, Http, OptionsType, Parsed
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

_CHANNELS: Mapping[str, Channel] = {"SMS": "sms", "MMS": "mms", "WHATSAPP": "whatsapp", "RCS": "rcs"}
#: A text that answers a picture goes out as SMS.
_SENT_BY: Mapping[Channel, str] = {"sms": "SMS", "mms": "SMS", "whatsapp": "WHATSAPP", "rcs": "RCS"}
_PREFERENCES: Mapping[str, OptOutType] = {"opt_out_notification": "STOP", "opt_in_notification": "START"}
#: What becomes of a text in the end, by `status`: None is delivered.
_FINAL: Mapping[str, SendFailure | None] = {"DELIVERED": None, "READ": None, "FAILED": "permanent"}
_FAILURES: Mapping[str, SendFailure] = {
    "RECIPIENT_NOT_OPTED_IN": "opted_out",
    **dict.fromkeys(
        ("RECIPIENT_INVALID_CHANNEL_IDENTITY", "CONTACT_NOT_FOUND", "NO_CHANNEL_IDENTITY_FOR_CONTACT"), "invalid_number"
    ),
    **dict.fromkeys(("RATE_LIMITED", "RESOURCE_EXHAUSTED"), "throttled"),
    **dict.fromkeys(
        ("INTERNAL_ERROR", "RECIPIENT_NOT_REACHABLE", "CHANNEL_FAILURE", "DELIVERY_TIMED_OUT", "MESSAGE_EXPIRED"),
        "temporary",
    ),
    **dict.fromkeys(
        ("CHANNEL_BAD_CONFIGURATION", "CHANNEL_CONFIGURATION_MISSING", "INACTIVE_CREDENTIAL", "UNKNOWN_APP"), "auth"
    ),
}
_SCOPES = ("", " MARKETING", " NOTIFICATION")
_OPT_OUTS = ("STOP", "UNSUBSCRIBE", "DETENER", "SALIR", "PARAR", "CANCELAR")
_OPT_INS = ("START", "SUBSCRIBE", "VOLVER", "RECIBIR", "VOLTAR", "RECEBER")
#: Alone, or with the name of one of Sinch's lists behind them, and nothing else: Sinch, "Consent management".
_ANSWERED: Mapping[Intent, CarrierAnswers] = {
    "opt_out": CarrierAnswers(frozenset(word + scope for word in _OPT_OUTS for scope in _SCOPES)),
    "opt_in": CarrierAnswers(frozenset(word + scope for word in _OPT_INS for scope in _SCOPES)),
}


class SinchConversationOptions(SinchOptions):
    """The keys of an app of the Conversation API in the configuration file, beside those of `SinchOptions`.

    `retries` can be true once it is known that Sinch repeats a webhook of this API after a 5xx, which it documents for
    its other APIs only. `consent_management` is true where it is on for the app and answers: keyroute then records
    what it reports and stays silent. `project_id`, `app_id` and the access key are needed to send; `api_url` names the
    region of the app.
    """

    retries: bool = False
    consent_management: bool = False
    project_id: str | None = None
    app_id: str | None = None
    api_url: HttpUrl = "https://us.conversation.api.sinch.com"

    @model_validator(mode="after")
    def _has_proof(self) -> Self:
        require_proof(self, self.hmac_secrets)
        return self


class SinchConversation:
    """One app of Sinch's Conversation API."""

    Options: ClassVar[OptionsType] = SinchConversationOptions
    replies_inline = False
    idempotent = False

    def __init__(self, account: str, options: SinchConversationOptions, public_url: str | None) -> None:
        self.retries = options.retries
        self.sends = bool(options.project_id and options.app_id and options.key_id and options.key_secret)
        self._options = options
        self._checks = [*signature_checks(options), *caller_checks(options)]
        self._project = ProjectToken(options)

    def verify(self, request: RawRequest) -> None:
        """Raises `BadSignature` unless the request has one of the account's proofs."""
        check_any(request, self._checks)

    def parse(self, request: RawRequest) -> Sequence[Parsed]:
        """The one text, opt-out or opt-in in a verified request, or what became of a text that was sent."""
        fields = json_object(request.body)
        if not any(isinstance(value, dict) for value in fields.values()):
            raise BadPayload("There is no event in the request. Send only Sinch's own webhooks here.")
        app = text(fields, "app_id")
        if fields.get("message") is not None:
            return _texts(table(fields, "message"), app)
        for event, hint in _PREFERENCES.items():
            if fields.get(event) is not None:
                return _preferences(table(fields, event), hint, app, request.body)
        return _receipts(table(fields, "message_delivery_report"))

    def answer(self, result: Sequence[Outgoing] | RouterError) -> Answer:
        """Only the status counts."""
        return error_answer(result) if isinstance(result, RouterError) else Answer(200)

    def answers_itself(self, number_type: NumberType, country: str | None) -> Mapping[Intent, CarrierAnswers]:
        """The network of toll-free numbers, and consent management where it is on."""
        by_sinch = _ANSWERED if self._options.consent_management else {}
        return answered_by_both(by_sinch, answered_by_network(number_type, country))

    def texts_per_second(self, number_type: NumberType, country: str | None) -> float:
        """What US networks allow unregistered numbers, and elsewhere a modest rate; more is agreed on with Sinch."""
        return network_rate(number_type, country, RATE)

    async def send(self, http: Http, message: Outgoing) -> str:
        """Sinch has no idempotency key: a text whose outcome is unknown may have been sent."""
        options = self._options
        identity = {"channel": _SENT_BY[message.channel], "identity": message.recipient.removeprefix("+")}
        content: dict[str, Any] = {
            "app_id": options.app_id,
            "recipient": {"identified_by": {"channel_identities": [identity]}},
            "message": {"text_message": {"text": message.text}},
            "correlation_id": message.id,
        }
        if identity["channel"] == "SMS":
            content["channel_properties"] = {"SMS_SENDER": message.sender.removeprefix("+")}
        url = f"{options.api_url}/v1/projects/{options.project_id}/messages:send"
        response = await self._project.post(http, url, message, json_body(content))
        found = response_json(response)
        if response.status // 100 == 2 and found.get("message_id"):
            return str(found["message_id"])
        error = found.get("error")
        code = str(error.get("status", "")) if isinstance(error, dict) else ""
        raise send_error(response, message, code, _FAILURES)


def _texts(message: Mapping[str, Any], app: str) -> list[Parsed]:
    if text(message, "direction") == "TO_CONTACT":
        return []
    identity = table(message, "channel_identity")
    message_id, channel, sender = text(message, "id"), text(identity, "channel"), text(identity, "identity")
    required(**{"message.id": message_id, "channel_identity.channel": channel, "channel_identity.identity": sender})
    if channel not in _CHANNELS:
        return []
    recipient, reference = our_address(text(message, "sender_id"), _CHANNELS[channel])
    words, media, payload = _content(table(message, "contact_message"))
    found = Inbound(
        message_id,
        sender,
        recipient,
        words,
        channel=_CHANNELS[channel],
        media=media,
        payload=payload or None,
        recipient_ref=reference or (None if recipient else app or None),
    )
    return [found] if words or media or payload else []


def _content(message: Mapping[str, Any]) -> tuple[str, tuple[Media, ...], str]:
    """The text, the file and the payload of the tapped choice, each empty if there is none."""
    card = table(message, "media_card_message")
    tap = text(table(message, "choice_response_message"), "postback_data")
    words = text(table(message, "text_message"), "text") or text(card, "caption") or tap
    url = text(table(message, "media_message"), "url") or text(card, "url")
    return words, (Media(url=url),) if url else (), tap


def _preferences(notice: Mapping[str, Any], hint: OptOutType, app: str, body: bytes) -> list[Parsed]:
    """That the person asked for it counts, also where Sinch did not manage to register it."""
    channel, sender = text(notice, "channel"), text(notice, "identity")
    required(channel=channel, identity=sender)
    if channel not in _CHANNELS:
        return []
    return [
        Inbound(
            text(notice, "request_id") or made_id(body),
            sender,
            None,
            "",
            channel=_CHANNELS[channel],
            opt_out_type=hint,
            recipient_ref=app or None,
            kind="preference",
        )
    ]


def _receipts(report: Mapping[str, Any]) -> list[Parsed]:
    message_id, status = text(report, "message_id"), text(report, "status")
    if not message_id or status not in _FINAL:
        return []
    final, code = _FINAL[status], text(table(report, "reason"), "code")
    failure = final and _FAILURES.get(code, final)
    person = text(table(report, "channel_identity"), "identity")
    return [Receipt(message_id, None, person or None, failure, (code or None) if final else None)]
