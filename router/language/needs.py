"""What words a text must have for a rule to be found in it, so that most texts need not be read for phrases.

A rule can be met in several ways, and each way needs a word of several sets; of these the three rarest count. What a
text has is summed up in bits, one for each of 63 classes of ways: three masks for each word, of which those of all
words are joined. A class whose bit is in all three may have been met. Ways share a class where that costs least: where
it is least likely that a text has a word of the first set of one and of the second set of another.

All this is for texts of ASCII. Others are read for phrases in any case.
"""

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count

from router.language import common_words
from router.language.phrases import (
    ANY,
    BREAK,
    COMMON,
    EMOJI,
    END,
    NUMBER,
    QUESTION,
    QUOTE,
    START,
    Grammar,
    Tree,
)

#: The sections of rules that ask for something, or cut the text.
ASKING = frozenset({"opt_out", "doubtful", "help", "confirm", "opt_in", "machine", "footer"})
CLASSES = 63
#: The bit of every rule, and of no class: no text of ASCII has it.
IN_OTHER_TEXTS = 1 << CLASSES
#: Of words in a text, where a way does not set a limit that is lower.
MOST_WORDS = 31
_SETS = 3
_SEPARATORS = frozenset({START, END, BREAK, QUESTION, QUOTE})
_NO_WORDS = _SEPARATORS | {EMOJI}
#: A set with one of these needs no word that could be told from others.
_ANY_WORD = _SEPARATORS | {ANY, NUMBER}
_MOST_WAYS = 40
#: By Zipf's law: the share of the commonest word among all, that of a word too rare to be listed, and words in a text.
_COMMONEST, _RARE, _WORDS = 0.07, 0.0003, 10

Words = frozenset[str]


@dataclass(frozen=True, slots=True)
class Needs:
    """`masks`: word or stem → its bits in the three masks. `free`: the classes that need no second, no third set.

    `limits`: for each class the most words of a text, `MOST_WORDS` for any number. `rules`: for each rule the bits
    of its ways, 0 if it asks for nothing.
    """

    masks: Mapping[str, tuple[int, ...]]
    free: tuple[int, int]
    limits: tuple[int, ...]
    rules: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Way:
    sets: tuple[Words, ...]  # the rarest first, at most three
    limit: int
    language: str


@dataclass(frozen=True, slots=True)
class _Class:
    """Some ways together: what one of them needs; None for no set."""

    sets: tuple[Words | None, ...]
    ways: frozenset[_Way]
    language: str

    @property
    def chance(self) -> float:
        """That a text seems to meet it."""
        return math.prod(_chance(found, self.language) for found in self.sets if found)

    def with_other(self, other: "_Class") -> "_Class":
        """Both in one."""
        sets = tuple(a | b if a and b else None for a, b in zip(self.sets, other.sets, strict=True))
        return _Class(sets, self.ways | other.ways, self.language)


def needs(grammar: Grammar) -> Needs:
    """What the rules of a grammar need. Raises ValueError for a rule that any word would meet."""
    language = "en" if grammar.language == COMMON else grammar.language
    ways: list[list[_Way]] = []
    for rule, tree in zip(grammar.rules, grammar.trees, strict=True):
        found = list(_ways(tree, language)) if rule.section in ASKING else []
        if None in found:
            raise ValueError(f"{rule.language}/{rule.name}: no word is necessary for it. Make one so.")
        ways.append([way for way in found if way])
    classes = _classes([way for found in ways for way in found], language)
    number = {way: place for place, found in enumerate(classes) for way in found.ways}
    return Needs(
        masks=_masks(classes),
        free=(_bits(classes, 1), _bits(classes, 2)),
        limits=tuple(max(way.limit for way in found.ways) for found in classes),
        rules=tuple(
            sum(1 << place for place in {number[way] for way in found}) | IN_OTHER_TEXTS
            if rule.section in ASKING
            else 0
            for rule, found in zip(grammar.rules, ways, strict=True)
        ),
    )


def _ways(tree: Tree, language: str) -> Iterator[_Way | None]:
    """The ways to meet a tree with a text of ASCII that has a word; None for one that any word would do for."""
    spans_all = _is_at_end(tree, START, 0) and _is_at_end(tree, END, -1)
    limit = min(_longest(tree), MOST_WORDS) if spans_all else MOST_WORDS
    for sets in _written_out(tree):
        if all(found <= _NO_WORDS for found in sets):
            continue
        words = [found for found in sets if found.isdisjoint(_ANY_WORD)]
        if not words:
            yield None
        elif all(any(word.isascii() and word != EMOJI for word in found) for found in words):
            rarest = sorted(words, key=lambda found: (_chance(found, language), sorted(found)))
            yield _Way(tuple(rarest[:_SETS]), limit, language)


