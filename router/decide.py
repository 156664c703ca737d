"""From what a text means to what follows from it: one row for each state that the sender may be in.

Pure: no I/O, no clock. The store finds the sender's state and applies that state's row, in one atomic call.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import orjson

from router.consent import STATES, OptInMode, ReplyKind, Step, step
from router.rules import Match
from router.types import ConsentState, Decision, Intent, OptOutType, Row

_HINTED: dict[OptOutType, Intent] = {"STOP": "opt_out", "START": "opt_in", "HELP": "help"}
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Policy:
    """What a number's program says about answering. `program` is None for a number that no program has.

    `replies`: language → kind of reply → text. `carrier_answers`: the intents that the carrier answers itself.
    """

    program: str | None
    opt_in: OptInMode
    confirm_within_days: int
    languages: tuple[str, ...]
    replies: Mapping[str, Mapping[ReplyKind, str]]
    carrier_answers: frozenset[Intent]


def decide(
    policy: Policy, match: Match, hint: OptOutType | None, *, person: bool, late: bool = False, silent: bool = False
) -> tuple[Row, ...]:
    """The rows in the order of `consent.STATES`.

    `hint` is the carrier's own reading; it has already answered the person. `person` is False for a sender that is a
    machine or a name: it has no consent to change and is never answered. `late` is a text that is not taken in its
    turn (it waited on disk, or was a dead letter): nobody is answered, and only an opt-out overrules what the person
    has said since. `silent` is for what is not a text to us: it is never answered.
    """
    intent = intended(match, hint)
    silent = silent or late or hint is not None or not person
    answer = not (silent or match.from_machine or intent in policy.carrier_answers)
    return tuple(_row(policy, match, intent, state, person=person, answer=answer, late=late) for state in STATES)


def intended(match: Match, hint: OptOutType | None) -> Intent:
    """What the text is taken for: our reading, or the carrier's where it has one and ours is not an opt-out."""
    return _HINTED[hint] if hint and match.intent != "opt_out" else match.intent


def _row(
    policy: Policy, match: Match, intent: Intent, before: ConsentState, *, person: bool, answer: bool, late: bool
) -> Row:
    # A number without a program has nothing to subscribe to; an opt-out sent to it holds for the whole account.
    counts = person and (policy.program is not None or intent == "opt_out")
    found = step(policy.opt_in, intent, before) if counts else Step(before, None)
    rule = match.rule
    asks = match.asks and found.reply == "none"
    decision = Decision(
        intent=intent,
        keyword=rule.keyword if rule else None,
        argument=match.argument,
        program=policy.program,
        language=rule.language if rule else None,
        rule=match.name,
        before=before,
        after=found.after,
        reply=_reply(policy, match, "doubtful" if asks else found.reply) if answer else None,
    )
    otherwise = decision
    if late and intent != "opt_out":
        otherwise = replace(decision, after=before)
    elif answer:
        otherwise = replace(decision, reply=None)
    prompted = intent == "opt_in" and found.after == "pending"
    return Row(
        before=before,
        after=found.after,
        # An opt-out is the latest word even where the state was the same: another one may have been given since.
        renews=counts and (prompted or intent == "opt_out"),
        expires_in=policy.confirm_within_days * _DAY if prompted else 0,
        asks_again_in=_DAY if asks else 0,
        decision=orjson.dumps(decision),
        otherwise=b"" if otherwise == decision else orjson.dumps(otherwise),
        replies=decision.reply is not None,
    )


def _reply(policy: Policy, match: Match, kind: ReplyKind | None) -> str | None:
    """The text in the keyword's language, else in the first of the program's languages that has one."""
    if kind is None:
        return None
    own = match.rule.language if match.rule else None
    languages = [name for name in (own, *policy.languages) if name]
    if kind == "custom":
        texts = match.rule.replies if match.rule else {}
        return next((texts[name] for name in languages if texts.get(name)), None)
    by_language = (policy.replies.get(name, {}).get(kind) for name in languages)
    return next((text for text in by_language if text), None)
