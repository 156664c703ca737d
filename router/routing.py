"""The configuration made ready for texts: which number leads to which program, its keywords, its rows, its carrier.

Built whole from a `Settings`, never edited; a reload builds another one and swaps it in.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from router import registry
from router._core import NumberParseError, normalize
from router.config import Number, Program, Settings
from router.decide import Policy, decide
from router.errors import BadPayload
from router.ports import Carrier, FetchesKeys, ReadsHeaders, Secret
from router.rules import NO_MATCH, PREFERENCES, Explanation, KeywordSet, Match, RuleBook
from router.types import Channel, Inbound, Intent, NumberType, OptOutType, Row

#: The name that texts of a neighbour service have in place of a carrier account's.
API_ACCOUNT = "api"
#: The headers that reading any request again needs; others may hold credentials.
KEPT_HEADERS = frozenset({"content-type"})


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
    """A carrier account with its adapter. `keys` is the adapter too, if it has to fetch keys; else None.

    `kept_headers` are those that go with a request that is put aside, `secrets` what does not stand in there then.
    `reply_lane` is where replies wait that have to be sent; empty if the carrier gives them, or cannot send.
    """

    name: str
    carrier: Carrier
    keys: FetchesKeys | None
    dedupe_seconds: int
    kept_headers: frozenset[str]
    secrets: tuple[str, ...]
    reply_lane: str


class Routing:
    """Answers, for each text, where it belongs and what follows."""

    def __init__(self, settings: Settings) -> None:
        self.accounts: dict[str, Account] = {}
        for name, account in settings.accounts.items():
            carrier = registry.carrier(account.carrier)(name, account.options, account.public_url)
            keys = carrier if isinstance(carrier, FetchesKeys) else None
            # No destination can be called so.
            reply_lane = f"reply:{name}" if carrier.sends and not carrier.replies_inline else ""
            self.accounts[name] = Account(
                name,
                carrier,
                keys,
                account.dedupe_hours * 3600,
                KEPT_HEADERS | (carrier.headers_read if isinstance(carrier, ReadsHeaders) else frozenset()),
                tuple(_secrets(account.options)),
                reply_lane,
            )
        #: Wherever what is in the outbox can be meant to go.
        self.lanes = (*settings.destinations, *(each.reply_lane for each in self.accounts.values() if each.reply_lane))
        self.api_dedupe_seconds = settings.store.dedupe_hours * 3600
        self.replies_per_hour = settings.limits.replies_per_hour
        self.join_seconds = settings.limits.join_seconds
        self._aliased = {
            name for name, found in settings.destinations.items() if registry.platform(found.platform).needs_alias
        }
        self._numbers: dict[tuple[str, str, str], tuple[str, Route]] = {}
        self._references: dict[tuple[str, str], str] = {}
        self._rates: dict[str, dict[str, float]] = {name: {} for name in self.accounts}
        for number in settings.numbers:
            self._add_number(number, settings.programs[number.program])
        accounts = {name: [n.program for n in settings.numbers if n.account == name] for name in settings.accounts}
        accounts[API_ACCOUNT] = list(settings.programs)
        self._unrouted = {
            name: self._unrouted_route(name, [settings.programs[program] for program in dict.fromkeys(programs)])
            for name, programs in accounts.items()
        }
        self._rules = RuleBook(_keyword_sets(settings, self._unrouted.values()))
        self._rows: dict[tuple[Route, str | None, OptOutType | None, bool, bool, bool], tuple[Row, ...]] = {}

    def find(self, account: str, channel: Channel, number: str | None) -> tuple[str, Route]:
        """The account whose consent is meant, and the route; for a number without a program the account's own.

        Raises `BadPayload` for an account that is not configured (any more).
        """
        if account not in self._unrouted:
            raise BadPayload(f"the account {account!r} is not configured. Configure it, then retry.")
        known = self._numbers.get((account, _family(channel), number)) if number else None
        return known or (account, self._unrouted[account])

    def number_called(self, account: str, reference: str | None) -> str | None:
        """The number that the carrier of an account calls so; None if there is none."""
        return self._references.get((account, reference)) if reference else None

    def texts_per_second(self, account: str) -> dict[str, float]:
        """How many texts each number of an account may send."""
        return self._rates[account]

    def silent_accounts(self) -> list[str]:
        """The accounts of numbers whose replies neither the carrier's answer takes nor can be sent."""
        accounts = [account for name, account in self.accounts.items() if self._rates[name]]
        return [each.name for each in accounts if not each.carrier.replies_inline and not each.carrier.sends]

    def reply_lane(self, account: str, rows: Iterable[Row]) -> tuple[str, ...]:
        """Where the reply to a text waits, if it has one that has to be sent."""
        found = self.accounts.get(account)
        return (found.reply_lane,) if found and found.reply_lane and any(row.replies for row in rows) else ()

    def match(self, route: Route, text: Inbound) -> Match:
        """What the text, or else what stands behind the tapped button, means on this route."""
        if text.kind == "preference":
            return PREFERENCES.get(text.opt_out_type, NO_MATCH)
        if text.binary:
            return NO_MATCH
        match = self._rules.find(route.key, text.text)
        if match.rule is None and text.payload:
            return self._rules.find(route.key, text.payload)
        return match

    def explain(self, route: Route, text: str) -> Explanation | None:
        """Where in a text its meaning was found; None if it has none."""
        return self._rules.explain(route.key, text)

    def rows(
        self,
        route: Route,
        match: Match,
        hint: OptOutType | None,
        *,
        person: bool,
        late: bool = False,
        silent: bool = False,
    ) -> tuple[Row, ...]:
        """The rows of `decide`, made once for all texts that differ in nothing that counts."""
        key = (route, match.name, hint, person, late, silent)
        rows = self._rows.get(key) if match.argument is None else None
        if rows is None:
            rows = decide(route.policy, match, hint, person=person, late=late, silent=silent)
            if match.argument is None:
                self._rows[key] = rows
        return rows

    def parts(self) -> Iterator[object]:
        """What it holds the most of."""
        yield from list(self._rows.values())
        yield from self._rules.parts()

    def _add_number(self, number: Number, program: Program) -> None:
        carrier = self.accounts[number.account].carrier
        # Our kinds of number are those of SMS; to a carrier, a sender of WhatsApp is like a long code.
        kind: NumberType = "long_code" if program.channel == "whatsapp" else number.type
        country = _country(number.number)
        answers: frozenset[Intent] = frozenset(number.carrier_answers or ())
        # Nobody but us interprets what is said on WhatsApp.
        if number.carrier_answers is None and program.channel != "whatsapp":
            answers = carrier.answers_itself(kind, country)
        rate = carrier.texts_per_second(kind, country) if number.texts_per_second is None else number.texts_per_second
        rates = self._rates[number.account]
        rates[number.number] = min(rate, rates.get(number.number, rate))
        route = self._route(program, number.account, answers)
        for account in (number.account, API_ACCOUNT):
            self._numbers.setdefault((account, program.channel, number.number), (number.account, route))
        if number.reference:
            self._references[number.account, number.reference] = number.number

    def _route(self, program: Program, account: str, carrier_answers: frozenset[Intent]) -> Route:
        policy = Policy(
            program=program.id,
            opt_in=program.opt_in,
            confirm_within_days=program.confirm_within_days,
            languages=tuple(program.languages),
            replies=program.reply_texts,
            carrier_answers=carrier_answers,
        )
        overruled_by = (f"@{account}", f"@{API_ACCOUNT}")
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


def _secrets(options: object) -> Iterator[str]:
    """All secrets in the options of an adapter, however deep."""
    if isinstance(options, Secret):
        yield options.reveal()
    elif isinstance(options, BaseModel):
        yield from _secrets([value for _, value in options])
    elif isinstance(options, Mapping):
        yield from _secrets(list(options.values()))
    elif isinstance(options, list | tuple):
        for option in options:
            yield from _secrets(option)


def _family(channel: Channel) -> Channel:
    """The channel of the programs that texts of a channel belong to."""
    return "whatsapp" if channel == "whatsapp" else "sms"


def _country(number: str) -> str | None:
    """The region of a number; None for a short code, and for a number that no numbering plan has."""
    try:
        return normalize(number).region if number.startswith("+") else None
    except NumberParseError:
        return None


def _keyword_sets(settings: Settings, unrouted: Iterable[Route]) -> list[KeywordSet]:
    programs = [program.keyword_set for program in settings.programs.values()]
    return programs + [KeywordSet(route.key, route.policy.languages, ()) for route in unrouted]
