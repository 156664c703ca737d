"""Braze by its REST API: texts become custom events, changes of consent become states of subscription groups.

What Braze would drop without a word, an event for a person whose alias is not there, is never sent in that form.
"""

import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from adapters._braze import ALIAS_NEW, EXPORT, STATUS_SET, TRACK, BrazeApi, answer_of, errors_in
from adapters._braze_track import TrackBatch, parts_to_resend
from adapters._http import HttpUrl, utc_time
from router.errors import DeliveryError
from router.ports import Http, Options, OptionsType, Secret
from router.types import Event

#: The longest string that a property of an event can hold, in characters.
_STRING_LIMIT = 255
#: The most people in one call of endpoints other than /users/track.
_MOST_PEOPLE = 50


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
    """The REST endpoint of the instance, and a key with the permission `users.track`.

    `create`: an unknown person is made known by `/users/alias/new` before the first event (`alias`, which needs the
    permission `users.alias.new`), or by the request that brings it (`with_event`). `consent`: states of subscription
    groups go with the other attributes (`attributes`), or by an endpoint of their own (`status_set`, which needs
    `subscription.status.set`). `look_up` asks who exists before aliases are created, and
    `check_every_seconds` whether those who did still do; both need `users.export.ids`.
    """

    url: Annotated[HttpUrl, AfterValidator(_check_base)]
    api_key: Annotated[Secret, AfterValidator(_check_key)]
    batch_size: int = Field(75, ge=1, le=75)
    objects_in_all: int | None = Field(None, ge=2, le=225)
    requests_at_once: int = Field(8, ge=1, le=64)
    alias_label: str = Field("phone", min_length=1)
    create: Literal["alias", "with_event"] = "alias"
    consent: Literal["attributes", "status_set"] = "attributes"
    look_up: bool = False
    check_every_seconds: float = Field(0.0, ge=0, le=86_400)


class BrazeProgramOptions(Options):
    """Where a program's consent is kept, and what its events are called: if not set, `sms_response_<name>_custom`."""

    subscription_group_id: str | None = Field(None, min_length=1)
    event_name: str | None = Field(None, min_length=1, max_length=255)


