"""The configuration made ready for texts: which number leads to which program, its keywords, its rows, its carrier.

Built whole from a `Settings`, never edited; a reload builds another one and swaps it in.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from pydantic import BaseModel

from router import registry
from router.answered import NOTHING_ANSWERED, AnsweredTexts, answered_texts
from router.config import Number, Program, Settings
from router.config.settings import country_of
from router.consent import EVERYTHING, Call, OptOutScope, ReplyKind
from router.decide import Policy, Reading, answers, decide, decide_block, decide_call, intended
from router.errors import BadPayload
from router.ports import TOLL_FREE_COUNTRIES, Carrier, CarrierAnswers, FetchesKeys, ReadsHeaders, Secret
from router.records import LEDGER, REPLIES
from router.rules import NO_MATCH, PREFERENCES, Explanation, KeywordSet, Layer, Match, Rule, RuleBook
from router.types import Channel, ConsentState, Inbound, Intent, NumberType, Plan, Row

#: The name that texts of a neighbour service have in place of a carrier account's.
API_ACCOUNT = "api"
#: The headers that reading any request again needs; others may hold credentials.
KEPT_HEADERS = frozenset({"content-type"})

_ANSWERED_FIRST: tuple[ConsentState, ...] = ("pending", "choosing", "subscribed", "none", "unsubscribed")
_TEXTED_FIRST: tuple[ConsentState, ...] = ("subscribed", "pending", "none", "choosing", "unsubscribed")


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """What a text to one of our numbers is treated by. `key` names its keywords.

    `policies` are those of the number's programs; of a number that no program has, the account's own, without a
    program. `consents` are theirs, by name. `scope` is what an opt-out ends at least. `marketing` are the
    places of the programs that the word about marketing messages is meant for.
    `answered` are the texts that others answer before us.
    """

    account: str
    number: str
    key: str
    policies: tuple[Policy, ...]
    consents: tuple[str, ...]
    scope: OptOutScope
    marketing: tuple[int, ...]
    answered: AnsweredTexts = NOTHING_ANSWERED
    country: str | None = None

    @property
    def program(self) -> str | None:
        """The first of the number's programs; None if it has none."""
        return self.policies[0].program


