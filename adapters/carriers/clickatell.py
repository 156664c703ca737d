"""Clickatell: reply callbacks of the platform, One API and the older Central, told apart by their shape.

Facts: Clickatell's pages on the REST reply callback, the One API and its error codes; of Central its archived guide.
Nothing is signed: the callback URL carries a secret token, or a user and password.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import unquote_to_bytes

from pydantic import Field, model_validator

from adapters._credentials import CallerOptions, caller_checks, check_any, require_proof, token_check
from adapters._gsm import part_of
from adapters._http import HttpUrl, json_body
from adapters._networks import US_RATES, answered_by_network
from adapters._octets import codec_named, decoded, octet_fields
from adapters._requests import (
    content_type,
    entries,
    error_answer,
    json_object,
    parsed_each,
    required,
    table,
    text,
)
from adapters._sending import response_json, send_error
from router.errors import RouterError
from router.ports import CarrierAnswers, Http, OptionsType, Parsed, Secret
from router.types import Answer, Channel, Inbound, Intent, Media, NumberType, Outgoing, RawRequest, Receipt, SendFailure

_CHANNELS: Mapping[str, Channel] = {"sms": "sms", "whatsapp": "whatsapp"}
#: What becomes of a text in the end, by status code: None is delivered. Whatever else is still under way.
_FINAL: Mapping[str, SendFailure | None] = {
    "4": None,
    **dict.fromkeys(("5", "6", "7", "9", "14"), "permanent"),
    **dict.fromkeys(("10", "12"), "temporary"),
}
_FAILURES: Mapping[str, SendFailure] = {
    "26": "opted_out",
    **dict.fromkeys(("25", "27"), "invalid_number"),
    "43": "throttled",
    **dict.fromkeys(("18", "19", "20"), "temporary"),
    **dict.fromkeys(("1", "2", "3", "7"), "auth"),
}


class ClickatellOptions(CallerOptions):
    """The keys of a Clickatell account in the configuration file.

    `tokens` are the live values of `token` in the query of the callback URL. `default_to` is our number where a reply
    does not say which it was sent to. `api_key` is needed to send; it belongs to an integration of the One API, or, if
    `api` says so, of the platform's SMS API.
    """

    tokens: Annotated[tuple[Secret, ...], Field(strict=False)] = ()
    default_to: str | None = None
    api: Literal["one", "platform"] = "one"
    api_key: Secret | None = None
    api_url: HttpUrl = "https://platform.clickatell.com"

    @model_validator(mode="after")
    def _check_proof(self) -> "ClickatellOptions":
        require_proof(self, self.tokens)
        return self


class Clickatell:
    """One Clickatell account."""

    Options: ClassVar[OptionsType] = ClickatellOptions
    retries = True
    replies_inline = False
    idempotent = False

    def __init__(self, account: str, options: ClickatellOptions, public_url: str | None) -> None:
        self.sends = options.api_key is not None
        self._options = options
        self._checks = caller_checks(options)
        if options.tokens:
            self._checks.append(token_check("token", options.tokens))

    def verify(self, request: RawRequest) -> None:
        """Raises `BadSignature` unless the request has a token of the account or another of its proofs."""
        check_any(request, self._checks)

    def parse(self, request: RawRequest) -> Sequence[Parsed]:
        """The texts in a verified request, and what became of those that were sent."""
        if request.method == "GET":
            return self._from_form(request.query)
        if content_type(request) == "application/x-www-form-urlencoded":
            return self._from_form(request.body)
        found = json_object(request.body)
        if "event" not in found:
            return self._from_fields(found, _written(text(found, "text"), text(found, "charset")))
        event = table(found, "event")
        reference = _word(found, "integrationId") or _word(found, "integrationID")
        return [
            *parsed_each(entries(event, "moText"), partial(self._from_item, reference=reference)),
            *parsed_each(entries(event, "moMedia"), partial(self._from_item, reference=reference, is_media=True)),
            *parsed_each(entries(event, "messageStatusUpdate"), _receipts),
        ]

    def answer(self, result: Sequence[Outgoing] | RouterError) -> Answer:
        """Only the status counts; 200 also to what makes no sense, so that it ends."""
        return error_answer(result, malformed=200) if isinstance(result, RouterError) else Answer(200)

    def answers_itself(self, number_type: NumberType, country: str | None) -> Mapping[Intent, CarrierAnswers]:
        """Clickatell itself answers nothing, unless that was set up with a short code, as it often is in the US."""
        return answered_by_network(number_type, country)

    def texts_per_second(self, number_type: NumberType, country: str | None) -> float:
        """What US networks allow unregistered numbers; more is agreed on with Clickatell."""
        return US_RATES[number_type]

    async def send(self, http: Http, message: Outgoing) -> str:
        """`clientMessageId` keeps no second copy away: a text whose outcome is unknown may have been sent."""
        key = self._options.api_key
        path, content = self._content(message)
        response = await http.request(
            "POST",
            self._options.api_url + path,
            headers={"Authorization": key.reveal() if key else "", "Content-Type": "application/json"},
            body=json_body(content),
        )
        found = response_json(response)
        messages = found.get("messages")
        sent = messages[0] if isinstance(messages, list) and messages and isinstance(messages[0], dict) else {}
        if response.status // 100 == 2 and sent.get("accepted", True) and sent.get("apiMessageId"):
            return str(sent["apiMessageId"])
        raise send_error(response, message, _error_code(sent) or _error_code(found), _FAILURES)

    def _content(self, message: Outgoing) -> tuple[str, dict[str, Any]]:
        recipient = message.recipient.removeprefix("+")
        content = {"from": message.sender.removeprefix("+"), "content": message.text, "clientMessageId": message.id}
        if self._options.api == "platform" and message.channel != "whatsapp":
            return "/messages", {**content, "to": [recipient]}
        channel = "whatsapp" if message.channel == "whatsapp" else "sms"
        return "/v1/message", {"messages": [{**content, "to": recipient, "channel": channel}]}

    def _from_item(self, item: dict[str, Any], *, reference: str, is_media: bool = False) -> list[Parsed]:
        """A text or file of One API. A file lies in it in Base64, and nowhere else: its type is what can be told."""
        kind = text(item, "contentType")
        message = Inbound(
            _word(item, "messageId"),
            _word(item, "from"),
            _word(item, "to"),
            text=text(item, "caption" if is_media else "content"),
            channel=_CHANNELS.get(text(item, "channel").strip().lower(), "sms"),
            media=(Media(content_type=kind or None),) if is_media else (),
            recipient_ref=reference,
        )
        return self._completed(message)

    def _from_form(self, data: bytes) -> Sequence[Parsed]:
        """A platform's or Central's reply: the text is in octets of its charset, all else in UTF-8."""
        octets = octet_fields(data)
        fields = {name: decoded(value) for name, value in octets.items()}
        words = decoded(octets.get("text", b""), codec_named(fields.get("charset", "")) or "utf-8")
        return self._from_fields(fields, words)

    def _from_fields(self, fields: Mapping[str, Any], words: str) -> Sequence[Parsed]:
        if not words and ("status" in fields or "statusCode" in fields):
            return _receipts(fields)
        central = "moMsgId" in fields
        message = Inbound(
            _word(fields, "moMsgId") or _word(fields, "replyMessageId") or _word(fields, "messageId"),
            _word(fields, "fromNumber") or _word(fields, "from"),
            _word(fields, "toNumber") or _word(fields, "to"),
            text=words,
            recipient_ref=_word(fields, "integrationId") or _word(fields, "api_id"),
            part=part_of(_octets(text(fields, "udh"))) if central else None,
        )
        return self._completed(message)

    def _completed(self, message: Inbound) -> list[Parsed]:
        required(**{"the id": message.message_id, "the sender": message.sender})
        recipient = message.recipient or self._options.default_to
        message = replace(
            message, recipient=recipient, recipient_ref=None if recipient else message.recipient_ref or None
        )
        return [message]


def _word(fields: Mapping[str, Any], name: str) -> str:
    """A field that comes as a text or as a number."""
    found = fields.get(name)
    return str(found) if isinstance(found, int) and not isinstance(found, bool) else text(fields, name)


def _written(words: str, charset: str) -> str:
    """What a text in JSON says: its characters stand for octets, unless the charset is UTF-8 or not known."""
    codec = codec_named(charset)
    if codec in (None, "utf-8"):
        return words
    try:
        octets = unquote_to_bytes(words.replace("+", " ").encode("latin-1"))
    except UnicodeEncodeError:
        return words
    return decoded(octets, codec)


def _octets(header: str) -> bytes:
    try:
        return bytes.fromhex(header)
    except ValueError:
        return b""


def _receipts(fields: Mapping[str, Any]) -> list[Parsed]:
    codes = (_word(fields, name).strip() for name in ("statusCode", "status"))
    code = next((code.lstrip("0") for code in codes if code.isdecimal()), "")
    message_id = _word(fields, "messageId") or _word(fields, "apiMsgId")
    if code not in _FINAL or not message_id:
        return []
    sender = _word(fields, "from") or _word(fields, "fromNumber")
    recipient = _word(fields, "to") or _word(fields, "toNumber")
    failure = _FINAL[code]
    return [Receipt(message_id, sender or None, recipient or None, failure, code if failure else None)]


def _error_code(found: Mapping[str, Any]) -> str | None:
    error = found.get("error")
    code = error.get("code") if isinstance(error, dict) else found.get("errorCode")
    return str(code) if code is not None else None
