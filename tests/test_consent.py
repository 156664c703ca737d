"""The state table and the rows made of it: what may never happen, for every mode, intent and state."""

import itertools
from dataclasses import replace
from typing import get_args

import pytest

from router.consent import STATES, Call, OptInMode, call_step, step
from router.decide import Policy, Reading, decide, intended
from router.records import read_decision
from router.rules import Match, Rule
from router.types import ConsentState, Decision, Intent, OptOutType

MODES: tuple[OptInMode, ...] = get_args(OptInMode)
INTENTS: tuple[Intent, ...] = get_args(Intent)
EVERY_ROW = list(itertools.product(MODES, INTENTS, STATES))

POLICY = Policy(
    program="deals",
    opt_in="double",
    confirm_within_days=30,
    languages=("en", "fr"),
    replies={
        "en": {"opt_in": "welcome", "prompt": "sure?", "opt_out": "bye", "help": "call us", "none": "what?"},
        "fr": {"opt_in": "bienvenue", "opt_out": "au revoir"},
    },
)


def match(intent: Intent, language: str | None = "en", replies: dict[str, str] | None = None) -> Match:
    rule = Rule(intent, "WORD", language, f"keyword:{language}/WORD", replies or {}, telling=language is not None)
    return Match(rule, layer="keyword", intent=intent)


def decision(
    policy: Policy, found: Match, state: ConsentState, *, hint: OptOutType | None = None, person: bool = True
) -> Decision:
    """The decision for a sender in that state."""
    row = decide(policy, found, Reading(hint=hint, person=person))[STATES.index(state)]
    return read_decision(row.decisions[0])


@pytest.mark.parametrize(("mode", "intent", "state"), EVERY_ROW)
def test_an_opt_out_always_leads_to_unsubscribed_and_nothing_else_does(
    mode: OptInMode, intent: Intent, state: ConsentState
) -> None:
    after = step(mode, intent, state).after

    assert (after == "unsubscribed") == (intent == "opt_out" or (state == "unsubscribed" and intent != "opt_in"))


@pytest.mark.parametrize(("mode", "intent"), list(itertools.product(MODES, INTENTS)))
def test_who_has_opted_out_is_answered_only_help_and_a_new_opt_in(mode: OptInMode, intent: Intent) -> None:
    answered = step(mode, intent, "unsubscribed").reply is not None

    assert answered == (intent in ("help", "opt_in"))


@pytest.mark.parametrize(("mode", "intent", "state"), [row for row in EVERY_ROW if row[2] != "subscribed"])
def test_only_an_opt_in_or_a_pending_yes_subscribes(mode: OptInMode, intent: Intent, state: ConsentState) -> None:
    subscribes = step(mode, intent, state).after == "subscribed"

    asked_before = mode != "double" or state == "choosing"
    assert subscribes == ((intent == "opt_in" and asked_before) or (intent == "confirm" and state == "pending"))


@pytest.mark.parametrize("state", STATES)
def test_help_changes_nothing_and_always_answers(state: ConsentState) -> None:
    for mode in MODES:
        assert step(mode, "help", state).after == state
        assert step(mode, "help", state).reply == "help"


def test_the_reply_is_in_the_language_of_the_keyword_or_else_in_the_programs_first() -> None:
    assert decision(POLICY, match("opt_out", "fr"), "subscribed").reply == "au revoir"
    assert decision(POLICY, match("opt_in", "fr"), "none").reply == "sure?"
    assert decision(POLICY, match("help", "fr"), "none").reply == "call us"


def test_a_keyword_of_the_program_answers_with_its_own_text() -> None:
    own = match("custom", None, {"fr": "dix pour cent"})

    assert decision(POLICY, own, "none").reply == "dix pour cent"
    assert decision(POLICY, own, "unsubscribed").reply is None


@pytest.mark.parametrize(
    ("hint", "reads", "counts"),
    [
        ("STOP", "custom", "opt_out"),
        ("START", "opt_out", "opt_out"),
        ("HELP", "none", "help"),
        ("START", "none", "opt_in"),
    ],
)
def test_the_carriers_reading_counts_unless_ours_is_an_opt_out(hint: OptOutType, reads: Intent, counts: Intent) -> None:
    assert intended(POLICY, match(reads), hint) == counts
    assert decision(POLICY, match(reads), "subscribed", hint=hint).reply is None


def test_what_the_carrier_answers_itself_is_recorded_in_silence() -> None:
    row = decide(POLICY, match("opt_out"), Reading(answered=True))[STATES.index("subscribed")]
    found = read_decision(row.decisions[0])

    assert (found.after, found.reply) == ("unsubscribed", None)
    assert row.recorded


@pytest.mark.parametrize(
    ("network_blocks", "network", "intent", "late", "block"),
    [
        (True, "opt_out", "opt_out", False, "set"),
        (True, "opt_out", "none", False, "set"),
        (True, "opt_out", "opt_out", True, "set"),
        (True, None, "opt_out", False, ""),
        (True, "opt_in", "opt_in", False, "clear"),
        (True, "opt_in", "opt_in", True, ""),
        (True, None, "opt_in", False, ""),
        (False, None, "opt_out", False, ""),
        (False, None, "opt_in", False, "clear"),
        (False, None, "opt_in", True, ""),
    ],
)
def test_a_networks_block_follows_its_own_words_and_any_opt_in_ends_another_carriers(
    network_blocks: bool, network: Intent | None, intent: Intent, late: bool, block: str
) -> None:
    policy = replace(POLICY, network_blocks=network_blocks)
    rows = decide(policy, match(intent), Reading(network=network, late=late))

    assert {row.block for row in rows} == {block}


