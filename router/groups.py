"""Programs as callers of the API and CSV files know them, and which consents bear on each."""

from collections.abc import Mapping
from dataclasses import dataclass

from router.config import Settings


@dataclass(frozen=True, slots=True)
class Group:
    """A program. `name` is what it is called outside, `bearing` the consents of a person of which the latest holds."""

    program: str
    name: str
    bearing: tuple[str, ...]


def groups(settings: Settings) -> Mapping[str, Group]:
    """Each program by its id, in their order."""
    found = {}
    for program in settings.programs.values():
        found[program.id] = Group(program.id, program.group_id or program.id, settings.bearing_on(program.id))
    return found
