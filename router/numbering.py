"""Build step: compiles the numbering plans of the installed `phonenumbers` into one automaton over digits.

`python -P router/numbering.py FOLDER` writes `numbering.h`, which router/core/numbers.pxi reads. It imports nothing of
ours: the package is not built yet when it runs. The same metadata always gives the same bytes.

Each state of the automaton has a row of ten targets, by digit, and a label. State 0 is where nothing matches any more.
Four kinds of numbers are read with it, each from a root of its own:

- of a country code, a national number; label: place of its region + 1 times 16, plus its type;
- of a plan (a region, or a code that belongs to no country), a national number; label: 1 if its general pattern fits;
- of a plan, a number that may begin with a national prefix; label: the `Action` to take, plus 256 times the one to take
  if the number ends here; the last one met counts;
- of a plan, a number that may begin with an international prefix; labels likewise.
"""

import re
import sys
from collections.abc import Callable, Container, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

import phonenumbers
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

#: Of digits in a national number, for libphonenumber.
LONGEST = 17
#: The kinds of numbers in the order in which libphonenumber tries them; mobile and fixed line come after these.
_TRIED = ("premium_rate", "toll_free", "shared_cost", "voip", "personal_number", "pager", "uan", "voicemail")
#: As router/core/numbers.pxi names them; 0 is unknown.
TYPES = ("unknown", *_TRIED, "fixed_line", "mobile", "fixed_line_or_mobile")
DIGITS = "0123456789"
_COUNTS = re.compile(r"([0-9]+)(?:,([0-9]+))?\}")
_RULE = re.compile(r"([0-9]{0,5})\\([0-9])")
#: So that the tables, 22 bytes a state, stay under a megabyte, and numbers of states in 16 bits. There are 8,300.
_MOST_STATES = 45_000
#: Their numbers have 8 bits.
_MOST_ACTIONS = 0xFE


# Patterns: literals, classes, groups, alternation, bounded repeats, and the end of the number. -----------------------


@dataclass
class _Program:
    """A pattern as steps: read one of `reads`, go on at each of `goes` (the first before the others), or note a place.

    Step 0 is the first. A step without any of these is the end of the pattern; `at_end` ones only count at the end of
    the number. Places are noted as group * 2, + 1 for its end.
    """

    reads: list[frozenset[str]] = field(default_factory=list)
    goes: list[tuple[int, ...]] = field(default_factory=list)
    notes: list[int | None] = field(default_factory=list)
    at_end: list[bool] = field(default_factory=list)
    groups: int = 0

    def step(self, reads: frozenset[str] = frozenset(), note: int | None = None, *, at_end: bool = False) -> int:
        self.reads.append(reads)
        self.goes.append(())
        self.notes.append(note)
        self.at_end.append(at_end)
        return len(self.goes) - 1


