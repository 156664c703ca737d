"""What texts mean to a program: its languages' reserved words and its own keywords, compiled for all programs at once.

A word that means several things is taken for the first of opt_out, help, confirm, opt_in, custom. Confirm comes before
opt_in because YES confirms only where a question is open; everything else about YES is for consent to decide.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal, cast, get_args

from router._core import KeywordMatcher, fold
from router.consent import EVERYTHING
from router.language import LANGUAGES, TRAPS, courtesy, keywords, real_words
from router.language.automata import phrase_book
from router.language.phrases import COMMON, files_of
from router.language.phrases import Rule as PhraseRule
from router.types import Intent, OptOutType

#: How a text was understood, from the plainest way to the most lenient.
#: `keyword`, `courtesy`: all of the text, without or with courtesy words; `first_word`, `inside`: a keyword of the
#: program's own at its beginning or in it; `phrase`: words that ask for it; `not_a_person`: words of a machine;
#: `lookalike`: letters that look like those of a keyword; `spelled_out`: S T O P; `repeated`: STOP STOP; `garbled`:
#: letters lost or misread on the way; `misspelling`: one word, one mistake from a keyword.
Layer = Literal[
    "keyword",
    "courtesy",
    "first_word",
    "inside",
    "phrase",
    "not_a_person",
    "lookalike",
    "spelled_out",
    "repeated",
    "garbled",
    "misspelling",
]
LAYERS: tuple[Layer, ...] = get_args(Layer)
#: What a text is that may be an opt-out: an opt-out, a reason to ask, or nothing.
Doubtful = Literal["opt_out", "ask", "leave"]

#: The program of `RuleBook.default`.
DEFAULT_PROGRAM = "default"

#: Before the name of a program, in every language: the answer to the question which programs to keep.
_KEEP = "keep"
#: What STOP goes before in texts that ask for something else: such a word is not the name of a program.
_NOT_A_PROGRAM = frozenset(
    "at by in off on over up around here there it this that and or what when where why".split()  # noqa: SIM905
    + "delivery light loss order orders payment payments shipment sign signs watch".split()  # noqa: SIM905
)

#: Opts out whatever comes behind it, unless that makes it mean something else.
_STOP = "stop "
#: Between the names of several.
_BETWEEN_NAMES = frozenset("and & + et und y e i og och en".split())  # noqa: SIM905

_PLAIN_LAYERS = (None, "keyword", "courtesy", "first_word", "inside", "phrase", "not_a_person")
_PHRASE_LAYERS = ("phrase", "not_a_person")
_PRIORITY: tuple[Intent, ...] = ("opt_out", "help", "confirm", "opt_in", "custom")
_RESERVED_CONFIDENCE = ("high", "medium")


@dataclass(frozen=True, slots=True)
class Rule:
    """One meaning of one word. `keyword` is written as its list or the configuration writes it; None for what is said
    in another way than by words.

    `language` is the program's language that the word belongs to, None for a keyword of the program's own; `telling`
    says that the word is of that language alone, and so tells which one the person speaks. `program` is the one whose
    keyword it is, or that the text names, None if it is for all programs of a number. `keeps`: the text does nothing
    but answer the question which programs to keep. `replies`: language → text.
    """

    intent: Intent
    keyword: str | None
    language: str | None
    name: str
    replies: Mapping[str, str] = field(default_factory=dict)
    doubtful: bool = False
    program: str | None = None
    telling: bool = False
    keeps: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """What a text was found to be.

    `rule` is None for a text that no rule fits, `layer` how the rule was found. `intent` is that of the rule, or
    `none` where a doubtful text is no opt-out; `asks` says that the person is asked instead.
    """

    rule: Rule | None
    argument: str | None = None
    layer: Layer | None = None
    intent: Intent = "none"
    asks: bool = False

    @property
    def name(self) -> str | None:
        """Names the rule, and the layer where that is not the rule's own: `keyword:en/STOP (misspelling)`."""
        if self.rule is None:
            return None
        return self.rule.name if self.layer in _PLAIN_LAYERS else f"{self.rule.name} ({self.layer})"

    @property
    def from_machine(self) -> bool:
        """Whether no person wrote the text: it changes nothing and is never answered."""
        return self.layer == "not_a_person"


