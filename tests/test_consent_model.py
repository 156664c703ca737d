"""Random histories of people, callers of the API, carriers and restarts: the product and the model never differ.

`pytest tests/test_consent_model.py --histories 10000` is the whole of it; by default there are few. A run prints its
seed; `--seed N` repeats it.
"""

import asyncio
import logging
import random
import uuid
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
import pytest
import structlog
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from router.calls import Call
from router.store import Entry
from router.types import ConsentState, RawRequest
from tests.consent_model import CONFIRMED_WITHIN, DAY, HOUR, OUT, Model
from tests.consent_terms import Number, Outcome, Said
from tests.consent_world import BEGAN, World
from tests.consenting import (
    NUMBERS,
    PREFERENCES,
    PROGRAMS,
    REPLIES_PER_HOUR,
    SAYINGS,
    SENT_FROM,
    TAPPED,
    hinted,
    write_configuration,
)
from tests.watch.sitecustomize import Watch

PEOPLE = ("+14155550151", "+14155550152")
#: Not a person: it has nothing to consent with.
MACHINE = "ACME"
#: From here on a message id is a new one for sure, and until the model says so it is known.
NEW_AGAIN = 30 * HOUR
STEPS = 25

Result = TypeVar("Result")
PLACES = st.integers(0, 2**16)
SOMEBODY = st.sampled_from(PEOPLE)
LATE_BY = st.sampled_from([0.5, 10.5, 100.5, 5 * HOUR, 3 * DAY])


