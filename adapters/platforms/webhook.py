"""The signed webhook: every event as one POST of JSON, signed as Standard Webhooks 1.0.0 says.

Body: `{"type": "message.received", "timestamp": "2026-02-03T10:00:00.000Z", "data": {…}}`, where `timestamp` is the
time of acceptance. `data` holds, of the text: `message_id` (the carrier's), `account`, `from` (E.164 with `+`), `to`,
`channel`, `text`, `media` (a list of `url`, `id`, `content_type`), `opt_out_type` (the carrier's own reading); of the
decision: `intent`, `keyword`, `argument`, `program`, `language`, `rule`, the consent state `before` and `after`, and
the `reply` given. What is not known is null. `webhook-id` is the same on every attempt: a receiver drops what it has
seen.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import orjson
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from adapters._http import MISCONFIGURED_PAUSE, HttpUrl, delivery_error, json_body, utc_time
from adapters._signing import WebhookSecrets, sign_webhook, verify_webhook, webhook_secret
from router.errors import BadPayload, DeliveryError
from router.ports import Http, Options, OptionsType, Secret
from router.types import Event

#: How many people's events are under way at once.
_CONCURRENCY = 16
_MISCONFIGURED = {401, 403, 404}


def _check_not_empty(secrets: tuple[Secret, ...]) -> tuple[Secret, ...]:
    # `min_length` would also complain, in a second error, of a list whose only secret is wrong.
    if not secrets:
        raise PydanticCustomError(
            "secret_missing", "has no secret.", {"remedy": 'Write ["env:NAME"] or ["file:PATH"].'}
        )
    return secrets


class WebhookOptions(Options):
    """Where to and signed with what. During a rotation `secrets` holds the new one first, then the old one."""

    url: HttpUrl
    secrets: Annotated[WebhookSecrets, AfterValidator(_check_not_empty)]


class WebhookProgramOptions(Options):
    """A program has nothing to say to a webhook."""


class Webhook:
    """A receiver of signed webhooks. Different people's events go out side by side, one person's in their order."""

    Options: ClassVar[OptionsType] = WebhookOptions
    ProgramOptions: ClassVar[OptionsType] = WebhookProgramOptions
    # What is sent at once. A worker that dies in the middle has its successor send that much again.
    batch_size = _CONCURRENCY
    alias_batch_size = 1
    requests_at_once = 1
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
        self._url = options.url
        self._secrets = _keys(options)
        self._clock = clock

    def wants(self, event: Event) -> bool:
        """A receiver is told of every event."""
        return True

    async def ensure_aliases(self, http: Http, senders: Sequence[str]) -> None:
        """A receiver needs to know nobody beforehand."""

    async def deliver(self, http: Http, events: Sequence[Event]) -> Sequence[DeliveryError | None]:
        """One POST for each event."""
        results: list[DeliveryError | None] = [None] * len(events)
        people: dict[str, list[int]] = {}
        for place, event in enumerate(events):
            people.setdefault(event.message.sender, []).append(place)
        waiting = iter(people.values())
        async with asyncio.TaskGroup() as group:
            for _ in range(min(_CONCURRENCY, len(people))):
                group.create_task(self._work_off(http, events, waiting, results))
        return results

    async def _work_off(
        self,
        http: Http,
        events: Sequence[Event],
        waiting: Iterator[list[int]],
        results: list[DeliveryError | None],
    ) -> None:
        for places in waiting:
            stopped: DeliveryError | None = None
            for place in places:
                error = stopped or await self._post(http, events[place])
                results[place] = error
                if error and error.retryable:
                    stopped = error

    async def _post(self, http: Http, event: Event) -> DeliveryError | None:
        headers, body = self._signed(event)
        try:
            response = await http.request("POST", self._url, headers=headers, body=body)
        except DeliveryError as error:
            return error
        private = (event.message.text, event.decision.argument or "", event.decision.reply or "")
        refusal = delivery_error(response, self._clock(), hide=private)
        if refusal and refusal.status in _MISCONFIGURED:
            # Not of this event: nothing is lost while an operator mends the url or the secret.
            return DeliveryError(refusal.reason, retryable=True, retry_after=MISCONFIGURED_PAUSE, status=refusal.status)
        return refusal

    def _signed(self, event: Event) -> tuple[dict[str, str], bytes]:
        body = json_body(_payload(event))
        timestamp = int(self._clock())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": event.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign_webhook(self._secrets, event.id, timestamp, body),
        }
        return headers, body

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
