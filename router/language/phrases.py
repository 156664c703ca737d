"""Phrases by language: what people write when they do not send a keyword. Reads the files of `phrases/` beside it.

A file is a TOML table of sections; a section maps the names of its rules to patterns of words. Sections:

- `words`: names for patterns, used as `<name>` in the other patterns of the file.
- `opt_out`, `help`, `confirm`, `opt_in`: what asks for that, anywhere in a text.
- `doubtful`: may be an opt-out and may be not.
- `guard`: what it covers asks for nothing; a match of another section that shares a word with it does not count.
- `message_guard`: where it matches, nothing in the text asks for anything.
- `machine`: where it matches, no person wrote the text.
- `footer`: from where it matches, the text is a signature or an addition of the sender's program.

A pattern is a sequence of words as people write them; case and accents do not count, and apostrophes and hyphens
separate words. `bestell~` is any word that begins so, `.` any word, `( a | b )` one of several; `?` may be left out,
`{2}` and `{0,3}` so many times. `^` and `$` stand where a sentence begins and ends, `^^` and `$$` where the text does.
`<?>` is a question mark at the end of a sentence, `<number>` digits, `<quote>` a double quotation mark, `<emoji>` a
picture. Quotation marks in a text are passed over where no pattern asks for one. Every letter of a script without
blanks is a word.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast, get_args

from router._core import split_words

Section = Literal["opt_out", "doubtful", "help", "confirm", "opt_in", "guard", "message_guard", "machine", "footer"]
SECTIONS: tuple[Section, ...] = get_args(Section)
#: The file of what is the same in every language.
COMMON = "common"
#: More is no phrase any more, and makes the automaton large.
MOST_REPEATS = 8

#: What is read of a text besides words.
START, END, BREAK, QUESTION, QUOTE, EMOJI, NUMBER = "^^", "$$", "<break>", "<?>", "<quote>", "<emoji>", "<number>"
ANY = "."
#: What the anchors stand for.
_ANCHORS = {"^": (START, BREAK, QUESTION, EMOJI), "$": (END, BREAK, QUESTION, EMOJI), "^^": (START,), "$$": (END,)}
_MARKS = {BREAK, QUESTION, QUOTE, EMOJI, NUMBER}

FOLDER = Path(__file__).with_name("phrases")
_ITEM = re.compile(
    r"\s*(?:(?P<repeat>\{(\d+)(?:,(\d+))?\})|(?P<name><[^<>\s]+>)|(?P<anchor>\^\^?|\$\$?)"
    r"|(?P<mark>[()|?.])|(?P<word>[^\s(){}|?.<>^$~]+)(?P<stem>~?))"
)


# A pattern becomes a tree of tuples: ("read", symbols), ("all", parts), ("one", parts), ("times", part, low, high).
Tree = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a file, with its pattern as it is written there."""

    language: str
    section: Section
    name: str
    pattern: str


@dataclass(slots=True)
class Grammar:
    """The rules of one language as an automaton that reads words.

    `trees` are the patterns of the rules. `steps`: for each state, what it may read and where that leads: words,
    stems ending in `~`, `ANY` or marks.
    `accepts`: state → the rules whose patterns end there. The automaton starts in state 0, at any word.
    """

    language: str
    rules: tuple[Rule, ...]
    trees: tuple[Tree, ...]
    steps: list[list[tuple[frozenset[str], int]]]
    accepts: dict[int, list[Rule]]


class PatternError(ValueError):
    """A pattern that cannot be read; the message says where and what to write."""


def _all_of(parts: list[Tree]) -> Tree:
    return parts[0] if len(parts) == 1 else ("all", parts)


def _one_of(parts: list[Tree]) -> Tree:
    """One of several; those of a single word are read in one step, which keeps the automaton small."""
    flat = [inner for part in parts for inner in (part[1] if part[0] == "one" else [part])]
    read = frozenset().union(*(part[1] for part in flat if part[0] == "read"))
    others = [part for part in flat if part[0] != "read"]
    found = [("read", read), *others] if read else others
    return found[0] if len(found) == 1 else ("one", found)