@dataclass(frozen=True, slots=True)
class Explanation:
    """A match with its place: the text from `start` to before `end`, and that folded."""

    match: Match
    start: int
    end: int
    folded: str


@dataclass(frozen=True, slots=True)
class CustomKeyword:
    """A keyword of a program's own. Of the intent `custom` it also counts as the first word of a text.

    `anywhere`: also inside a text, at the bounds of words. `program`: whose it is, on a number that several share.
    """

    text: str
    intent: Intent = "custom"
    replies: Mapping[str, str] = field(default_factory=dict)
    anywhere: bool = False
    program: str | None = None


@dataclass(frozen=True, slots=True)
class KeywordSet:
    """Everything that a program listens to, or the programs of a shared number together, and how closely.

    `layers_off`: ways of understanding that are not used; `keyword` always is. `doubtful`: what a text is that may be
    an opt-out. `called`: for each program of a shared number, what people call it behind STOP or START. `reserved`:
    whether the words of the languages count at all.
    """

    program: str
    languages: tuple[str, ...]
    custom: tuple[CustomKeyword, ...] = ()
    layers_off: frozenset[Layer] = frozenset()
    doubtful: Doubtful = "opt_out"
    called: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reserved: bool = True


@dataclass(frozen=True, slots=True)
class Conflict:
    """A program's own keyword that a reserved word rules out; `remedy` is a sentence."""

    keyword: str
    reserved: Rule
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Doubt:
    """What may surprise whoever set up a program; `keyword` is None where it is about its languages."""

    keyword: str | None
    message: str
    remedy: str


NO_MATCH = Match(None)

#: What the carrier's word about a person's consent means, where it is no text.
PREFERENCES: Mapping[OptOutType | None, Match] = {
    "STOP": Match(Rule("opt_out", None, None, "preference:STOP"), intent="opt_out"),
    "START": Match(Rule("opt_in", None, None, "preference:START"), intent="opt_in"),
}


