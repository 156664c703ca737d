"""What others answer before we do: the words of carriers, and of the network behind toll-free numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from router._core import fold
from router.ports import TOLL_FREE_ANSWERS, CarrierAnswers
from router.rules import Match
from router.types import Intent


@dataclass(frozen=True, slots=True)
class AnsweredTexts:
    """The texts to one of our numbers that its carrier or its network answers by itself.

    `words`: what a text is, folded → what it is taken for. `beginnings`: what it only has to begin with. `keywords`:
    the intents of which any keyword counts that stands alone. `by_network`: as `words`, for the network alone.
    """

    words: Mapping[str, Intent] = field(default_factory=dict)
    beginnings: tuple[str, ...] = ()
    keywords: frozenset[Intent] = frozenset()
    by_network: Mapping[str, Intent] = field(default_factory=dict)

    def answers(self, match: Match, text: str) -> bool:
        """Whether somebody else answers a text that has this meaning for us."""
        if match.layer == "keyword" and match.intent in self.keywords:
            return True
        if not self.words and not self.beginnings:
            return False
        folded = fold(text)
        if any(_begins(folded, word) for word in self.beginnings):
            return True
        # YES is a word of some for START, and is answered to who has opted out there. Who was asked is ours to answer.
        return folded in self.words and match.intent in (self.words[folded], "none")

    @property
    def start(self) -> bool:
        """Whether somebody else answers START."""
        return "opt_in" in self.keywords or self.words.get("start") == "opt_in" or "start" in self.beginnings

    def network(self, text: str) -> Intent | None:
        """What the network takes a text for."""
        return self.by_network.get(fold(text)) if self.by_network else None


NOTHING_ANSWERED = AnsweredTexts()


def answered_texts(answers: Mapping[Intent, CarrierAnswers], *, network: bool) -> AnsweredTexts:
    """The texts that these answers stand for. `network`: the number is behind the network of toll-free numbers."""
    return AnsweredTexts(
        words=_words(answers, beginning=False),
        beginnings=tuple(_words(answers, beginning=True)),
        keywords=frozenset(intent for intent, found in answers.items() if found.words is None),
        by_network=_words(TOLL_FREE_ANSWERS, beginning=False) if network else {},
    )


def _words(answers: Mapping[Intent, CarrierAnswers], *, beginning: bool) -> dict[str, Intent]:
    """The words of the answers to texts that begin with one, or are one: folded → what it is taken for."""
    listed = [(intent, found.words or ()) for intent, found in answers.items() if found.beginning == beginning]
    return {fold(word): intent for intent, words in listed for word in words}


def _begins(folded: str, word: str) -> bool:
    """Whether a text begins with a word: STOPLIGHT does not begin with STOP."""
    return folded.startswith(word) and not folded[len(word) : len(word) + 1].isalnum()
