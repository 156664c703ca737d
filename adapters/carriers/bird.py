"""Bird's Channels API: each message of any channel is a signed event in JSON; replies go out by its API.

Facts: Bird's pages on receiving messages and on verifying webhooks, and reports of integrators: a webhook that is
repeated keeps its first timestamp for hours.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from adapters._http import MISCONFIGURED_PAUSE, HttpUrl, json_body, redact
from adapters._networks import answered_by_network, network_rate
from adapters._requests import entries, error_answer, json_object, required, signed_url, table, text
from adapters._sending import response_json, send_error
from adapters._signing import TOLERANCE, SigningKey, check_timestamp, matches
from router._core import classify_address
from router.errors import BadSignature, RouterError, SendError
from router.ports import CarrierAnswers, Http, Options, OptionsType, Parsed, Secret
from router.types import Answer, Channel, Inbound, Intent, Media, NumberType, Outgoing, RawRequest, Receipt, SendFailure

_CHANNELS: Mapping[str, Channel] = {"sms": "sms", "mms": "mms", "whatsapp": "whatsapp", "rcs": "rcs"}
#: What becomes of a text in the end, by `status`: None is delivered.
_FINAL: Mapping[str, SendFailure | None] = {
    "delivered": None,
    "sending_failed": "permanent",
    "delivery_failed": "permanent",
}
_DAY = 86_400
#: Requests a second that a workspace may send.
_RATE = 500.0


class BirdOptions(Options):
    """The keys of a Bird workspace in the configuration file.

    `signing_keys` are those of the webhook subscriptions, the new one first while one is changed. `tolerance` is how
    old a webhook may be, in seconds: as long as Bird repeats it. `channel_ids` are Bird's ids of our channels, for each
    kind of channel by number, such as `channel_ids.sms."+31970123450"`: for texts that do not say what number they came
    to, and, with `workspace_id` and `access_key`, to send.
    """

    signing_keys: Annotated[tuple[Secret, ...], Field(min_length=1, strict=False)]
    tolerance: Annotated[int, Field(ge=1)] = _DAY
    channel_ids: Mapping[Channel, Mapping[str, str]] = {}
    workspace_id: str | None = None
    access_key: Secret | None = None
    api_url: HttpUrl = "https://api.bird.com"


class Bird:
    """One Bird workspace."""

    Options: ClassVar[OptionsType] = BirdOptions
    retries = True
    replies_inline = False
    idempotent = False

    def __init__(self, account: str, options: BirdOptions, public_url: str | None) -> None:
        self.sends = bool(options.workspace_id and options.access_key and options.channel_ids)
        self._options = options
        self._keys = [SigningKey(key.reveal().encode(), "sha256") for key in options.signing_keys]
        self._public_url = public_url
        self._numbers = {
            channel_id: number for listed in options.channel_ids.values() for number, channel_id in listed.items()
        }

    def verify(self, request: RawRequest) -> None:
        """Raises `BadSignature` unless one of the account's keys signed the URL and the body, within a day."""
        timestamp = request.headers.get("messagebird-request-timestamp", "")
        name = "messagebird-request-timestamp"
        check_timestamp(timestamp, request.received_at, self._options.tolerance, name, ahead=TOLERANCE)
        url = signed_url(self._public_url, request).encode("utf-8", "replace")
        query = b"?" + request.query if request.query else b""
        message = b"%s\n%s\n%s" % (timestamp.encode(), url + query, hashlib.sha256(request.body).digest())
        given = request.headers.get("messagebird-signature", "")
        if not any(matches(given, key.sign(message)) for key in self._keys):
            raise BadSignature("messagebird-signature does not fit. Check signing_keys and public_url of this account.")

    def parse(self, request: RawRequest) -> Sequence[Parsed]:
        """The one text in a verified request, or what became of one that was sent; none in any other event."""
        fields = json_object(request.body)
        name, payload = text(fields, "event"), table(fields, "payload")
        required(event=name, payload="there" if payload else "")
        channel, _, event = name.partition(".")
        if channel not in _CHANNELS:
            return []
        if event == "outbound":
            return self._receipts(payload)
        is_text = event == "inbound" and text(payload, "direction") in ("", "incoming")
        return self._texts(payload, _CHANNELS[channel]) if is_text else []

    def answer(self, result: Sequence[Outgoing] | RouterError) -> Answer:
        """Only the status counts."""
        return error_answer(result) if isinstance(result, RouterError) else Answer(200)

    def answers_itself(self, number_type: NumberType, country: str | None) -> Mapping[Intent, CarrierAnswers]:
        """The network of toll-free numbers; whether Bird answers on other US numbers is not known."""
        return answered_by_network(number_type, country)

    def texts_per_second(self, number_type: NumberType, country: str | None) -> float:
        """What US networks allow unregistered numbers, and elsewhere what a workspace may send."""
        return network_rate(number_type, country, _RATE)

    async def send(self, http: Http, message: Outgoing) -> str:
        """Bird has no idempotency key: a text whose outcome is unknown may have been sent."""
        options = self._options
        channel_id = self._channel_id(message)
        content = {
            "receiver": {"contacts": [{"identifierKey": "phonenumber", "identifierValue": message.recipient}]},
            "body": {"type": "text", "text": {"text": message.text}},
            "reference": message.id,
        }
        key = options.access_key.reveal() if options.access_key else ""
        response = await http.request(
            "POST",
            f"{options.api_url}/workspaces/{options.workspace_id}/channels/{channel_id}/messages",
            headers={"Authorization": f"AccessKey {key}", "Content-Type": "application/json"},
            body=json_body(content),
        )
        found = response_json(response)
        if response.status // 100 == 2 and found.get("id"):
            return str(found["id"])
        raise send_error(response, message, str(found.get("code", "")), {})

    def _channel_id(self, message: Outgoing) -> str:
        # Bird's channel for SMS sends pictures, too.
        kinds: tuple[Channel, ...] = ("mms", "sms") if message.channel == "mms" else (message.channel,)
        for kind in kinds:
            if channel_id := self._options.channel_ids.get(kind, {}).get(message.sender):
                return channel_id
        reason = f"No channel of Bird's is known for this number. Add it to channel_ids.{kinds[-1]}."
        raise SendError(reason, "auth", retry_after=MISCONFIGURED_PAUSE)

    def _texts(self, payload: Mapping[str, Any], channel: Channel) -> list[Parsed]:
        contact = table(table(payload, "sender"), "contact")
        message_id, sender = text(payload, "id"), text(contact, "identifierValue")
        required(**{"payload.id": message_id, "sender.contact.identifierValue": sender})
        channel_id = text(payload, "channelId")
        # Only sometimes is this our number.
        receiver = text(table(table(payload, "receiver"), "connector"), "identifierValue")
        recipient = None if classify_address(receiver)[0] == "malformed" else receiver
        words, media, tap = _content(table(payload, "body"))
        found = Inbound(
            message_id,
            sender,
            recipient or self._numbers.get(channel_id),
            words,
            channel="mms" if media and channel == "sms" else channel,
            media=media,
            payload=tap or None,
            recipient_ref=channel_id or None,
        )
        return [found] if words or media or tap else []

    def _receipts(self, payload: Mapping[str, Any]) -> list[Parsed]:
        message_id, status = text(payload, "id"), text(payload, "status")
        if not message_id or status not in _FINAL:
            return []
        connector = table(table(payload, "sender"), "connector")
        sender = text(connector, "identifierValue") or self._numbers.get(text(payload, "channelId"))
        people = [found for found in entries(table(payload, "receiver"), "contacts") if isinstance(found, dict)]
        recipient = text(people[0], "identifierValue") if people else ""
        # There is no code, only words.
        code = redact(text(payload, "reason")) if _FINAL[status] else ""
        return [Receipt(message_id, sender or None, recipient or None, _FINAL[status], code or None)]


def _content(body: Mapping[str, Any]) -> tuple[str, tuple[Media, ...], str]:
    """The text, the files and the payload of a tapped button, each empty if there is none."""
    section = table(body, text(body, "type"))
    postbacks = [table(action, "postback") for action in entries(section, "actions") if isinstance(action, dict)]
    words = [text(section, "text"), *(text(postback, "text") for postback in postbacks)]
    taps = [text(postback, "payload") for postback in postbacks]
    # `images` of an image, `files` of a file; whatever else has an address is a file, too.
    listed = [item for items in section.values() if isinstance(items, list) for item in items if isinstance(item, dict)]
    media = [
        Media(url=text(item, "mediaUrl"), content_type=text(item, "contentType") or None)
        for item in listed
        if text(item, "mediaUrl")
    ]
    return next(filter(None, words), ""), tuple(media), next(filter(None, taps), "")
