"""Programs as callers of the API see them: subscription groups."""

from collections.abc import Iterator
from dataclasses import dataclass

from router.config import Program, Settings
from router.consent import outside
from router.errors import CallRefused
from router.routing import Routing
from router.store import Person
from router.types import ConsentState

_MOST_SHOWN = 64


@dataclass(frozen=True, slots=True)
class Group:
    """A program. `id` is what answers call it. `consents` are those that bear on it, its own first."""

    id: str
    program: str
    double_opt_in: bool
    consents: tuple[str, ...]

    def state(self, person: Person | None, now: float) -> ConsentState:
        """A person's state in the group."""
        return person.state(self.consents, now) if person else "none"

    def opted_out_since(self, person: Person | None, time: float, now: float) -> bool:
        """Whether the last that holds for the group is an opt-out, and said after a time."""
        latest = person.latest(self.consents, now) if person else None
        return latest is not None and outside(latest.state) == "unsubscribed" and latest.since > time


class Groups:
    """The subscription groups of a configuration."""

    def __init__(self, settings: Settings, routing: Routing) -> None:
        self._groups: dict[str, Group] = {}
        self._listening: dict[str, list[Group]] = {}
        for program in settings.programs.values():
            self._add(program, routing.bearing_on(program.id))

    def __iter__(self) -> Iterator[Group]:
        return iter(dict.fromkeys(self._groups.values()))

    def find(self, group_id: str) -> Group:
        """The group that callers call so. Raises `CallRefused`."""
        group = self._groups.get(group_id)
        if group is None:
            shown = group_id if len(group_id) <= _MOST_SHOWN else group_id[:_MOST_SHOWN] + "…"
            raise CallRefused(
                f"There is no subscription group {shown!r}. Use the group_id or the name of a program of the "
                "configuration.",
            )
        return group

    def listening(self, event: str) -> list[Group]:
        """The groups that an event of this name subscribes to."""
        return self._listening.get(event, [])

    def _add(self, program: Program, consents: tuple[str, ...]) -> None:
        # Who is subscribed first and asked afterwards is asked, too.
        group = Group(program.group_id or program.id, program.id, program.opt_in != "single", consents)
        # What callers call a program goes before what another one is called in the configuration.
        self._groups.setdefault(program.id, group)
        if program.group_id:
            self._groups[program.group_id] = group
        for event in program.opt_in_events:
            self._listening.setdefault(event, []).append(group)
