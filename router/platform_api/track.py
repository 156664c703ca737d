"""`POST /users/track`: consent and numbers in attributes, and events that subscribe. Nothing else is kept here."""

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from router.errors import CallRefused
from router.groups import Group
from router.platform_api import objects
from router.platform_api.changes import Calls
from router.platform_api.context import Context, blocked, listed
from router.platform_api.models import (
    MOST_OBJECTS,
    Attributes,
    CustomEvent,
    GroupState,
    Identified,
    ObjectProblem,
    Track,
    Tracked,
)
from router.platform_api.objects import Invalid, Subject
from router.platform_api.reading import read_body, read_object
from router.store import Person
from router.types import RawRequest

List = Literal["attributes", "events", "purchases"]
_NOTHING = "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields."
_ELSEWHERE = "Send it to the platform itself"
_NOT_THERE = (
    "nobody is known by this yet, so nothing but an opt-out counts. "
    "Send '_update_existing_only': false with it, or call /users/alias/new before"
)
_OPTED_OUT = "the same request opts this person out, and that holds"
_MUTE = (
    "has no number that its question or welcome can be sent from. "
    "Give the account of one of its numbers what it needs to send"
)
_RULE = "api:/users/track"

Object = TypeVar("Object", bound=Identified)


@dataclass(slots=True)
class _Report:
    """What becomes of the objects of a request. `invalid` are those that make no sense, by list and place."""

    errors: list[ObjectProblem] = field(default_factory=list)
    processed: dict[List, int] = field(default_factory=dict)
    total: int = 0
    invalid: int = 0

    def say(self, array: List, index: int, text: str) -> None:
        self.errors.append(ObjectProblem(type=text, input_array=array, index=index))

    def refuse(self, array: List, index: int, text: str) -> None:
        self.invalid += 1
        self.say(array, index, text)

    def answer(self) -> Tracked:
        """Raises `CallRefused` if nothing in the request makes sense."""
        if self.invalid == self.total:
            raise CallRefused(_NOTHING, self.errors)
        counts = {f"{array}_processed": count for array, count in self.processed.items()}
        return Tracked.model_validate(counts | {"errors": self.errors or None})


@dataclass(slots=True)
class _Effects:
    """What a request does."""

    calls: Calls
    external_ids: dict[str, str] = field(default_factory=dict)
    languages: dict[str, str] = field(default_factory=dict)
    named: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Known:
    """What was known before the request: the numbers of external ids, and people by their numbers."""

    numbers: Mapping[str, str]
    people: Mapping[str, Person]


async def track(context: Context, operator: str, request: RawRequest) -> Tracked:
    """Does all that makes sense in the request. Raises `CallRefused` if nothing does."""
    body = read_body(Track, request)
    report = _Report()
    attributes = _read(report, "attributes", Attributes, body.attributes)
    events = _read(report, "events", CustomEvent, body.events)
    for index in range(len(_within_limit(report, "purchases", body.purchases))):
        report.say("purchases", index, f"purchases are not kept here. {_ELSEWHERE}")
    known = await _known(context, [*attributes.values(), *events.values()])
    effects = _Effects(Calls(context.new_id(), operator))
    tracking = _Tracking(context, known, report, effects, request.received_at)
    for index, given in attributes.items():
        tracking.attributes(index, given)
    for index, event in events.items():
        tracking.event(index, event)
    answer = report.answer()
    await context.directory.learn(effects.external_ids)
    await context.directory.name(effects.named)
    await context.directory.speak(effects.languages)
    await context.pipeline.call(list(effects.calls))
    return answer


def _within_limit(report: _Report, array: List, given: list[Any] | None) -> list[Any]:
    if given is None:
        return []
    if len(given) > MOST_OBJECTS:
        raise CallRefused("Max Input Length Exceeded")
    report.total += len(given)
    report.processed[array] = 0
    return given


def _read(report: _Report, array: List, model: type[Object], given: list[Any] | None) -> dict[int, Object]:
    """The objects of a list that have the right shape, by their places."""
    found = {}
    for index, written in enumerate(_within_limit(report, array, given)):
        read = read_object(model, written)
        if isinstance(read, str):
            report.refuse(array, index, read)
        else:
            found[index] = read
    return found


async def _known(context: Context, given: list[Identified]) -> _Known:
    numbers = await context.directory.find([each.external_id for each in given if each.external_id is not None])
    people = set()
    for each in given:
        try:
            people.add(objects.subject(each, numbers).number)
            if isinstance(each, CustomEvent) and (captured := objects.captured_number(each)):
                people.add(captured)
        except Invalid:
            continue  # said when its turn comes
    return _Known(numbers, await context.people.several(people))


