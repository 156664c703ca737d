"""What the numbers listen to: the keywords of their programs, together where several share a number."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from router.config import Program
from router.routing.routes import Route
from router.rules import NO_MATCH, PREFERENCES, Explanation, KeywordSet, Match, RuleBook
from router.types import Inbound


class Listening:
    """The keywords of all routes."""

    def __init__(self, programs: Mapping[str, Program], keys: Iterable[str], unrouted: Iterable[Route]) -> None:
        """`keys`: those of the routes with programs."""
        sets = [_shared([programs[name] for name in key.split("+")]) for key in keys]
        typed_in_vain = [found for found in sets if not found.reserved]
        buttons = [replace(found, program=_button_key(found.program), reserved=True) for found in typed_in_vain]
        without = [KeywordSet(route.key, route.policies[0].languages, ()) for route in unrouted]
        self._rules = RuleBook(sets + buttons + without)

    def match(self, route: Route, text: Inbound) -> Match:
        """What the text, or else what stands behind the tapped button, means on this route."""
        if text.kind == "preference":
            return PREFERENCES.get(text.opt_out_type, NO_MATCH)
        if text.binary or text.kind == "receipt":
            return NO_MATCH
        match = self._rules.find(route.key, text.text)
        if match.rule is None and text.payload is not None:
            # What stands on a button was written by us, so it means what it says also where typed words do not.
            button = _button_key(route.key)
            key = button if button in self._rules else route.key
            return next((m for m in (self._rules.find(key, t) for t in (text.text, text.payload)) if m.rule), match)
        return match

    def explain(self, route: Route, text: str) -> Explanation | None:
        """Where in a text its meaning was found; None if it has none."""
        return self._rules.explain(route.key, text)

    def parts(self) -> Iterator[object]:
        """What it holds the most of."""
        return self._rules.parts()


def _shared(programs: list[Program]) -> KeywordSet:
    """What a number with these programs listens to."""
    if len(programs) == 1:
        return programs[0].keyword_set
    sets = [program.keyword_set for program in programs]
    return KeywordSet(
        program="+".join(program.id for program in programs),
        languages=tuple(dict.fromkeys(language for found in sets for language in found.languages)),
        custom=tuple(replace(word, program=found.program) for found in sets for word in found.custom),
        layers_off=frozenset.intersection(*(found.layers_off for found in sets)),
        doubtful=sets[0].doubtful,
        called={program.id: (*program.called, program.id, program.name) for program in programs},
        reserved=any(found.reserved for found in sets),
    )


def _button_key(key: str) -> str:
    """The keywords of what stands on buttons, where typed words count for less. No program can be called so."""
    return f"{key}:buttons"