class _Compiler:
    """Compiles a pattern, from its end to its beginning: each part is handed the step that follows it."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._groups = 0
        self.program = _Program()

    def compile(self) -> _Program:
        tree = self._alternatives()
        if self._at != len(self._pattern):
            raise ValueError(f"{self._pattern!r}: what stands at {self._at} is not understood; teach it to _Compiler")
        first, last = self.program.step(), self.program.step()
        self.program.goes[first] = (self._link(tree, last),)
        self.program.groups = self._groups
        return self.program

    # A tree is a tuple: ("read", digits), ("end",), ("all", trees), ("any", trees), ("repeat", tree, least, most) or
    # ("group", number, tree).

    def _alternatives(self) -> tuple[object, ...]:
        found = [self._sequence()]
        while self._take("|"):
            found.append(self._sequence())
        return ("any", found) if len(found) > 1 else found[0]

    def _sequence(self) -> tuple[object, ...]:
        parts: list[tuple[object, ...]] = []
        while self._at < len(self._pattern) and self._pattern[self._at] not in "|)":
            parts.append(self._repeated(self._part()))
        return ("all", parts)

    def _part(self) -> tuple[object, ...]:
        if self._take("(?:"):
            inside = self._alternatives()
            self._need(")")
            return inside
        if self._take("("):
            self._groups += 1
            number = self._groups
            inside = self._alternatives()
            self._need(")")
            return ("group", number, inside)
        if self._take("$"):
            return ("end",)
        return ("read", self._class() if self._take("[") else self._digit())

    def _class(self) -> frozenset[str]:
        found: set[str] = set()
        while not self._take("]"):
            digits = self._digit()
            if self._take("-"):
                first, last = min(digits), min(self._digit())
                digits = frozenset(map(str, range(int(first), int(last) + 1)))
            found |= digits
        return frozenset(found)

    def _digit(self) -> frozenset[str]:
        if self._take("\\d"):
            return frozenset(DIGITS)
        digit = self._pattern[self._at : self._at + 1]
        if not digit or digit not in DIGITS:
            raise ValueError(f"{self._pattern!r}: {digit!r} at {self._at} is not understood; teach it to _Compiler")
        self._at += 1
        return frozenset(digit)

    def _repeated(self, tree: tuple[object, ...]) -> tuple[object, ...]:
        if self._take("?"):
            return ("repeat", tree, 0, 1)
        if not self._take("{"):
            return tree
        found = _COUNTS.match(self._pattern, self._at)
        least, most = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not found or least > most:
            raise ValueError(f"{self._pattern!r}: the repeat at {self._at} is not understood; teach it to _Compiler")
        self._at = found.end()
        return ("repeat", tree, least, most)

    def _take(self, text: str) -> bool:
        found = self._pattern.startswith(text, self._at)
        self._at += len(text) * found
        return found

    def _need(self, text: str) -> None:
        if not self._take(text):
            raise ValueError(f"{self._pattern!r}: {text!r} is missing at {self._at}; teach _Compiler what stands there")

    def _link(self, tree: tuple[object, ...], following: int) -> int:
        """The first step of a tree that goes on at `following`."""
        match tree:
            case ("read", frozenset() as digits):
                return self._then(self.program.step(digits), following)
            case ("end",):
                if self.program.goes[following]:
                    raise ValueError(f"{self._pattern!r}: something stands behind $; teach _Compiler what that means")
                return self.program.step(at_end=True)
            case ("all", list() as trees):
                for each in reversed(trees):
                    following = self._link(each, following)
                return following
            case ("any", list() as trees):
                return self._then(self.program.step(), *(self._link(each, following) for each in trees))
            case ("repeat", tuple() as inside, int() as least, int() as most):
                for _ in range(most - least):
                    # What is optional is taken if it can be: that way goes first.
                    following = self._then(self.program.step(), self._link(inside, following), following)
                for _ in range(least):
                    following = self._link(inside, following)
                return following
            case ("group", int() as number, tuple() as inside):
                end = self._then(self.program.step(note=number * 2 + 1), following)
                return self._then(self.program.step(note=number * 2), self._link(inside, end))
        raise ValueError(f"{tree!r} is no tree")

    def _then(self, step: int, *following: int) -> int:
        self.program.goes[step] = following
        return step


Ways = list[tuple[int, tuple[int, ...]]]


class _Machine:
    """A pattern made ready for reading: where to begin, and where to go on after each step that reads.

    Ways are the steps that read or end, the first before the others, each with the places that are noted on the way.
    """

    def __init__(self, pattern: str) -> None:
        program = _Compiler(pattern).compile()
        self.groups = program.groups
        self.reads = program.reads
        self.at_end = program.at_end
        self.start = _ways(program, 0)
        self.after = [
            _ways(program, goes[0]) if reads else [] for reads, goes in zip(program.reads, program.goes, strict=True)
        ]


def _ways(program: _Program, first: int) -> Ways:
    found: dict[int, tuple[int, ...]] = {}
    waiting: Ways = [(first, ())]
    while waiting:
        step, notes = waiting.pop()
        if program.reads[step] or not program.goes[step]:
            found.setdefault(step, notes)
            continue
        note = program.notes[step]
        notes = notes if note is None else (*notes, note)
        waiting += [(following, notes) for following in reversed(program.goes[step])]
    return list(found.items())


# The automaton -------------------------------------------------------------------------------------------------------

State = TypeVar("State", bound=Hashable)


class _Automaton:
    """States shared by all that is read with it: those that tell the same apart are one."""

    def __init__(self) -> None:
        dead = (0, *[0] * 10)
        self._numbers: dict[tuple[int, ...], int] = {dead: 0}

    @property
    def rows(self) -> list[tuple[int, ...]]:
        """For each state its label and where it leads by digit."""
        return list(self._numbers)

    def add(
        self, start: State, label: Callable[[State, int], int], follow: Callable[[State, str], State | None]
    ) -> int:
        """The state that stands for `start`; `label` is handed a state and how many digits were read."""
        made: dict[tuple[State, int], int] = {}

        def number(state: State | None, length: int) -> int:
            if state is None:
                return 0
            key = (state, length)
            if key not in made:
                targets = (
                    [0] * 10 if length == LONGEST else [number(follow(state, each), length + 1) for each in DIGITS]
                )
                row = (label(state, length), *targets)
                made[key] = self._numbers.setdefault(row, len(self._numbers))
            return made[key]

        return number(start, 0)


class _Patterns:
    """Patterns read side by side. A state is the steps that are reached, each as number of the pattern, step."""

    def __init__(self, patterns: Sequence[str], lasting: Container[int] = ()) -> None:
        """`lasting`: the numbers of the patterns that go on to fit whatever follows."""
        self._machines = [_Machine(pattern) for pattern in patterns]
        self._lasting = lasting
        self._followed: dict[tuple[frozenset[tuple[int, int]], str], frozenset[tuple[int, int]] | None] = {}
        pairs = ((number, step) for number, machine in enumerate(self._machines) for step, _ in machine.start)
        self.start = frozenset(pairs)

    def fitting(self, state: frozenset[tuple[int, int]]) -> set[int]:
        """The numbers of the patterns that fit what was read."""
        return {number for number, step in state if not self._machines[number].reads[step]}

    def follow(self, state: frozenset[tuple[int, int]], digit: str) -> frozenset[tuple[int, int]] | None:
        """The state after one more digit; None where nothing can fit any more."""
        key = (state, digit)
        if key not in self._followed:
            found: set[tuple[int, int]] = set()
            for number, step in state:
                machine = self._machines[number]
                if digit in machine.reads[step]:
                    found.update((number, to) for to, _ in machine.after[step])
                elif not machine.reads[step] and number in self._lasting:
                    found.add((number, step))
            self._followed[key] = frozenset(found) or None
        return self._followed[key]


class Action(NamedTuple):
    """What becomes of a number N that a prefix fits: `insert`, then N[first:last], then N[end:]."""

    insert: str = ""
    first: int = 0
    last: int = 0
    end: int = 0


#: A step with the places noted so far, two for each group.
_Thread = tuple[int, tuple[int, ...]]
_UNSET = -1


class _Prefix:
    """A pattern that the beginning of a number may fit. A state: the threads alive, the first before the others.

    Of several ways to fit, the first in the order of the pattern counts, as with `re.match`.
    """

    def __init__(self, pattern: str, rule: str | None, actions: list[Action]) -> None:
        """`rule`: libphonenumber's transform rule. New actions are added to `actions`."""
        self._machine = _Machine(pattern)
        self._rule = rule
        self._actions = actions
        unset = (_UNSET,) * (self._machine.groups * 2 + 2)
        self.start = self._alive([(step, _noted(unset, notes, 0)) for step, notes in self._machine.start]), 0

    def label(self, state: tuple[tuple[_Thread, ...], int], _: int) -> int:
        threads, length = state
        ends = [(step, places) for step, places in threads if not self._machine.reads[step]]
        here = next((places for step, places in ends if not self._machine.at_end[step]), None)
        at_end = ends[0][1] if ends else None
        return self._number(here, length) + 256 * self._number(at_end, length)

    def follow(self, state: tuple[tuple[_Thread, ...], int], digit: str) -> tuple[tuple[_Thread, ...], int] | None:
        threads, length = state
        found: dict[int, tuple[int, ...]] = {}
        for step, places in threads:
            if digit in self._machine.reads[step]:
                for to, notes in self._machine.after[step]:
                    found.setdefault(to, _noted(places, notes, length + 1))
        return (self._alive(list(found.items())), length + 1) if found else None

    def _alive(self, threads: Sequence[_Thread]) -> tuple[_Thread, ...]:
        """Once a way fits, those behind it do not count any more."""
        reads, at_end = self._machine.reads, self._machine.at_end
        fits = (place for place, (step, _) in enumerate(threads) if not reads[step] and not at_end[step])
        return tuple(threads[: next(fits, len(threads)) + 1])

    def _number(self, places: tuple[int, ...] | None, end: int) -> int:
        """The number of the action, from 1; 0 if there is none."""
        if places is None:
            return 0
        action = self._action(places, end)
        if action not in self._actions:
            self._actions.append(action)
        return self._actions.index(action) + 1

    def _action(self, places: tuple[int, ...], end: int) -> Action:
        last_group = places[-2:]
        if not self._rule or _UNSET in last_group:
            return Action(end=end)
        found = _RULE.fullmatch(self._rule)
        group = places[int(found[2]) * 2 : int(found[2]) * 2 + 2] if found else ()
        if not found or len(group) != 2 or _UNSET in group:
            raise ValueError(f"the transform rule {self._rule!r} is not understood; teach it to _Prefix")
        return Action(found[1], *group, end)


