"""From what a text means to what follows from it for one program: a row for each state that the sender may be in.

Pure: no I/O, no clock. The store finds the sender's state and applies that state's row, in one atomic call.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from router.consent import STATES, Call, OptInMode, ReplyKind, Step, call_step, step
from router.records import read_decision, write_decision
from router.rules import Match, Rule
from router.types import ConsentState, Decision, Intent, OptOutType, Row

_HINTED: dict[OptOutType, Intent] = {"STOP": "opt_out", "START": "opt_in", "HELP": "help"}
_CALLED: dict[Call, Intent] = {"subscribe": "opt_in", "welcome": "opt_in", "ask": "opt_in", "unsubscribe": "opt_out"}
_DAY = 86_400
_HOUR = 3_600


@dataclass(frozen=True, slots=True)
class Policy:
    """What a program says about answering on one of its numbers. `program` is None for a number that no program has.

    `replies`: language → kind of reply → text. `deaf_to`: the intents that mean nothing on this number.
    `network_blocks`: the network itself keeps a block for who texts STOP, until they text START.
    """

    program: str | None
    opt_in: OptInMode
    confirm_within_days: int
    languages: tuple[str, ...]
    replies: Mapping[str, Mapping[ReplyKind, str]]
    choose_within_hours: int = 24
    deaf_to: frozenset[Intent] = frozenset()
    network_blocks: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """How a text is to be taken.

    `hint` is the carrier's own reading; it has already answered the person. `answered`: somebody did so by a word of
    their own, and does not say it; `network` is what the network behind the number takes the text for, if anything.
    `person` is False for a sender that is a machine or a name: it has no consent to change and is never answered.
    `late` is a text that is not taken in its turn (it waited on disk, or was a dead letter): nobody is answered, and
    only an opt-out overrules what the person has said since. `silent` is for what is not a text to us: it is never
    answered. `which` makes the confirmation of an opt-out ask which programs to keep.
    """

    hint: OptOutType | None = None
    person: bool = True
    late: bool = False
    silent: bool = False
    which: bool = False
    answered: bool = False
    network: Intent | None = None


def decide(policy: Policy, match: Match, reading: Reading) -> tuple[Row, ...]:
    """The rows in the order of `consent.STATES`."""
    intent = intended(policy, match, reading.hint)
    # A number without a program has nothing to subscribe to; an opt-out sent to it holds for the whole account.
    counts = reading.person and (policy.program is not None or intent == "opt_out")
    named = match.rule is not None and match.rule.program is not None
    keeps = match.rule is not None and match.rule.keeps
    # Nobody is left choosing who was not asked.
    which = reading.which and answers(match, reading)

    def found(state: ConsentState) -> Step:
        if not counts:
            return Step(state, None)
        return step(policy.opt_in, intent, state, named=named, keeps=keeps, which=which)

    return tuple(_row(policy, match, intent, state, found(state), reading, counts=counts) for state in STATES)


def decide_call(policy: Policy, match: Match, call: Call, *, dated: bool = False) -> tuple[Row, ...]:
    """The rows of what a caller of the API says; `match` names the rule that it came by.

    `dated`: if the person has said something else since, nothing changes.
    """
    intent = _CALLED[call]
    found: Callable[[ConsentState], Step] = lambda state: call_step(call, state)  # noqa: E731
    reading = Reading()
    rows = tuple(_row(policy, match, intent, state, found(state), reading, counts=True) for state in STATES)
    return tuple(replace(row, otherwise=_unchanged(row)) for row in rows) if dated else rows


def decide_block(policy: Policy) -> tuple[Row, ...]:
    """The rows of a carrier's report that it sends the person nothing: a fact beside the consent, which stays."""
    match = Match(Rule("none", None, None, "provider:block"))
    rows = (_row(policy, match, "none", state, Step(state, None), Reading(), counts=False) for state in STATES)
    return tuple(replace(row, recorded=True, block="set") for row in rows)


def intended(policy: Policy, match: Match, hint: OptOutType | None) -> Intent:
    """What the text is taken for: our reading, or the carrier's where it has one and ours is not an opt-out."""
    intent = _HINTED[hint] if hint and match.intent != "opt_out" else match.intent
    return "none" if intent in policy.deaf_to else intent


