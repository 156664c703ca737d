"""The signed webhook: every event as one POST of JSON, signed as Standard Webhooks 1.0.0 says.

Body: `{"type": "message.received", "timestamp": "2026-02-03T10:00:00.000Z", "data": {…}}`, where `timestamp` is the
time of acceptance. `data` holds, of the text: `message_id` (the carrier's), `account`, `from` (E.164 with `+`), `to`,
`channel`, `text`, `media` (a list of `url`, `id`, `content_type`), `opt_out_type` (the carrier's own reading); of the
decision: `intent`, `keyword`, `argument`, `program`, `language`, `rule`, the consent state `before` and `after`, and
the `reply` given. What is not known is null. `webhook-id` is the same on every attempt: a receiver drops what it has
seen.

With `batch_size`, one POST holds what waits: `{"type": "events.batch", "timestamp": …, "data": {"events": [{"id": …,
"type": …, "timestamp": …, "data": {…}}, …]}}`. Then the `id` of each event is what never changes.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Annotated, Any, ClassVar

import orjson
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from adapters._http import MISCONFIGURED_PAUSE, HttpUrl, delivery_error, json_body, utc_time
from adapters._signing import WebhookSecrets, sign_webhook, verify_webhook, webhook_secret
from router.errors import BadPayload, DeliveryError
from router.ports import Http, Options, OptionsType, Secret
from router.types import Event

_MISCONFIGURED = {401, 403, 404, 410}
#: Why an event was not sent after an earlier one of the same person.
_BEHIND = "It waits behind an earlier event of the same person, which failed."


def _check_not_empty(secrets: tuple[Secret, ...]) -> tuple[Secret, ...]:
    # `min_length` would also complain, in a second error, of a list whose only secret is wrong.
    if not secrets:
        raise PydanticCustomError(
            "secret_missing", "has no secret.", {"remedy": 'Write ["env:NAME"] or ["file:PATH"].'}
        )
    return secrets


class WebhookOptions(Options):
    """Where to and signed with what. During a rotation `secrets` holds the new one first, then the old one.

    `connections` is how many requests may be under way at once, `batch_size` the most events of one.
    """

    url: HttpUrl
    secrets: Annotated[WebhookSecrets, AfterValidator(_check_not_empty)]
    connections: int = Field(16, ge=1, le=256)
    batch_size: int = Field(1, ge=1, le=1000)


class WebhookProgramOptions(Options):
    """A program has nothing to say to a webhook."""


class Webhook:
    """A receiver of signed webhooks, one event at a time or many."""

    Options: ClassVar[OptionsType] = WebhookOptions
    ProgramOptions: ClassVar[OptionsType] = WebhookProgramOptions
    alias_batch_size = 1
    needs_alias = False
    makes_known = False
    one_per_sender = False

    def __init__(
        self,
        name: str,
        options: WebhookOptions,
        programs: dict[str, tuple[str, WebhookProgramOptions]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.batch_size = options.batch_size
        self.requests_at_once = options.connections
        self._url = options.url
        self._secrets = _keys(options)
        self._clock = clock

    def wants(self, event: Event) -> bool:
        """A receiver is told of every event."""
        return True

    async def ensure_aliases(self, http: Http, senders: Sequence[str]) -> None:
        """A receiver needs to know nobody beforehand."""

    async def deliver(self, http: Http, events: Sequence[Event]) -> Sequence[DeliveryError | None]:
        """One POST for each event, or one for all of them, by `batch_size`."""
        if self.batch_size > 1:
            return await self._post_together(http, events)
        failed: set[str] = set()
        results: list[DeliveryError | None] = []
        for event in events:
            if event.message.sender in failed:
                results.append(DeliveryError(_BEHIND, retryable=True))
                continue
            error = await self._post(http, event.id, json_body(_payload(event)), [event])
            if error and error.retryable:
                failed.add(event.message.sender)
            results.append(error)
        return results

    async def _post_together(self, http: Http, events: Sequence[Event]) -> list[DeliveryError | None]:
        batch = {
            "type": "events.batch",
            "timestamp": utc_time(self._clock()),
            "data": {"events": [{"id": event.id} | _payload(event) for event in events]},
        }
        # The same for the same events: a receiver can drop a repeat of the whole without a look inside.
        batch_id = blake2b("".join(event.id for event in events).encode(), digest_size=16).hexdigest()
        error = await self._post(http, f"bat_{batch_id}", json_body(batch), events)
        if error is None or error.status not in (400, 413) or len(events) == 1:
            return [error] * len(events)
        middle = len(events) // 2
        first = await self._post_together(http, events[:middle])
        behind = DeliveryError(_BEHIND, retryable=True)
        if any(result and result.retryable for result in first):
            return first + [behind] * (len(events) - middle)
        return first + await self._post_together(http, events[middle:])

    async def _post(self, http: Http, webhook_id: str, body: bytes, events: Sequence[Event]) -> DeliveryError | None:
        try:
            response = await http.request("POST", self._url, headers=self._signed(webhook_id, body), body=body)
        except DeliveryError as error:
            return error
        if 200 <= response.status < 300:
            return None
        private = [
            said
            for event in events
            for said in (event.message.text, event.decision.argument, event.decision.reply)
            if said
        ]
        refusal = delivery_error(response, self._clock(), hide=private)
        if refusal and refusal.status in _MISCONFIGURED:
            # Not of this event: nothing is lost while an operator mends the url or the secret.
            refusal.retryable, refusal.retry_after = True, MISCONFIGURED_PAUSE
        return refusal

    def _signed(self, webhook_id: str, body: bytes) -> dict[str, str]:
        timestamp = int(self._clock())
        return {
            "Content-Type": "application/json",
            "webhook-id": webhook_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign_webhook(self._secrets, webhook_id, timestamp, body),
        }

    @staticmethod
    def check_delivery(options: WebhookOptions, headers: Mapping[str, str], body: bytes, now: float) -> dict[str, Any]:
        """The event in a request that a destination with these options has sent; header names are lower case.

        Raises `BadSignature`, or `BadPayload` where the body is not an event.
        """
        verify_webhook(_keys(options), headers, body, now)
        try:
            event = orjson.loads(body)
        except orjson.JSONDecodeError:
            event = None
        if not isinstance(event, dict) or "type" not in event:
            raise BadPayload('The body is not an event. Send a JSON object with "type", "timestamp" and "data".')
        return event


def _keys(options: WebhookOptions) -> tuple[bytes, ...]:
    return tuple(webhook_secret(secret.reveal()) for secret in options.secrets)


def _payload(event: Event) -> dict[str, Any]:
    message, decision = event.message, event.decision
    return {
        "type": "message.received" if message.kind == "text" else "consent.changed",
        "timestamp": utc_time(event.at),
        "data": {
            "message_id": message.message_id,
            "account": event.account,
            "from": message.sender,
            "to": message.recipient,
            "channel": message.channel,
            "text": message.text,
            "media": [{"url": item.url, "id": item.id, "content_type": item.content_type} for item in message.media],
            "opt_out_type": message.opt_out_type,
            "kind": message.kind,
            "scope": message.scope,
            "intent": decision.intent,
            "keyword": decision.keyword,
            "argument": decision.argument,
            "program": decision.program,
            "language": decision.language,
            "rule": decision.rule,
            "before": decision.before,
            "after": decision.after,
            "reply": decision.reply,
            "changes": [
                {"program": change.program, "before": change.before, "after": change.after} for change in event.changes
            ],
        },
    }