class RuleBook:
    """The rules of all programs; never changes, a reload builds another one.

    Raises ValueError if a program's own keywords conflict with reserved words or with each other, KeyError for an
    unknown language.
    """

    def __init__(self, sets: Sequence[KeywordSet]) -> None:
        sets = [_with_names(keyword_set) for keyword_set in sets]
        self._tables = {keyword_set.program: table for table, keyword_set in enumerate(sets)}
        self._doubtful = [keyword_set.doubtful for keyword_set in sets]
        self._reserved_rules: list[Rule] = []
        # The rules of the programs' own keywords are made when they are first found: a hundred thousand objects less.
        self._sets = sets
        self._first_own: list[int] = []  # by table: the number of its first own rule
        groups = {languages: number for number, languages in enumerate(_spoken(sets))}
        self._phrases = phrase_book(tuple(dict.fromkeys(name for spoken in groups for name in files_of(spoken))))
        self._phrase_rules = [_phrase_rule(rule) for rule in self._phrases.rules]
        #: The compiled core, for benchmarks: its rules are numbers.
        self.matcher = KeywordMatcher(
            self._entries(sets, groups),
            ((word, -1 - number) for languages, number in groups.items() for word in _courtesy(languages)),
            tables=[(groups[_spoken_by(found)], _layers(found.layers_off)) for found in sets],
            groups=[(files_of(languages), real_words(languages)) for languages in groups],
            phrases=self._phrases,
        )
        self._matches: dict[tuple[int, int, Doubtful], Match] = {}

    @classmethod
    def default(cls, languages: Sequence[str]) -> "RuleBook":
        """The reserved words of some languages, without a configuration: for the program `DEFAULT_PROGRAM`."""
        return cls([KeywordSet(DEFAULT_PROGRAM, tuple(languages))])

    def find(self, program: str, text: str) -> Match:
        """What a text to a program means. KeyError for a program that the book was not built with."""
        table = self._tables[program]
        found = self.matcher.find(text, table)
        if found is None:
            return self._unknown_argument(text, self._sets[table])
        layer, rule, _, _, argument = found
        match = self._matches.get((layer, rule, self._doubtful[table])) or self._match(layer, rule, table)
        if argument < 0:
            return match
        return Match(match.rule, text[argument:].strip(), match.layer, match.intent, match.asks)

    def _unknown_argument(self, text: str, keyword_set: KeywordSet) -> Match:
        """STOP and a word that names no program of the number: an opt-out that is not to be lost ends everything.

        On a number of one program only STOP itself is read so, at the beginning: END and its like have other objects.
        """
        if not keyword_set.called and text[: len(_STOP)].lower() != _STOP:
            return NO_MATCH
        first, *words = fold(text).replace(",", " ").split() or [""]
        rule = _reserved(_spoken_by(keyword_set)).get(first)
        if rule is None or rule.intent != "opt_out":
            return NO_MATCH
        if len(words) > 1 and _names_several(words, keyword_set.called):
            return Match(rule, " ".join(words), "keyword", "opt_out")
        if len(words) != 1 or words[0] in _NOT_A_PROGRAM:
            return NO_MATCH
        name = rule.name.replace("keyword:", "argument:", 1)
        return Match(replace(rule, name=name, program=EVERYTHING), words[0], "keyword", "opt_out")

    def __contains__(self, program: str) -> bool:
        return program in self._tables

    def explain(self, program: str, text: str) -> Explanation | None:
        """Where in a text its meaning was found; None if it has none."""
        found = self.matcher.find(text, self._tables[program])
        if found is None:
            match = self.find(program, text)
            return Explanation(match, 0, len(text), fold(text)) if match.rule else None
        return Explanation(self.find(program, text), found[2], found[3], fold(text[found[2] : found[3]]))

    def parts(self) -> Iterator[object]:
        """What it holds the most of."""
        yield from list(self._matches.values())
        yield from (keyword for keyword_set in self._sets for keyword in keyword_set.custom)

    def _match(self, layer: int, number: int, table: int) -> Match:
        name, doubtful = LAYERS[layer], self._doubtful[table]
        rule = self._phrase_rules[number] if name in _PHRASE_LAYERS else self._rule(number)
        in_doubt = rule.intent == "opt_out" and (rule.doubtful or name == "misspelling") and doubtful != "opt_out"
        intent: Intent = "none" if in_doubt else rule.intent
        match = Match(rule, None, name, intent, asks=in_doubt and doubtful == "ask")
        self._matches[layer, number, doubtful] = match
        return match

    def _entries(
        self, sets: Sequence[KeywordSet], groups: Mapping[tuple[str, ...], int]
    ) -> Iterator[tuple[str, int, int, bool | str]]:
        # Programs of the same languages share their reserved rules; what is shared has numbers below 0.
        reserved = {languages: _reserved(languages) for languages in groups}
        for languages, group in groups.items():
            for form, rule in reserved[languages].items():
                yield form, -1 - group, len(self._reserved_rules), False
                self._reserved_rules.append(rule)
        number = len(self._reserved_rules)
        for table, keyword_set in enumerate(sets):
            _refuse(keyword_set, _conflicts(keyword_set, reserved[_spoken_by(keyword_set)]))
            self._first_own.append(number)
            for keyword in keyword_set.custom:
                # What changes consent must be all that the text says: "join us for dinner" asks for nothing.
                yield keyword.text, table, number, "anywhere" if keyword.anywhere else keyword.intent == "custom"
                number += 1

    def _rule(self, number: int) -> Rule:
        if number < len(self._reserved_rules):
            return self._reserved_rules[number]
        table = bisect_right(self._first_own, number) - 1
        keyword_set = self._sets[table]
        return _own_rule(keyword_set.program, keyword_set.custom[number - self._first_own[table]])