class Braze:
    """A Braze workspace.

    The state of a subscription group changes when a person is subscribed or opts out; a text that is not a default
    keyword becomes a custom event. A pending double opt-in is keyroute's own affair, and Braze hears nothing of it.
    """

    Options: ClassVar[OptionsType] = BrazeOptions
    ProgramOptions: ClassVar[OptionsType] = BrazeProgramOptions
    alias_batch_size = _MOST_PEOPLE
    check_size = _MOST_PEOPLE
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
        self.requests_at_once = options.requests_at_once
        self.needs_alias = options.create == "alias"
        self.makes_known = options.create == "with_event"
        self.check_every = options.check_every_seconds
        self._options = options
        self._api = BrazeApi(name, options.url, options.api_key, clock)
        self._groups = {
            program: own.subscription_group_id for program, (_, own) in programs.items() if own.subscription_group_id
        }
        self._event_names = {
            program: own.event_name or f"sms_response_{program_name}_custom"
            for program, (program_name, own) in programs.items()
        }

    def wants(self, event: Event) -> bool:
        """Whether the event changes the state of a subscription group or is a text for campaigns."""
        return bool(self._group_changes(event)) or self._is_for_campaigns(event)

    async def ensure_aliases(self, http: Http, senders: Sequence[str]) -> None:
        """Creates a user for each alias that nobody has; those who have one stay as they are."""
        if self._options.look_up:
            senders = await self.vanished(http, senders)
        if senders:
            response = await self._api.post(http, ALIAS_NEW, {"user_aliases": [self._alias(one) for one in senders]})
            if error := self._api.failure(ALIAS_NEW, response):
                raise error
            self._api.note(errors_in(response))

    async def vanished(self, http: Http, senders: Sequence[str]) -> Sequence[str]:
        """Those whom Braze does not have, or has without their number, so that they cannot be texted."""
        wanted = {
            "user_aliases": [self._alias(sender) for sender in senders],
            "fields_to_export": ["user_aliases", "phone"],
        }
        response = await self._api.post(http, EXPORT, wanted)
        if error := self._api.failure(EXPORT, response):
            raise error
        users = answer_of(response).get("users")
        if not isinstance(users, list):
            raise DeliveryError(
                "Braze exported no list of users. Set look_up = false and check_every_seconds = 0 if this goes on.",
                retryable=True,
            )
        there = {sender for user in users if isinstance(user, dict) for sender in self._known_as(user)}
        return [sender for sender in senders if sender not in there]

    def _known_as(self, user: dict[str, Any]) -> list[str]:
        """The aliases of an exported user that are of use."""
        label, phone = self._options.alias_label, str(user.get("phone") or "").lstrip("+")
        aliases = [alias for alias in user.get("user_aliases") or () if isinstance(alias, dict)]
        names = [str(alias.get("alias_name")) for alias in aliases if alias.get("alias_label") == label]
        return [name for name in names if phone or not name.startswith("+")]

    async def deliver(self, http: Http, events: Sequence[Event]) -> Sequence[DeliveryError | None]:
        """Sends all events in one request; in several if Braze refuses it whole, until only those at fault are left.

        States that have an endpoint of their own go first: an event is not sent before its person's state.
        """
        results: list[DeliveryError | None] = [None] * len(events)
        by_status = [place for place, event in enumerate(events) if self._goes_by_status(event)]
        for first in range(0, len(by_status), _MOST_PEOPLE):
            await self._set_states(http, events, by_status[first : first + _MOST_PEOPLE], results)
        await self._track(http, events, [place for place, error in enumerate(results) if not error], results)
        return results

    def _goes_by_status(self, event: Event) -> bool:
        # Only a profile that has the number is changed there: somebody new has none yet, a WhatsApp user id is none.
        by_status = self._options.consent == "status_set" and not event.new_alias
        return by_status and event.message.sender.startswith("+") and bool(self._group_changes(event))

    async def _set_states(
        self, http: Http, events: Sequence[Event], places: Sequence[int], results: list[DeliveryError | None]
    ) -> None:
        phones: dict[tuple[str, str], list[str]] = {}
        for place in places:
            for change in self._group_changes(events[place]):
                key = change["subscription_group_id"], change["subscription_state"]
                phones.setdefault(key, []).append(events[place].message.sender)
        groups = [
            {"subscription_group_id": group, "subscription_state": state, "phones": numbers}
            for (group, state), numbers in phones.items()
        ]
        error: DeliveryError | None
        try:
            response = await self._api.post(http, STATUS_SET, {"subscription_groups": groups})
            error = self._api.failure(STATUS_SET, response)
        except DeliveryError as failure:
            error = failure
        if error and error.status in (400, 413) and len(places) > 1:
            middle = len(places) // 2
            await self._set_states(http, events, places[:middle], results)
            await self._set_states(http, events, places[middle:], results)
            return
        for place in places:
            results[place] = error
        if not error:
            self._api.note(errors_in(response))

    async def _track(
        self, http: Http, events: Sequence[Event], places: Sequence[int], results: list[DeliveryError | None]
    ) -> None:
        """Fills in the results of some of the events."""
        batch = self._batch(events, places)
        if not batch.count:
            return
        if self._options.objects_in_all and batch.count > self._options.objects_in_all and len(places) > 1:
            parts = [places[: len(places) // 2], places[len(places) // 2 :]]
        else:
            try:
                response = await self._api.post(http, TRACK, batch.objects)
            except DeliveryError as failure:
                for place in places:
                    results[place] = failure
                return
            refused, remarks = batch.refused(response)
            if response.status < 300:
                self._api.note(remarks, batch.private())
            parts = parts_to_resend(response, places, refused)
            if not parts and (error := self._api.failure(TRACK, response, batch.private())):
                refused = dict.fromkeys(places, error) | refused
            for place, reason in refused.items():
                results[place] = reason
        for part in parts:
            await self._track(http, events, part, results)

    def _batch(self, events: Sequence[Event], places: Sequence[int]) -> TrackBatch:
        batch = TrackBatch()
        for place in places:
            event = events[place]
            sender = event.message.sender
            person: dict[str, Any] = {"user_alias": self._alias(sender)}
            traits: dict[str, Any] = {}
            if not self._goes_by_status(event) and (changes := self._group_changes(event)):
                traits["subscription_groups"] = changes
            if event.new_alias and sender.startswith("+") and self.wants(event):
                # An alias alone sets no phone, and whoever has none can never be texted.
                traits["phone"] = sender
            # With the flag, Braze makes a user of an alias that it does not have, or has no more; without it, it would
            # drop the state or the event, and say nothing.
            if traits:
                batch.add("attributes", place, {**person, "_update_existing_only": False, **traits})
            if self._is_for_campaigns(event):
                batch.add("events", place, {**person, "_update_existing_only": False, **self._custom_event(event)})
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