@dataclass(frozen=True, slots=True)
class Reach:
    """The programs that something is about, where their events go, and which of these places need an alias."""

    programs: tuple[str, ...]
    destinations: tuple[str, ...]
    need_alias: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Account:
    """A carrier account with its adapter. `keys` is the adapter too, if it has to fetch keys; else None.

    `kept_headers` are those that go with a request that is put aside, `secrets` what does not stand in there then.
    `reply_lane` is where texts wait that have to be sent; empty if the carrier cannot send.
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
            reply_lane = f"{REPLIES}{name}" if carrier.sends else ""
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
        replies = (account.reply_lane for account in self.accounts.values() if account.reply_lane)
        self.lanes = (*settings.destinations, *replies, LEDGER)
        self.api_dedupe_seconds = settings.store.dedupe_hours * 3600
        self.replies_per_hour = settings.limits.replies_per_hour
        self.join_seconds = settings.limits.join_seconds
        self._aliased = {
            name for name, found in settings.destinations.items() if registry.platform(found.platform).needs_alias
        }
        self._programs = settings.programs
        self._bearing = {program: settings.bearing_on(program) for program in settings.programs}
        self._numbers: dict[tuple[str, str, str], Route] = {}
        self._references: dict[tuple[str, str], str] = {}
        self._rates: dict[str, dict[str, float]] = {name: {} for name in self.accounts}
        #: program → the routes of its numbers, in the order of the file.
        self._routes: dict[str, list[Route]] = {}
        for number in settings.numbers:
            self._add_number(number)
        for program in settings.programs.values():
            if program.id not in self._routes:
                self._routes[program.id] = [self._route(None, [program])]
        accounts = {
            name: [program for n in settings.numbers if n.account == name for program in n.program]
            for name in settings.accounts
        }
        accounts[API_ACCOUNT] = list(settings.programs)
        reaches = {f"@{name}": self._reach(dict.fromkeys(programs)) for name, programs in accounts.items()}
        self._reaches: dict[str, Reach] = reaches | {EVERYTHING: reaches[f"@{API_ACCOUNT}"]}
        self._unrouted = {name: self._unrouted_route(name, tuple(programs)) for name, programs in accounts.items()}
        self._rules = RuleBook(self._keyword_sets())
        self._plans: dict[tuple[Route, str | None, Layer | None, bool, Reading, str | None], Plan] = {}
        self._call_plans: dict[tuple[str, str, Call, bool], Plan] = {}

    def find(self, account: str, channel: Channel, number: str | None) -> Route:
        """The route of a text; for a number without a program the account's own.

        Raises `BadPayload` for an account that is not configured (any more).
        """
        if account not in self._unrouted:
            raise BadPayload(f"the account {account!r} is not configured. Configure it, then retry.")
        known = self._numbers.get((account, _family(channel), number)) if number else None
        return known or self._unrouted[account]

    def bearing_on(self, program: str) -> tuple[str, ...]:
        """The consents that the state of a program follows from: the one that was given or taken back last holds."""
        return self._bearing.get(program, (program,))

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

    def unasked(self) -> list[tuple[str, str]]:
        """The numbers where somebody else answers START, with the program that would ask for a YES then."""
        firsts = [(route, route.policies[0]) for route in self._numbers.values() if route.answered.start]
        found = [(route.number, first.program) for route, first in firsts if first.program and first.opt_in != "single"]
        return list(dict.fromkeys(found))

    def reply_lane(self, account: str, plan: Plan, *, texted: bool = True) -> tuple[str, ...]:
        """Where the reply to a text waits, if it has one that has to be sent. What was not texted is always sent."""
        found = self.accounts.get(account)
        if found is None or not found.reply_lane or not plan.replies:
            return ()
        return () if texted and found.carrier.replies_inline else (found.reply_lane,)

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

    def plan(self, route: Route, match: Match, reading: Reading, scope: str | None = None) -> Plan:
        """What follows from a text, made once for all texts that differ in nothing that counts.

        `scope` is that of a preference: it is about marketing messages alone.
        """
        # The layer too: what carriers answer, and networks block, are keywords that stand alone.
        key = (route, match.name, match.layer, match.asks, reading, scope)
        plan = self._plans.get(key) if match.argument is None else None
        if plan is None:
            plan = self._plan(route, match, reading, scope)
            if match.argument is None:
                self._plans[key] = plan
        return plan

    def call_plan(self, program: str, rule: str, call: Call, *, dated: bool = False) -> Plan:
        """What follows from what a caller of the API says about a person and a program.

        `dated`: they say when that was said, and what the person has said since holds.
        """
        key = (program, rule, call, dated)
        plan = self._call_plans.get(key)
        if plan is None:
            route = self._routes[program][0]
            intent: Intent = "opt_out" if call == "unsubscribe" else "opt_in"
            match = Match(Rule(intent, None, None, rule, program=program))
            rows = decide_call(route.policies[route.consents.index(program)], match, call, dated=dated)
            plan = self._made(route, (program,), (rows,), (), "", _TEXTED_FIRST, intent)
            self._call_plans[key] = plan
        return plan

    def block_plan(self, route: Route) -> Plan:
        """What follows when the carrier of a route reports that it sends a person nothing."""
        rows = (decide_block(route.policies[0]),)
        return replace(self._made(route, route.consents[:1], rows, (), "", _TEXTED_FIRST, "none"), destinations=())

    @property
    def programs(self) -> tuple[str, ...]:
        """The programs, by id."""
        return tuple(self._programs)

    def channel(self, program: str) -> Channel:
        """The channel of a program."""
        return self._programs[program].channel

    def numbers_of(self, program: str) -> list[tuple[str, str]]:
        """The account and number of each that a program has."""
        return [(route.account, route.number) for route in self._routes[program]]

    def number_for(self, program: str, person: str) -> tuple[str, str] | None:
        """The account and the number that a person is texted from first: one of their own country, if there is one, of
        those that can send, else one of an unknown country; a name only if there is no number to answer to. None if
        none can.
        """
        country = country_of(person)
        routes = [route for route in self._routes[program] if route.account in self.accounts]
        found = [route for route in routes if self.accounts[route.account].reply_lane]
        found.sort(
            key=lambda route: (_is_name(route.number), route.country != country, route.country not in (country, None))
        )
        return (found[0].account, found[0].number) if found else None

    def _plan(self, route: Route, match: Match, reading: Reading, scope: str | None) -> Plan:
        if scope == "marketing" and route.program is not None and not route.marketing:
            # None of the number's programs is meant: it is recorded, and changes nothing.
            match, reading = Match(match.rule), replace(reading, hint=None)
        intent = intended(route.policies[0], match, reading.hint)
        places = self._meant(route, match, intent, scope)
        writes = self._writes(route, match, intent, places)
        which = intent == "opt_out" and writes == "each" and match.rule is not None and match.rule.program is None
        several: tuple[tuple[Row, ...], ...] = ()
        if scope is not None and intent == "opt_in":
            rows = tuple(decide_call(route.policies[place], match, "subscribe") for place in places)
        else:
            rows = tuple(decide(route.policies[place], match, reading) for place in places)
            # Who is not asked which programs to keep has nothing to choose.
            asks = which and answers(match, reading)
            if asks and any("choice" in texts for texts in route.policies[0].replies.values()):
                asking = replace(reading, which=True)
                several = tuple(decide(route.policies[place], match, asking) for place in places)
        sought = _ANSWERED_FIRST if intent == "confirm" else _TEXTED_FIRST
        return self._made(route, tuple(route.consents[p] for p in places), rows, several, writes, sought, intent)

    def _made(
        self,
        route: Route,
        consents: tuple[str, ...],
        rows: tuple[tuple[Row, ...], ...],
        several: tuple[tuple[Row, ...], ...],
        writes: str,
        sought: tuple[ConsentState, ...],
        intent: Intent,
    ) -> Plan:
        scope = writes if writes.startswith("@") else consents[0]
        reach = self._reaches[scope] if scope.startswith("@") else self._reach(consents)
        unheard = route.program is None and intent != "opt_out"
        return Plan(
            intent=intent,
            consents=consents,
            overruled_by=tuple(self._bearing.get(name, (name,))[1:] for name in consents),
            sought=sought,
            writes=writes,
            rows=rows,
            rows_of_several=several,
            languages=route.policies[0].languages,
            programs=reach.programs,
            destinations=() if unheard else reach.destinations,
            need_alias=() if unheard else reach.need_alias,
        )

    def _meant(self, route: Route, match: Match, intent: Intent, scope: str | None) -> tuple[int, ...]:
        """The places of the programs that a text to the number may be about."""
        every = tuple(range(len(route.policies)))
        program = match.rule.program if match.rule else None
        # An opt-out of one of the programs is one of all, where it ends as much as the number's.
        if program in route.consents and not (intent == "opt_out" and route.scope == "number"):
            return (route.consents.index(program),)
        if scope == "marketing" and route.marketing:
            return route.marketing[:1] if intent == "opt_in" else route.marketing
        return every[:1] if intent == "opt_in" else every

    def _writes(self, route: Route, match: Match, intent: Intent, places: tuple[int, ...]) -> str:
        """What an opt-out ends: as much as the number's scope says, and no less than the person has named."""
        if intent != "opt_out" or route.program is None:
            return ""
        if route.scope == "all" or (match.rule and match.rule.program == EVERYTHING):
            return EVERYTHING
        if route.scope == "account":
            return f"@{route.account}"
        return "each" if len(places) > 1 else ""

    def parts(self) -> Iterator[object]:
        """What it holds the most of."""
        yield from list(self._plans.values())
        yield from self._rules.parts()

    def _add_number(self, number: Number) -> None:
        carrier = self.accounts[number.account].carrier
        programs = [self._programs[name] for name in number.program]
        channel = programs[0].channel
        # Our kinds of number are those of SMS; to a carrier, a sender of WhatsApp is like a long code.
        kind: NumberType = "long_code" if channel == "whatsapp" or number.type == "alphanumeric" else number.type
        country = number.country or country_of(number.number)
        # Nobody but us interprets what is said on WhatsApp.
        answers = {} if channel == "whatsapp" else carrier.answers_itself(kind, country)
        if number.carrier_answers is not None:
            answers = {intent: answers.get(intent, CarrierAnswers()) for intent in number.carrier_answers}
        network = kind == "toll_free" and country in TOLL_FREE_COUNTRIES
        rate = carrier.texts_per_second(kind, country) if number.texts_per_second is None else number.texts_per_second
        rates = self._rates[number.account]
        rates[number.number] = min(rate, rates.get(number.number, rate))
        answered = answered_texts(answers, network=network)
        route = replace(self._route(number, programs, blocks=network), answered=answered, country=country)
        # Nobody can text a name: it is here for what its carrier reports of texts that were sent from it.
        texted_by = (number.account,) if number.type == "alphanumeric" else (number.account, API_ACCOUNT)
        for account in texted_by:
            self._numbers.setdefault((account, channel, number.number), route)
        for program in number.program:
            self._routes.setdefault(program, []).append(route)
        if number.reference:
            self._references[number.account, number.reference] = number.number

    def _route(self, number: Number | None, programs: list[Program], *, blocks: bool = False) -> Route:
        """The route of a number; of a program that has none, where callers of the API alone speak of its people."""
        languages = tuple(dict.fromkeys(language for program in programs for language in program.languages))
        choices = _choices(programs)
        policies = tuple(
            Policy(
                program=program.id,
                opt_in=program.opt_in,
                confirm_within_days=program.confirm_within_days,
                languages=languages,
                replies=_with_choices(program.reply_texts, choices),
                choose_within_hours=program.choose_within_hours,
                deaf_to=frozenset(_deaf_to(program)) if number and number.type == "short_code" else frozenset(),
                network_blocks=blocks,
            )
            for program in programs
        )
        names = tuple(program.id for program in programs)
        return Route(
            account=number.account if number else API_ACCOUNT,
            number=number.number if number else "",
            key="+".join(names),
            policies=policies,
            consents=names,
            scope=number.opt_out_scope if number else "program",
            marketing=tuple(place for place, program in enumerate(programs) if program.purpose == "marketing"),
        )

    def _unrouted_route(self, account: str, programs: tuple[str, ...]) -> Route:
        spoken = (language for program in programs for language in self._programs[program].languages)
        policy = Policy(
            program=None,
            opt_in="single",
            confirm_within_days=0,
            languages=tuple(dict.fromkeys(spoken)) or ("en",),
            replies={},
        )
        consent = EVERYTHING if account == API_ACCOUNT else f"@{account}"
        return Route(account, "", f"@{account}", (policy,), (consent,), "account", ())

    def _reach(self, programs: Iterable[str]) -> Reach:
        names = tuple(programs)
        destinations = tuple(dict.fromkeys(d for name in names for d in self._programs[name].destinations))
        return Reach(names, destinations, tuple(name for name in destinations if name in self._aliased))

    def _keyword_sets(self) -> list[KeywordSet]:
        unrouted = [KeywordSet(route.key, route.policies[0].languages, ()) for route in self._unrouted.values()]
        keys = dict.fromkeys(route.key for routes in self._routes.values() for route in routes)
        sets = [_shared([self._programs[name] for name in key.split("+")]) for key in keys]
        typed_in_vain = [found for found in sets if not found.reserved]
        buttons = [replace(found, program=_button_key(found.program), reserved=True) for found in typed_in_vain]
        return sets + buttons + unrouted


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


def _deaf_to(program: Program) -> Iterator[Intent]:
    """What means nothing on a short code unless the program has an answer to it. An opt-out always counts."""
    answered = {kind for texts in program.reply_texts.values() for kind in texts}
    if "help" not in answered:
        yield "help"
    if ("prompt" if program.opt_in == "double" else "opt_in") not in answered:
        yield from ("opt_in", "confirm")


def _choices(programs: list[Program]) -> dict[str, str]:
    """The questions which of several programs to keep, by language: that of the first program that has one counts."""
    found: dict[str, str] = {}
    for program in programs if len(programs) > 1 else ():
        for language, texts in program.reply_texts.items():
            if "choice" in texts:
                found.setdefault(language, texts["choice"])
    return found


def _with_choices(
    texts: Mapping[str, Mapping[ReplyKind, str]], choices: Mapping[str, str]
) -> dict[str, dict[ReplyKind, str]]:
    merged: dict[str, dict[ReplyKind, str]] = {language: dict(own) for language, own in texts.items()}
    for language, text in choices.items():
        merged.setdefault(language, {})["choice"] = text
    return merged


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


def _is_name(number: str) -> bool:
    return not number.removeprefix("+").isdecimal()
