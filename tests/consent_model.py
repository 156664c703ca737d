"""The rules of consent, written a second time: from the law and the documents of carriers, not from the product.

What a text means is given. Times are in unix seconds. The sources: 47 CFR 64.1200(a)(10)-(12) on revoking consent, the
CTIA handbook on STOP and HELP, Braze on its double opt-in.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from router.types import ConsentState, Intent
from tests.consent_terms import Number, Outcome, Person, Program, Said, Standing

HOUR, DAY = 3_600.0, 86_400.0
RECOGNISED_FOR = DAY
CONFIRMED_WITHIN = 300.0
#: How long a question is open: that of a double opt-in, and that which programs to keep.
LASTS: Mapping[ConsentState, float] = {"pending": 30 * DAY, "choosing": 24 * HOUR}
OUT: tuple[ConsentState, ...] = ("unsubscribed", "choosing")
#: A number's text is about one of its programs: that where the person stands like this, the first of these first.
TEXTED: Sequence[ConsentState] = ("subscribed", "pending", "none", "choosing", "unsubscribed")
#: YES answers a question first of all.
ANSWERED: Sequence[ConsentState] = ("pending", "choosing", "subscribed", "none", "unsubscribed")
_MOMENT = 1e-6
States = Mapping[str, ConsentState]


def rule(mode: str, said: Said, state: ConsentState, *, which: bool) -> tuple[ConsentState, str | None]:
    """What a person's word makes of where they stand towards a program, and the kind of text that they get for it."""
    if said.intent == "opt_out":  # counts at once and always; it is confirmed once
        after: ConsentState = "choosing" if which and state == "subscribed" else "unsubscribed"
        return after, None if state in OUT else "choice" if which else "opt_out"
    if said.intent == "help":  # answers everybody, and changes nothing
        return state, "help"
    if said.intent == "opt_in":
        if state in ("subscribed", "choosing") or mode == "single":
            return "subscribed", "opt_in"
        return ("pending" if mode == "double" else "subscribed"), "prompt"
    if said.intent == "confirm":  # answers a question: with YES the double opt-in's, by a name that which to keep
        asked = state == "pending" or (state == "subscribed" and mode == "subscribe_first")
        kept = state == "choosing" and said.program is not None
        return ("subscribed", "opt_in") if kept or (asked and not said.keeps) else (state, None)
    return state, None if state in OUT else said.intent  # all else is answered unless the person has opted out


def called(said: str, state: ConsentState) -> tuple[ConsentState, str | None]:
    """The same for what a caller of the API says."""
    if said == "unsubscribe":
        return "unsubscribed", None
    if said == "ask" and state != "subscribed":  # nobody is reminded
        return "pending", None if state == "pending" else "prompt"
    return "subscribed", "opt_in" if said == "welcome" and state != "subscribed" else None