class Histories(RuleBasedStateMachine):
    """One history: whatever happens, happens to the product and to the model."""

    config: Path
    loop: asyncio.AbstractEventLoop
    watch: Watch

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.config, f"h{uuid.uuid4().hex[:12]}")
        self.model = Model(PROGRAMS, list(NUMBERS.values()), REPLIES_PER_HOUR)
        self.count = 0
        self.came: list[tuple[float, str, str, Number, Said, RawRequest]] = []
        self.watch.look_into(self.world.url, self.world.prefix)
        self._run(self.world.open())

    def teardown(self) -> None:
        self._run(self.world.close())

    @initialize(names=st.lists(st.sampled_from(sorted(NUMBERS)), min_size=1, max_size=3, unique=True))
    def begin(self, names: list[str]) -> None:
        """A history is about few of the numbers, so that what happens there meets."""
        self.names = names
        self.programs = list(dict.fromkeys(p for name in names for p in NUMBERS[name].programs))

    @rule(who=SOMEBODY, where=PLACES, what=PLACES)
    def text(self, who: str, where: int, what: int) -> None:
        name, text, said = self._saying(where, what)
        self._texted(who, name, said, text=text)

    @rule(who=SOMEBODY, where=PLACES, what=PLACES)
    def text_again(self, who: str, where: int, what: int) -> None:
        """Twice as often as anything else: it is what people do."""
        self.text(who, where, what)

    @rule(where=PLACES, what=PLACES)
    def text_of_a_machine(self, where: int, what: int) -> None:
        name, text, said = self._saying(where, what)
        self._texted(MACHINE, name, hinted(said, person=False), text=text)

    @rule(who=SOMEBODY, where=PLACES, word=st.sampled_from(["STOP", "START", "HELP"]))
    def text_that_the_carrier_has_answered(self, who: str, where: int, word: str) -> None:
        name = self.names[where % len(self.names)]
        said = SAYINGS[name].get(word)
        if said and name != "chat":
            self._texted(who, name, hinted(said), text=word, opt_out_type=word)

    @precondition(lambda self: "chat" in self.names)
    @rule(who=SOMEBODY, button=st.sampled_from(sorted(TAPPED)))
    def tap(self, who: str, button: str) -> None:
        self._texted(who, "chat", TAPPED[button], text=button.title(), payload=button)

    @precondition(lambda self: "chat" in self.names)
    @rule(who=SOMEBODY, preference=st.sampled_from(sorted(PREFERENCES, key=str)))
    def set_preference(self, who: str, preference: tuple[str, str | None]) -> None:
        opt_out_type, scope = preference
        self._texted(who, "chat", PREFERENCES[preference], kind="preference", opt_out_type=opt_out_type, scope=scope)

    @precondition(lambda self: self.came)
    @rule(which=PLACES)
    def repeat(self, which: int) -> None:
        """The carrier offers a text again."""
        self.world.now += 1
        at, text_id, who, number, said, request = self.came[which % len(self.came)]
        known = self.model.known(who, text_id, self.world.now)
        if known is None and self.world.now - at < NEW_AGAIN:
            return  # the product may know it or not
        inline = self._run(self.world.post(request))
        if known is None:
            self.came[which % len(self.came)] = (self.world.now, text_id, who, number, said, request)
            self._expect(number, self.model.text(who, number, said, text_id, self.world.now), inline)
            return
        entries, sent = self._run(self.world.happened())
        note(f"a repeat, answered {inline}")
        allowed = self._may_still_be_given(who, known, self.world.now - at)
        assert inline == ([known.reply] if known.reply and number.account == "inline" and allowed else [])
        assert (entries, sent) == ([], [])

    @precondition(lambda self: self.programs)
    @rule(who=SOMEBODY, which=PLACES, said=st.sampled_from(["subscribe", "welcome", "ask", "unsubscribe"]))
    def call(self, who: str, which: int, said: str) -> None:
        """A caller of the API says something."""
        self.world.now += 1
        program = self.programs[which % len(self.programs)]
        state = "unsubscribed" if said == "unsubscribe" else "subscribed"
        call_id = self._id()
        note(f"api: {who} {program} {said}")
        call = Call(call_id, who, program, state, "api:/test", ask=said == "ask", welcome=said == "welcome")  # type: ignore[arg-type]
        self._run(self.world.call(call))
        number = SENT_FROM[program]
        self._expect(number, self.model.call(who, program, said, number, call_id, self.world.now), None)

    @precondition(lambda self: self.programs)
    @rule(who=SOMEBODY, where=PLACES)
    def block(self, who: str, where: int) -> None:
        """A carrier reports that it sends the person nothing."""
        self.world.now += 1
        number = NUMBERS[self.names[where % len(self.names)]]
        if not number.programs or number is NUMBERS["chat"]:
            return
        report = {"message_id": self._id(), "sender": number.number, "recipient": who, "failure": "opted_out"}
        note(f"blocked: {who} at {number.number}")
        inline = self._run(self.world.post(self.world.request(number.account, {"receipt": report})))
        outcome = self.model.block(who, number, report["message_id"], self.world.now)
        self._expect(number, outcome, inline)

    @rule(seconds=st.sampled_from([60, HOUR, 12 * HOUR, 24 * HOUR, 2 * DAY, 16 * DAY, 31 * DAY]))
    def wait(self, seconds: float) -> None:
        self.world.now += seconds
        self._compare()

    @rule(late=st.lists(st.tuples(SOMEBODY, PLACES, PLACES, LATE_BY), max_size=3))
    def restart(self, late: list[tuple[str, int, int, float]]) -> None:
        """What was written a while ago, when the store was away, is taken in only by the next application."""
        self.world.now += 1
        requests, told = [], []
        for who, where, what, ago in late:
            name, text, said = self._saying(where, what)
            text_id, request = self._request(who, name, text=text)
            requests.append(replace(request, received_at=self.world.now - ago))
            told.append((who, NUMBERS[name], said, text_id, self.world.now, self.world.now - ago))
            note(f"late by {ago}: {who} → {name}: {text}")
        self._run(self.world.restart(*requests))
        self._decided([self.model.text(*one) for one in told])
        self._compare()

    @precondition(lambda self: self.programs)
    @rule(
        who=SOMEBODY,
        which=PLACES,
        state=st.sampled_from(["subscribed", "unsubscribed"]),
        ago=st.sampled_from([None, 0.5, 30.0, 13 * HOUR, 20 * DAY]),
        overrides=st.booleans(),
    )
    def imports(self, who: str, which: int, state: ConsentState, ago: float | None, overrides: bool) -> None:
        """A row of a file from so long ago, or of no date."""
        self.world.now += 1
        program = self.programs[which % len(self.programs)]
        as_of = None if ago is None else self.world.now - ago
        note(f"import: {who} {program} {state} as of {ago} ago, overrides: {overrides}")
        self._run(self.world.imports(who, program, state, as_of, overrides=overrides))
        self.model.imported(who, program, state, self.world.now, as_of=as_of, overrides=overrides)
        assert self._decided([]) == []
        self._compare()

    def _saying(self, where: int, what: int) -> tuple[str, str, Said]:
        name = self.names[where % len(self.names)]
        texts = sorted(SAYINGS[name])
        text = texts[what % len(texts)]
        return name, text, SAYINGS[name][text]

    def _id(self) -> str:
        self.count += 1
        return f"m{self.count}"

    def _request(self, who: str, name: str, **text: Any) -> tuple[str, RawRequest]:
        number = NUMBERS[name]
        channel = "whatsapp" if name == "chat" else "sms"
        text_id = self._id()
        message = {"message_id": text_id, "sender": who, "recipient": number.number, "channel": channel}
        return text_id, self.world.request(number.account, {"text": message | text})

    def _texted(self, who: str, name: str, said: Said, **text: Any) -> None:
        self.world.now += 1
        number = NUMBERS[name]
        text_id, request = self._request(who, name, **text)
        note(f"{who} → {name}: {text} at {self.world.now - BEGAN:.0f}")
        inline = self._run(self.world.post(request))
        self.came.append((self.world.now, text_id, who, number, said, request))
        self._expect(number, self.model.text(who, number, said, text_id, self.world.now), inline)

    def _expect(self, number: Number, outcome: Outcome, inline: list[str] | None) -> None:
        """The decision, the way of the reply and what is stored are the model's. `inline` None: it was no webhook."""
        sent = self._decided([outcome])
        replies = [outcome.reply] if outcome.reply is not None else []
        note(f"    answered {inline}, sent {sent}; the model: {replies}")
        answered_inline = inline is not None and number.account == "inline"
        assert (inline or [], sent) == ((replies, []) if answered_inline else ([], replies))
        self._compare()

    def _decided(self, outcomes: list[Outcome]) -> list[str]:
        """What was decided is what the model says; what was sent for it."""
        entries, sent = self._run(self.world.happened())
        heard = [outcome for outcome in outcomes if outcome.program is not None or outcome.changes]
        decided, expected = list(map(_decided, entries)), list(map(_expected, heard))
        note(f"    decided {decided}; the model: {expected}")
        assert decided == expected
        return sent

    def _may_still_be_given(self, who: str, known: Outcome, ago: float) -> bool:
        """Nobody who has opted out since is told anything but what they asked with HELP; an opt-out is confirmed within
        five minutes or not at all.
        """
        out = bool(known.program) and self.model.state(who, known.program or "", self.world.now) in OUT
        return known.helps or (ago <= CONFIRMED_WITHIN and known.after in OUT if out else known.after not in OUT)

    def _compare(self) -> None:
        """What is stored of everybody is what the model knows."""
        now = self.world.now
        for who in PEOPLE:
            person, expected = self._run(self.world.person(who)), self.model.people[who]
            states = {p: person.state(self.world.routing.bearing_on(p), now) for p in PROGRAMS}
            assert states == {p: self.model.state(who, p, now) for p in PROGRAMS}, who
            assert person.language == expected.language
            assert {(block.account, block.number or "") for block in person.blocks} == expected.blocks

    def _run(self, what: Coroutine[Any, Any, Result]) -> Result:
        return self.loop.run_until_complete(what)