def conflicts(keyword_set: KeywordSet) -> list[Conflict]:
    """The program's own keywords that mean something else already in one of its languages."""
    return _conflicts(keyword_set, _reserved(_spoken_by(keyword_set)))


def doubts(keyword_set: KeywordSet) -> Iterator[Doubt]:
    """The words of a program that mean one thing in one language and another in another."""
    reserved = _reserved(_spoken_by(keyword_set))
    spoken = {_spoken_language(language) for language in keyword_set.languages}
    for trap in TRAPS:
        rule = reserved.get(fold(trap.text))
        if rule and trap.language in spoken and trap.language != _spoken_language(rule.language or ""):
            message = f"{trap.text} means {rule.intent} in {rule.language}, and in {trap.language} “{trap.meaning}”."
            yield Doubt(None, message, f"Where people text that word alone, give {rule.language} a number of its own.")
    for keyword in keyword_set.custom:
        languages = _opt_outs().get(fold(keyword.text), ())
        if languages and keyword.intent != "opt_out" and fold(keyword.text) not in reserved:
            message = f"is how people opt out in {', '.join(languages)}."
            yield Doubt(keyword.text, message, "Choose another word if people of that language text this number.")


@cache
def _opt_outs() -> dict[str, tuple[str, ...]]:
    """Folded word → the languages where it is an opt-out."""
    found: dict[str, tuple[str, ...]] = {}
    for language in LANGUAGES:
        for word, rule in _reserved((language,)).items():
            if rule.intent == "opt_out":
                found[word] = (*found.get(word, ()), language)
    return found


def _spoken_language(tag: str) -> str:
    return tag.partition("-")[0]


def _conflicts(keyword_set: KeywordSet, reserved: Mapping[str, Rule]) -> list[Conflict]:
    found = []
    for keyword in keyword_set.custom:
        rule = reserved.get(fold(keyword.text))
        # English words that are not the program's own leave it all but the opt-outs.
        foreign = rule and rule.language not in keyword_set.languages and rule.intent != "opt_out"
        if rule and rule.intent != keyword.intent and not foreign:
            message = f"is reserved: {rule.keyword} means {rule.intent} in the language {rule.language}."
            remedy = f'Choose another word, or give it the intent "{rule.intent}".'
            found.append(Conflict(keyword.text, rule, message, remedy))
    return found


@cache
def _reserved(languages: tuple[str, ...]) -> dict[str, Rule]:
    """Folded word → what it means: the first intent in `_PRIORITY`, then the first language, that has it."""
    rules: dict[str, Rule] = {}
    listed = [keyword for language in languages for keyword in keywords(language)]
    listed = [keyword for keyword in listed if keyword.confidence in _RESERVED_CONFIDENCE]
    spoken: dict[str, set[str]] = {}
    for keyword in listed:
        spoken.setdefault(fold(keyword.text), set()).add(keyword.language)
    for keyword in sorted(listed, key=lambda keyword: _PRIORITY.index(keyword.intent)):
        form = fold(keyword.text)
        name = f"keyword:{keyword.language}/{keyword.text}"
        alone = len(spoken[form]) == 1
        rules.setdefault(form, Rule(keyword.intent, keyword.text, keyword.language, name, telling=alone))
    return rules


def reserved_words(languages: Sequence[str]) -> list[str]:
    """The folded reserved words of languages, by what they are taken for."""
    return list(_reserved(tuple(languages)))


def _own_rule(program: str, keyword: CustomKeyword) -> Rule:
    program = keyword.program or program
    if isinstance(keyword, _Named):
        named = keyword.rule
        return replace(named, name=f"{named.name} {program}", program=program)
    name = f"custom:{program}/{keyword.text}"
    return Rule(keyword.intent, keyword.text, None, name, keyword.replies, program=program)


