"""Any carrier, or a gateway of one's own, that speaks Standard Webhooks 1.0.0: signed JSON in, signed JSON out.

In: `{"type": "message.received", "timestamp": …, "data": {…}}`, where `data` holds `from`, `to`, and if there are any
`id` (else `webhook-id`), `text`, `channel` (`sms`), `media` (a list of `url`, `id`, `content_type`), `payload` and
`opt_out_type`. Out: the same with `message.send`, where `data` holds `id`, `from`, `to`, `channel` and `text`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from adapters._http import HttpUrl, json_body, utc_time
from adapters._public_keys import PublicKey, VerifyKey
from adapters._requests import entries, error_answer, json_object, required, table, text
from adapters._sending import send_error
from adapters._signing import TOLERANCE, WebhookSecrets, sign_webhook, verify_webhook, webhook_secret
from router.errors import BadPayload, RouterError
from router.ports import CarrierAnswers, Http, Options, OptionsType, Parsed
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
    SendFailure,
)

_CHANNELS: Mapping[str, Channel] = {"": "sms", "sms": "sms", "mms": "mms", "whatsapp": "whatsapp", "rcs": "rcs"}
_OPT_OUT_TYPES: Mapping[str, OptOutType] = {"STOP": "STOP", "START": "START", "HELP": "HELP"}
#: By status: nothing is lost while an operator mends the url.
_FAILURES: Mapping[str, SendFailure] = {"404": "auth"}


class StandardWebhooksOptions(Options):
    """The keys of such an account in the configuration file.

    `secrets` are those that both sides hold, the newest first; `public_keys` those of a sender that signs with `v1a`.
    `tolerance` is how far a timestamp may be from our clock, in seconds. `retries` is false for a sender that does not
    offer a text again after a 5xx. `url` is where texts to people are posted, signed with all of `secrets`.
    `texts_per_second` is how many of them it takes from one number.
    """

    secrets: WebhookSecrets = ()
    public_keys: Annotated[tuple[PublicKey, ...], Field(strict=False)] = ()
    tolerance: Annotated[int, Field(ge=1)] = TOLERANCE
    retries: bool = True
    url: HttpUrl | None = None
    texts_per_second: Annotated[float, Field(gt=0)] = 10

    @model_validator(mode="after")
    def _check_proof(self) -> "StandardWebhooksOptions":
        if not self.secrets and (self.url or not self.public_keys):
            remedy = 'Write secrets = ["env:NAME"] with what both sides hold: "whsec_" and Base64.'
            raise PydanticCustomError("secret_missing", "has no secrets.", {"remedy": remedy})
        return self


class StandardWebhooks:
    """One sender of signed webhooks, and the receiver of texts to people, if there is one."""

    Options: ClassVar[OptionsType] = StandardWebhooksOptions
    replies_inline = False
    idempotent = True
    headers_read = frozenset({"webhook-id"})

    def __init__(
        self,
        account: str,
        options: StandardWebhooksOptions,
        public_url: str | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.retries = options.retries
        self.sends = options.url is not None
        self._options = options
        self._secrets = [webhook_secret(secret.reveal()) for secret in options.secrets]
        self._public_keys = [VerifyKey(key) for key in options.public_keys]
        self._clock = clock

    def verify(self, request: RawRequest) -> None:
        """Raises `BadSignature` unless one of the secrets or keys signed id, time and body, not long ago."""
        verify_webhook(
            self._secrets,
            request.headers,
            request.body,
            request.received_at,
            tolerance=self._options.tolerance,
            public_keys=self._public_keys,
        )

    def parse(self, request: RawRequest) -> Sequence[Parsed]:
        """The one text in a verified request; none in an event of another type."""
        event = json_object(request.body)
        kind = text(event, "type")
        required(type=kind)
        if kind != "message.received":
            return []
        data = table(event, "data")
        message_id = text(data, "id") or request.headers.get("webhook-id", "")
        sender, recipient = text(data, "from"), text(data, "to")
        required(**{"data.id": message_id, "data.from": sender, "data.to": recipient})
        channel = _CHANNELS.get(text(data, "channel").lower())
        if channel is None:
            raise BadPayload("data.channel is unknown. Send sms, mms, whatsapp or rcs.")
        message = Inbound(
            message_id,
            sender,
            recipient,
            text=text(data, "text"),
            channel=channel,
            media=tuple(_media(item) for item in entries(data, "media")),
            opt_out_type=_OPT_OUT_TYPES.get(text(data, "opt_out_type").upper()),
            payload=text(data, "payload") or None,
        )
        return [message]

    def answer(self, result: Sequence[Outgoing] | RouterError) -> Answer:
        """Only the status counts."""
        return error_answer(result) if isinstance(result, RouterError) else Answer(200)

    def answers_itself(self, number_type: NumberType, country: str | None) -> Mapping[Intent, CarrierAnswers]:
        """Nothing that is known here: that is for `carrier_answers` of the number to say."""
        return {}

    def texts_per_second(self, number_type: NumberType, country: str | None) -> float:
        """As configured, whatever the number."""
        return self._options.texts_per_second

    async def send(self, http: Http, message: Outgoing) -> str:
        """`webhook-id` is the same on every attempt: a receiver drops what it has seen. It gives no id of its own."""
        at = self._clock()
        data = {
            "id": message.id,
            "from": message.sender,
            "to": message.recipient,
            "channel": message.channel,
            "text": message.text,
        }
        body = json_body({"type": "message.send", "timestamp": utc_time(at), "data": data})
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message.id,
            "webhook-timestamp": str(int(at)),
            "webhook-signature": sign_webhook(self._secrets, message.id, int(at), body),
        }
        response = await http.request("POST", self._options.url or "", headers=headers, body=body)
        if response.status // 100 != 2:
            raise send_error(response, message, str(response.status), _FAILURES)
        return ""


def _media(item: Any) -> Media:
    if not isinstance(item, dict):
        raise BadPayload("data.media holds what is no JSON object. Send objects with url, id and content_type.")
    return Media(text(item, "url") or None, text(item, "id") or None, text(item, "content_type") or None)
