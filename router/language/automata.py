"""Phrases made ready for reading: the rules of a language as an automaton without choices, in flat arrays."""

import hashlib
import json
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, reduce
from operator import or_
from pathlib import Path

from router._core import PhraseBook
from router.language.needs import needs
from router.language.phrases import (
    ANY,
    BREAK,
    EMOJI,
    END,
    FOLDER,
    NUMBER,
    QUESTION,
    QUOTE,
    SECTIONS,
    START,
    Grammar,
    Rule,
    files,
    grammar,
)

#: The ids of what is read besides words: their places here. A word that no rule names comes first.
MARKS = ("", START, END, BREAK, QUESTION, QUOTE, EMOJI, NUMBER)
_NOWHERE = -1
_SOURCES = ("phrases.py", "automata.py", "needs.py", "common_words.tsv")


@dataclass(frozen=True, slots=True)
class Automaton:
    """The rules of one language. The automaton starts in state 0, at any word or mark.

    `words`: all that rules name; stems end in `~`. Words that lead everywhere to the same states share a symbol:
    `symbol_of` has those of `MARKS` and `words`. For each state, `rows` says where its `exceptions` (symbols, in
    their order) and their `targets` begin, and `others` where every other word leads; -1 is nowhere. `accepts` says
    where its pairs of section and rule begin in `accepted`. `reach` has the bits (see `router.language.needs`) of the
    rules that can still be matched, 0 if none asks for anything; `masks` three for each of `words`, `free` two for
    all, and `limits` for each class the most words of a text.
    """

    language: str
    rules: tuple[Rule, ...]
    words: tuple[str, ...]
    symbol_of: Mapping[str, int]
    rows: "array[int]"
    exceptions: "array[int]"
    targets: "array[int]"
    others: "array[int]"
    accepts: "array[int]"
    accepted: "array[int]"
    reach: "array[int]"
    masks: "array[int]"
    free: "array[int]"
    limits: "array[int]"

    def symbols(self, ids: Mapping[str, int], first: int) -> list[int]:
        """The symbols of all ids of a lexicon that holds more languages; word ids begin with `first`."""
        stems = {word[:-1] for word in self.words if word.endswith("~")}
        lengths = sorted({len(stem) for stem in stems}, reverse=True)
        found = [self.symbol_of[mark] for mark in MARKS]
        for word in ids:
            symbol = self.symbol_of.get(word)
            if symbol is None:
                written = word.removesuffix("~")
                stem = next((written[:length] for length in lengths if written[:length] in stems), None)
                mark = EMOJI if _is_picture(word) else NUMBER if written.isdecimal() else ""
                symbol = self.symbol_of[mark if stem is None else f"{stem}~"]
            found.append(symbol)
        return found


@cache
def phrase_book(names: tuple[str, ...]) -> PhraseBook:
    """The rules of some files, made ready once for as long as the process lives."""
    return PhraseBook([automaton(name) for name in names])


@cache
def automaton(name: str) -> Automaton:
    """The rules of one file: as they were compiled when the package was built, or anew if it was changed since."""
    return _kept(name) or compiled(grammar(name))


def keep(folder: Path) -> None:
    """Compiles every file into `folder`, for `automaton` to find. Takes some seconds."""
    for name in sorted(files()):
        made = automaton(name)
        arrays = {each.name: found for each in fields(made) if isinstance(found := getattr(made, each.name), array)}
        header = {
            "of": source_digest(name),
            "rules": [[rule.section, rule.name, rule.pattern] for rule in made.rules],
            "words": made.words,
            "symbol_of": made.symbol_of,
            "arrays": [[each, found.typecode, len(found)] for each, found in arrays.items()],
        }
        written = json.dumps(header, ensure_ascii=False).encode()
        parts = [len(written).to_bytes(4, "little"), written, *(found.tobytes() for found in arrays.values())]
        (folder / f"{name}.automaton").write_bytes(b"".join(parts))


@cache
def source_digest(name: str) -> str:
    """Tells what the automaton of a file is made from apart from anything else."""
    sources = [FOLDER / f"{name}.toml", *(Path(__file__).with_name(source) for source in _SOURCES)]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()


def _kept(name: str) -> Automaton | None:
    """What `keep` wrote of a file; None if there is nothing, or the file was changed since."""
    path = FOLDER / f"{name}.automaton"
    if not path.exists():
        return None
    written = path.read_bytes()
    at = 4 + int.from_bytes(written[:4], "little")
    header = json.loads(written[4:at])
    if header["of"] != source_digest(name):
        return None
    arrays = {}
    for each, typecode, length in header["arrays"]:
        found = arrays[each] = array(typecode)
        found.frombytes(written[at : at + length * found.itemsize])
        at += length * found.itemsize
    rules = tuple(Rule(name, *rule) for rule in header["rules"])
    return Automaton(name, rules, tuple(header["words"]), header["symbol_of"], **arrays)


def compiled(grammar: Grammar) -> Automaton:
    """The automaton of a grammar, as small as it can be."""
    named = {symbol for steps in grammar.steps for symbols, _ in steps for symbol in symbols}
    words = sorted(named - {ANY, *MARKS})
    symbol_of, fits = _symbols(grammar, words)
    states, table = _determined(grammar, fits)
    order = {rule: number for number, rule in enumerate(grammar.rules)}
    table, accepts = _minimised(table, [_accepted(grammar, places, order) for places in states])
    return _packed(grammar, tuple(words), symbol_of, table, accepts)


