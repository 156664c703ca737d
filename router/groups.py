"""Programs as callers of the API and files know them: subscription groups."""

from collections.abc import Mapping
from dataclasses import dataclass

from router.config import Settings, bearing_on
from router.consent import outside
from router.store import Person
from router.types import ConsentState


@dataclass(frozen=True, slots=True)
class Group:
    """A program. `id` is what it is called outside. `consents` are those of a person that bear on it, its own first:
    the latest holds. `double_opt_in`: it has a question to ask. `numbers` are its numbers, each with its account.
    """

    id: str
    program: str
    consents: tuple[str, ...]
    double_opt_in: bool = False
    numbers: frozenset[tuple[str, str]] = frozenset()

    def state(self, person: Person | None, now: float) -> ConsentState:
        """A person's state in the group."""
        return person.state(self.consents, now) if person else "none"

    def blocked(self, person: Person | None) -> bool:
        """Whether a carrier or network sends the person nothing from a number of the program, or may do so."""
        accounts = {account for account, _ in self.numbers}
        return any(
            (block.account, block.number) in self.numbers if block.number else block.account in accounts
            for block in (person.blocks if person else ())
        )

    def opted_out_since(self, person: Person | None, time: float, now: float) -> bool:
        """Whether the last that holds for the group is an opt-out, and said after a time."""
        latest = person.latest(self.consents, now) if person else None
        return latest is not None and outside(latest.state) == "unsubscribed" and latest.since > time


def groups(settings: Settings) -> Mapping[str, Group]:
    """The group of each program, by its id, in their order."""
    numbers_of = settings.numbers_of()
    return {
        program.id: Group(
            program.group_id or program.id,
            program.id,
            bearing_on(program.id, numbers_of[program.id]),
            # Who is subscribed first and asked afterwards is asked, too.
            double_opt_in=program.opt_in != "single",
            numbers=frozenset((n.account, n.number) for n in numbers_of[program.id]),
        )
        for program in settings.programs.values()
    }
