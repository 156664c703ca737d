"""The words that the rules of consent are written in: programs, numbers, what is said, and what follows from it."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from router.types import ConsentState, Intent

Texts = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Program:
    """One purpose that people consent to. `texts`: kind of reply → language → text."""

    mode: Literal["single", "double", "subscribe_first"]
    texts: Texts
    marketing: bool = True


@dataclass(frozen=True)
class Number:
    """One of our numbers; without programs it is nobody's. `choice` is the question which programs to keep."""

    number: str
    account: str
    programs: tuple[str, ...]
    languages: tuple[str, ...] = ("en",)
    scope: Literal["program", "number", "account", "all"] = "program"
    network_blocks: bool = False
    carrier_answers: frozenset[Intent] = frozenset()
    choice: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Said:
    """What a text means.

    `program` is the one that it names; `everything` says that it names one that nobody knows. `language` is given if
    the word is of that language alone. `alone` is a keyword by itself, which carriers and networks understand too.
    `answered`: the carrier has answered. `texted` is False for consent that is set elsewhere, perhaps for `marketing`
    alone. `person` is False for machines and names. `keeps`: it says that a program is to be kept, and not YES.
    """

    intent: Intent
    program: str | None = None
    everything: bool = False
    language: str | None = None
    alone: bool = False
    own: Mapping[str, str] | None = None
    answered: bool = False
    texted: bool = True
    marketing: bool = False
    person: bool = True
    keeps: bool = False


@dataclass(frozen=True)
class Outcome:
    """What follows from a text. `changes`: consent, before, after, where that is more than the program's own."""

    program: str | None
    before: ConsentState
    after: ConsentState
    reply: str | None = None
    changes: tuple[tuple[str, ConsentState, ConsentState], ...] = ()
    on_record: bool = False
    helps: bool = False


@dataclass
class Standing:
    """Where a person stands, and since when; a question is open `until` some time, and leads back to `then`."""

    state: ConsentState = "none"
    since: float = 0.0
    until: float = float("inf")
    then: ConsentState = "none"

    def at(self, now: float) -> ConsentState:
        return self.state if now < self.until else self.then


@dataclass
class Person:
    """All that is known of one person; nothing of it bears on anybody else."""

    standings: defaultdict[str, Standing] = field(default_factory=lambda: defaultdict(Standing))
    language: str | None = None
    blocks: set[tuple[str, str]] = field(default_factory=set)
    replies: defaultdict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int))
    seen: dict[str, tuple[float, Outcome]] = field(default_factory=dict)

    def takes(self, text_id: str, now: float, outcome: Outcome) -> Outcome:
        """Keeps what followed from a text, in case that is offered again."""
        self.seen[text_id] = (now, outcome)
        return outcome
