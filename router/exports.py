"""People as rows of a CSV file, with the columns that an import reads."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Literal

from router.consent import outside
from router.groups import Group
from router.store import Person

#: The header of an export.
COLUMNS = ("phone", "subscription_group_id", "subscription_state", "language", "since")
#: The states that a row can have.
Exported = Literal["subscribed", "unsubscribed", "pending"]


def rows(
    sender: str, person: Person, groups: Sequence[Group], state: Exported | None, now: float
) -> Iterator[Sequence[str]]:
    """A person's rows: one for each program that they have said something of, be it with a word that holds for more.

    Who was asked to confirm and has not yet is neither subscribed nor unsubscribed, and is only there if `state` asks
    for them. Who may still name what to keep has opted out.
    """
    for group in groups:
        latest = person.latest(group.consents, now)
        found = outside(latest.state) if latest else "none"
        if latest and (found == state or (state is None and found in ("subscribed", "unsubscribed"))):
            since = datetime.fromtimestamp(latest.since, UTC).isoformat(timespec="microseconds")
            yield sender, group.id, found, person.language or "", since


def unknown(person: Person, groups: Sequence[Group]) -> bool:
    """Whether the person has said something of a program that is not configured any more."""
    named = {name for group in groups for name in group.consents}
    return any(name not in named and not name.startswith("@") for name in person.consent)
