"""What is kept as JSON, in the store and on disk, written and read in one place. `v` is the version of the form."""

from base64 import b64decode, b64encode
from functools import lru_cache
from operator import attrgetter
from typing import Any

import orjson

from router.types import Binary, Change, Decision, Event, Inbound, Media, Part, Proof, RawRequest

_VERSION = 1
#: The ledger of consent, as a destination of what is decided. No other can be called so.
LEDGER = "@ledger"
#: Before the name of an account: where its replies wait that have to be sent. No destination can be called so either.
REPLIES = "reply:"
#: What most texts do not have.
_SELDOM = ("media", "opt_out_type", "payload", "recipient_ref", "kind", "scope", "part", "binary", "proof")
_seldom = attrgetter(*_SELDOM)
_PLAIN = _seldom(Inbound("", "", None, ""))


def write_message(event_id: str, at: float, account: str, programs: tuple[str, ...], text: Inbound) -> bytes:
    """An event less its decision, which the store adds."""
    return orjson.dumps(
        {
            "v": _VERSION,
            "id": event_id,
            "at": at,
            "account": account,
            "programs": programs,
            "message": _text_fields(text),
        }
    )


def _text_fields(text: Inbound) -> dict[str, Any]:
    """A text less what most texts do not have: that is a third of a record."""
    found = {
        "message_id": text.message_id,
        "sender": text.sender,
        "recipient": text.recipient,
        "text": text.text,
        "channel": text.channel,
    }
    seldom = _seldom(text)
    if seldom != _PLAIN:
        each = zip(_SELDOM, seldom, _PLAIN, strict=True)
        found |= {name: value for name, value, plain in each if value != plain}
    return found


def read_event(message: bytes | str, decision: bytes | str, *, new_alias: bool = False) -> Event:
    """The event of `write_message` and its decision."""
    written = orjson.loads(message)
    return Event(
        id=written["id"],
        at=written["at"],
        account=written["account"],
        programs=tuple(written["programs"]),
        message=read_text(written),
        decision=read_decision(decision),
        new_alias=new_alias,
    )


def write_decision(decision: Decision) -> bytes:
    """A decision as a JSON array, since each text has one: what it was understood to mean, the reply, and at the end,
    where the store puts them together, the states before and after, and each change.
    """
    meant = (decision.intent, decision.keyword, decision.argument, decision.program, decision.language, decision.rule)
    changes = ((change.program, change.before, change.after) for change in decision.changes)
    return orjson.dumps((*meant, decision.reply, decision.before, decision.after, *changes))


# Few differ: one for each plan and state, but for those with an argument.
@lru_cache(maxsize=4096)
def read_decision(written: bytes | str) -> Decision:
    """What `write_decision` was given."""
    intent, keyword, argument, program, language, rule, reply, before, after, *changes = orjson.loads(written)
    told = tuple(Change(*change) for change in changes)
    return Decision(intent, keyword, argument, program, language, rule, before, after, reply, told)


def read_text(written: dict[str, Any]) -> Inbound:
    """The text in what `write_message` wrote."""
    text = written["message"]
    parts: dict[str, Any] = {"media": tuple(Media(**media) for media in text.get("media", ()))}
    for name, kind in (("part", Part), ("binary", Binary), ("proof", Proof)):
        if text.get(name):
            parts[name] = kind(**text[name])
    return Inbound(**text | parts)


def write_import(entry_id: str, at: float, source: str, proof: Proof) -> tuple[bytes, bytes]:
    """A part of an imported file less its rows, which the store adds: what stands before them, and what behind."""
    before = orjson.dumps({"v": _VERSION, "id": entry_id, "at": at, "account": "import"})
    after = orjson.dumps({"proof": proof, "source": source})
    return before[:-1] + b',"rows":[', b"]," + after[1:]


def write_sent(event: Event, at: float, number: str, message_id: str) -> bytes:
    """That the reply to an event was taken by its carrier, which calls it `message_id`."""
    message, decision = event.message, event.decision
    sent = {
        "sender": message.sender,
        "program": decision.program,
        "channel": message.channel,
        "number": number,
        "text": decision.reply,
        "message_id": message_id,
    }
    return orjson.dumps({"v": _VERSION, "id": event.id, "at": at, "account": event.account, "sent": sent})


def write_part(account: str, at: float, text: Inbound, *, late: bool) -> bytes:
    """A part of a long text, as it waits for the others. `late`: it did not come in its turn."""
    return orjson.dumps({"v": _VERSION, "at": at, "account": account, "late": late, "message": _text_fields(text)})


def read_part(record: bytes) -> tuple[str, float, Inbound, bool]:
    """What `write_part` was given: account, time, text, and whether it was late."""
    written = orjson.loads(record)
    return written["account"], written["at"], read_text(written), written["late"]


def write_answer(event_id: str, decision: Decision) -> bytes:
    """What is known of the text that a part has completed."""
    return orjson.dumps({"v": _VERSION, "id": event_id, "decision": write_decision(decision).decode()})


def read_answer(record: bytes) -> tuple[str, Decision]:
    """What `write_answer` was given."""
    written = orjson.loads(record)
    return written["id"], read_decision(written["decision"])


def request_fields(request: RawRequest) -> dict[str, Any]:
    """A request as fields of a record."""
    return {
        "v": _VERSION,
        "account": request.account,
        "method": request.method,
        "query": b64encode(request.query).decode(),
        "headers": dict(request.headers),
        "body": b64encode(request.body).decode(),
        "received_at": request.received_at,
        "path": request.path,
    }


def read_request(written: dict[str, Any]) -> RawRequest:
    """The request in what `request_fields` gave."""
    return RawRequest(
        account=written["account"],
        method=written["method"],
        query=b64decode(written["query"]),
        headers=written["headers"],
        body=b64decode(written["body"]),
        received_at=written["received_at"],
        path=written.get("path", ""),
    )