def _symbols(grammar: Grammar, words: Sequence[str]) -> tuple[dict[str, int], list[frozenset[str]]]:
    """The symbols of marks and words, and what a rule may name so that a symbol is read.

    Words that every rule names together share a symbol. No word shares that of a mark, and no picture that of a word.
    """
    sets = {symbols for steps in grammar.steps for symbols, _ in steps}
    fits = [_fits(mark, words) for mark in MARKS]
    symbol_of = {mark: number for number, mark in enumerate(MARKS)}
    known: dict[tuple[bool, frozenset[frozenset[str]]], int] = {}
    for word in words:
        fit = _fits(word, words)
        key = (_is_picture(word), frozenset(found for found in sets if not found.isdisjoint(fit)))
        if key not in known:
            known[key] = len(fits)
            fits.append(fit)
        symbol_of[word] = known[key]
    return symbol_of, fits


def _reach(
    table: Sequence[Sequence[int]], accepts: Sequence[Sequence[tuple[int, int]]], bits: Sequence[int]
) -> "array[int]":
    """For each state the bits of all rules that can still be matched from it."""
    leads: list[list[int]] = [[] for _ in table]
    for state, row in enumerate(table):
        for target in set(row) - {_NOWHERE}:
            leads[target].append(state)
    found = array("Q", (reduce(or_, (bits[rule] for _, rule in pairs), 0) for pairs in accepts))
    waiting = [state for state, reached in enumerate(found) if reached]
    while waiting:
        state = waiting.pop()
        for before in leads[state]:
            if found[state] & ~found[before]:
                found[before] |= found[state]
                waiting.append(before)
    return found


def _is_picture(word: str) -> bool:
    return not any(ch.isalnum() for ch in word)


def _fits(name: str, words: Sequence[str]) -> frozenset[str]:
    """What a rule may name so that a token of this name is read."""
    if name in (START, END, BREAK, QUESTION, QUOTE, EMOJI):
        return frozenset({name})
    if name in ("", NUMBER):
        return frozenset({name, ANY})
    if _is_picture(name):
        return frozenset({name, EMOJI})
    written = name.removesuffix("~")
    stems = {word for word in words if word.endswith("~") and written.startswith(word[:-1])}
    return frozenset({name, ANY, *stems, *([NUMBER] if written.isdecimal() else [])})


def _determined(grammar: Grammar, fits: Sequence[frozenset[str]]) -> tuple[list[frozenset[int]], list[list[int]]]:
    """The sets of places that may be reached, and for each where every symbol leads."""
    sets = {symbols for steps in grammar.steps for symbols, _ in steps}
    read_by = {found: [symbol for symbol, names in enumerate(fits) if not names.isdisjoint(found)] for found in sets}
    quote = MARKS.index(QUOTE)
    number = {frozenset({0}): 0}
    states, table = [frozenset({0})], []
    for places in states:
        reached: dict[int, set[int]] = {}
        for place in places:
            for symbols, to in grammar.steps[place]:
                for symbol in read_by[symbols]:
                    reached.setdefault(symbol, set()).add(to)
        row = [_NOWHERE] * len(fits)
        for symbol, found in reached.items():
            target = frozenset(found)
            if target not in number:
                number[target] = len(states)
                states.append(target)
            row[symbol] = number[target]
        if row[quote] == _NOWHERE and places != {0}:
            row[quote] = number[places]  # a quotation mark that no rule asks for is passed over
        table.append(row)
    return states, table


def _accepted(grammar: Grammar, places: frozenset[int], order: Mapping[Rule, int]) -> tuple[tuple[int, int], ...]:
    """Pairs of section and rule: of each section the first rule of the file."""
    found: dict[int, int] = {}
    for rule in sorted({rule for place in places for rule in grammar.accepts.get(place, ())}, key=order.__getitem__):
        found.setdefault(SECTIONS.index(rule.section), order[rule])
    return tuple(sorted(found.items()))


def _minimised(
    table: list[list[int]], accepts: list[tuple[tuple[int, int], ...]]
) -> tuple[list[list[int]], list[tuple[tuple[int, int], ...]]]:
    """Joins the states that cannot be told apart (Moore's refinement); state 0 stays the first."""
    classes = _numbered(accepts)
    while True:
        refined = _numbered(
            [(classes[state], *(classes[to] if to >= 0 else _NOWHERE for to in row)) for state, row in enumerate(table)]
        )
        if max(refined) == max(classes):
            break
        classes = refined
    kept = {found: state for state, found in reversed(list(enumerate(classes)))}
    return (
        [[classes[to] if to >= 0 else _NOWHERE for to in table[kept[found]]] for found in sorted(kept)],
        [accepts[kept[found]] for found in sorted(kept)],
    )


def _numbered(keys: Sequence[object]) -> list[int]:
    numbers: dict[object, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def _packed(
    grammar: Grammar,
    words: tuple[str, ...],
    symbol_of: Mapping[str, int],
    table: list[list[int]],
    accepts: list[tuple[tuple[int, int], ...]],
) -> Automaton:
    needed = needs(grammar)
    rows, exceptions, targets = array("i", [0]), array("H"), array("i")
    starts, accepted = array("i", [0]), array("i")
    others = array("i", [row[0] for row in table])
    for state, row in enumerate(table):
        for symbol, target in enumerate(row):
            mark = 0 < symbol < MARKS.index(NUMBER)
            if target != (_NOWHERE if mark else row[0]):
                exceptions.append(symbol)
                targets.append(target)
        rows.append(len(exceptions))
        accepted.extend(number for pair in accepts[state] for number in pair)
        starts.append(len(accepted) // 2)
    return Automaton(
        grammar.language,
        grammar.rules,
        words,
        symbol_of,
        rows,
        exceptions,
        targets,
        others,
        starts,
        accepted,
        _reach(table, accepts, needed.rules),
        array("Q", (bits for word in words for bits in needed.masks.get(word, (0, 0, 0)))),
        array("Q", needed.free),
        array("B", needed.limits),
    )


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
