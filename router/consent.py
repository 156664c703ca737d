"""The state table of consent, written to be read by a lawyer. Nothing else knows a transition.

A line of a table is what was said; a column is the state that the person is in towards a program; a cell is the state
that follows, and behind the comma the text that the person gets, if any. Sources: the FCC rule on revoking consent
(47 CFR 64.1200(a)(10)-(12): an opt-out counts at once, is confirmed once, and that text may ask which programs to keep,
where silence means none), the CTIA handbook (HELP answers for everybody and changes nothing), Braze's double opt-in
(pending until a confirmation word, for a limited time; an opt-out ends it).
"""

from dataclasses import dataclass
from typing import Literal, cast, get_args

from router.types import ConsentState, Decision, Intent

#: How START subscribes: at once; when the question that it gets is answered with YES; or at once, and the question is
#: put all the same (as in Braze's recipe for platforms that text nobody who is not subscribed).
OptInMode = Literal["single", "double", "subscribe_first"]
#: What an opt-out ends at least: the program that it names, or all of the number's if it names none; all of the
#: number's; all of the account's; all that there are. One that names a program nobody knows ends all that there are.
OptOutScope = Literal["program", "number", "account", "all"]
#: Which of a program's texts answers: its welcome, its double opt-in question, the one confirmation of an opt-out, the
#: same with the question which programs to keep, its help, the matched keyword's own reply, the reply to what matched
#: nothing, or the question whether that which may be an opt-out is one.
ReplyKind = Literal["opt_in", "prompt", "opt_out", "choice", "help", "custom", "none", "doubtful"]
#: What a caller of the API says of a person: subscribed; subscribed, so welcome them; ask them; unsubscribed.
Call = Literal["subscribe", "welcome", "ask", "unsubscribe"]

STATES: tuple[ConsentState, ...] = get_args(ConsentState)
#: How long after an opt-out its one confirmation may be sent, in seconds (47 CFR 64.1200(a)(12)).
CONFIRM_WITHIN = 300.0
#: The consent, beside those of programs and accounts (`@ACCOUNT`), that an opt-out of everything is written to.
EVERYTHING = "@all"


@dataclass(frozen=True, slots=True)
class Step:
    """Where a text leads and which reply it gets; `reply` None is silence."""

    after: ConsentState
    reply: ReplyKind | None


# An opt-out counts from every state, and is confirmed once. Who is choosing has had the confirmation.
#
# HELP answers for everybody, also for who has opted out, and changes nothing.
#
# A program's own keyword (custom), and a text that matched nothing (none), is answered unless the person has opted out.
#
# YES (confirm) means something only to who was asked. It never subscribes anybody else: it answers some other question.
# Who was subscribed first and then asked gets the welcome for it.
#
# On a number of several programs an opt-out of all may ask which to keep (opt_out?). Who then names a program, alone or
# with YES, KEEP or START, has it back; from everybody else, and from who says nothing, it is gone. The name alone, and
# KEEP, answer no other question: a double opt-in takes a YES.
_TEXTED = """
           none                   pending                subscribed             unsubscribed        choosing
opt_out    unsubscribed, opt_out  unsubscribed, opt_out  unsubscribed, opt_out  unsubscribed        unsubscribed
opt_out?   unsubscribed, choice   unsubscribed, choice   choosing, choice       unsubscribed        unsubscribed
help       none, help             pending, help          subscribed, help       unsubscribed, help  choosing, help
custom     none, custom           pending, custom        subscribed, custom     unsubscribed        choosing
none       none, none             pending, none          subscribed, none       unsubscribed        choosing
confirm    none                   subscribed, opt_in     subscribed             unsubscribed        choosing
asked YES  none                   subscribed, opt_in     subscribed, opt_in     unsubscribed        choosing
named YES  none                   subscribed, opt_in     subscribed             unsubscribed        subscribed, opt_in
KEEP       none                   pending                subscribed             unsubscribed        subscribed, opt_in
"""

# Single: START subscribes at once.
# Double: each START asks again and starts the time limit anew; who is subscribed is not asked.
# Subscribe first: START subscribes and asks; the YES is then answered with the welcome, and changes nothing.
_OPT_IN = """
                  none                 pending             subscribed          unsubscribed         choosing
single            subscribed, opt_in   subscribed, opt_in  subscribed, opt_in  subscribed, opt_in   subscribed, opt_in
double            pending, prompt      pending, prompt     subscribed, opt_in  pending, prompt      subscribed, opt_in
subscribe_first   subscribed, prompt   subscribed, prompt  subscribed, opt_in  subscribed, prompt   subscribed, opt_in
"""

# What callers of the API say is not texted, so it is not answered, but with the question or welcome that they ask for.
# Who has not answered the question yet is not reminded of it, however often a form is sent in for them.
_CALLED = """
                  none                 pending             subscribed          unsubscribed         choosing
subscribe         subscribed           subscribed          subscribed          subscribed           subscribed
welcome           subscribed, opt_in   subscribed, opt_in  subscribed          subscribed, opt_in   subscribed, opt_in
ask               pending, prompt      pending             subscribed          pending, prompt      pending, prompt
unsubscribe       unsubscribed         unsubscribed        unsubscribed        unsubscribed         unsubscribed
"""


def step(
    mode: OptInMode,
    intent: Intent,
    state: ConsentState,
    *,
    named: bool = False,
    keeps: bool = False,
    which: bool = False,
) -> Step:
    """The cell of what was texted.

    `named`: the text names the program; `keeps`: it only says that this one is to be kept; `which`: an opt-out asks
    which to keep.
    """
    said: str = intent
    if intent == "opt_in":
        said = mode
    elif intent == "opt_out" and which:
        said = "opt_out?"
    elif intent == "confirm" and keeps:
        said = "KEEP"
    elif intent == "confirm" and (named or mode == "subscribe_first"):
        keeps = named and (mode != "subscribe_first" or state == "choosing")
        said = "named YES" if keeps else "asked YES"
    return _TABLE[said, state]


def call_step(call: Call, state: ConsentState) -> Step:
    """The cell of what a caller of the API said."""
    return _TABLE[call, state]


def may_be_answered(decision: Decision, state: ConsentState, seconds: float) -> bool:
    """Whether what was decided so many seconds ago may still be answered, now that the person is in a state.

    Nobody who has opted out since is texted, and an opt-out is confirmed once, in time or not at all.
    """
    if decision.intent == "help":
        return True
    if outside(state) != "unsubscribed":
        return decision.intent != "opt_out"
    return decision.intent == "opt_out" and outside(decision.before) != "unsubscribed" and seconds <= CONFIRM_WITHIN


def outside(state: ConsentState) -> ConsentState:
    """What everybody else sees of a state."""
    return "unsubscribed" if state == "choosing" else state


def _read(table: str) -> dict[tuple[str, ConsentState], Step]:
    """The cells of a table, whose columns are two blanks apart."""
    header, *lines = (line.split("  ") for line in table.strip("\n").splitlines())
    states = [cast("ConsentState", cell.strip()) for cell in header if cell.strip()]
    cells: dict[tuple[str, ConsentState], Step] = {}
    for line in lines:
        said, *steps = (cell.strip() for cell in line if cell.strip())
        for state, written in zip(states, steps, strict=True):
            after, _, reply = written.partition(", ")
            cells[said, state] = Step(cast("ConsentState", after), cast("ReplyKind", reply) if reply else None)
    return cells


_TABLE = _read(_TEXTED) | _read(_OPT_IN) | _read(_CALLED)
