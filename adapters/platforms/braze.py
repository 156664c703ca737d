"""Braze by its REST API: texts become custom events, changes of consent become states of subscription groups.

What Braze would drop without a word, an event for a person whose alias is not there, is never sent in that form.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from adapters._braze import ALIAS_NEW, EXPORT, TRACK, BrazeApi, answer_of, errors_of, refusal
from adapters._braze_options import BrazeOptions, BrazeProgramOptions, warnings_of
from adapters._braze_states import Newcomers, State, set_states
from adapters._braze_track import TrackObjects, batches, parts_to_resend
from adapters._http import utc_time
from router.errors import DeliveryError
from router.ports import Http, OptionsType
from router.types import Event

__all__ = ["Braze", "BrazeOptions", "BrazeProgramOptions"]

#: The longest string that a property of an event can hold, in characters.
_STRING_LIMIT = 255
#: The most people in one call of endpoints other than /users/track.
_MOST_PEOPLE = 50


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
        self._label = options.alias_label
        self._clock = clock
        self._newcomers = Newcomers()
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
        if not senders:
            return
        aliases = [self._alias(sender) for sender in senders]
        response = await self._api.post(http, ALIAS_NEW, {"user_aliases": aliases})
        named, remarks = errors_of(response, {"user_aliases": aliases})
        if named:
            # For good: whoever asks then halves the request, until the one whom Braze does not take stands alone.
            raise refusal(response, ALIAS_NEW, named[0][2], senders)
        if error := self._api.failure(ALIAS_NEW, response, senders):
            raise error
        self._api.note(remarks, senders)

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
        """The aliases under which an exported user can be told of, and texted if they are numbers."""
        aliases = [alias for alias in user.get("user_aliases") or () if isinstance(alias, dict)]
        names = [str(alias.get("alias_name")) for alias in aliases if alias.get("alias_label") == self._label]
        # Braze writes it with a plus sign or without.
        phone = "+" + str(user.get("phone") or "").removeprefix("+")
        return [name for name in names if name == phone or not name.startswith("+")]

    async def deliver(self, http: Http, events: Sequence[Event]) -> Sequence[DeliveryError | None]:
        """Sends all events in one request; in several if Braze refuses it whole, until only those at fault are left.

        States that have an endpoint of their own go first: an event is not sent before its person's state.
        """
        now = self._clock()
        by_status = {place for place, event in enumerate(events) if self._goes_by_status(event, now)}
        states = [
            State(place, events[place].message.sender, change["subscription_group_id"], change["subscription_state"])
            for place in sorted(by_status)
            for change in self._group_changes(events[place])
        ]
        objects = [self._objects(event, place in by_status) for place, event in enumerate(events)]
        failed = await set_states(self._api, http, states) if states else {}
        failed |= await self._track(http, objects, [place for place in range(len(events)) if place not in failed])
        if self._options.consent == "status_set":
            self._newcomers.add((event.message.sender for event in events if event.new_alias), self._clock())
        return [failed.get(place) for place in range(len(events))]

    def _goes_by_status(self, event: Event, now: float) -> bool:
        # Only profiles that have the number are changed there. Somebody new has none yet, a WhatsApp user id is none:
        # their states would be lost without a word.
        sender = event.message.sender
        by_status = self._options.consent == "status_set" and sender.startswith("+")
        return by_status and not event.new_alias and not self._newcomers.has(sender, now)

    async def _track(
        self, http: Http, objects: Sequence[TrackObjects], places: Sequence[int]
    ) -> dict[int, DeliveryError]:
        """Sends the objects of some events; why those that were not taken were not."""
        failed: dict[int, DeliveryError] = {}
        for batch in batches(objects, places, self._options.objects_in_all):
            try:
                response = await self._api.post(http, TRACK, batch.objects)
            except DeliveryError as error:
                failed |= batch.failed(error)
                continue
            refused, remarks = batch.refused(response)
            if response.status < 300:
                self._api.note(remarks, batch.private())
            if parts := parts_to_resend(response, batch.places, refused):
                for part in parts:
                    failed |= await self._track(http, objects, part)
            elif error_of_all := self._api.failure(TRACK, response, batch.private()):
                failed |= batch.failed(error_of_all)
            failed |= refused
        return failed

    def _objects(self, event: Event, by_status: bool) -> TrackObjects:
        """What `/users/track` is told of an event; nothing of its states if those go by their own endpoint."""
        sender = event.message.sender
        # With the flag, Braze makes a user of an alias that it does not have, or has no more; without it, it would
        # drop the state or the event, and say nothing.
        person = {"user_alias": self._alias(sender), "_update_existing_only": False}
        traits: dict[str, Any] = {}
        if not by_status and (changes := self._group_changes(event)):
            traits["subscription_groups"] = changes
        if event.new_alias and sender.startswith("+") and self.wants(event):
            # An alias alone sets no phone, and whoever has none can never be texted.
            traits["phone"] = sender
        objects = [("attributes", {**person, **traits})] if traits else []
        if self._is_for_campaigns(event):
            objects.append(("events", {**person, **self._custom_event(event)}))
        return objects

    def _alias(self, sender: str) -> dict[str, str]:
        return {"alias_label": self._label, "alias_name": sender}

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

    @staticmethod
    def warnings(options: BrazeOptions, programs: dict[str, tuple[str, BrazeProgramOptions]]) -> Sequence[str]:
        """What Braze does not do, or not at once, with what is configured."""
        return list(warnings_of(options, programs))
