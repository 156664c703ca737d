"""What others say about a person, made ready for the store: callers of the API, and carriers that send them nothing."""

from dataclasses import dataclass
from typing import Literal

from router._core import classify_address
from router.consent import Call as Said
from router.errors import BadPayload
from router.records import write_message
from router.routing import API_ACCOUNT, Routing
from router.store import Commit
from router.texts import Prepared, dedupe_seconds, identity
from router.types import Channel, Inbound, Plan, Proof, Receipt


@dataclass(frozen=True, slots=True)
class Call:
    """What a caller of the API says about a person and a program. The same `id` has one effect.

    `sender` is the person, E.164. `ask`: who is not subscribed yet is pending, and gets the question of a double
    opt-in. `welcome`: who is subscribed by it gets the welcome. `rule` says what was called:
    `api:/subscription/status/set`. `said_at` is when the person said so, in unix seconds, if that is known: what they
    have said since then holds.
    """

    id: str
    sender: str
    program: str
    state: Literal["subscribed", "unsubscribed"]
    rule: str
    ask: bool = False
    welcome: bool = False
    proof: Proof | None = None
    said_at: float | None = None

    @property
    def said(self) -> Said:
        """Its line in the state table."""
        if self.state == "unsubscribed":
            return "unsubscribe"
        return "ask" if self.ask else "welcome" if self.welcome else "subscribe"


def prepare_call(routing: Routing, call: Call, at: float) -> Prepared:
    """What the store is asked to do about a call. Raises `BadPayload`."""
    said = call.said
    if call.program not in routing.programs:
        raise BadPayload(f"there is no program {call.program} any more. Use one of the configuration.")
    account, number = routing.number_for(call.program, call.sender) or (API_ACCOUNT, "")
    if said in ("ask", "welcome") and not number:
        raise BadPayload(
            f"the program {call.program} has no number that this text can be sent from. Give the account of one of its "
            "[[numbers]] what it needs to send."
        )
    channel = routing.channel(call.program)
    text = Inbound(call.id, call.sender, number or None, "", channel, kind="api", proof=call.proof)
    plan = routing.call_plan(call.program, call.rule, said, dated=call.said_at is not None)
    lane = routing.reply_lane(account, plan, texted=False)
    return _prepared(routing, account, text, plan, at, plan.destinations + lane, said_at=call.said_at)


def prepare_block(routing: Routing, account: str, receipt: Receipt, at: float) -> Prepared | None:
    """What the store is asked to do about a person whom a carrier sends nothing: the block is noted as a fact of its
    own, and changes no consent. None if the receipt does not say whom.
    """
    kind, person = classify_address(receipt.recipient or "")
    if kind not in ("phone", "user_id"):
        return None
    number_kind, number = classify_address(receipt.sender or "")
    ours = None if number_kind == "malformed" else number
    channels: tuple[Channel, ...] = ("sms", "whatsapp")
    routes = {channel: routing.find(account, channel, ours) for channel in channels}
    # A receipt does not say which channel it is about; the number does.
    channel: Channel = next((channel for channel, route in routes.items() if route.program), "sms")
    text = Inbound(receipt.message_id, person, ours, "", channel, kind="receipt")
    return _prepared(routing, account, text, routing.block_plan(routes[channel]), at, ())


def _prepared(
    routing: Routing,
    account: str,
    text: Inbound,
    plan: Plan,
    at: float,
    destinations: tuple[str, ...],
    *,
    said_at: float | None = None,
) -> Prepared:
    event_id, digest = identity(account, text.sender, text.message_id, "opted_out" if text.kind == "receipt" else "")
    commit = Commit(
        sender=text.sender,
        digest=digest,
        dedupe_seconds=dedupe_seconds(routing, account),
        replies_per_hour=routing.replies_per_hour,
        plan=plan,
        destinations=destinations,
        message=write_message(event_id, at, account, plan.programs, text),
        undelivered=b"",
        block=f"{account}/{text.recipient or ''}",
        late_at=said_at,
    )
    return Prepared(event_id, text, commit)
