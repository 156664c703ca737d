"""What of an outbox entry goes on record, and in which of the ledger's words."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from router._core import fold
from router._version import VERSION
from router.ledger.rows import Draft
from router.store import Entry
from router.types import Change, Event, Proof

#: Layers by which a text was understood that is not written as a keyword or phrase is.
_EXACT = ("courtesy", "first_word", "inside")
#: The first word of a rule → how consent was given or taken back.
_METHODS = {"preference": "provider", "provider": "provider", "api": "api", "import": "import", "phrase": "phrase"}
#: What is to be done to the ledger stands in the outbox as a message with one of these under `ask`.
SEAL, ERASE = "seal", "erase"


@dataclass(frozen=True, slots=True)
class Provider:
    """The carrier of an account. `inline`: its replies go out with the answer to the text."""

    name: str
    inline: bool


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


def read_entry(entry: Entry, providers: Mapping[str, Provider]) -> Asked | list[Draft]:
    """What an entry that is meant for the ledger asks of it, or the rows that it makes."""
    if entry.decision != b"{}":
        return list(_of_event(entry.event, entry.joined, providers))
    message = orjson.loads(entry.message)
    if "ask" in message:
        return Asked(message["id"], message["ask"], message["at"], message["sender"])
    return [_of_import(message, row, entry.joined) for row in message["rows"]]


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


def _of_event(event: Event, accepted_at: float, providers: Mapping[str, Provider]) -> Iterator[Draft]:
    message, proof = event.message, event.message.proof or Proof()
    understood = _understood(event, proof, providers.get(event.account))
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
            "accepted_at": accepted_at,
            "received_at": event.at,
            "occurred_at": None,
            "direction": _direction(event, change),
            "method": _method(event, proof),
            "program": change.program,
            "before": change.before,
            "after": change.after,
        }
        yield Draft(message.sender, public | understood, private)


def _understood(event: Event, proof: Proof, carrier: Provider | None) -> dict[str, Any]:
    """What is the same for all that an event has changed."""
    message, decision = event.message, event.decision
    provider = carrier if message.kind not in ("api", "import") else None
    reply = None
    if decision.reply is not None:
        # Of one that has to be sent, only the lane that sends it knows when.
        given = event.at if provider is None or provider.inline else None
        reply = {"id": event.id, "at": given, "text": decision.reply}
    return {
        "channel": message.channel,
        "sender_number": message.recipient,
        "keyword": decision.keyword,
        "language": decision.language,
        "rule": decision.rule,
        "list_version": VERSION,
        "provider": provider.name if provider else None,
        "reply": reply,
        "consent_text": proof.consent_text,
    }


def _of_import(message: Mapping[str, Any], row: list[Any], accepted_at: float) -> Draft:
    sender, program, before, after, since, line = row
    proof = message.get("proof") or {}
    public = {
        "event_id": message["id"],
        "accepted_at": accepted_at,
        "received_at": message["at"],
        "occurred_at": since / 1e6,
        "direction": _consent(before, after),
        "method": "import",
        "program": program,
        "before": before,
        "after": after,
        "rule": f"import:{message['source']}",
        "list_version": VERSION,
        "consent_text": proof.get("consent_text"),
    }
    private = {
        "phone": sender,
        "source": f"{message['source']}, line {line}",
        "source_url": proof.get("source_url"),
        "operator": proof.get("operator"),
    }
    return Draft(sender, public, private)


def _direction(event: Event, change: Change) -> str:
    if event.message.kind == "receipt" or (event.decision.rule or "").startswith("provider:"):
        return "provider_block"
    if event.decision.intent == "help" and change.before == change.after:
        return "help"
    return _consent(change.before, change.after)


def _consent(before: str, after: str) -> str:
    if after in ("pending", "subscribed"):
        return "confirmed" if (before, after) == ("pending", "subscribed") else "granted"
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
