"""One text made ready for the store: its addresses normalised, its meaning found, and what follows from it chosen."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from router._core import classify_address
from router.decide import Reading
from router.errors import BadPayload
from router.records import write_message
from router.routing import Route, Routing
from router.rules import Match
from router.store import Commit
from router.types import Inbound, Intent, OptOutType, Plan
from router.unhandled import text_record, unheard


class Prepared(NamedTuple):
    """A text, its addresses normalised, that only has to be committed."""

    event_id: str
    text: Inbound
    commit: Commit


def normalised(routing: Routing, account: str, text: Inbound) -> tuple[str, Inbound]:
    """The kind of its sender, and the text with its addresses normalised. Raises `BadPayload`.

    A recipient that the carrier does not name is found by what it calls the number; it stays None if nobody knows it.
    """
    kind, sender = classify_address(text.sender)
    recipient = routing.number_called(account, text.recipient_ref)
    recipient_kind = "phone"
    if text.recipient is not None:
        recipient_kind, recipient = classify_address(text.recipient)
    if "malformed" in (kind, recipient_kind):
        which = "sender (from)" if kind == "malformed" else "recipient (to)"
        raise BadPayload(f"the {which} is neither a phone number, nor a short code, nor a name.")
    if (sender, recipient) != (text.sender, text.recipient):
        text = replace(text, sender=sender, recipient=recipient)
    return kind, text


def prepare(
    routing: Routing,
    account: str,
    text: Inbound,
    at: float,
    *,
    late: bool = False,
    again: bool = False,
    lost: Callable[[], object] | None = None,
) -> Prepared:
    """What the store is asked to do about a text. Raises `BadPayload`.

    `late`: it does not come in its turn. `again` is for a text that was accepted under its own id, although nobody was
    told of it. `lost` is called if the store does not take it.
    """
    kind, text = normalised(routing, account, text)
    route = routing.find(account, text.channel, text.recipient)
    match = routing.match(route, text)
    person = kind in ("phone", "user_id")
    plan = routing.plan(route, match, reading(route, match, text, person=person, late=late), text.scope)
    destinations = _destinations(plan, kind)
    event_id, digest = identity(account, text.sender, text.message_id, "again" if again else "")
    message = write_message(event_id, at, route.account, plan.programs, text)
    reason = unheard(route, plan, destinations, text)
    commit = Commit(
        sender=text.sender,
        digest=digest,
        dedupe_seconds=dedupe_seconds(routing, account),
        replies_per_hour=routing.replies_per_hour,
        plan=plan,
        destinations=destinations + routing.reply_lane(account, plan),
        message=message,
        undelivered=text_record(reason, account, at, message) if reason else b"",
        block=f"{route.account}/{text.recipient or ''}",
        late_at=at if late else None,
        lost=lost,
    )
    return Prepared(event_id, text, commit)


def reading(route: Route, match: Match, text: Inbound, *, person: bool = True, late: bool = False) -> Reading:
    """How a text is to be taken, and who answers it before us."""
    answered, network = route.answered.answers(match, text.text), route.answered.network(text.text)
    silent = text.kind != "text" or text.binary is not None
    return _same_reading(text.opt_out_type, person, late, silent, answered, network)


# There are few, and plans are looked up by them.
@lru_cache(maxsize=1024)
def _same_reading(
    hint: OptOutType | None, person: bool, late: bool, silent: bool, answered: bool, network: Intent | None
) -> Reading:
    return Reading(hint=hint, person=person, late=late, silent=silent, answered=answered, network=network)


def identity(account: str, sender: str, message_id: str, more: str = "") -> tuple[str, bytes]:
    """The event's id, the same for every delivery of the text, and the shorter digest that the store keeps of it."""
    name = "\0".join((account, sender, message_id, more)).encode("utf-8", "surrogatepass")
    digest = blake2b(name, digest_size=16).digest()
    return f"evt_{digest.hex()}", digest[:12]


def dedupe_seconds(routing: Routing, account: str) -> int:
    """How long a repeated message id of an account, or else of a neighbour service, is recognised."""
    found = routing.accounts.get(account)
    return found.dedupe_seconds if found else routing.api_dedupe_seconds


def _destinations(plan: Plan, kind: str) -> tuple[str, ...]:
    if kind != "phone":
        # An alias is a phone number; who has none cannot be addressed where aliases are needed.
        return tuple(name for name in plan.destinations if name not in plan.need_alias)
    return plan.destinations
