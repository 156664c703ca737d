"""The state table of consent, written to be read by a lawyer. Nothing else knows a transition.

A row says: in this state, a text with this intent leads to that state and gets that reply. Sources: the FCC rule on
revoking consent (47 CFR 64.1200(a)(10)-(12): one confirmation of an opt-out, nothing after it), the CTIA handbook
(HELP answers for everybody and changes nothing), Braze's double opt-in (pending until a confirmation word, for a
limited time; an opt-out ends it).
"""

from dataclasses import dataclass
from typing import Literal, get_args

from router.types import ConsentState, Intent

OptInMode = Literal["single", "double"]
#: Which of a program's texts answers: its welcome, its double opt-in question, the one confirmation of an opt-out,
#: its help, the matched keyword's own reply, the reply to what matched nothing, or the question whether that which
#: may be an opt-out is one.
ReplyKind = Literal["opt_in", "prompt", "opt_out", "help", "custom", "none", "doubtful"]

STATES: tuple[ConsentState, ...] = get_args(ConsentState)


@dataclass(frozen=True, slots=True)
class Step:
    """Where a text leads and which reply it gets; `reply` None is silence."""

    after: ConsentState
    reply: ReplyKind | None


_ALWAYS: dict[tuple[Intent, ConsentState], Step] = {
    # An opt-out takes effect from every state, and is confirmed once.
    ("opt_out", "none"): Step("unsubscribed", "opt_out"),
    ("opt_out", "pending"): Step("unsubscribed", "opt_out"),
    ("opt_out", "subscribed"): Step("unsubscribed", "opt_out"),
    ("opt_out", "unsubscribed"): Step("unsubscribed", None),
    # Help answers for everybody, also for who has opted out, and changes nothing.
    ("help", "none"): Step("none", "help"),
    ("help", "pending"): Step("pending", "help"),
    ("help", "subscribed"): Step("subscribed", "help"),
    ("help", "unsubscribed"): Step("unsubscribed", "help"),
    # A program's own keyword, and a text that matched nothing: answered unless the person has opted out.
    ("custom", "none"): Step("none", "custom"),
    ("custom", "pending"): Step("pending", "custom"),
    ("custom", "subscribed"): Step("subscribed", "custom"),
    ("custom", "unsubscribed"): Step("unsubscribed", None),
    ("none", "none"): Step("none", "none"),
    ("none", "pending"): Step("pending", "none"),
    ("none", "subscribed"): Step("subscribed", "none"),
    ("none", "unsubscribed"): Step("unsubscribed", None),
    # YES means something only to who was asked. It never subscribes anybody else: it answers some other question.
    ("confirm", "none"): Step("none", None),
    ("confirm", "pending"): Step("subscribed", "opt_in"),
    ("confirm", "subscribed"): Step("subscribed", None),
    ("confirm", "unsubscribed"): Step("unsubscribed", None),
}

_SINGLE: dict[tuple[Intent, ConsentState], Step] = {
    ("opt_in", "none"): Step("subscribed", "opt_in"),
    ("opt_in", "pending"): Step("subscribed", "opt_in"),
    ("opt_in", "subscribed"): Step("subscribed", "opt_in"),
    ("opt_in", "unsubscribed"): Step("subscribed", "opt_in"),
}

_DOUBLE: dict[tuple[Intent, ConsentState], Step] = {
    # Each START asks again and starts the time limit anew; who is subscribed is not asked.
    ("opt_in", "none"): Step("pending", "prompt"),
    ("opt_in", "pending"): Step("pending", "prompt"),
    ("opt_in", "subscribed"): Step("subscribed", "opt_in"),
    ("opt_in", "unsubscribed"): Step("pending", "prompt"),
}

_TABLE: dict[OptInMode, dict[tuple[Intent, ConsentState], Step]] = {
    "single": _ALWAYS | _SINGLE,
    "double": _ALWAYS | _DOUBLE,
}


def step(mode: OptInMode, intent: Intent, state: ConsentState) -> Step:
    """The row of the table."""
    return _TABLE[mode][intent, state]
