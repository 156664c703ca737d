"""Braze by its REST API: texts become custom events, changes of consent become states of subscription groups.

What Braze would drop without a word, an event for a person whose alias is not there, is never sent in that form.
"""

import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import orjson
import structlog
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from adapters._http import (
    MISCONFIGURED_PAUSE,
    HttpUrl,
    delivery_error,
    json_body,
    rate_limit_reset,
    redact,
    retry_after,
    utc_time,
)
from router.errors import DeliveryError
from router.ports import Http, Options, OptionsType, Secret
from router.types import Event, HttpResponse

log = structlog.get_logger(__name__)

_TRACK = "/users/track"
_ALIAS_NEW = "/users/alias/new"

#: The longest string that a property of an event can hold, in characters.
_STRING_LIMIT = 255

_MISCONFIGURED = {
    401: "Braze does not know the API key (401). Check api_key, and that url names the instance that the key is of.",
    403: "The API key may not do this (403). Give it the permissions users.track and users.alias.new in Braze.",
    404: "Braze has no such address (404). Check url, such as https://rest.iad-01.braze.com, without a path.",
}


def _check_base(url: str) -> str:
    base = url.rstrip("/")
    if base.count("/") > 2 or "?" in base:
        raise PydanticCustomError(
            "url_shape",
            "has a path or query behind the address of Braze.",
            {"remedy": "Write the REST endpoint of your instance, such as https://rest.iad-01.braze.com."},
        )
    return base


def _check_key(key: Secret) -> Secret:
    written = key.reveal()
    if not (written.isascii() and written.isprintable()) or set(written) & set(" \"'"):
        raise PydanticCustomError(
            "secret_shape",
            "has blanks, quotes or characters that no API key has.",
            {"remedy": "Copy the bare key from Settings > APIs and Identifiers in Braze, without quotes around it."},
        )
    return key


class BrazeOptions(Options):
    """The REST endpoint of the instance, and a key with the permissions `users.track` and `users.alias.new`."""

    url: Annotated[HttpUrl, AfterValidator(_check_base)]
    api_key: Annotated[Secret, AfterValidator(_check_key)]
    batch_size: int = Field(75, ge=1, le=75)
    alias_label: str = Field("phone", min_length=1)


class BrazeProgramOptions(Options):
    """Where a program's consent is kept, and what its events are called: if not set, `sms_response_<name>_custom`."""

    subscription_group_id: str | None = Field(None, min_length=1)
    event_name: str | None = Field(None, min_length=1, max_length=255)


@dataclass(slots=True)
class _Batch:
    """The body of one `/users/track` request. For each object, `owners` has the place of the event that it tells of."""

    objects: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"attributes": [], "events": []})
    owners: dict[str, list[int]] = field(default_factory=lambda: {"attributes": [], "events": []})

    def add(self, array: str, owner: int, item: dict[str, Any]) -> None:
        self.objects[array].append(item)
        self.owners[array].append(owner)

    def owner(self, error: object) -> int | None:
        """Whom one of the errors in an answer is about; None if it does not say."""
        match error:
            case {"input_array": str(array), "index": int(index)} if 0 <= index < len(self.owners.get(array, ())):
                return self.owners[array][index]
        return None

    def private(self) -> list[str]:
        """The texts in it that must not come back in an error message."""
        return [item["properties"]["message_body"] for item in self.objects["events"]]