@dataclass(frozen=True, slots=True)
class _Named(CustomKeyword):
    """A reserved word with the name of a program: STOP DEALS."""

    rule: Rule = field(kw_only=True)


def _with_names(keyword_set: KeywordSet) -> KeywordSet:
    """The set with what is said of its programs by name, where a number has several."""
    if len(keyword_set.called) < len(("one", "another")):
        return replace(keyword_set, called={})
    own = {fold(keyword.text) for keyword in keyword_set.custom}
    reserved = _reserved(_spoken_by(keyword_set))
    found: dict[str, CustomKeyword] = {}
    for program, names in keyword_set.called.items():
        for name in names:
            for keyword in _said_of(program, name, reserved):
                form = fold(keyword.text)
                if form not in own and form not in reserved:
                    found.setdefault(form, keyword)
    return replace(keyword_set, custom=(*keyword_set.custom, *found.values()))


def _names_several(words: Sequence[str], called: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether words are names of programs and nothing else: all of the number's programs are then taken to be meant."""
    names = {word for names in called.values() for name in names for word in fold(name).split()}
    return all(word in names or word in _BETWEEN_NAMES for word in words)


def _said_of(program: str, name: str, reserved: Mapping[str, Rule]) -> Iterator[CustomKeyword]:
    """STOP DEALS, DEALS STOP, START DEALS, YES DEALS, KEEP DEALS, and DEALS alone, which answers a question."""
    for word, rule in reserved.items():
        if rule.intent in ("opt_out", "opt_in", "confirm"):
            yield _Named(f"{word} {name}", rule.intent, program=program, rule=rule)
        if rule.intent == "opt_out":
            yield _Named(f"{name} {word}", rule.intent, program=program, rule=rule)
    for text in (f"{_KEEP} {name}", name):
        yield _Named(text, "confirm", program=program, rule=Rule("confirm", text, None, "keyword:keep", keeps=True))


def _phrase_rule(rule: PhraseRule) -> Rule:
    """A rule of a phrase; its keyword is its name."""
    if rule.section in ("machine", "footer"):
        return Rule("none", rule.name, None, f"not-a-person:{rule.language}/{rule.name}")
    language = None if rule.language == COMMON else rule.language
    intent: Intent = "opt_out" if rule.section == "doubtful" else cast(Intent, rule.section)
    name = f"phrase:{rule.language}/{rule.name}"
    return Rule(intent, rule.name, language, name, doubtful=rule.section == "doubtful", telling=language is not None)


@cache
def _courtesy(languages: tuple[str, ...]) -> frozenset[str]:
    return frozenset(word for name in languages for word in courtesy(name))


def _layers(off: frozenset[Layer]) -> int:
    """The bits of the layers that are on. A keyword that stands alone always counts."""
    return sum(1 << number for number, layer in enumerate(LAYERS) if layer == "keyword" or layer not in off)


def _with_english(languages: tuple[str, ...]) -> tuple[str, ...]:
    """The languages that a number understands: English words are known everywhere."""
    return languages if "en" in languages else (*languages, "en")


def _spoken_by(keyword_set: KeywordSet) -> tuple[str, ...]:
    """The languages whose words and phrases count for a set."""
    return _with_english(keyword_set.languages) if keyword_set.reserved else ()


def _spoken(sets: Sequence[KeywordSet]) -> list[tuple[str, ...]]:
    return list(dict.fromkeys(_spoken_by(keyword_set) for keyword_set in sets))


def _refuse(keyword_set: KeywordSet, found: Sequence[Conflict]) -> None:
    if found:
        problems = " ".join(f"{conflict.keyword} {conflict.message} {conflict.remedy}" for conflict in found)
        raise ValueError(f"program {keyword_set.program}: {problems}")
