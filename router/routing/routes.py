"""Which number leads to which programs, and by what rules they answer there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from router.answered import NOTHING_ANSWERED, AnsweredTexts, answered_texts
from router.config import Number, Program, Settings
from router.config.programs import country_of
from router.consent import EVERYTHING, OptOutScope, ReplyKind
from router.decide import Policy
from router.errors import BadPayload
from router.ports import TOLL_FREE_COUNTRIES, CarrierAnswers
from router.routing.accounts import API_ACCOUNT, Account
from router.types import Channel, Intent, NumberType


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


class Routes:
    """The routes of all numbers, and of each account for the numbers that no program has."""

    def __init__(self, settings: Settings, accounts: Mapping[str, Account]) -> None:
        self._accounts = accounts
        self._programs = settings.programs
        self._numbers: dict[tuple[str, str, str], Route] = {}
        self._references: dict[tuple[str, str], str] = {}
        #: account → number → how many texts it may send in a second.
        self.rates: dict[str, dict[str, float]] = {name: {} for name in accounts}
        #: program → the routes of its numbers, in the order of the file.
        self.by_program: dict[str, list[Route]] = {}
        for number in settings.numbers:
            self._add_number(number)
        for program in settings.programs.values():
            if program.id not in self.by_program:
                self.by_program[program.id] = [_route(None, [program])]
        #: account → its programs.
        self.programs_of = {
            name: tuple(dict.fromkeys(program for n in settings.numbers if n.account == name for program in n.program))
            for name in settings.accounts
        }
        self.programs_of[API_ACCOUNT] = tuple(settings.programs)
        #: account → the route of its numbers without a program.
        self.unrouted = {name: self._unrouted_route(name, programs) for name, programs in self.programs_of.items()}

    @property
    def keys(self) -> list[str]:
        """The keys of the routes with programs, each once."""
        return list(dict.fromkeys(route.key for routes in self.by_program.values() for route in routes))

    def find(self, account: str, channel: Channel, number: str | None) -> Route:
        """The route of a text; for a number without a program the account's own.

        Raises `BadPayload` for an account that is not configured (any more).
        """
        if account not in self.unrouted:
            raise BadPayload(f"the account {account!r} is not configured. Configure it, then retry.")
        known = self._numbers.get((account, _family(channel), number)) if number else None
        return known or self.unrouted[account]

    def number_called(self, account: str, reference: str | None) -> str | None:
        """The number that the carrier of an account calls so; None if there is none."""
        return self._references.get((account, reference)) if reference else None

    def unasked(self) -> list[tuple[str, str]]:
        """The numbers where somebody else answers START, with the program that would ask for a YES then."""
        firsts = [(route, route.policies[0]) for route in self._numbers.values() if route.answered.start]
        found = [(route.number, first.program) for route, first in firsts if first.program and first.opt_in != "single"]
        return list(dict.fromkeys(found))

    def number_for(self, program: str, person: str) -> tuple[str, str] | None:
        """The account and the number that a person is texted from first: one of their own country, if there is one, of
        those that can send, else one of an unknown country; a name only if there is no number to answer to. None if
        none can.
        """
        country = country_of(person)
        routes = [route for route in self.by_program[program] if route.account in self._accounts]
        found = [route for route in routes if self._accounts[route.account].reply_lane]
        found.sort(
            key=lambda route: (_is_name(route.number), route.country != country, route.country not in (country, None))
        )
        return (found[0].account, found[0].number) if found else None

    def _add_number(self, number: Number) -> None:
        carrier = self._accounts[number.account].carrier
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
        rates = self.rates[number.account]
        rates[number.number] = min(rate, rates.get(number.number, rate))
        answered = answered_texts(answers, network=network)
        route = replace(_route(number, programs, blocks=network), answered=answered, country=country)
        # Nobody can text a name: it is here for what its carrier reports of texts that were sent from it.
        texted_by = (number.account,) if number.type == "alphanumeric" else (number.account, API_ACCOUNT)
        for account in texted_by:
            self._numbers.setdefault((account, channel, number.number), route)
        for program in number.program:
            self.by_program.setdefault(program, []).append(route)
        if number.reference:
            self._references[number.account, number.reference] = number.number

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


def _route(number: Number | None, programs: list[Program], *, blocks: bool = False) -> Route:
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


def _family(channel: Channel) -> Channel:
    """The channel of the programs that texts of a channel belong to."""
    return "whatsapp" if channel == "whatsapp" else "sms"


def _is_name(number: str) -> bool:
    return not number.removeprefix("+").isdecimal()