def _noted(places: tuple[int, ...], notes: Sequence[int], at: int) -> tuple[int, ...]:
    return tuple(at if place in notes else noted for place, noted in enumerate(places))


# Numbering plans -----------------------------------------------------------------------------------------------------


@dataclass
class Plan:
    """A region, or a code that belongs to no country. Lengths are bits; roots are states."""

    region: str
    country_code: int
    lengths: int
    local_lengths: int
    general: int
    prefix: int
    international: int


@dataclass
class Country:
    """A country code: its plans are `count` from `first` on, the main one first."""

    code: int
    first: int
    count: int
    root: int


@dataclass
class Tables:
    """All that normalising needs."""

    plans: list[Plan] = field(default_factory=list)
    countries: list[Country] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    rows: list[tuple[int, ...]] = field(default_factory=list)


def compiled() -> Tables:
    """The tables of the installed metadata."""
    automaton = _Automaton()
    tables = Tables()
    for code, regions in sorted(COUNTRY_CODE_TO_REGION_CODE.items()):
        metadata = [_metadata(code, region) for region in regions]
        root = _country(automaton, metadata)
        tables.countries.append(Country(code, len(tables.plans), len(regions), root))
        tables.plans += [_plan(automaton, tables.actions, each) for each in metadata]
    tables.rows = automaton.rows
    if len(tables.rows) > _MOST_STATES or len(tables.actions) > _MOST_ACTIONS:
        raise ValueError("the numbering plans have outgrown their tables; widen them here and in numbers.pxi")
    return tables


