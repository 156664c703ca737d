"""Events for the tests of platforms, and Hypothesis strategies that draw them from all of Unicode."""

from hypothesis import strategies as st

from router.types import ConsentState, Decision, Event, Inbound, Intent

SENDER = "+14155550123"
AT = 1770112800.5


def event(
    event_id: str = "e1",
    *,
    sender: str = SENDER,
    text: str = "COUPONS",
    intent: Intent = "custom",
    program: str | None = "deals",
    before: ConsentState = "subscribed",
    after: ConsentState = "subscribed",
    new_alias: bool = False,
    argument: str | None = None,
    programs: tuple[str, ...] = ("deals", "alerts"),
) -> Event:
    """An event of which only what a test is about needs to be said."""
    return Event(
        id=event_id,
        at=AT,
        account="twilio",
        programs=(program,) if program else programs,
        message=Inbound(f"SM-{event_id}", sender, "20202", text),
        decision=Decision(intent, "COUPONS", argument, program, "en", "custom:deals/COUPONS", before, after, None),
        new_alias=new_alias,
    )


#: Any text, half surrogate pairs included.
any_text = st.text(st.characters(exclude_categories=()))

states = st.sampled_from(["none", "pending", "subscribed", "unsubscribed"])

#: Any event that the types allow.
any_event = st.builds(
    event,
    text=any_text,
    argument=st.none() | any_text,
    sender=st.sampled_from([SENDER, "+447700900123", "US.13491208655302741918"]),
    intent=st.sampled_from(["opt_out", "opt_in", "help", "confirm", "custom", "none"]),
    program=st.sampled_from(["deals", "alerts", "elsewhere", None]),
    before=states,
    after=states,
    new_alias=st.booleans(),
)
