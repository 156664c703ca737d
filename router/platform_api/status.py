"""The endpoints of subscription groups: setting people's states, and reading them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from router.errors import CallRefused
from router.groups import Group
from router.platform_api.changes import Calls
from router.platform_api.context import NOT_KNOWN, Context, blocked, listed, phone_number
from router.platform_api.models import (
    MOST_PEOPLE,
    GroupState,
    GroupStatus,
    People,
    Statuses,
    StatusQuery,
    StatusSet,
    StatusSetV2,
    Success,
    UserStatus,
    UserStatusQuery,
)
from router.platform_api.reading import read_body, read_query
from router.store import Person
from router.types import ConsentState, RawRequest

_NOT_BOTH = "Either an email address or a phone number should be provided, but not both."
_NOBODY = "Bad Request: name people by 'external_id' or 'phone': the groups here are for texts, not for e-mail."
_TOO_MANY = "The max number of ids per request was exceeded"
_RULE = {1: "api:/subscription/status/set", 2: "api:/v2/subscription/status/set"}


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A state that people are to be put into. `at` is where it stands in the request."""

    at: str
    state: GroupState
    external_ids: Sequence[str]
    phones: Sequence[str]
    emails: Sequence[str]


async def set_status(context: Context, operator: str, request: RawRequest) -> Success:
    """One state for some people. An id and a number, one of each, are one person's."""
    body = read_body(StatusSet, request)
    wanted = _Wanted("", body, body.external_id, body.phone, body.email)
    if len(body.external_id) == len(body.phone) == 1:
        number = _number(body.phone[0], "phone[0]")
        wanted = _Wanted("", body, (), body.phone, body.email)
        success = await _set(context, operator, 1, [wanted], _ignored(body.unknown))
        await context.directory.learn({body.external_id[0]: number})
        return success
    return await _set(context, operator, 1, [wanted], _ignored(body.unknown))


async def set_statuses(context: Context, operator: str, request: RawRequest) -> Success:
    """States in several groups, all of them or none."""
    body = read_body(StatusSetV2, request)
    wanted = [
        _Wanted(f"subscription_groups[{index}].", group, group.external_ids, group.phones, group.emails)
        for index, group in enumerate(body.subscription_groups)
    ]
    unknown = body.unknown + [key for group in body.subscription_groups for key in group.unknown]
    return await _set(context, operator, 2, wanted, _ignored(list(dict.fromkeys(unknown))))


async def _set(
    context: Context, operator: str, version: Literal[1, 2], wanted: Sequence[_Wanted], errors: list[str]
) -> Success:
    """Checks everything before anything changes."""
    for each in wanted:
        _check_identifiers(each.external_ids, each.phones, each.emails)
    _check_count({name for each in wanted for name in each.external_ids}, {n for each in wanted for n in each.phones})
    groups = [context.groups.find(each.state.subscription_group_id) for each in wanted]
    known = await context.directory.find([name for each in wanted for name in each.external_ids])
    numbers = [_numbers(each, known, errors, version) for each in wanted]
    if not any(numbers):
        raise CallRefused("Bad Request: nobody that the request names is known here.", errors)
    people = await context.people.several([number for found in numbers for number in found])
    calls = Calls(context.new_id(), operator)
    for each, group, found in zip(wanted, groups, numbers, strict=True):
        for number, place in found.items():
            state = each.state
            made = calls.add(
                number,
                group,
                state.subscription_state,
                ask=state.use_double_opt_in_logic is True,
                rule=_RULE[version],
                source_url=state.source_url,
                consent_text=state.consent_text,
            )
            if not made:
                errors.append(f"{place}: the same request opts this person out, and that holds.")
            elif state.subscription_state == "subscribed" and (text := blocked(people.get(number), group)):
                errors.append(f"{place}: {text}.")
    await context.pipeline.call(list(calls))
    return Success(errors=errors or None)


