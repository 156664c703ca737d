"""Bandwidth Messaging v2: events come as a JSON array behind HTTP Basic; replies go out by its API.

Facts: Bandwidth's pages on message webhooks and message errors, the models of bandwidth-sdk 23.3. The first request
comes without credentials: only a 401 with a challenge makes Bandwidth send it again with them.
"""

from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from adapters._credentials import CallerOptions, caller_checks, check_any, require_proof
from adapters._http import HttpUrl, json_body
from adapters._networks import US_RATES, answered_by_network
from adapters._requests import entries, error_answer, json_value, parsed_each, required, table, text
from adapters._sending import basic_authorization, response_json, send_error
from router.errors import BadPayload, BadSignature, RouterError
from router.ports import CarrierAnswers, Http, OptionsType, Parsed, Secret
from router.types import Answer, Channel, Inbound, Intent, Media, NumberType, Outgoing, RawRequest, Receipt, SendFailure

_CHALLENGE = Answer(401, headers=(("www-authenticate", 'Basic realm="keyroute"'),))
_CHANNELS: Mapping[str, Channel] = {"SMS": "sms", "MMS": "mms", "RBM": "rcs"}
_TEXTS = {"message-received", "suggestion-response", "requested-location-response"}
_FAILURES: Mapping[str, SendFailure] = {
    "4775": "opted_out",
    **dict.fromkeys(("4302", "4303", "4404", "4405", "4406", "4432"), "invalid_number"),
    **dict.fromkeys(("4470", *map(str, range(4780, 4786))), "throttled"),
    **dict.fromkeys(("9902", "9999"), "temporary"),
}


class BandwidthOptions(CallerOptions):
    """The keys of a Bandwidth account in the configuration file.

    `basic` are the users and passwords set for the callbacks of the application, for incoming and for outgoing
    messages. `account_id`, `application_id`, `api_token` and `api_secret` are all needed to send.
    """

    account_id: Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]+$")] | None = None
    application_id: str | None = None
    api_token: str | None = None
    api_secret: Secret | None = None
    api_url: HttpUrl = "https://messaging.bandwidth.com"

    @model_validator(mode="after")
    def _check_proof(self) -> "BandwidthOptions":
        require_proof(self)
        return self


class Bandwidth:
    """One Bandwidth account."""

    Options: ClassVar[OptionsType] = BandwidthOptions
    retries = True
    replies_inline = False
    idempotent = False

    def __init__(self, account: str, options: BandwidthOptions, public_url: str | None) -> None:
        needed = (options.account_id, options.application_id, options.api_token, options.api_secret)
        self.sends = None not in needed
        self._options = options
        self._checks = caller_checks(options)
        secret = options.api_secret.reveal() if options.api_secret else ""
        self._authorization = basic_authorization(options.api_token or "", secret)

    def verify(self, request: RawRequest) -> None:
        """Raises `BadSignature` unless the request has the user and password of the callbacks."""
        check_any(request, self._checks)

    def parse(self, request: RawRequest) -> Sequence[Parsed]:
        """The texts in a verified request, and what became of those that were sent; no other event."""
        events = json_value(request.body)
        if not isinstance(events, list):
            raise BadPayload("The body is no JSON array. Send only Bandwidth's message webhooks here.")
        return parsed_each(events, _read)

    def answer(self, result: Sequence[Outgoing] | RouterError) -> Answer:
        """A challenge to who has shown no good credentials; 200 also to what makes no sense, so that it ends."""
        if isinstance(result, BadSignature):
            return _CHALLENGE
        return error_answer(result, malformed=200) if isinstance(result, RouterError) else Answer(200)

    def answers_itself(self, number_type: NumberType, country: str | None) -> Mapping[Intent, CarrierAnswers]:
        """Bandwidth itself answers nothing."""
        return answered_by_network(number_type, country)

    def texts_per_second(self, number_type: NumberType, country: str | None) -> float:
        """What US networks allow unregistered numbers; more is agreed on with Bandwidth."""
        return US_RATES[number_type]

    async def send(self, http: Http, message: Outgoing) -> str:
        """Bandwidth has no idempotency key: a text whose outcome is unknown may have been sent."""
        content = {
            "applicationId": self._options.application_id,
            "from": message.sender,
            "to": [message.recipient],
            "text": message.text,
            "tag": message.id,
        }
        response = await http.request(
            "POST",
            f"{self._options.api_url}/api/v2/users/{self._options.account_id}/messages",
            headers={"Authorization": self._authorization, "Content-Type": "application/json; charset=utf-8"},
            body=json_body(content),
        )
        found = response_json(response)
        if response.status // 100 == 2 and found.get("id"):
            return str(found["id"])
        raise send_error(response, message, None, _FAILURES)


def _read(event: dict[str, Any]) -> Sequence[Parsed]:
    kind = text(event, "type")
    required(type=kind)
    if kind in _TEXTS:
        return _texts(event, table(event, "message"))
    if kind in ("message-delivered", "message-failed"):
        return _receipts(event, table(event, "message"), failed=kind == "message-failed")
    return []


def _texts(event: Mapping[str, Any], message: Mapping[str, Any]) -> list[Parsed]:
    if text(message, "direction") not in ("", "in"):
        # To answer what we have sent ourselves would go on for ever.
        return []
    message_id, sender = text(message, "id"), text(message, "from")
    # Each of our numbers in a group gets a copy with an id of its own.
    recipient = text(message, "owner") or text(event, "to") or _first(message)
    required(**{"message.id": message_id, "message.from": sender, "message.owner": recipient})
    content, suggestion = table(message, "content"), table(message, "suggestionResponse")
    media = tuple(_media(message, content))
    found = Inbound(
        message_id,
        sender,
        recipient,
        text=text(message, "text") or text(content, "text") or text(suggestion, "text"),
        channel=_CHANNELS.get(text(message, "channel"), "mms" if media else "sms"),
        media=media,
        payload=_decoded(text(suggestion, "postbackData")) or None,
    )
    return [found]


def _receipts(event: Mapping[str, Any], message: Mapping[str, Any], *, failed: bool) -> list[Parsed]:
    message_id = text(message, "id")
    required(**{"message.id": message_id})
    code = str(event["errorCode"]) if failed and event.get("errorCode") is not None else None
    failure = _failure(code or "") if failed else None
    sender, recipient = text(message, "owner") or text(message, "from"), text(event, "to") or _first(message)
    return [Receipt(message_id, sender or None, recipient or None, failure, code)]


def _failure(code: str) -> SendFailure:
    return _FAILURES.get(code, "temporary" if code.startswith("5") else "permanent")


def _first(message: Mapping[str, Any]) -> str:
    recipients = entries(message, "to")
    return recipients[0] if recipients and isinstance(recipients[0], str) else ""


def _media(message: Mapping[str, Any], content: Mapping[str, Any]) -> list[Media]:
    rich = content.get("media")
    items = [*entries(message, "media"), *(rich if isinstance(rich, list) else [rich] if rich else [])]
    urls = [text(item, "fileUrl") if isinstance(item, dict) else item for item in items]
    if not all(isinstance(url, str) for url in urls):
        raise BadPayload("message.media holds what is no URL. Send only Bandwidth's message webhooks here.")
    return [Media(url=url) for url in urls if url]


def _decoded(postback: str) -> str:
    try:
        return b64decode(postback, validate=True).decode()
    except ValueError:
        return postback