class Braze:
    """A Braze workspace.

    The state of a subscription group changes when a person is subscribed or opts out; a text that is not a default
    keyword becomes a custom event. A pending double opt-in is keyroute's own affair, and Braze hears nothing of it.
    """

    Options: ClassVar[OptionsType] = BrazeOptions
    ProgramOptions: ClassVar[OptionsType] = BrazeProgramOptions
    alias_batch_size = 50
    requests_at_once = 8
    needs_alias = True
    makes_known = False
    one_per_sender = True

    def __init__(
        self,
        name: str,
        options: BrazeOptions,
        programs: dict[str, tuple[str, BrazeProgramOptions]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.batch_size = options.batch_size
        self._name = name
        self._options = options
        self._clock = clock
        self._event_names = {
            program: its.event_name or f"sms_response_{label}_custom" for program, (label, its) in programs.items()
        }
        self._groups = {
            program: its.subscription_group_id for program, (_, its) in programs.items() if its.subscription_group_id
        }
        # The rate limit is of the endpoint: until when each is used up, in unix seconds.
        self._used_up: dict[str, float] = {}

    def wants(self, event: Event) -> bool:
        """Whether the event changes the state of a subscription group or is a text for campaigns."""
        return bool(self._group_changes(event)) or self._is_for_campaigns(event)

    async def ensure_aliases(self, http: Http, senders: Sequence[str]) -> None:
        """Creates a user for each alias that nobody has; those who have one stay as they are."""
        response = await self._post(http, _ALIAS_NEW, {"user_aliases": [self._alias(sender) for sender in senders]})
        if error := self._failure(response):
            raise error
        self._refused(_Batch(), response)

    async def deliver(self, http: Http, events: Sequence[Event]) -> Sequence[DeliveryError | None]:
        """Sends all events in one request; in several if Braze refuses it whole, until only those at fault are left."""
        batch = self._batch(events)
        if not any(batch.objects.values()):
            return [None] * len(events)
        response = await self._post(http, _TRACK, batch.objects)
        results = self._refused(batch, response)
        if parts := _parts(response, len(events), results):
            for part in parts:
                results.update(
                    zip(part, await self._deliver_part(http, [events[place] for place in part]), strict=True)
                )
        elif error := self._failure(response, batch.private()):
            raise error
        return [results.get(place) for place in range(len(events))]

    async def _deliver_part(self, http: Http, events: Sequence[Event]) -> Sequence[DeliveryError | None]:
        try:
            return await self.deliver(http, events)
        except DeliveryError as error:
            return [error] * len(events)

    async def _post(self, http: Http, path: str, payload: Mapping[str, Any]) -> HttpResponse:
        now = self._clock()
        wait = self._used_up.get(path, 0.0) - now
        if wait > 0:
            raise DeliveryError(
                f"The rate limit of {path} is used up for {wait:.0f} s. Ask Braze for a higher one if this goes on.",
                retryable=True,
                retry_after=wait,
            )
        headers = {"Authorization": f"Bearer {self._options.api_key.reveal()}", "Content-Type": "application/json"}
        response = await http.request("POST", self._options.url + path, headers=headers, body=json_body(payload))
        if response.status == 429 or response.headers.get("x-ratelimit-remaining") == "0":
            pause = retry_after(response.headers, now) or rate_limit_reset(response.headers, now)
            self._used_up[path] = now + (pause or 0.0)
        return response

    def _failure(self, response: HttpResponse, private: Sequence[str] = ()) -> DeliveryError | None:
        if reason := _MISCONFIGURED.get(response.status):
            return DeliveryError(reason, retryable=True, retry_after=MISCONFIGURED_PAUSE, status=response.status)
        return delivery_error(response, self._clock(), private)

    def _refused(self, batch: _Batch, response: HttpResponse) -> dict[int, DeliveryError | None]:
        """The events that the answer names as faulty. What it remarks on a success without naming any is logged."""
        refused: dict[int, DeliveryError | None] = {}
        for error in _errors(response):
            owner = batch.owner(error)
            what = redact(str(error.get("type")) if isinstance(error, dict) else str(error), batch.private())
            if owner is not None:
                reason = f"Braze does not take this event ({what}). Mend what it names, then retry it."
                refused[owner] = DeliveryError(reason, retryable=False, status=response.status)
            elif response.status < 300:
                log.warning("braze_notice", destination=self._name, notice=what)
        return refused

    def _batch(self, events: Sequence[Event]) -> _Batch:
        batch = _Batch()
        for place, event in enumerate(events):
            sender = event.message.sender
            person: dict[str, Any] = {"user_alias": self._alias(sender)}
            traits: dict[str, Any] = {}
            if changes := self._group_changes(event):
                traits["subscription_groups"] = changes
            if event.new_alias and sender.startswith("+") and self.wants(event):
                # /users/alias/new sets no phone, and whoever has none can never be texted.
                traits["phone"] = sender
            if traits:
                # Without the flag, a person whose alias is gone from Braze would keep their old state there.
                batch.add("attributes", place, {**person, "_update_existing_only": False, **traits})
            if self._is_for_campaigns(event):
                if event.new_alias:
                    person["_update_existing_only"] = False
                batch.add("events", place, {**person, **self._custom_event(event)})
        return batch

    def _alias(self, sender: str) -> dict[str, str]:
        return {"alias_label": self._options.alias_label, "alias_name": sender}

    def _group_changes(self, event: Event) -> list[dict[str, str]]:
        """The last word for each group; an opt-out is told again even where it changed nothing."""
        opted_out = event.decision.intent == "opt_out"
        states: dict[str, str] = {}
        for change in event.changes:
            group = self._groups.get(change.program)
            subscribed = change.after == "subscribed" and change.before != "subscribed"
            if group and (opted_out or subscribed):
                states[group] = "unsubscribed" if opted_out else "subscribed"
        return [{"subscription_group_id": group, "subscription_state": state} for group, state in states.items()]

    def _is_for_campaigns(self, event: Event) -> bool:
        decision = event.decision
        if decision.program not in self._event_names or event.message.kind != "text":
            return False
        idle_confirmation = decision.intent == "confirm" and decision.before == decision.after
        return decision.intent in ("custom", "none") or idle_confirmation

    def _custom_event(self, event: Event) -> dict[str, Any]:
        message = event.message
        return {
            "name": self._event_names[event.decision.program or ""],
            "time": utc_time(event.at),
            "properties": {
                "message_body": message.text.lower()[:_STRING_LIMIT],
                "to_number": (message.recipient or "")[:_STRING_LIMIT],
                "from_number": message.sender[:_STRING_LIMIT],
                "sms_message_id": message.message_id[:_STRING_LIMIT],
            },
        }


def _parts(response: HttpResponse, count: int, refused: Container[int]) -> list[list[int]]:
    """What to send again of a request that was refused whole: all but the events named, or, if none was, two halves."""
    if response.status not in (400, 413):
        return []
    rest = [place for place in range(count) if place not in refused]
    if len(rest) < count:
        return [rest]
    return [rest[: count // 2], rest[count // 2 :]] if count > 1 else []


def _errors(response: HttpResponse) -> list[Any]:
    try:
        answer = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return []
    errors = answer.get("errors") if isinstance(answer, dict) else None
    return errors if isinstance(errors, list) else []