def _numbers(wanted: _Wanted, known: dict[str, str], errors: list[str], version: int) -> dict[str, str]:
    """The numbers of people, with the place where each stands. Raises `CallRefused` for what is no number."""
    plural = "s" if version == 2 else ""
    found: dict[str, str] = {}
    for index, written in enumerate(wanted.phones):
        place = f"{wanted.at}phone{plural}[{index}]"
        found.setdefault(_number(written, place), place)
    for index, external_id in enumerate(wanted.external_ids):
        place = f"{wanted.at}external_id{plural}[{index}]"
        if external_id in known:
            found.setdefault(known[external_id], place)
        else:
            errors.append(f"{place} {NOT_KNOWN}.")
    return found


def _number(written: str, place: str) -> str:
    number = phone_number(written)
    if number is None:
        raise CallRefused(f"Bad Request: {place} is no phone number in E.164, such as +14155550101.")
    return number


def _check_identifiers(external_ids: Sequence[str], phones: Sequence[str], emails: Sequence[str]) -> None:
    if emails and phones:
        raise CallRefused(_NOT_BOTH)
    if not external_ids and not phones:
        raise CallRefused(_NOBODY)


def _check_count(external_ids: set[str], phones: set[str]) -> None:
    if len(external_ids) + len(phones) > MOST_PEOPLE:
        raise CallRefused(_TOO_MANY)


def _ignored(unknown: list[str]) -> list[str]:
    return [f"{listed(unknown)} means nothing here and was left out."] if unknown else []


async def get_status(context: Context, _: str, request: RawRequest) -> Statuses:
    """The state of each person in one group, by the id or number that was asked for."""
    query = read_query(StatusQuery, request)
    group = context.groups.find(query.subscription_group_id)
    _, asked = await _asked(context, query)
    people = await context.people.several([number for number in asked.values() if number])
    return Statuses(status={name: _capital(_state(context, people, number, group)) for name, number in asked.items()})


async def user_status(context: Context, _: str, request: RawRequest) -> UserStatus:
    """The groups in which people ever had a state."""
    query = read_query(UserStatusQuery, request)
    kind, asked = await _asked(context, query)
    people = await context.people.several([number for number in asked.values() if number])
    found = []
    for name, number in asked.items():
        # The documented answer has room for one person only; where there are several, each is named.
        person: dict[str, str] = {kind: name} if len(asked) > 1 else {}
        for group in context.groups:
            state = _state(context, people, number, group)
            if state != "none":
                status = GroupStatus(subscription_group_id=group.id, subscription_status=_public(state))
                found.append(status.model_copy(update=person))
    return UserStatus(subscription_groups=found[query.offset : query.offset + query.limit])


async def _asked(context: Context, query: People) -> tuple[Literal["external_id", "phone"], dict[str, str | None]]:
    """What people are asked for by, and the number of each, None if it is not known."""
    external_ids = list(dict.fromkeys(query.external_id + query.external_ids))
    # A plus that the caller forgot to encode comes as a blank.
    phones = ["+" + phone[1:] if phone.startswith(" ") else phone for phone in query.phone + query.phones]
    if external_ids:
        _check_count(set(external_ids), set())
        known = await context.directory.find(external_ids)
        return "external_id", {external_id: known.get(external_id) for external_id in external_ids}
    _check_identifiers([], phones, query.email + query.emails)
    _check_count(set(), set(phones))
    return "phone", {phone: _number(phone, f"phone[{index}]") for index, phone in enumerate(phones)}


def _state(context: Context, people: dict[str, Person], number: str | None, group: Group) -> ConsentState:
    return group.state(people.get(number) if number else None, context.clock())


def _public(state: ConsentState) -> Literal["subscribed", "unsubscribed"]:
    """Who has not said yes, or not everything that is needed for it, is unsubscribed to callers."""
    return "subscribed" if state == "subscribed" else "unsubscribed"


def _capital(state: ConsentState) -> Literal["Subscribed", "Unsubscribed", "Unknown"]:
    if state == "none":
        return "Unknown"
    return "Subscribed" if state == "subscribed" else "Unsubscribed"