def _metadata(code: int, region: str) -> PhoneMetadata:
    found = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    if found is None:
        raise ValueError(f"phonenumbers has no metadata of {region} +{code}; reinstall it")
    return found


def _plan(automaton: _Automaton, actions: list[Action], metadata: PhoneMetadata) -> Plan:
    desc = metadata.general_desc
    if desc is None or not desc.national_number_pattern or metadata.country_code is None:
        raise ValueError(f"the metadata of {metadata.id} has no general description; reinstall phonenumbers")
    general = _Patterns([desc.national_number_pattern])
    return Plan(
        region=metadata.id,
        country_code=metadata.country_code,
        lengths=_bits(desc.possible_length),
        local_lengths=_bits(desc.possible_length_local_only),
        general=automaton.add(general.start, lambda state, _: int(bool(general.fitting(state))), general.follow),
        prefix=_prefix(
            automaton, actions, metadata.national_prefix_for_parsing, metadata.national_prefix_transform_rule
        ),
        international=_prefix(automaton, actions, metadata.international_prefix, None),
    )


def _prefix(automaton: _Automaton, actions: list[Action], pattern: str | None, rule: str | None) -> int:
    if not pattern:
        return 0
    prefix = _Prefix(pattern, rule, actions)
    return automaton.add(prefix.start, prefix.label, prefix.follow)


def _bits(lengths: Iterable[int]) -> int:
    return sum(1 << length for length in lengths)