def _written_out(tree: Tree) -> list[frozenset[Words]]:
    """For each way of reading a tree, sets of symbols of which one each is read; where there are many, fewer sets."""
    match tree:
        case ("read", symbols):
            return [frozenset({symbols})]
        case ("one", parts):
            return list(dict.fromkeys(way for part in parts for way in _written_out(part)))
        case ("times", part, low, _):
            return _written_out(part) if low else [frozenset()]
        case ("all", parts):
            ways: list[frozenset[Words]] = [frozenset()]
            for part in parts:
                further = _written_out(part)
                if len(ways) * len(further) > _MOST_WAYS:
                    further = [frozenset(_necessary(part))]
                ways = [way | more for way in ways for more in further]
            return ways
    raise AssertionError(tree)


def _necessary(tree: Tree) -> list[Words]:
    """Sets of symbols of which one each is read however a tree is met."""
    match tree:
        case ("read", symbols):
            return [symbols]
        case ("all", parts):
            return [found for part in parts for found in _necessary(part)]
        case ("one", parts):
            sets = [min(_necessary(part), key=_order, default=None) for part in parts]
            return [] if None in sets else [frozenset().union(*(found for found in sets if found))]
        case ("times", part, low, _):
            return _necessary(part) if low else []
    raise AssertionError(tree)


def _order(words: Words) -> tuple[int, list[str]]:
    return len(words), sorted(words)


def _is_at_end(tree: Tree, mark: str, side: int) -> bool:
    """Whether a tree is met only with a mark at its beginning (side 0) or its end (side -1)."""
    match tree:
        case ("read", symbols):
            return bool(symbols == {mark})
        case ("all", parts):
            return bool(parts) and _is_at_end(parts[side], mark, side)
        case ("one", parts):
            return all(_is_at_end(part, mark, side) for part in parts)
        case ("times", part, low, _):
            return low > 0 and _is_at_end(part, mark, side)
    raise AssertionError(tree)


def _longest(tree: Tree) -> int:
    """The most words that a tree reads."""
    match tree:
        case ("read", symbols):
            return 0 if symbols <= _SEPARATORS else 1
        case ("all", parts):
            return sum(map(_longest, parts))
        case ("one", parts):
            return max(map(_longest, parts))
        case ("times", part, _, high):
            return int(high) * _longest(part)
    raise AssertionError(tree)


def _classes(ways: Sequence[_Way], language: str) -> list[_Class]:
    """The ways in as many classes as there may be, joined greedily."""
    alike: dict[tuple[Words, int], _Class] = {}
    for way in dict.fromkeys(ways):
        sets = (*way.sets, *[None] * (_SETS - len(way.sets)))
        key = (way.sets[0], way.limit)
        found = _Class(sets, frozenset({way}), language)
        alike[key] = alike[key].with_other(found) if key in alike else found
    classes = dict(enumerate(alike.values()))
    numbers = count(len(alike))
    queue = [(_cost(classes[i], classes[k]), i, k) for i in classes for k in range(i)]
    heapq.heapify(queue)
    while len(classes) > CLASSES:
        _, i, k = heapq.heappop(queue)
        if i in classes and k in classes:
            joined = classes.pop(i).with_other(classes.pop(k))
            number = next(numbers)
            for other, found in classes.items():
                heapq.heappush(queue, (_cost(joined, found), number, other))
            classes[number] = joined
    return list(classes.values())


def _cost(one: _Class, other: _Class) -> float:
    return one.with_other(other).chance - one.chance - other.chance


def _masks(classes: Sequence[_Class]) -> dict[str, tuple[int, ...]]:
    masks: dict[str, list[int]] = {}
    for number, found in enumerate(classes):
        for place, words in enumerate(found.sets):
            for word in words or ():
                masks.setdefault(word, [0] * _SETS)[place] |= 1 << number
    return {word: tuple(bits) for word, bits in masks.items()}


def _bits(classes: Sequence[_Class], place: int) -> int:
    return sum(1 << number for number, found in enumerate(classes) if not found.sets[place])


@cache
def _chance(words: Words, language: str) -> float:
    """That a text has one of the words."""
    # fsum: in whatever order the words of a set come, so that every build makes the same classes.
    return 1 - math.exp(-_WORDS * math.fsum(_share(word, language) for word in words))


def _share(word: str, language: str) -> float:
    """The share of a word, or of all that begin with a stem, among all words."""
    shares = _shares(language)
    if not word.endswith("~"):
        return shares.get(word, _RARE)
    return _RARE + math.fsum(share for listed, share in shares.items() if listed.startswith(word[:-1]))


@cache
def _shares(language: str) -> dict[str, float]:
    return {word: _COMMONEST / rank for rank, word in enumerate(common_words(language), 1)}
