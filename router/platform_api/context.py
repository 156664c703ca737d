"""What the operations of the API work with, and whom their identifiers mean."""

import weakref
from collections.abc import Callable, Sequence

from router._core import classify_address
from router.config import Settings
from router.groups import Group
from router.pipeline import Pipeline
from router.platform_api.groups import Groups
from router.store import Directory, People, Person

NOT_KNOWN = "is not known here. Send it together with the phone number once, to /users/track"
_BLOCKED = (
    "is subscribed, but a carrier or network sends this person nothing since they opted out there. "
    "Only a START or UNSTOP that they text themselves lifts that"
)


class Context:
    """The store, and the way into it. What it looks up raises `StoreUnavailable`."""

    def __init__(
        self,
        pipeline: Pipeline,
        people: People,
        directory: Directory,
        settings: Callable[[], Settings],
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        """`settings` gives the configuration of now. `new_id` gives an id that nothing else has."""
        self.pipeline = pipeline
        self.directory = directory
        self.settings = settings
        self.clock = clock
        self.new_id = new_id
        self.people = people
        self._groups: tuple[weakref.ref[Settings], Groups] | None = None

    @property
    def groups(self) -> Groups:
        """The subscription groups of the configuration of now."""
        settings = self.settings()
        # A weak reference: what a reload replaces is let go of a little at a time, and not held by us.
        if self._groups is None or self._groups[0]() is not settings:
            self._groups = (weakref.ref(settings), Groups(settings))
        return self._groups[1]


def phone_number(written: str) -> str | None:
    """The number in E.164; None if it is none, such as a short code or a name."""
    kind, address = classify_address(written)
    return address if kind == "phone" else None


def blocked(person: Person | None, group: Group) -> str | None:
    """What is to be said of somebody who is subscribed, if a carrier does not send them what we do."""
    return _BLOCKED if group.blocked(person) else None


def listed(names: Sequence[str]) -> str:
    """The first few of some keys that a caller sent, to be read."""
    shown = [f"'{name[:48]}'" for name in names[:10]]
    return ", ".join(shown) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