class _Tracking:
    """Works through the objects of a request: attributes first, as the platform does."""

    def __init__(self, context: Context, known: _Known, report: _Report, effects: _Effects, now: float) -> None:
        self._context = context
        self._known = known
        self._report = report
        self._effects = effects
        self._now = now
        self._created: set[str] = set()
        # What the attributes of a request teach holds for its events.
        self._numbers = ChainMap(effects.external_ids, dict(known.numbers))

    def attributes(self, index: int, given: Attributes) -> None:
        """What an attributes object says of a number, a language and consent."""
        others = objects.not_kept(given)
        if others:
            text = f"no attributes are kept here, which leaves out {listed(others)}. {_ELSEWHERE}"
            self._report.say("attributes", index, text)
        if others and not _concerns_us(given) and given.named:
            return
        try:
            found = objects.subject(given, self._numbers)
            language = objects.language(given)
            groups = [(self._group(state, found.number), state) for state in given.subscription_groups or ()]
        except Invalid as error:
            self._report.refuse("attributes", index, str(error))
            return
        # An opt-out is never lost, whoever it is of.
        opt_outs = [each for each in groups if each[1].subscription_state == "unsubscribed"]
        if (language or opt_outs != groups or not groups) and self._missing("attributes", index, found):
            language, groups = None, opt_outs
            if not groups:
                return
        self._note(found, known=bool(language or groups))
        if language:
            self._effects.languages[found.number] = language
        for group, state in groups:
            self._call(index, found.number, group, state)
        self._report.processed["attributes"] += 1

    def event(self, index: int, event: CustomEvent) -> None:
        """What an event says of consent: that somebody has left a number, to be subscribed."""
        try:
            if not event.named:
                raise Invalid(objects.NOBODY_NAMED)
            time = objects.event_time(event, self._now)
            objects.check_properties(event.properties)
            groups = self._context.groups.listening(event.name)
            found = self._captured(event) if groups else None
        except Invalid as error:
            self._report.refuse("events", index, str(error))
            return
        if found is None:
            text = f"no program has {listed([event.name])} among its opt_in_events. {_ELSEWHERE}"
            self._report.say("events", index, text)
            return
        if self._missing("events", index, found):
            return
        made = [self._subscribe(index, found.number, group, event, time) for group in groups]
        if any(made):
            self._note(found, known=True)
            self._report.processed["events"] += 1

    def _captured(self, event: CustomEvent) -> Subject:
        """The person whose number an event has; an external id that has a number already keeps it."""
        number = objects.captured_number(event)
        if number is None:
            found = objects.subject(event, self._numbers)
        else:
            found = Subject(number, must_exist=False, creates=False, external_id=event.external_id)
        return replace(found, external_id=None) if found.external_id in self._numbers else found

    def _group(self, state: GroupState, number: str) -> Group:
        try:
            group = self._context.groups.find(state.subscription_group_id)
        except CallRefused as error:
            raise Invalid(str(error)) from None
        asks = state.use_double_opt_in_logic and state.subscription_state == "subscribed" and group.double_opt_in
        if asks and not self._can_text(group, number):
            raise Invalid(f"the program {group.program} {_MUTE}")
        return group

    def _can_text(self, group: Group, number: str) -> bool:
        return self._context.pipeline.routing.number_for(group.program, number) is not None

    def _missing(self, array: List, index: int, found: Subject) -> bool:
        """Whether nothing may be done, since nobody is known by that name. The platform would not say so."""
        missing = found.must_exist and found.number not in self._known.people and found.number not in self._created
        if missing:
            self._report.say(array, index, _NOT_THERE)
        return missing

    def _note(self, found: Subject, *, known: bool) -> None:
        """`known`: something is recorded of the person by this object, whatever else it does."""
        if found.creates:
            self._effects.named.append(found.number)
        if found.creates or known:
            self._created.add(found.number)
        if found.external_id is not None and self._numbers.get(found.external_id) != found.number:
            self._effects.external_ids[found.external_id] = found.number

    def _call(self, index: int, number: str, group: Group, state: GroupState) -> None:
        made = self._effects.calls.add(
            number,
            group,
            state.subscription_state,
            ask=state.use_double_opt_in_logic is True,
            rule=_RULE,
            source_url=state.source_url,
            consent_text=state.consent_text,
        )
        if state.subscription_state == "subscribed":
            self._hint("attributes", index, number, group, made=made)

    def _subscribe(self, index: int, number: str, group: Group, event: CustomEvent, time: float) -> bool:
        """Whether the event subscribes the person."""
        if group.opted_out_since(self._known.people.get(number), time, self._now):
            text = "the person has opted out since the time of this event, and that holds. Ask them to text START"
            self._report.say("events", index, text)
            return False
        if not self._can_text(group, number):
            self._report.say("events", index, f"the program {group.program} {_MUTE}")
            return False
        made = self._effects.calls.add(
            number,
            group,
            "subscribed",
            ask=True,
            welcome=True,
            rule=f"api:event/{event.name}",
            source_url=objects.property_text(event, "source_url"),
            consent_text=objects.property_text(event, "consent_text"),
            said_at=time,
        )
        self._hint("events", index, number, group, made=made)
        return made

    def _hint(self, array: List, index: int, number: str, group: Group, *, made: bool) -> None:
        if not made:
            self._report.say(array, index, _OPTED_OUT)
        elif text := blocked(self._known.people.get(number), group):
            self._report.say(array, index, f"the person {text}")


def _concerns_us(given: Attributes) -> bool:
    """Whether the object has anything in it that is kept here."""
    teaches = given.external_id is not None and given.phone is not None
    creates = given.user_alias is not None and given.update_existing_only is False
    return bool(given.subscription_groups or given.language or teaches or creates)
