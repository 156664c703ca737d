"""The configuration made ready for texts: which number leads to which program, its keywords, its rows, its carrier.

Built whole from a `Settings`, never edited; a reload builds another one and swaps it in.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from router import registry
from router.config import Number, Program, Settings
from router.decide import Policy, decide
from router.ports import Carrier
from router.rules import Explanation, KeywordSet, Match, RuleBook
from router.types import Channel, Inbound, OptOutType, Row

#: The name that texts of a neighbour service have in place of a carrier account's.
API_ACCOUNT = "api"


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """What a text is treated by. `key` names its keywords and its consent: a program's id, or `@ACCOUNT`.

    `overruled_by` are the consents of accounts that bear on it too, `programs` those whose consent is meant.
    """

    policy: Policy
    key: str
    overruled_by: tuple[str, ...]
    programs: tuple[str, ...]
    destinations: tuple[str, ...]
    need_alias: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Account:
    """A carrier account with its adapter."""

    name: str
    carrier: Carrier
    dedupe_seconds: int


class Routing:
    """Answers, for each text, where it belongs and what follows."""

    def __init__(self, settings: Settings) -> None:
        self.accounts = {
            name: Account(
                name=name,
                carrier=registry.carrier(account.carrier)(name, account.options, account.public_url),
                dedupe_seconds=account.dedupe_hours * 3600,
            )
            for name, account in settings.accounts.items()
        }
        self.api_dedupe_seconds = settings.store.dedupe_hours * 3600
        self.replies_per_hour = settings.limits.replies_per_hour
        self._aliased = {
            name for name, found in settings.destinations.items() if registry.platform(found.platform).needs_alias
        }
        self._numbers: dict[tuple[str, str, str], tuple[str, Route]] = {}
        for number in settings.numbers:
            route = self._route(settings.programs[number.program], number)
            for account in (number.account, API_ACCOUNT):
                key = (account, settings.programs[number.program].channel, number.number)
                self._numbers.setdefault(key, (number.account, route))
        accounts = {name: [n.program for n in settings.numbers if n.account == name] for name in settings.accounts}
        accounts[API_ACCOUNT] = list(settings.programs)
        self._unrouted = {
            name: self._unrouted_route(name, [settings.programs[program] for program in dict.fromkeys(programs)])
            for name, programs in accounts.items()
        }
        self._rules = RuleBook(_keyword_sets(settings, self._unrouted.values()))
        self._rows: dict[tuple[Route, str | None, OptOutType | None, bool, bool], tuple[Row, ...]] = {}

    def find(self, account: str, channel: Channel, number: str) -> tuple[str, Route]:
        """The account whose consent is meant, and the route; for a number without a program the account's own."""
        family = "whatsapp" if channel == "whatsapp" else "sms"
        return self._numbers.get((account, family, number)) or (account, self._unrouted[account])

    def match(self, route: Route, text: Inbound) -> Match:
        """What the text, or else what stands behind the tapped button, means on this route."""
        match = self._rules.find(route.key, text.text)
        if match.rule is None and text.payload:
            return self._rules.find(route.key, text.payload)
        return match

    def explain(self, route: Route, text: str) -> Explanation | None:
        """Where in a text its meaning was found; None if it has none."""
        return self._rules.explain(route.key, text)

    def rows(
        self, route: Route, match: Match, hint: OptOutType | None, *, person: bool, late: bool = False
    ) -> tuple[Row, ...]:
        """The rows of `decide`, made once for all texts that differ in nothing that counts."""
        if match.argument is not None:
            return decide(route.policy, match, hint, person=person, late=late)
        key = (route, match.name, hint, person, late)
        rows = self._rows.get(key)
        if rows is None:
            rows = self._rows[key] = decide(route.policy, match, hint, person=person, late=late)
        return rows

    def parts(self) -> Iterator[object]:
        """What it holds the most of."""
        yield from list(self._rows.values())
        yield from self._rules.parts()

    def _route(self, program: Program, number: Number) -> Route:
        policy = Policy(
            program=program.id,
            opt_in=program.opt_in,
            confirm_within_days=program.confirm_within_days,
            languages=tuple(program.languages),
            replies=program.reply_texts,
            carrier_answers=frozenset(number.carrier_answers),
        )
        overruled_by = (f"@{number.account}", f"@{API_ACCOUNT}")
        return self._with_destinations(policy, program.id, overruled_by, [program])

    def _unrouted_route(self, account: str, programs: list[Program]) -> Route:
        languages = tuple(dict.fromkeys(language for program in programs for language in program.languages))
        policy = Policy(
            program=None,
            opt_in="single",
            confirm_within_days=0,
            languages=languages or ("en",),
            replies={},
            carrier_answers=frozenset(),
        )
        return self._with_destinations(policy, f"@{account}", (), programs)

    def _with_destinations(
        self, policy: Policy, key: str, overruled_by: tuple[str, ...], programs: list[Program]
    ) -> Route:
        destinations = tuple(dict.fromkeys(name for program in programs for name in program.destinations))
        need_alias = tuple(name for name in destinations if name in self._aliased)
        names = tuple(program.id for program in programs)
        return Route(policy, key, overruled_by, names, destinations, need_alias)


def _keyword_sets(settings: Settings, unrouted: Iterable[Route]) -> list[KeywordSet]:
    programs = [program.keyword_set for program in settings.programs.values()]
    return programs + [KeywordSet(route.key, route.policy.languages, ()) for route in unrouted]