def _row(
    policy: Policy, match: Match, intent: Intent, before: ConsentState, found: Step, reading: Reading, *, counts: bool
) -> Row:
    asks = match.asks and found.reply == "none"
    answered = answers(match, reading)
    rule = match.rule
    decision = Decision(
        intent=intent,
        keyword=rule.keyword if rule else None,
        argument=match.argument,
        program=policy.program,
        language=rule.language if rule else None,
        rule=match.name,
        before=before,
        after=found.after,
        reply=None,
    )
    kind = found.reply if answered else None
    replies = _replies(policy, match, "doubtful" if asks and kind else kind)
    otherwise = decision
    if reading.late and intent != "opt_out":
        otherwise = replace(decision, after=before)
    prompted = intent == "opt_in" and found.reply == "prompt"
    # An opt-out is the latest word even where the state was the same: another one may have been given since.
    renews = counts and (prompted or intent == "opt_out")
    block = _block(policy, match, intent, reading)
    confirms = intent == "confirm" and found.reply is not None
    return Row(
        before=before,
        after=found.after,
        renews=renews,
        expires_in=_lasts(policy, found.after) if renews or found.after != before else 0,
        asks_again_in=_DAY if asks else 0,
        decisions=tuple(write_decision(replace(decision, reply=reply)) for reply in replies),
        otherwise=b"" if otherwise == decision and replies == (None,) else write_decision(otherwise),
        replies=replies != (None,),
        recorded=counts and (renews or found.after != before or intent == "help" or confirms or block != ""),
        lapses_to="unsubscribed" if found.after == "choosing" else None,
        language=_language(policy, match, reading),
        block=block,
    )


def _unchanged(row: Row) -> bytes:
    """The decision that nothing follows."""
    return write_decision(replace(read_decision(row.decisions[0]), after=row.before, reply=None))


def answers(match: Match, reading: Reading) -> bool:
    """Whether the text may be answered by us."""
    elsewhere = reading.hint or reading.answered
    return not (reading.silent or reading.late or elsewhere or not reading.person or match.from_machine)


def _block(policy: Policy, match: Match, intent: Intent, reading: Reading) -> Literal["", "set", "clear"]:
    """What is to be noted of the block that the carrier or the network keeps of the person.

    A network goes by its own words alone; with other carriers, whoever texts START at all has no block that is worth a
    hint any more. What waited on disk may be older than a block, and so never clears one.
    """
    if not reading.person:
        return ""
    if policy.network_blocks and reading.network == "opt_out":
        return "set"
    lifts = reading.network == "opt_in" if policy.network_blocks else intent == "opt_in" and match.layer is not None
    return "clear" if lifts and not reading.late else ""


def _lasts(policy: Policy, state: ConsentState) -> int:
    """How long a state that is written now holds, in seconds; 0 for ever."""
    lasts = {"pending": policy.confirm_within_days * _DAY, "choosing": policy.choose_within_hours * _HOUR}
    return lasts.get(state, 0)


def _language(policy: Policy, match: Match, reading: Reading) -> str:
    """The language that the person is now known to speak, where that makes a difference."""
    rule = match.rule
    tells = rule is not None and rule.telling and rule.language in policy.languages
    if not tells or rule is None or len(policy.languages) == 1 or reading.late or not reading.person:
        return ""
    return rule.language or ""


def _replies(policy: Policy, match: Match, kind: ReplyKind | None) -> tuple[str | None, ...]:
    """The reply to people of each of the program's languages, or the one to all: in the language of the keyword if that
    tells it, else in the person's, else in the first of the program's languages that has one.
    """
    if kind is None:
        return (None,)
    texts = match.rule.replies if match.rule and kind == "custom" else None
    told = (match.rule.language,) if match.rule and match.rule.telling and match.rule.language else ()
    found = tuple(
        _text(policy, texts, kind, (*told, language, *policy.languages))
        for language in policy.languages[: 1 if told else None]
    )
    return found[:1] if len(set(found)) == 1 else found


def _text(policy: Policy, own: Mapping[str, str] | None, kind: ReplyKind, languages: tuple[str, ...]) -> str | None:
    """The text of the first language that has one; `own` are those of a keyword, if it is for them to answer."""
    if kind == "custom":
        return next((own[name] for name in languages if own and own.get(name)), None)
    by_language = (policy.replies.get(name, {}).get(kind) for name in languages)
    return next((text for text in by_language if text), None)
