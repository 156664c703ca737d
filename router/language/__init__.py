"""The reserved words of each language, and the courtesy words that may stand around them; the data lies beside."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, cast

ReservedIntent = Literal["opt_out", "opt_in", "help", "confirm"]
Confidence = Literal["high", "medium", "low"]


@dataclass(frozen=True, slots=True)
class Trap:
    """A word with another meaning in a language than the one that it is reserved for in another."""

    text: str
    language: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Keyword:
    """A word or phrase that means an intent in a language, and how sure its source makes us of that."""

    text: str
    intent: ReservedIntent
    language: str
    confidence: Confidence


def _rows(name: str) -> Iterator[list[str]]:
    lines = Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines()
    return (line.split("\t") for line in lines[1:])


_KEYWORDS = [
    Keyword(text, cast(ReservedIntent, intent), language, cast(Confidence, confidence))
    for language, intent, text, confidence, _source in _rows("keywords.tsv")
]
_COURTESY = [(language, word) for language, word in _rows("courtesy.tsv")]
#: Ordinary words of a language that are keywords of another.
TRAPS = [Trap(text, language, meaning) for text, language, meaning in _rows("traps.tsv")]
_REAL_WORDS = [(language, word) for language, word in _rows("real_words.tsv")]

#: The tags of all languages that have keywords, English first. `keywords` accepts less and more exact tags too.
LANGUAGES: tuple[str, ...] = tuple(dict.fromkeys(["en", *(keyword.language for keyword in _KEYWORDS)]))


def keywords(language: str) -> Sequence[Keyword]:
    """The keywords of a language, with the language named as asked for; KeyError says what to write instead.

    A region has the words of its language too (`fr-CA`: those of `fr`); a tag without a list of its own has those of
    its language (`de-AT`), or where only regions and scripts are listed, theirs (`pt`, `zh-TW`).
    """
    listed = _listed(language)
    return tuple(Keyword(k.text, k.intent, language, k.confidence) for k in _KEYWORDS if k.language in listed)


def has_keywords(language: str) -> bool:
    """Whether `keywords` knows the language."""
    return bool(_tags_of(language))


def courtesy(language: str) -> Sequence[str]:
    """The words that are polite and change no meaning; the language is named as for `keywords`."""
    listed = _listed(language)
    return tuple(word for name, word in _COURTESY if name in listed)


@cache
def common_words(language: str) -> tuple[str, ...]:
    """The commonest words of a language, folded, the commonest first; none where no list is."""
    return tuple(word for name, word in _rows("common_words.tsv") if name == language.partition("-")[0])


@cache
def real_words(languages: tuple[str, ...]) -> frozenset[str]:
    """The folded words of languages that are close to a keyword and mean something else; none where no list is."""
    spoken = {language.partition("-")[0] for language in languages}
    return frozenset(word for name, word in _REAL_WORDS if name in spoken)


def _listed(language: str) -> list[str]:
    listed = _tags_of(language)
    if not listed:
        raise KeyError(f"there are no keywords for the language {language!r}; write one of {', '.join(LANGUAGES)}")
    return listed


def _tags_of(language: str) -> list[str]:
    spoken = language.partition("-")[0]
    listed = [name for name in (language, spoken) if name in LANGUAGES]
    return listed or [name for name in LANGUAGES if name.startswith(f"{spoken}-")]
