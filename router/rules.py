"""What texts mean to a program: its languages' reserved words and its own keywords, compiled for all programs at once.

A word that means several things is taken for the first of opt_out, help, confirm, opt_in, custom. Confirm comes before
opt_in because YES confirms only where a question is open; everything else about YES is for consent to decide.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from router._core import KeywordMatcher, fold
from router.language import courtesy, keywords
from router.types import Intent

#: The program of `RuleBook.default`.
DEFAULT_PROGRAM = "default"

_PRIORITY: tuple[Intent, ...] = ("opt_out", "help", "confirm", "opt_in", "custom")
_RESERVED_CONFIDENCE = ("high", "medium")


@dataclass(frozen=True, slots=True)
class Rule:
    """One meaning of one word. `keyword` is written as its list or the configuration writes it.

    `language` is the program's language that the word belongs to, None for a keyword of the program's own.
    `replies`: language → text.
    """

    intent: Intent
    keyword: str
    language: str | None
    name: str
    replies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Match:
    """What a text was found to be; `rule` is None for a text without a keyword."""

    rule: Rule | None
    argument: str | None


@dataclass(frozen=True, slots=True)
class CustomKeyword:
    """A keyword of a program's own. Of the intent `custom` it also counts as the first word of a text."""

    text: str
    intent: Intent = "custom"
    replies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeywordSet:
    """Everything that a program listens to."""

    program: str
    languages: tuple[str, ...]
    custom: tuple[CustomKeyword, ...] = ()


@dataclass(frozen=True, slots=True)
class Conflict:
    """A program's own keyword that a reserved word rules out; `remedy` is a sentence."""

    keyword: str
    reserved: Rule
    message: str
    remedy: str


NO_MATCH = Match(None, None)


class RuleBook:
    """The rules of all programs; never changes, a reload builds another one.

    Raises ValueError if a program's own keywords conflict with reserved words or with each other, KeyError for an
    unknown language.
    """

    def __init__(self, sets: Sequence[KeywordSet]) -> None:
        self._tables = {keyword_set.program: table for table, keyword_set in enumerate(sets)}
        self._matches: list[Match] = []
        self._matcher = KeywordMatcher(self._entries(sets), _courtesy(sets))

    @classmethod
    def default(cls, languages: Sequence[str]) -> "RuleBook":
        """The reserved words of some languages, without a configuration: for the program `DEFAULT_PROGRAM`."""
        return cls([KeywordSet(DEFAULT_PROGRAM, tuple(languages))])

    def find(self, program: str, text: str) -> Match:
        """What a text to a program means. KeyError for a program that the book was not built with."""
        found = self._matcher.match(text, self._tables[program])
        if found is None:
            return NO_MATCH
        match = self._matches[found[0]]
        return match if found[1] is None else Match(match.rule, found[1])

    def _entries(self, sets: Sequence[KeywordSet]) -> Iterator[tuple[str, int, int, bool]]:
        # Programs of the same languages share their reserved rules.
        reserved = {languages: _reserved(languages) for languages in _spoken(sets)}
        numbers = {
            languages: {form: self._add(rule) for form, rule in rules.items()} for languages, rules in reserved.items()
        }
        for table, keyword_set in enumerate(sets):
            _refuse(keyword_set, _conflicts(keyword_set, reserved[keyword_set.languages]))
            own = {fold(keyword.text) for keyword in keyword_set.custom}
            for form, number in numbers[keyword_set.languages].items():
                if form not in own:
                    yield form, table, number, False
            for keyword in keyword_set.custom:
                number = self._add(_own_rule(keyword_set.program, keyword))
                # What changes consent must be all that the text says: "join us for dinner" asks for nothing.
                yield keyword.text, table, number, keyword.intent == "custom"

    def _add(self, rule: Rule) -> int:
        self._matches.append(Match(rule, None))
        return len(self._matches) - 1


def conflicts(keyword_set: KeywordSet) -> list[Conflict]:
    """The program's own keywords that mean something else already in one of its languages."""
    return _conflicts(keyword_set, _reserved(keyword_set.languages))


def _conflicts(keyword_set: KeywordSet, reserved: Mapping[str, Rule]) -> list[Conflict]:
    found = []
    for keyword in keyword_set.custom:
        rule = reserved.get(fold(keyword.text))
        if rule and rule.intent != keyword.intent:
            message = f"is reserved: {rule.keyword} means {rule.intent} in the language {rule.language}."
            remedy = f'Choose another word, or give it the intent "{rule.intent}".'
            found.append(Conflict(keyword.text, rule, message, remedy))
    return found


def _reserved(languages: Sequence[str]) -> dict[str, Rule]:
    """Folded word → what it means: the first intent in `_PRIORITY`, then the first language, that has it."""
    rules: dict[str, Rule] = {}
    listed = [keyword for language in languages for keyword in keywords(language)]
    for keyword in sorted(listed, key=lambda keyword: _PRIORITY.index(keyword.intent)):
        if keyword.confidence in _RESERVED_CONFIDENCE:
            name = f"keyword:{keyword.language}/{keyword.text}"
            rules.setdefault(fold(keyword.text), Rule(keyword.intent, keyword.text, keyword.language, name))
    return rules


def _own_rule(program: str, keyword: CustomKeyword) -> Rule:
    name = f"custom:{program}/{keyword.text}"
    return Rule(keyword.intent, keyword.text, None, name, keyword.replies)


def _courtesy(sets: Sequence[KeywordSet]) -> Iterator[tuple[str, int]]:
    words = {languages: {word for name in ("en", *languages) for word in courtesy(name)} for languages in _spoken(sets)}
    return ((word, table) for table, keyword_set in enumerate(sets) for word in words[keyword_set.languages])


def _spoken(sets: Sequence[KeywordSet]) -> set[tuple[str, ...]]:
    return {keyword_set.languages for keyword_set in sets}


def _refuse(keyword_set: KeywordSet, found: Sequence[Conflict]) -> None:
    if found:
        problems = " ".join(f"{conflict.keyword} {conflict.message} {conflict.remedy}" for conflict in found)
        raise ValueError(f"program {keyword_set.program}: {problems}")
