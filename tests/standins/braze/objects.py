"""What Braze finds fault with in the objects of a request."""

import re
from collections.abc import Collection
from datetime import datetime
from typing import Any

IDENTIFIER_MISSING = "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required"

_IDENTIFIERS = ("user_alias", "external_id", "phone")
#: The other form of a time that is documented, with a colon before the milliseconds.
_OTHER_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d:\d{3}(Z|[+-]\d\d:?\d\d)")


def fault_of_event(item: dict[str, Any], blocked: Collection[str]) -> str | None:
    """Why a custom event is not taken; `blocked` are names of events."""
    if not any(key in item for key in _IDENTIFIERS):
        return IDENTIFIER_MISSING
    name = item.get("name")
    if not isinstance(name, str) or not name:
        return "'name' is required"
    if name in blocked:
        return f"{name} is blocked"
    if not _is_time(item.get("time")):
        return "'time' is required and must be ISO 8601"
    for key, value in item.get("properties", {}).items():
        if key in ("time", "event_name") or key.startswith("$") or not 1 <= len(key) <= 255:
            return f"property name {key} is not allowed"
        if isinstance(value, str) and len(value) > 255:
            return f"property {key} is longer than 255 characters"
    return None


def fault_of_attributes(item: dict[str, Any]) -> str | None:
    """Why an attributes object is not taken."""
    if not any(key in item for key in _IDENTIFIERS):
        return IDENTIFIER_MISSING
    for group in item.get("subscription_groups", ()):
        if not is_state(group):
            return "'subscription_groups' is invalid"
    return None


def is_state(group: dict[str, Any]) -> bool:
    """Whether it names a group and one of the two states."""
    return bool(group.get("subscription_group_id")) and group.get("subscription_state") in (
        "subscribed",
        "unsubscribed",
    )


def as_list(value: object) -> list[str]:
    """What may be written as one text or as a list of them."""
    return [value] if isinstance(value, str) else [str(one) for one in value] if isinstance(value, list) else []


def _is_time(value: object) -> bool:
    if not isinstance(value, str) or "T" not in value:
        return False
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return bool(_OTHER_TIME.fullmatch(value))
