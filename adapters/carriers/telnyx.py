"""Telnyx Messaging: every event is a POST of JSON signed with Ed25519; replies go out by its API.

Facts: Telnyx's pages on webhooks, opt-out and error codes, and the types of telnyx-python 4.189. RCS and WhatsApp put
their content into `body`, where WhatsApp's is as in Meta's Cloud API.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from adapters._http import HttpUrl, json_body
from adapters._networks import US_RATES, answered_by_both, answered_by_network
from adapters._public_keys import PublicKey, VerifyKey
from adapters._requests import entries, error_answer, json_object, required, table, text
from adapters._sending import response_json, send_error
from adapters._signing import TOLERANCE, check_timestamp
from router.errors import BadPayload, BadSignature, RouterError
from router.ports import CarrierAnswers, Http, Options, OptionsType, Parsed, Secret
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
_OPT_OUT_TYPES: Mapping[str, OptOutType] = {"STOP": "STOP", "START": "START", "HELP": "HELP", "INFO": "HELP"}
#: What becomes of a text in the end, by the `status` of its recipient: None is delivered. `delivery_unconfirmed` is
#: neither: no receipt has come and none will.
_FINAL: Mapping[str, SendFailure | None] = {
    "delivered": None,
    "read": None,
    "sending_failed": "permanent",
    "delivery_failed": "permanent",
    "expired": "temporary",
}
_FAILURES: Mapping[str, SendFailure] = {
    "40300": "opted_out",
    **dict.fromkeys(("10002", "10016", "40001", "40012", "40310"), "invalid_number"),
    **dict.fromkeys(("10011", "40002", "40011", "40016", "40018", "40318"), "throttled"),
    **dict.fromkeys(("10007", "10008", "40005", "40006", "40014"), "temporary"),
    **dict.fromkeys(("10009", "10010"), "auth"),
}
_MEDIA_TYPES = ("image", "video", "audio", "document", "sticker")
#: Where nobody has changed the words of the profile: Telnyx, "Advanced opt-in/out management".
_ANSWERED: Mapping[Intent, CarrierAnswers] = {
    "opt_out": CarrierAnswers(frozenset({"STOP", "STOPALL", "STOP ALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"})),
    "opt_in": CarrierAnswers(frozenset({"START", "UNSTOP"})),
}


class TelnyxOptions(Options):
    """The keys of a Telnyx account in the configuration file.

    `public_keys` are those under "Keys & Credentials" in Telnyx's portal, in Base64; two while the key is changed.
    `tolerance` is how old a signature may be, in seconds. `numbers` are ours where people text to several of them at
    once: a group message is taken as sent to the first of its recipients that is among them, else to the first of all.
    `api_key` is needed to send. `messaging_profile_id` goes along with every text, if given. `idempotency_key` sends
    the header of that name, so that a text is not sent twice: Telnyx does not say whether `/v2/messages` heeds it.
    """

    public_keys: Annotated[tuple[PublicKey, ...], Field(min_length=1, strict=False)]
    tolerance: Annotated[int, Field(ge=1)] = TOLERANCE
    numbers: Annotated[tuple[str, ...], Field(strict=False)] = ()
    api_key: Secret | None = None
    messaging_profile_id: str | None = None
    idempotency_key: bool = False
    api_url: HttpUrl = "https://api.telnyx.com"


class Telnyx:
    """One Telnyx account."""

    Options: ClassVar[OptionsType] = TelnyxOptions
    retries = True
    replies_inline = False

    def __init__(self, account: str, options: TelnyxOptions, public_url: str | None) -> None:
        self.idempotent = options.idempotency_key
        self.sends = options.api_key is not None
        self._options = options
        self._keys = [VerifyKey(key) for key in options.public_keys]

    def verify(self, request: RawRequest) -> None:
        """Raises `BadSignature` unless one of the account's keys signed the body, not long ago."""
        timestamp = request.headers.get("telnyx-timestamp", "")
        check_timestamp(timestamp, request.received_at, self._options.tolerance, "telnyx-timestamp")
        given = request.headers.get("telnyx-signature-ed25519", "")
        message = b"%s|%s" % (timestamp.encode(), request.body)
        if not any(key.fits(given, message) for key in self._keys):
            raise BadSignature("telnyx-signature-ed25519 does not fit. Check public_keys of this account.")

    def parse(self, request: RawRequest) -> Sequence[Parsed]:
        """The one text in a verified request, or what became of one that was sent; none in any other event."""
        data = table(json_object(request.body), "data")
        event = text(data, "event_type")
        required(**{"data.event_type": event})
        if event == "message.received":
            return self._texts(table(data, "payload"))
        return _receipts(table(data, "payload")) if event == "message.finalized" else []

    def answer(self, result: Sequence[Outgoing] | RouterError) -> Answer:
        """Only the status counts: Telnyx waits two seconds for a 2xx."""
        return error_answer(result) if isinstance(result, RouterError) else Answer(200)

    def answers_itself(self, number_type: NumberType, country: str | None) -> Mapping[Intent, CarrierAnswers]:
        """Opt-outs and their taking back on every messaging profile; HELP only where that is set up there."""
        return answered_by_both(_ANSWERED, answered_by_network(number_type, country))

    def texts_per_second(self, number_type: NumberType, country: str | None) -> float:
        """What US networks allow unregistered numbers; more is agreed on with Telnyx."""
        return US_RATES[number_type]

    async def send(self, http: Http, message: Outgoing) -> str:
        """Without `idempotency_key`, a text whose outcome is unknown may have been sent."""
        key = self._options.api_key
        headers = {"Authorization": f"Bearer {key.reveal() if key else ''}", "Content-Type": "application/json"}
        if self._options.idempotency_key:
            headers["Idempotency-Key"] = message.id
        path, content = self._content(message)
        response = await http.request("POST", self._options.api_url + path, headers=headers, body=json_body(content))
        found = response_json(response)
        data = found.get("data")
        if response.status // 100 == 2 and isinstance(data, dict) and data.get("id"):
            return str(data["id"])
        raise send_error(response, message, _error_code(found), _FAILURES)

    def _content(self, message: Outgoing) -> tuple[str, dict[str, Any]]:
        addresses = {"from": message.sender, "to": message.recipient}
        if message.channel == "whatsapp":
            content = {"type": "text", "text": {"body": message.text}}
            return "/v2/messages/whatsapp", {**addresses, "whatsapp_message": content}
        profile = self._options.messaging_profile_id
        more = {"messaging_profile_id": profile} if profile else {}
        return "/v2/messages", {**addresses, "text": message.text, **more}

    def _texts(self, payload: Mapping[str, Any]) -> list[Parsed]:
        if text(payload, "direction") not in ("", "inbound"):
            return []
        body = table(payload, "body")
        sender = _address(payload.get("from")) or text(body, "from") or text(body, "from_user_id")
        recipient, reference = self._recipient(payload.get("to"))
        message_id = text(payload, "id")
        required(**{"payload.id": message_id, "payload.from": sender, "payload.to": recipient or reference or ""})
        words, tap = _words(body)
        media = tuple(_media(payload, body))
        message = Inbound(
            message_id,
            sender,
            recipient,
            text=text(payload, "text") or words,
            channel=_CHANNELS.get(text(payload, "type").upper(), "mms" if media else "sms"),
            media=media,
            opt_out_type=_OPT_OUT_TYPES.get(text(payload, "autoresponse_type").upper()),
            payload=tap or None,
            recipient_ref=reference,
        )
        return [message] if message.text or media or message.payload or message.opt_out_type else []

    def _recipient(self, to: Any) -> tuple[str | None, str | None]:
        """Our number, or else what RCS calls our end of the conversation."""
        members = to if isinstance(to, list) else [to]
        numbers = [number for number in map(_address, members) if number]
        if numbers:
            return next((number for number in numbers if number in self._options.numbers), numbers[0]), None
        agents = [text(member, "agent_id") for member in members if isinstance(member, dict)]
        return None, next(filter(None, agents), None)