class Model:
    """The consent of some people towards some programs."""

    def __init__(self, programs: Mapping[str, Program], numbers: Sequence[Number], replies_per_hour: int) -> None:
        self.programs, self.numbers, self.limit = programs, numbers, replies_per_hour
        self.people: defaultdict[str, Person] = defaultdict(Person)

    def state(self, name: str, program: str, now: float) -> ConsentState:
        return self.people[name].standings[program].at(now)

    def known(self, name: str, text_id: str, now: float) -> Outcome | None:
        """What followed when the text came for the first time, if it is a repeat."""
        at, outcome = self.people[name].seen.get(text_id, (-RECOGNISED_FOR, None))
        return outcome if now - at < RECOGNISED_FOR else None

    def text(
        self, name: str, number: Number, said: Said, text_id: str, now: float, written: float | None = None
    ) -> Outcome:
        """A text, or consent set elsewhere. `written` is given for one that comes late, out of its turn."""
        person, opts_out = self.people[name], said.intent == "opt_out"
        late = written is not None
        whole, ended = self._ended(number, said)
        meant = ended if opts_out and not whole else self._meant(number, said)
        about = self._about(person, meant or (whole,), said.intent, now)
        answers = self._answers(number, said) and not late
        which = answers and self._asks_which(person, number, said, meant, now) and not whole
        before = person.standings[about].at(now)
        after, kind = self._follows(number, said, about, before, which=which)
        if late and not opts_out and after != before and (written or now) < person.standings[about].since:
            return person.takes(text_id, now, Outcome(about, before, before))  # what was said since holds
        moved = (*ended, whole) if whole else ended if opts_out else (about,)
        states = {program: person.standings[program].at(now) for program in moved}
        then = {program: self._follows(number, said, program, states[program], which=which)[0] for program in moved}
        counts = self._counts(number, said)
        if counts:
            anew = opts_out or (said.intent == "opt_in" and after == "pending")
            self._move(person, states, then, now, now if written is None else written, anew=anew)
        if said.texted and said.person:
            self._note(person, number, said, late=late)
        changes = tuple((program, states[program], then[program]) for program in ended)
        changes = () if not opts_out else ((whole, before, after),) if whole else changes if len(ended) > 1 else ()
        reply = self._reply(person, number, about, kind, said, now) if answers and kind else None
        renewed = said.intent == "opt_in" and (after == "pending" or (said.texted and not late))
        renewed = renewed or (said.intent == "confirm" and kind is not None)
        on_record = counts and (before != after or said.intent in ("opt_out", "help") or renewed)
        program = about if number.programs else None
        outcome = Outcome(program, before, after, reply, changes, on_record, helps=said.intent == "help")
        return person.takes(text_id, now, outcome)

    def call(self, name: str, program: str, said: str, number: Number, call_id: str, now: float) -> Outcome:
        """What a caller of the API says; a question or welcome is sent from the number."""
        person = self.people[name]
        before = person.standings[program].at(now)
        after, kind = called(said, before)
        anew = said == "unsubscribe" or (after == "pending" and before != "pending")
        self._move(person, {program: before}, {program: after}, now, now, anew=anew)
        reply = self._reply(person, number, program, kind, Said("opt_in"), now) if kind else None
        on_record = after != before or anew
        return person.takes(call_id, now, Outcome(program, before, after, reply, (), on_record))

    def imported(
        self, name: str, program: str, said: ConsentState, now: float, *, as_of: float | None, overrides: bool
    ) -> None:
        """A row of a file: it holds from the file's date on, and overrides no later word and no opt-out of no date."""
        standing = self.people[name].standings[program]
        state = standing.at(now)
        if state == said or (state in OUT and said == "unsubscribed"):
            return
        if state in OUT:
            stays = not overrides and (as_of is None or standing.since >= as_of)
        else:
            stays = as_of is not None and state != "none" and standing.since > as_of
        if not stays:
            since = max(now if as_of is None else as_of, standing.since + _MOMENT)
            self.people[name].standings[program] = Standing(said, since)

    def block(self, name: str, number: Number, report_id: str, now: float) -> Outcome:
        """A carrier reports that it sends the person nothing: a fact of its own, which changes no consent."""
        person, program = self.people[name], number.programs[0]
        person.blocks.add((number.account, number.number))
        state = person.standings[program].at(now)
        return person.takes(report_id, now, Outcome(program, state, state, on_record=True))

    def _ended(self, number: Number, said: Said) -> tuple[str, tuple[str, ...]]:
        """What an opt-out ends: what the number's scope says, and no less than is named; with a name for a whole."""
        if said.intent != "opt_out":
            return "" if number.programs else f"@{number.account}", ()
        if number.programs and (number.scope == "all" or said.everything):
            return "@all", tuple(self.programs)
        if number.scope == "account" or not number.programs:
            of_account = [other for other in self.numbers if other.account == number.account]
            return f"@{number.account}", tuple(dict.fromkeys(p for other in of_account for p in other.programs))
        if number.scope == "number" and not said.marketing:
            return "", number.programs
        return "", self._meant(number, said)

    def _meant(self, number: Number, said: Said) -> tuple[str, ...]:
        """The programs of the number that a text may be about."""
        if said.program:
            return (said.program,)
        found = tuple(p for p in number.programs if self.programs[p].marketing or not said.marketing)
        return found[:1] if said.intent == "opt_in" else found

    def _about(self, person: Person, programs: Sequence[str], intent: Intent, now: float) -> str:
        """The one that a text is about; of several where the person stands alike the latest."""
        order = ANSWERED if intent == "confirm" else TEXTED
        standings = person.standings
        return min(programs, key=lambda program: (order.index(standings[program].at(now)), -standings[program].since))

    def _counts(self, number: Number, said: Said) -> bool:
        """A machine has no consent, and a number that is nobody's knows only the opt-out."""
        return said.person and (bool(number.programs) or said.intent == "opt_out")

    def _answers(self, number: Number, said: Said) -> bool:
        """Whether it is for us to answer: not what the carrier answers, nor what was not texted."""
        ours = said.texted and not said.answered and not (said.alone and said.intent in number.carrier_answers)
        return bool(number.programs) and said.person and ours

    def _asks_which(self, person: Person, number: Number, said: Said, meant: Sequence[str], now: float) -> bool:
        """An opt-out that names no program may be answered with the question which to keep, if there are several."""
        subscribed = [program for program in meant if person.standings[program].at(now) == "subscribed"]
        return bool(number.choice) and len(subscribed) > 1 and said.program is None

    def _follows(
        self, number: Number, said: Said, program: str, state: ConsentState, *, which: bool
    ) -> tuple[ConsentState, str | None]:
        if not self._counts(number, said):
            return state, None
        if said.marketing and said.intent == "opt_in":
            return called("subscribe", state)
        mode = self.programs[program].mode if program in self.programs else "single"
        return rule(mode, said, state, which=which)

    def _move(self, person: Person, old: States, new: States, now: float, written: float, *, anew: bool) -> None:
        """Writes what is new; an opt-out and a question are written anew."""
        whole = any(name.startswith("@") for name in new)
        last_word = max((standing.since for standing in person.standings.values()), default=0.0) if whole else 0.0
        for program, state in new.items():
            if state != old[program] or anew:
                was = person.standings[program]
                since = max(written, max(last_word, was.since) + _MOMENT)
                until = now + LASTS[state] if state in LASTS else float("inf")
                back = was.then if was.state in LASTS else was.state
                then = "unsubscribed" if state == "choosing" else back
                person.standings[program] = Standing(state, since, until, then)

    def _note(self, person: Person, number: Number, said: Said, *, late: bool) -> None:
        """The language that the person speaks, and the block that a network keeps until they text START there."""
        if said.language and len(number.languages) > 1 and not late:
            person.language = said.language
        if number.network_blocks and said.intent == "opt_out" and said.alone:
            person.blocks.add((number.account, number.number))
        elif said.intent == "opt_in" and not late:
            person.blocks -= {(number.account, number.number), (number.account, "")}

    def _reply(self, person: Person, number: Number, program: str, kind: str, said: Said, now: float) -> str | None:
        """The text in the language of the word, else of the person, else of the number; none to a loop of machines."""
        own = said.own or {} if kind == "custom" else self.programs[program].texts.get(kind, {})
        texts = number.choice if kind == "choice" else own
        speaks = said.language or person.language or ""
        text = next((texts[language] for language in (speaks, *number.languages) if language in texts), None)
        if text is None:
            return None
        person.replies[number.number, int(now // HOUR)] += 1
        return text if person.replies[number.number, int(now // HOUR)] <= self.limit else None
