"""The header of a file: which column holds what, and whether the file can be used at all."""

from collections.abc import Sequence
from dataclasses import dataclass

from router.errors import UnusableFile

PHONE, EXTERNAL_ID = "phone", "external_id"
GROUP, STATE = "subscription_group_id", "subscription_state"
LANGUAGE = "language"
_USED = (PHONE, EXTERNAL_ID, GROUP, STATE, LANGUAGE)
#: The first columns of a report of refused rows. It can be corrected and imported as it is.
REFUSED = ("refused_line", "refused_reason")
#: Columns of our own files that say nothing to an import.
_OURS = (*REFUSED, "since")
_ALIAS = ("user_alias_name", "user_alias_label")


@dataclass(frozen=True, slots=True)
class Columns:
    """`places`: name → where it stands, of the columns that are used. `ignored`: the others. `noted`: how many columns
    of a report stand before those of the file.
    """

    width: int
    places: dict[str, int]
    ignored: tuple[str, ...]
    noted: int


def read_header(cells: Sequence[str]) -> Columns:
    """Raises `UnusableFile`, saying what to write instead. Names count as they are spelled, as on the platforms."""
    _check_shape(cells)
    places = {name: cells.index(name) for name in _USED if name in cells}
    _check_identifier(cells, places)
    _check_consent(cells, places)
    ignored = tuple(name for name in cells if name and name not in (*_USED, *_OURS))
    return Columns(len(cells), places, ignored, len(REFUSED) if tuple(cells[: len(REFUSED)]) == REFUSED else 0)


def misspelled(name: str) -> str | None:
    """What a column that is ignored was probably meant to be."""
    plain = name.strip().lower().replace(" ", "_")
    return plain if plain in _USED else None


def _check_shape(cells: Sequence[str]) -> None:
    for mark, called in ((";", "semicolons"), ("\t", "tabs"), ("\r", "carriage returns")):
        if any(mark in cell for cell in cells):
            raise UnusableFile(
                f"its header has {called} in it. Save the file with commas between cells and each row on a line."
            )
    twice = sorted({name for name in cells if name in _USED and cells.count(name) > 1})
    if twice:
        raise UnusableFile(f"it has two columns {twice[0]}. Remove one of them.")
    if any(".properties." in name for name in cells):
        raise UnusableFile("it is a file of events. Import a file of people: a phone, a group and a state in each row.")


def _check_identifier(cells: Sequence[str], places: dict[str, int]) -> None:
    if EXTERNAL_ID in places and set(_ALIAS) & set(cells):
        raise UnusableFile(f"it has {EXTERNAL_ID} and an alias. Keep one of them: they may say different people.")
    if PHONE not in places and EXTERNAL_ID not in places:
        raise UnusableFile(f"it has no column {PHONE}{_instead(cells, PHONE)}. Add it, with numbers like +14155550101.")


def _check_consent(cells: Sequence[str], places: dict[str, int]) -> None:
    for name, other in ((GROUP, STATE), (STATE, GROUP)):
        if name in places and other not in places:
            raise UnusableFile(f"it has {name} but no {other}{_instead(cells, other)}. Add that column.")
    if GROUP not in places and LANGUAGE not in places and not (PHONE in places and EXTERNAL_ID in places):
        raise UnusableFile(f"it says nothing of anybody's consent. Add the columns {GROUP} and {STATE}.")


def _instead(cells: Sequence[str], wanted: str) -> str:
    """A hint at the column that probably is the wanted one."""
    found = next((name for name in cells if misspelled(name) == wanted), None)
    return f" ({found!r} is not the same: small letters, no blanks)" if found is not None else ""