@pytest.mark.parametrize("intent", INTENTS)
@pytest.mark.parametrize("state", STATES)
def test_a_sender_that_is_nobody_changes_nothing_and_hears_nothing(intent: Intent, state: ConsentState) -> None:
    found = decision(POLICY, match(intent), state, person=False)

    assert (found.after, found.reply) == (state, None)


@pytest.mark.parametrize("intent", INTENTS)
def test_a_number_without_program_knows_only_the_opt_out(intent: Intent) -> None:
    unrouted = replace(POLICY, program=None, opt_in="single", replies={})
    rows = decide(unrouted, match(intent), Reading())

    assert [row.after for row in rows] == (["unsubscribed"] * 5 if intent == "opt_out" else list(STATES))
    assert [row.renews for row in rows] == [intent == "opt_out"] * 5


def test_a_question_stays_open_for_the_days_that_the_program_says_and_each_asking_starts_anew() -> None:
    rows = decide(POLICY, match("opt_in"), Reading())

    assert [(row.after, row.renews, row.expires_in) for row in rows] == [
        ("pending", True, 30 * 86400),
        ("pending", True, 30 * 86400),
        ("subscribed", False, 0),
        ("pending", True, 30 * 86400),
        ("subscribed", False, 0),
    ]


def test_what_is_decided_past_the_reply_limit_stands_beside_each_decision_with_a_reply() -> None:
    for intent in INTENTS:
        for row in decide(POLICY, match(intent), Reading()):
            found = read_decision(row.decisions[0])
            expected = replace(found, reply=None) if found.reply else None
            assert (read_decision(row.otherwise) if row.otherwise else None) == expected


@pytest.mark.parametrize("intent", INTENTS)
def test_a_late_text_answers_nobody_and_only_an_opt_out_overrules_what_was_said_since(intent: Intent) -> None:
    for row in decide(POLICY, match(intent), Reading(late=True)):
        found = read_decision(row.decisions[0])
        assert found.reply is None
        if intent == "opt_out" or found.after == found.before:
            assert row.otherwise == b""
        else:
            assert read_decision(row.otherwise) == replace(found, after=found.before)


@pytest.mark.parametrize("state", STATES)
def test_a_doubtful_text_changes_nothing_and_is_asked_about_unless_the_person_has_opted_out(
    state: ConsentState,
) -> None:
    policy = replace(POLICY, replies={"en": {**POLICY.replies["en"], "doubtful": "stop?"}})
    doubtful = replace(match("opt_out"), intent="none", asks=True)
    row = decide(policy, doubtful, Reading())[STATES.index(state)]
    found = read_decision(row.decisions[0])

    assert (found.intent, found.before, found.after) == ("none", state, state)
    assert (found.reply, row.asks_again_in) == (
        (None, 0) if state in ("unsubscribed", "choosing") else ("stop?", 86_400)
    )


@pytest.mark.parametrize("reading", [Reading(hint="STOP"), Reading(late=True), Reading(silent=True)])
def test_nobody_is_left_choosing_who_was_not_asked(reading: Reading) -> None:
    policy = replace(POLICY, replies={"en": {**POLICY.replies["en"], "choice": "which?"}})
    asked = decide(policy, match("opt_out"), Reading(which=True))
    silent = decide(policy, match("opt_out"), replace(reading, which=True))

    assert [row.after for row in asked if row.before == "subscribed"] == ["choosing"]
    assert {row.after for row in silent} == {"unsubscribed"}


def test_the_reply_to_a_word_that_tells_no_language_is_given_in_each_of_the_programs() -> None:
    rule = Rule("opt_out", "STOP", "en", "keyword:en/STOP")
    rows = decide(POLICY, Match(rule, layer="keyword", intent="opt_out"), Reading())
    subscribed = rows[STATES.index("subscribed")]

    assert [read_decision(written).reply for written in subscribed.decisions] == ["bye", "au revoir"]
    assert subscribed.language == ""


def test_a_word_that_tells_the_language_is_answered_in_it_and_remembered() -> None:
    row = decide(POLICY, match("opt_out", "fr"), Reading())[STATES.index("subscribed")]

    assert [read_decision(written).reply for written in row.decisions] == ["au revoir"]
    assert row.language == "fr"


@pytest.mark.parametrize(("call", "state"), list(itertools.product(get_args(Call), STATES)))
def test_what_is_called_leads_where_it_says_and_texts_nobody_who_did_not_ask(call: Call, state: ConsentState) -> None:
    found = call_step(call, state)

    assert (found.after == "unsubscribed") == (call == "unsubscribe")
    assert found.after == "subscribed" if call in ("subscribe", "welcome") else True
    assert found.reply is None or (call, found.reply) in {("welcome", "opt_in"), ("ask", "prompt")}
