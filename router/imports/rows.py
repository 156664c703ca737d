"""From the cells of a row to what it says of a person, or why it is refused. No I/O: the store is asked later."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from router._core import classify_address
from router.groups import Group
from router.imports.columns import EXTERNAL_ID, GROUP, LANGUAGE, PHONE, STATE, Columns
from router.store import Target

_STATES = ("subscribed", "unsubscribed")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,2}")
#: What becomes of a number that a spreadsheet takes for a large one.
_SHORTENED = re.compile(r"\d([.,]\d+)?E\+\d+")
#: The longest external id, as on the platforms.
_LONGEST_ID = 997
#: How many programs are named to who has named none of them.
_MOST_NAMED = 10


class _Refused(Exception):
    """The row says something that cannot be taken; why, and what to do."""


class Said(NamedTuple):
    """What a row says. `sender` is empty if only the directory knows whom the external id means; `external_id` and
    `language` are empty where the row does not tell them.
    """

    sender: str
    external_id: str
    target: Target | None
    language: str


class Rows:
    """Reads the rows of one file. `width`: how many cells each must have."""

    def __init__(self, columns: Columns, groups: Iterable[Group]) -> None:
        self.width = columns.width
        self._noted = columns.noted
        self._phone, self._external_id, self._group, self._state, self._language = (
            columns.places.get(name, -1) for name in (PHONE, EXTERNAL_ID, GROUP, STATE, LANGUAGE)
        )
        self._targets, self._named = _targets(groups)
        self._known: dict[tuple[str, str], Target] = {}  # by the cells as they are written

    def read(self, cells: list[str]) -> Said | str:
        """What a row says, or why it is refused. A blank cell says nothing."""
        if len(cells) != self.width:
            found, wanted = len(cells) - self._noted, self.width - self._noted
            return f"it has {found} cells, the header has {wanted}. Write one for each column; quote what has commas."
        try:
            target = self._target(cells[self._group], cells[self._state]) if self._group >= 0 else None
            external_id = _external_id(cells[self._external_id]) if self._external_id >= 0 else ""
            language = _language(cells[self._language]) if self._language >= 0 else ""
            sender = _sender(cells[self._phone]) if self._phone >= 0 else ""
        except _Refused as error:
            return str(error)
        if not sender and not external_id:
            return f"its {'phone' if self._phone >= 0 else EXTERNAL_ID} is blank. Say who it is about."
        return Said(sender, external_id, target, language)

    def _target(self, group: str, state: str) -> Target | None:
        known = self._known.get((group, state))
        return known or self._new_target(group, state)

    def _new_target(self, group_cell: str, state_cell: str) -> Target | None:
        group, state = group_cell.strip(), state_cell.strip().lower()
        if not group and not state:
            return None
        if not group or not state:
            missing = STATE if group else GROUP
            raise _Refused(f"its {missing} is blank. Fill in both {GROUP} and {STATE}, or neither.")
        if state not in _STATES:
            raise _Refused(f"{state[:20]!r} is no {STATE}. Write subscribed or unsubscribed.")
        target = self._targets.get((group, state))
        if not target:
            raise _Refused(f"no program has the {GROUP} {group[:40]!r}. Write one of: {self._named}.")
        self._known[group_cell, state_cell] = target
        return target


def _external_id(cell: str) -> str:
    external_id = cell.strip()
    if len(external_id) > _LONGEST_ID:
        raise _Refused(f"its {EXTERNAL_ID} is longer than {_LONGEST_ID} characters. Correct it.")
    return external_id


@lru_cache(maxsize=1024)
def _language(cell: str) -> str:
    """A language tag with a small primary part."""
    spoken, separator, rest = cell.strip().replace("_", "-").partition("-")
    tag = f"{spoken.lower()}{separator}{rest}"
    if tag and not _LANGUAGE.fullmatch(tag):
        raise _Refused(f"{tag[:20]!r} is not the tag of a language. Write it like en or pt-BR.")
    return tag


def _sender(cell: str) -> str:
    written = cell.strip()
    kind, address = classify_address(written)
    # A number without + may be one of another country: nobody may be subscribed by a guess.
    if (kind == "phone" and written[0] == "+") or kind == "user_id" or not written:
        return address
    if kind == "phone":
        raise _Refused("its phone has no + in front. Write it with + and country code, like +14155550101.")
    if _SHORTENED.fullmatch(written):
        raise _Refused("a spreadsheet has shortened its phone. Make that column text there, and save the file again.")
    raise _Refused("its phone is not a phone number. Write it like +14155550101.")


def _targets(groups: Iterable[Group]) -> tuple[Mapping[tuple[str, str], Target], str]:
    """Group and state → target, by the name and by the id of each program; and the names to choose from."""
    targets, names = {}, []
    for group in groups:
        names.append(group.id)
        for state in _STATES:
            target = Target(group.program, state, group.consents)
            targets[group.id, state] = targets[group.program, state] = target
    named = ", ".join(names[:_MOST_NAMED])
    return targets, f"{named} … (as the configuration has them)" if len(names) > _MOST_NAMED else named
