"""`POST /users/alias/new` and `/users/alias/update`: which number stands behind an id. There are no profiles here."""

from typing import TypeVar

from router.errors import CallRefused
from router.platform_api.context import Context, phone_number
from router.platform_api.models import (
    MOST_PEOPLE,
    PHONE_LABEL,
    AliasesNew,
    AliasesProcessed,
    AliasesUpdate,
    AliasUpdate,
    NewAlias,
)
from router.platform_api.reading import read_body
from router.types import RawRequest

A = TypeVar("A", NewAlias, AliasUpdate)

_TOO_MANY = "The max number of external_ids and aliases per request was exceeded"
_OTHER_LABEL = f"only aliases with the label '{PHONE_LABEL}' are kept here. Send others to the platform itself"
_NO_NUMBER = "is no phone number in E.164, such as +14155550101"
_TAKEN = "the external_id has another number already, and keeps it. To move it, call /users/alias/update"


async def new(context: Context, _: str, request: RawRequest) -> AliasesProcessed:
    """Makes people known by their numbers, and external ids known that have no number yet."""
    given = _within_limit(read_body(AliasesNew, request).user_aliases)
    numbers = await context.directory.find([each.external_id for each in given if each.external_id is not None])
    errors: list[str] = []
    invalid = 0
    named: list[str] = []
    learned: dict[str, str] = {}
    for index, each in enumerate(given):
        number = phone_number(each.alias_name)
        if each.alias_label != PHONE_LABEL:
            errors.append(f"user_aliases[{index}]: {_OTHER_LABEL}.")
            continue
        if number is None:
            invalid += 1
            errors.append(f"user_aliases[{index}]: 'alias_name' {_NO_NUMBER}.")
            continue
        named.append(number)
        if each.external_id is not None and (numbers | learned).get(each.external_id, number) != number:
            errors.append(f"user_aliases[{index}]: {_TAKEN}.")
        elif each.external_id is not None:
            learned[each.external_id] = number
    _check_some(invalid, len(given), errors)
    await context.directory.learn({key: n for key, n in learned.items() if key not in numbers})
    await context.directory.name(named)
    return AliasesProcessed(aliases_processed=len(named), errors=errors or None)


async def update(context: Context, _: str, request: RawRequest) -> AliasesProcessed:
    """Lets the external ids of a number lead to another one; what either number has said of consent stays with it.

    So nobody's opt-out is lost, and nobody who gets the old number later inherits a consent.
    """
    given = _within_limit(read_body(AliasesUpdate, request).alias_updates)
    errors: list[str] = []
    invalid = 0
    moves: list[tuple[str, str]] = []
    for index, each in enumerate(given):
        old, new = phone_number(each.old_alias_name), phone_number(each.new_alias_name)
        if each.alias_label != PHONE_LABEL:
            errors.append(f"alias_updates[{index}]: {_OTHER_LABEL}.")
        elif old is None or new is None:
            invalid += 1
            which = "old_alias_name" if old is None else "new_alias_name"
            errors.append(f"alias_updates[{index}]: '{which}' {_NO_NUMBER}.")
        else:
            moves.append((old, new))
    _check_some(invalid, len(given), errors)
    existing = await context.people.several([old for old, _ in moves])
    for old, new in moves:
        await context.directory.move(old, new)
    await context.directory.name([new for old, new in moves if old in existing])
    return AliasesProcessed(aliases_processed=len(moves), errors=errors or None)


def _within_limit(given: list[A]) -> list[A]:
    if len(given) > MOST_PEOPLE:
        raise CallRefused(_TOO_MANY)
    return given


def _check_some(invalid: int, total: int, errors: list[str]) -> None:
    if invalid == total:
        raise CallRefused("Bad Request: none of the aliases can be used.", errors)