class _Parser:
    """Reads one pattern, with the trees of the names that it may use."""

    def __init__(self, pattern: str, names: Mapping[str, Tree]) -> None:
        self._pattern = pattern
        self._names = names
        self._items = self._scan()
        self._next = next(self._items, None)

    def tree(self) -> Tree:
        found = self._one()
        if self._next is not None:
            raise PatternError(f"{self._pattern!r}: ')' without '('. Remove it.")
        return found

    def _scan(self) -> Iterator[re.Match[str]]:
        position, text = 0, self._pattern.strip()
        while position < len(text):
            item = _ITEM.match(text, position)
            if item is None:
                raise PatternError(
                    f"{self._pattern!r}: {text[position:].strip()!r} cannot be read. Write marks as <?>."
                )
            position = item.end()
            yield item

    def _take(self) -> re.Match[str]:
        item, self._next = cast("re.Match[str]", self._next), next(self._items, None)
        return item

    def _peek(self) -> str:
        return self._next[0].strip() if self._next is not None else ""

    def _one(self) -> Tree:
        parts = [self._all()]
        while self._peek() == "|":
            self._take()
            parts.append(self._all())
        return _one_of(parts)

    def _all(self) -> Tree:
        parts = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._repeated(self._single()))
        return _all_of(parts)

    def _repeated(self, part: Tree) -> Tree:
        if self._peek() == "?":
            self._take()
            return ("times", part, 0, 1)
        if self._next is not None and self._next["repeat"]:
            item = self._take()
            low, high = int(item[2]), int(item[3] or item[2])
            if not low <= high <= MOST_REPEATS:
                raise PatternError(f"{self._pattern!r}: write {item[0].strip()} with at most {MOST_REPEATS}.")
            return ("times", part, low, high)
        return part

    def _single(self) -> Tree:
        item = self._take()
        if item["mark"] == "(":
            found = self._one()
            if self._peek() != ")":
                raise PatternError(f"{self._pattern!r}: '(' without ')'. Add it.")
            self._take()
            return found
        if item["mark"] == ".":
            return ("read", frozenset({ANY}))
        if item["anchor"]:
            return ("read", frozenset(_ANCHORS[item["anchor"]]))
        if item["name"]:
            return self._named(item["name"])
        if not item["word"]:
            raise PatternError(f"{self._pattern!r}: nothing to repeat before {item[0].strip()!r}. Put a word there.")
        words = split_words(item["word"])
        if not words:
            raise PatternError(f"{self._pattern!r}: {item['word']!r} has no letter. Write a word.")
        words[-1] += item["stem"]
        return _all_of([("read", frozenset({word})) for word in words])

    def _named(self, name: str) -> Tree:
        if name in _MARKS:
            return ("read", frozenset({name}))
        if name[1:-1] not in self._names:
            raise PatternError(f"{self._pattern!r}: {name} is not among the words of the file before it. Define it.")
        return self._names[name[1:-1]]


class _Builder:
    """Makes an automaton of trees, without steps that read nothing: each place knows what may be read next."""

    def __init__(self) -> None:
        self.steps: list[list[tuple[frozenset[str], int]]] = [[]]
        self.accepts: dict[int, list[Rule]] = {}

    def add(self, rule: Rule, tree: Tree) -> None:
        ends = self._follow(tree, {0})
        if 0 in ends:
            raise PatternError(f"{rule.pattern!r}: it matches without a word. Make a part of it necessary.")
        for state in ends:
            self.accepts.setdefault(state, []).append(rule)

    def _follow(self, tree: Tree, starts: set[int]) -> set[int]:
        """The places where a tree may have been read to from any of the places."""
        match tree:
            case ("read", symbols):
                self.steps.append([])
                for state in starts:
                    self.steps[state].append((symbols, len(self.steps) - 1))
                return {len(self.steps) - 1}
            case ("all", parts):
                for part in parts:
                    starts = self._follow(part, starts)
                return starts
            case ("one", parts):
                return set().union(*(self._follow(part, starts) for part in parts))
            case ("times", part, low, high):
                ends = starts if low == 0 else set()
                for count in range(1, high + 1):
                    starts = self._follow(part, starts)
                    if count >= low:
                        ends = ends | starts
                return ends
        raise AssertionError(tree)


def read_rules(language: str) -> tuple[dict[str, str], list[Rule]]:
    """The names and the rules of a language's file; empty where there is none."""
    path = FOLDER / f"{language}.toml"
    if not path.exists():
        return {}, []
    sections = tomllib.loads(path.read_text(encoding="utf-8"))
    words = sections.pop("words", {})
    if unknown := set(sections) - set(SECTIONS):
        raise PatternError(f"{path.name}: unknown section {sorted(unknown)}. Write one of {', '.join(SECTIONS)}.")
    rules = [
        Rule(language, section, name, pattern)
        for section in SECTIONS
        for name, pattern in sections.get(section, {}).items()
    ]
    return words, rules


@cache
def grammar(language: str) -> Grammar:
    """The automaton of a language's file."""
    written, rules = read_rules(language)
    names: dict[str, Tree] = {}
    for name, pattern in written.items():
        names[name] = _Parser(pattern, names).tree()
    builder = _Builder()
    trees = [_Parser(rule.pattern, names).tree() for rule in rules]
    for rule, tree in zip(rules, trees, strict=True):
        builder.add(rule, tree)
    return Grammar(language, tuple(rules), tuple(trees), builder.steps, builder.accepts)


@cache
def files() -> frozenset[str]:
    """The names of all files: languages, and `COMMON`."""
    return frozenset(path.stem for path in FOLDER.glob("*.toml"))


def files_of(languages: Sequence[str]) -> tuple[str, ...]:
    """The files that bear on texts in these languages, in the order of the languages."""
    found = (name for language in languages for name in (language, language.partition("-")[0]))
    return (COMMON, *dict.fromkeys(name for name in found if name in files()))
