"""The subscription groups that callers of the API may name, and the events that subscribe to them."""

from collections.abc import Iterator

from router.config import Program, Settings
from router.errors import CallRefused
from router.groups import Group, groups

_MOST_SHOWN = 64


class Groups:
    """The subscription groups of a configuration."""

    def __init__(self, settings: Settings) -> None:
        self._groups: dict[str, Group] = {}
        self._listening: dict[str, list[Group]] = {}
        for program_id, group in groups(settings).items():
            self._add(settings.programs[program_id], group)

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

    def _add(self, program: Program, group: Group) -> None:
        # What callers call a program goes before what another one is called in the configuration.
        self._groups.setdefault(program.id, group)
        self._groups[group.id] = group
        for event in program.opt_in_events:
            self._listening.setdefault(event, []).append(group)