def _decided(entry: Entry) -> tuple[object, ...]:
    decision = entry.event.decision
    changes = tuple((change.program, change.before, change.after) for change in decision.changes)
    recorded = "@ledger" in entry.destinations
    return decision.program, decision.before, decision.after, decision.reply, changes, recorded


def _expected(outcome: Outcome) -> tuple[object, ...]:
    return outcome.program, outcome.before, outcome.after, outcome.reply, outcome.changes, outcome.on_record


@pytest.fixture
def quiet() -> Iterator[None]:
    """Nothing is logged below an error: an application starts thousands of times."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("quiet")
def test_product_and_model_never_differ(
    pytestconfig: pytest.Config,
    carriers: Path,
    embedded_url: str,
    watch: Watch,
    record_property: Callable[[str, object], None],
) -> None:
    seed = pytestconfig.getoption("--seed") or random.randrange(2**32)
    record_property("seed", seed)
    with asyncio.Runner() as runner:
        Histories.config = write_configuration(carriers, embedded_url, "histories")
        Histories.loop, Histories.watch = runner.get_loop(), watch
        run_state_machine_as_test(
            hypothesis.seed(seed)(Histories),
            settings=settings(
                max_examples=pytestconfig.getoption("--histories"),
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                report_multiple_bugs=False,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            ),
        )