def _country(automaton: _Automaton, plans: Sequence[PhoneMetadata]) -> int:
    """The root of a country code's numbers."""
    patterns: list[str] = []
    lasting: list[int] = []
    #: For each region: the number of its leading digits, if it has any, and for each kind number and lengths.
    regions: list[tuple[int | None, dict[str, tuple[int, frozenset[int]]]]] = []
    for metadata in plans:
        leading = None
        if metadata.leading_digits and len(plans) > 1:
            leading = len(patterns)
            lasting.append(leading)
            patterns.append(metadata.leading_digits)
        kinds: dict[str, tuple[int, frozenset[int]]] = {}
        for kind in ("general_desc", *_TRIED, "fixed_line", "mobile"):
            desc = getattr(metadata, kind)
            if desc is not None and desc.national_number_pattern:
                kinds[kind] = len(patterns), frozenset(desc.possible_length)
                patterns.append(desc.national_number_pattern)
        regions.append((leading, kinds))
    read = _Patterns(patterns, lasting)

    def label(state: frozenset[tuple[int, int]], length: int) -> int:
        fitting = read.fitting(state)
        for place, ((leading, kinds), metadata) in enumerate(zip(regions, plans, strict=True)):
            fits = {
                kind
                for kind, (number, lengths) in kinds.items()
                if number in fitting and (not lengths or length in lengths)
            }
            kind = _type(fits, same=bool(metadata.same_mobile_and_fixed_line_pattern))
            if len(plans) == 1 or (leading in fitting if leading is not None else kind != "unknown"):
                # Countries with one region share states: the region goes without saying.
                return (place + 1) * 16 * (len(plans) > 1) + TYPES.index(kind)
        return 0

    return automaton.add(read.start, label, read.follow)


def _type(fits: set[str], *, same: bool) -> str:
    """libphonenumber's choice among the kinds that fit a number."""
    if "general_desc" not in fits:
        return "unknown"
    for kind in _TRIED:
        if kind in fits:
            return kind
    if "fixed_line" in fits:
        return "fixed_line_or_mobile" if same or "mobile" in fits else "fixed_line"
    return "mobile" if "mobile" in fits and not same else "unknown"


# The header ----------------------------------------------------------------------------------------------------------


def header(tables: Tables) -> str:
    """The tables in C."""
    plans = [
        f'{{"{plan.region}", {plan.country_code}, {plan.lengths}, {plan.local_lengths}, '
        f"{plan.general}, {plan.prefix}, {plan.international}}}"
        for plan in tables.plans
    ]
    countries = [f"{{{each.code}, {each.first}, {each.count}, {each.root}}}" for each in tables.countries]
    actions = [f'{{"{each.insert}", {each.first}, {each.last}, {each.end}}}' for each in tables.actions]
    labels = [str(row[0]) for row in tables.rows]
    targets = ["{" + ", ".join(map(str, row[1:])) + "}" for row in tables.rows]
    names = [f'"{name}"' for name in TYPES]
    return f"""/* Made by router/numbering.py from the metadata of phonenumbers {phonenumbers.__version__}. */
#include <stdint.h>
#define NUMBERING_VERSION "{phonenumbers.__version__}"
typedef struct {{
    char region[4]; uint16_t country_code; uint32_t lengths, local_lengths;
    uint16_t general, prefix, international;
}} NumberingPlan;
typedef struct {{ uint16_t code, first, count, root; }} NumberingCountry;
typedef struct {{ char insert[6]; uint8_t first, last, end; }} NumberingAction;
{_array("NumberingPlan numbering_plans", plans)}
{_array("NumberingCountry numbering_countries", countries)}
{_array("NumberingAction numbering_actions", ['{"", 0, 0, 0}', *actions])}
{_array("char* const numbering_types", names)}
{_array("uint16_t numbering_labels", labels)}
{_array("uint16_t numbering_targets", targets, "[10]")}
enum {{ NUMBERING_PLANS = {len(plans)}, NUMBERING_COUNTRIES = {len(countries)}, NUMBERING_TYPES = {len(names)} }};
"""


def _array(name: str, values: Sequence[str], width: str = "") -> str:
    return f"static const {name}[]{width} = {{\n" + ",\n".join(values) + "\n};"


if __name__ == "__main__":
    written = header(compiled())
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "numbering.h"
    # Left alone if it is the same, so that what depends on it is not built again.
    if not path.exists() or path.read_text() != written:
        path.write_text(written)
