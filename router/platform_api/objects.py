"""The objects of /users/track, each judged by itself: whom it is about, and what is wrong with it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from router.platform_api.context import NOT_KNOWN, phone_number
from router.platform_api.models import PHONE_LABEL, Attributes, CustomEvent, Identified

NOBODY_NAMED = "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required"
_NO_NUMBER = (
    "people are known by their phone number here: name them by 'phone', by 'external_id', "
    f"or by a 'user_alias' with the label '{PHONE_LABEL}'"
)
_LONGEST_STRING = 255
_MOST_PROPERTY_BYTES = 102_400
_RESERVED = ("time", "event_name")
#: The other form that the platform takes has a colon in front of the milliseconds.
_MILLISECONDS = re.compile(r"(T\d\d:\d\d:\d\d):(\d{3})")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")
#: Under which the number that was captured stands, in this order.
_CAPTURED = ("phone_number", "phone")


class Invalid(Exception):
    """What is wrong with an object, as its error says it."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The person an object is about. `must_exist`: nothing happens to somebody of whom nothing is known yet.

    `creates`: the person is known from then on. `external_id` is what the number is to be found by from then on.
    """

    number: str
    must_exist: bool
    creates: bool
    external_id: str | None


def subject(given: Identified, known: Mapping[str, str]) -> Subject:
    """Whom an object is about. `known`: the numbers of external ids. Raises `Invalid`."""
    if not given.named:
        raise Invalid(NOBODY_NAMED)
    alias = _alias_number(given)
    phone = None
    if given.phone is not None and (phone := phone_number(given.phone)) is None:
        raise Invalid("'phone' is no phone number in E.164, such as +14155550101")
    if alias and phone and alias != phone:
        raise Invalid("'user_alias' and 'phone' are two numbers. To move a person to another, call /users/alias/update")
    only_existing = given.update_existing_only
    if given.external_id is not None:
        number = phone or alias or known.get(given.external_id)
        if number is None:
            raise Invalid(f"'external_id' {NOT_KNOWN}")
        return Subject(number, only_existing is True, creates=False, external_id=given.external_id)
    if alias:
        return Subject(alias, only_existing is not False, creates=only_existing is False, external_id=None)
    if phone:
        return Subject(phone, only_existing is True, creates=False, external_id=None)
    raise Invalid(_NO_NUMBER)


def _alias_number(given: Identified) -> str | None:
    if given.user_alias is None:
        return None
    if given.user_alias.alias_label != PHONE_LABEL:
        if given.external_id is None and given.phone is None:
            raise Invalid(_NO_NUMBER)
        return None
    number = phone_number(given.user_alias.alias_name)
    if number is None:
        raise Invalid("'alias_name' is no phone number in E.164, such as +14155550101")
    return number


def language(given: Attributes) -> str | None:
    """The language tag, if the object has one. Raises `Invalid`."""
    if given.language is not None and not _LANGUAGE.fullmatch(given.language):
        raise Invalid("'language' is no language tag of ISO 639-1, such as 'en'")
    return given.language


def not_kept(given: Attributes) -> list[str]:
    """The attributes that nothing is done with here."""
    identifies = given.external_id or given.user_alias or given.phone
    others = [key for key in ("email", "braze_id") if identifies and getattr(given, key) is not None]
    return given.unknown + others


def captured_number(event: CustomEvent) -> str | None:
    """The number among the properties, if there is one. Raises `Invalid`."""
    properties = event.properties or {}
    written = next((properties[name] for name in _CAPTURED if properties.get(name) is not None), None)
    if written is None:
        return None
    number = phone_number(written) if isinstance(written, str) else None
    if number is None:
        raise Invalid("the phone number in 'properties' is none in E.164, such as +14155550101")
    return number


def property_text(event: CustomEvent, name: str) -> str | None:
    """A property that is a text."""
    value = (event.properties or {}).get(name)
    return value if isinstance(value, str) else None


def event_time(event: CustomEvent, now: float) -> float:
    """When it happened, in unix seconds; a time yet to come is now. Raises `Invalid`."""
    try:
        time = datetime.fromisoformat(_MILLISECONDS.sub(r"\1.\2", event.time))
        seconds = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise Invalid("'time' must be an ISO 8601 time, such as 2026-02-03T10:00:00Z") from None
    return min(seconds, now)


def check_properties(properties: Mapping[str, Any] | None) -> None:
    """Raises `Invalid` for what the platform would refuse too."""
    if not properties:
        return
    for name in properties:
        if name in _RESERVED:
            raise Invalid(f"'{name}' is a reserved property name")
    names, strings = _texts(properties)
    if any(not 1 <= len(name) <= _LONGEST_STRING or name.startswith("$") for name in names):
        raise Invalid("property names have 1 to 255 characters, of which the first is no $")
    if any(len(string) > _LONGEST_STRING for string in strings):
        raise Invalid("strings in 'properties' have at most 255 characters")
    try:
        size = len(orjson.dumps(properties))
    except orjson.JSONEncodeError:
        raise Invalid("'properties' is nested too deeply") from None
    if size > _MOST_PROPERTY_BYTES:
        raise Invalid("'properties' has more than 100 KB")


def _texts(properties: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The names of all properties, and all strings, however deep."""
    names: list[str] = []
    strings: list[str] = []
    waiting: list[Any] = [properties]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            strings.append(value)
        elif isinstance(value, dict):
            names += value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return names, strings
