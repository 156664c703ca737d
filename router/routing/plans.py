"""What follows from what was said on a route: the plans that the store carries out, made once each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from router import registry
from router.config import Settings, bearing_on
from router.consent import EVERYTHING, Call
from router.decide import Reading, answers, decide, decide_block, decide_call, intended
from router.routing.accounts import API_ACCOUNT
from router.routing.routes import Route, Routes
from router.rules import Layer, Match, Rule
from router.types import ConsentState, Intent, Plan, Row

_ANSWERED_FIRST: tuple[ConsentState, ...] = ("pending", "choosing", "subscribed", "none", "unsubscribed")
_TEXTED_FIRST: tuple[ConsentState, ...] = ("subscribed", "pending", "none", "choosing", "unsubscribed")


@dataclass(frozen=True, slots=True)
class Reach:
    """The programs that something is about, where their events go, and which of these places need an alias."""

    programs: tuple[str, ...]
    destinations: tuple[str, ...]
    need_alias: tuple[str, ...]


class Plans:
    """Makes plans, and keeps those that come again."""

    def __init__(self, settings: Settings, routes: Routes) -> None:
        self._programs = settings.programs
        self._routes = routes.by_program
        self._bearing = {program: bearing_on(program, numbers) for program, numbers in settings.numbers_of().items()}
        self._aliased = {
            name
            for name, found in settings.destinations.items()
            if registry.learns_people(registry.platform(found.platform))
        }
        reaches = {f"@{name}": self._reach(programs) for name, programs in routes.programs_of.items()}
        self._reaches: dict[str, Reach] = reaches | {EVERYTHING: reaches[f"@{API_ACCOUNT}"]}
        self._plans: dict[tuple[Route, str | None, Layer | None, bool, Reading, str | None], Plan] = {}
        self._call_plans: dict[tuple[str, str, Call, bool], Plan] = {}

    def bearing_on(self, program: str) -> tuple[str, ...]:
        """The consents that the state of a program follows from: the one that was given or taken back last holds."""
        return self._bearing.get(program, (program,))

    def plan(self, route: Route, match: Match, reading: Reading, scope: str | None = None) -> Plan:
        """What follows from a text, made once for all texts that differ in nothing that counts.

        `scope` is that of a preference: it is about marketing messages alone.
        """
        # The layer too: what carriers answer, and networks block, are keywords that stand alone.
        key = (route, match.name, match.layer, match.asks, reading, scope)
        plan = self._plans.get(key) if match.argument is None else None
        if plan is None:
            plan = self._plan_of(route, match, reading, scope)
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

    def parts(self) -> Iterator[object]:
        """What it holds the most of."""
        yield from list(self._plans.values())

    def _plan_of(self, route: Route, match: Match, reading: Reading, scope: str | None) -> Plan:
        if scope == "marketing" and route.program is not None and not route.marketing:
            # None of the number's programs is meant: it is recorded, and changes nothing.
            match, reading = Match(match.rule), replace(reading, hint=None)
        intent = intended(route.policies[0], match, reading.hint)
        places = _meant(route, match, intent, scope)
        writes = _writes(route, match, intent, places)
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
            overruled_by=tuple(self.bearing_on(name)[1:] for name in consents),
            sought=sought,
            writes=writes,
            rows=rows,
            rows_of_several=several,
            languages=route.policies[0].languages,
            programs=reach.programs,
            destinations=() if unheard else reach.destinations,
            need_alias=() if unheard else reach.need_alias,
        )

    def _reach(self, programs: Iterable[str]) -> Reach:
        names = tuple(programs)
        destinations = tuple(dict.fromkeys(d for name in names for d in self._programs[name].destinations))
        return Reach(names, destinations, tuple(name for name in destinations if name in self._aliased))


def _meant(route: Route, match: Match, intent: Intent, scope: str | None) -> tuple[int, ...]:
    """The places of the programs that a text to the number may be about."""
    every = tuple(range(len(route.policies)))
    program = match.rule.program if match.rule else None
    # An opt-out of one of the programs is one of all, where it ends as much as the number's.
    if program in route.consents and not (intent == "opt_out" and route.scope == "number"):
        return (route.consents.index(program),)
    if scope == "marketing" and route.marketing:
        return route.marketing[:1] if intent == "opt_in" else route.marketing
    return every[:1] if intent == "opt_in" else every


def _writes(route: Route, match: Match, intent: Intent, places: tuple[int, ...]) -> str:
    """What an opt-out ends: as much as the number's scope says, and no less than the person has named."""
    if intent != "opt_out" or route.program is None:
        return ""
    if route.scope == "all" or (match.rule and match.rule.program == EVERYTHING):
        return EVERYTHING
    if route.scope == "account":
        return f"@{route.account}"
    return "each" if len(places) > 1 else ""
