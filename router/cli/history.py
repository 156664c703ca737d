"""A row of the ledger as a person would read it."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from router.ledger.rows import Row

_HAPPENED = {
    "granted": "subscribed",
    "confirmed": "confirmed the subscription",
    "revoked": "opted out",
    "help": "asked for help",
    "provider_block": "blocked by the carrier",
    "replied": "the answer was sent",
    "erased": "erased on request",
    "none": "nothing changed",
}
_HOW = {
    "keyword": "by a keyword",
    "phrase": "in their own words",
    "fuzzy": "by a keyword written differently",
    "button": "by a button",
    "web": "on a website",
    "api": "by an API call",
    "provider": "told by the carrier",
    "import": "by an imported file",
    "operator": "asked for by an operator",
}


def described(row: Row, names: Mapping[str, str]) -> str:
    """The lines of one row. `names`: program id → what it is called."""
    public = row.public
    happened = _HAPPENED.get(public["direction"], public["direction"])
    if public["direction"] == "granted" and public["after"] == "pending":
        happened = "asked to subscribe, was asked to confirm"
    program = public.get("program")
    place = f"{names.get(program, program)}: " if program else ""
    change = f" ({public['before']} → {public['after']})" if "after" in public else ""
    how = "by the carrier" if public["direction"] == "replied" else _HOW.get(public["method"], public["method"])
    first = f"{_time(public['received_at'])}  {place}{happened}{change}, {how}"
    return "\n".join(map(_printable, [first, *(f"    {line}" for line in _details(row))]))


def _details(row: Row) -> Iterator[str]:
    public = row.public
    private: Mapping[str, Any] = row.private or {}
    if row.erased:
        yield "who it was and what they said was erased"
    if private.get("text"):
        channel = {"sms": "SMS", "mms": "MMS", "whatsapp": "WhatsApp", "rcs": "RCS"}.get(public["channel"], "")
        number = public["sender_number"] or "a number of ours that the carrier did not name"
        yield f"texted {_quoted(private['text'])} to {number} by {channel}"
    if public.get("rule"):
        language = f", {public['language']}" if public.get("language") else ""
        yield f"understood by {public['rule']}{language} (keyroute {public['list_version']})"
    if public.get("reply"):
        sent = "answered" if public["reply"]["at"] is not None else "was to be sent"
        yield f"{sent} {_quoted(public['reply']['text'])}"
    if public.get("occurred_at") is not None:
        yield f"in force since {_time(public['occurred_at'])}"
    shown = ("consent_text", "agreed to"), ("source_url", "at"), ("source", "from"), ("operator", "entered by")
    for field, word in shown:
        if value := private.get(field) or public.get(field):
            yield f"{word} {_quoted(value) if field == 'consent_text' else value}"
    provider = f" from {public['provider']}" if public.get("provider") else ""
    message = f", its message {private['message_id']}" if private.get("message_id") else ""
    yield f"event {public['event_id']}{provider}{message}; row {row.shard}/{row.seq}"


def _quoted(text: str) -> str:
    return f"“{text}”"


def _printable(text: str) -> str:
    # What people and carriers write must not steer the terminal.
    return "".join(char if char.isprintable() else " " for char in text)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