def _address(member: Any) -> str:
    """The number of somebody who takes part, however they are written."""
    if isinstance(member, str):
        return member
    return text(member, "phone_number") if isinstance(member, dict) else ""


def _words(body: Mapping[str, Any]) -> tuple[str, str]:
    """What was said by RCS or WhatsApp, and what stands behind the button that was tapped."""
    said = body.get("text")
    if isinstance(said, str) and said:
        return said, ""
    suggestion, button = table(body, "suggestion_response"), table(body, "button")
    interactive = table(body, "interactive")
    reply = table(interactive, "button_reply") or table(interactive, "list_reply")
    captions = [text(table(body, kind), "caption") for kind in _MEDIA_TYPES if kind in body]
    words = [
        text(said, "body") if isinstance(said, dict) else "",
        text(suggestion, "text"),
        text(button, "text"),
        text(reply, "title"),
        *captions,
    ]
    taps = [text(suggestion, "postback_data"), text(button, "payload"), text(reply, "id")]
    return next(filter(None, words), ""), next(filter(None, taps), "")


def _media(payload: Mapping[str, Any], body: Mapping[str, Any]) -> list[Media]:
    found = [
        Media(url=text(item, "url") or None, content_type=text(item, "content_type") or None)
        for item in _objects(entries(payload, "media"))
    ]
    file = table(table(body, "user_file"), "payload")
    if file:
        found.append(Media(url=text(file, "file_uri") or None, content_type=text(file, "mime_type") or None))
    for item in (table(body, kind) for kind in _MEDIA_TYPES if kind in body):
        url = text(item, "url") or text(item, "link")
        found.append(Media(url or None, text(item, "id") or None, text(item, "mime_type") or None))
    return found


def _objects(items: list[Any]) -> list[dict[str, Any]]:
    if not all(isinstance(item, dict) for item in items):
        raise BadPayload("payload.media holds what is no JSON object. Send only the carrier's own webhooks here.")
    return items


def _receipts(payload: Mapping[str, Any]) -> list[Parsed]:
    message_id, code = text(payload, "id"), _error_code(payload)
    required(**{"payload.id": message_id})
    receipts: list[Parsed] = []
    for member in entries(payload, "to"):
        status = text(member, "status") if isinstance(member, dict) else ""
        if status in _FINAL:
            final = _FINAL[status]
            failure = final and _FAILURES.get(code or "", final)
            sender, recipient = _address(payload.get("from")), _address(member)
            receipts.append(Receipt(message_id, sender or None, recipient or None, failure, code if final else None))
    return receipts


def _error_code(found: Mapping[str, Any]) -> str | None:
    errors = found.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    return str(first["code"]) if isinstance(first, dict) and first.get("code") else None
