"""What of an outbox entry goes on record, and in which of the ledger's words."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from router._core import fold
from router._version import VERSION
from router.ledger.rows import Draft
from router.records import REPLIES
from router.store import Entry
from router.types import Change, Channel, Event, Proof

#: Layers by which a text was understood that is not written as a keyword or phrase is.
_EXACT = ("courtesy", "first_word", "inside")
#: The first word of a rule → how consent was given or taken back.
_METHODS = {"preference": "provider", "provider": "provider", "api": "api", "import": "import", "phrase": "phrase"}
#: What is to be done to the ledger stands in the outbox as a message with one of these under `ask`.
SEAL, ERASE = "seal", "erase"


@dataclass(frozen=True, slots=True)
class Provider:
    """The carrier of an account; None for whoever calls us. `answers`: replies reach people, with the answer to the
    text or by a lane of their own.
    """

    name: str | None
    answers: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """Something to be done to the ledger: `SEAL`, or `ERASE` what it says of a sender. `at` is in unix seconds."""

    id: str
    what: str
    at: float
    sender: str = ""

    def message(self) -> dict[str, Any]:
        """As it stands in the outbox."""
        return {"v": 1, "id": self.id, "at": self.at, "ask": self.what, "sender": self.sender}


def read_entry(entry: Entry, providers: Mapping[str, Provider], channels: Mapping[str, Channel]) -> Asked | list[Draft]:
    """What an entry that is meant for the ledger asks of it, or the rows that it makes. `channels` by program."""
    if entry.decision != b"{}":
        return list(_of_event(entry, providers))
    message = orjson.loads(entry.message)
    if "ask" in message:
        return Asked(message["id"], message["ask"], message["at"], message["sender"])
    if "sent" in message:
        return [_of_reply(message, entry.joined, providers)]
    return [_of_import(message, row, entry.joined, channels) for row in message["rows"]]


def erased(asked: Asked, accepted_at: float) -> Draft:
    """What an erasure leaves behind: that there was one, and nothing of the person."""
    public = {
        "event_id": asked.id,
        "accepted_at": accepted_at,
        "received_at": asked.at,
        "direction": "erased",
        "method": "operator",
        "list_version": VERSION,
    }
    return Draft(asked.sender, public, None)


def _of_event(entry: Entry, providers: Mapping[str, Provider]) -> Iterator[Draft]:
    event = entry.event
    message, proof = event.message, event.message.proof or Proof()
    understood = _understood(entry, proof, providers.get(event.account, Provider(None, answers=False)))
    private = {
        "phone": message.sender,
        "text": message.text,
        "normalised_text": fold(message.text),
        "button": message.payload,
        "message_id": message.message_id,
        "source_url": proof.source_url,
        "operator": proof.operator,
    }
    own = Change(event.decision.program or f"@{event.account}", event.decision.before, event.decision.after)
    for change in event.decision.changes or (own,):
        public = {
            "event_id": event.id,
            "accepted_at": entry.joined,
            "received_at": event.at,
            "occurred_at": None,
            "direction": _direction(event, change),
            "method": _method(event, proof),
            "program": change.program,
            "before": change.before,
            "after": change.after,
        }
        yield Draft(message.sender, public | understood, private)


def _understood(entry: Entry, proof: Proof, provider: Provider) -> dict[str, Any]:
    """What is the same for all that an event has changed."""
    event, message, decision = entry.event, entry.event.message, entry.event.decision
    reply = None
    if decision.reply is not None:
        # Of one that waits to be sent, only the lane that sends it knows when.
        waits = any(name.startswith(REPLIES) for name in entry.destinations) or not provider.answers
        reply = {"id": event.id, "at": None if waits else event.at, "text": decision.reply}
    return {
        "channel": message.channel,
        "sender_number": message.recipient,
        "keyword": decision.keyword,
        "language": decision.language,
        "rule": decision.rule,
        "list_version": VERSION,
        "provider": None if message.kind == "api" else provider.name,
        "reply": reply,
        "consent_text": proof.consent_text,
    }


def _of_import(
    message: Mapping[str, Any], row: list[Any], accepted_at: float, channels: Mapping[str, Channel]
) -> Draft:
    sender, program, before, after, since, line = row
    proof = message.get("proof") or {}
    public = {
        "event_id": message["id"],
        "accepted_at": accepted_at,
        "received_at": message["at"],
        "occurred_at": since / 1e6,
        "direction": _consent(after),
        "method": "import",
        "program": program,
        "before": before,
        "after": after,
        "channel": channels.get(program),
        "sender_number": None,
        "keyword": None,
        "language": None,
        "rule": f"import:{message['source']}",
        "list_version": VERSION,
        "provider": None,
        "reply": None,
        "consent_text": proof.get("consent_text"),
    }
    private = {
        "phone": sender,
        "source": f"{message['source']}, line {line}",
        "source_url": proof.get("source_url"),
        "operator": proof.get("operator"),
    }
    return Draft(sender, public, private)


def _of_reply(message: Mapping[str, Any], accepted_at: float, providers: Mapping[str, Provider]) -> Draft:
    """A reply that was sent. What it answers is a row of its own, earlier."""
    sent, provider = message["sent"], providers.get(message["account"])
    public = {
        "event_id": message["id"],
        "accepted_at": accepted_at,
        "received_at": message["at"],
        "direction": "replied",
        "method": "provider",
        "program": sent["program"],
        "channel": sent["channel"],
        "sender_number": sent["number"],
        "list_version": VERSION,
        "provider": provider.name if provider else None,
        "reply": {"id": message["id"], "at": message["at"], "text": sent["text"]},
    }
    return Draft(sent["sender"], public, {"phone": sent["sender"], "message_id": sent["message_id"]})


def _direction(event: Event, change: Change) -> str:
    if event.message.kind == "receipt" or (event.decision.rule or "").startswith("provider:"):
        return "provider_block"
    if event.decision.intent == "help" and change.before == change.after:
        return "help"
    if event.decision.intent == "confirm" and change.before in ("pending", "subscribed"):
        return "confirmed"
    return _consent(change.after)


def _consent(after: str) -> str:
    if after in ("pending", "subscribed"):
        return "granted"
    # `choosing` is an opt-out from which something may yet be excepted.
    return "revoked" if after in ("unsubscribed", "choosing") else "none"


def _method(event: Event, proof: Proof) -> str:
    message, rule = event.message, event.decision.rule or ""
    kind = rule.partition(":")[0]
    if kind == "api" and proof.source_url:
        return "web"
    if kind in _METHODS and kind != "phrase":
        return _METHODS[kind]
    if message.kind != "text":
        return {"api": "api", "import": "import"}.get(message.kind, "provider")
    if not rule:
        # Nothing of ours fits: the carrier's own reading counted.
        return "provider"
    if message.payload is not None:
        return "button"
    _, _, layer = rule.rstrip(")").rpartition(" (")
    if rule.endswith(")") and layer not in _EXACT:
        return "fuzzy"
    return _METHODS.get(kind, "keyword")
