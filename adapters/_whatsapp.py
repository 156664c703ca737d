"""What the WhatsApp Cloud API tells in a batch: people's messages, their consent, what became of ours.

Source: Meta's developer pages on webhooks, business-scoped user ids and error codes.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from adapters._requests import entries, made_id, parsed_each, required, table, text
from router.ports import Parsed
from router.types import Inbound, Media, OptOutType, Receipt, SendFailure

_WORDED = {"text", "button", "interactive", "image", "video", "document", "audio", "voice", "sticker"}
#: Messages without words or files that a person sent all the same.
_WORDLESS = {"location", "contacts", "order"}
#: What `value` of a preference, or `marketing` of an old system message, says about marketing.
_PREFERENCES: Mapping[str, OptOutType] = {"stop": "STOP", "resume": "START", "signup": "START"}
#: What becomes of a text in the end: None is delivered.
_FINAL: Mapping[str, SendFailure | None] = {"delivered": None, "read": None, "failed": "permanent"}
#: What Meta's error codes mean for a text.
FAILURES: Mapping[str, SendFailure] = {
    "131050": "opted_out",
    "131026": "invalid_number",
    **dict.fromkeys(("4", "80007", "130429", "131048", "131056", "133016"), "throttled"),
    **dict.fromkeys(("1", "2", "131000", "131016", "131057", "133004"), "temporary"),
    **dict.fromkeys(("131021", "131047", "131049", "130472", "131051", "131062"), "permanent"),
    **dict.fromkeys(("0", "10", "190", "131005", *map(str, range(200, 300))), "auth"),
}


class _Ours(NamedTuple):
    """Which of our numbers a change is about: the number, and what Meta calls it."""

    number: str | None
    id: str

    @property
    def ref(self) -> str | None:
        return None if self.number else self.id


class _Content(NamedTuple):
    text: str = ""
    payload: str | None = None
    media: tuple[Media, ...] = ()


def in_entry(entry: Mapping[str, Any]) -> list[Parsed]:
    """All that is in an entry of a batch: of an account of a business."""
    return parsed_each(entries(entry, "changes"), _in_change)


def _in_change(change: Mapping[str, Any]) -> list[Parsed]:
    """What is in a change; nothing in those of other fields, such as template reviews and echoes of our own texts."""
    field = text(change, "field")
    if field not in ("messages", "user_preferences"):
        return []
    value = table(change, "value")
    metadata = table(value, "metadata")
    digits = re.sub(r"[^0-9]", "", text(metadata, "display_phone_number"))
    ours = _Ours(f"+{digits}" if digits else None, text(metadata, "phone_number_id"))
    if field == "user_preferences":
        return parsed_each(entries(value, "user_preferences"), partial(_preference, ours))
    messages = parsed_each(entries(value, "messages"), partial(_message, ours))
    return messages + parsed_each(entries(value, "statuses"), partial(_receipt, ours))


def _message(ours: _Ours, message: Mapping[str, Any]) -> list[Parsed]:
    """A person's message; nothing for what is no text to us: to a group, a reaction, an edit, a damaged one."""
    if message.get("group_id"):
        return []
    kind = text(message, "type")
    required(type=kind)
    if kind == "system":
        return _old_preference(ours, message)
    content = _content(kind, message)
    if content is None or (message.get("errors") and not (content.text or content.payload)):
        return []
    message_id, sender = text(message, "id"), _person(message, "from", "from_user_id", "from_parent_user_id")
    required(id=message_id, metadata=ours.number or ours.id, **{"from": sender})
    return [
        Inbound(
            message_id,
            sender,
            ours.number,
            content.text,
            channel="whatsapp",
            media=content.media,
            payload=content.payload,
            recipient_ref=ours.ref,
        )
    ]


def _person(fields: Mapping[str, Any], *names: str) -> str:
    """The person's number, or who chose a user name and hides it: their user id."""
    return next((found for name in names if (found := text(fields, name))), "")


def _content(kind: str, message: Mapping[str, Any]) -> _Content | None:
    """What a message says; None for kinds that say nothing, and if the object of its kind is missing."""
    if kind in _WORDLESS:
        return _Content()
    if kind not in _WORDED or message.get(kind) is None:
        return None
    found = table(message, kind)
    if kind == "text":
        return _Content(text(found, "body"))
    if kind == "button":
        return _Content(text(found, "text"), text(found, "payload") or None)
    if kind == "interactive":
        return _tapped(found)
    media = Media(text(found, "url") or None, text(found, "id") or None, text(found, "mime_type") or None)
    return _Content(text(found, "caption"), media=(media,)) if media.url or media.id else None


def _tapped(found: Mapping[str, Any]) -> _Content | None:
    for name in ("button_reply", "list_reply"):
        if reply := table(found, name):
            return _Content(text(reply, "title"), text(reply, "id") or None)
    # What was filled into a flow is no keyword: the matcher is not shown it.
    flow = table(found, "nfm_reply")
    return _Content(text(flow, "body")) if flow else None


def _preference(ours: _Ours, preference: Mapping[str, Any]) -> list[Parsed]:
    """Consent that was given or taken back in WhatsApp itself. It has no id."""
    value, at = text(preference, "value"), preference.get("timestamp")
    opt_out_type = _PREFERENCES.get(value)
    if opt_out_type is None or text(preference, "category") not in ("marketing_messages", ""):
        return []
    sender = _person(preference, "wa_id", "user_id", "parent_user_id")
    event_id = made_id(*(str(part).encode() for part in (ours.id or ours.number, sender, value, at)))
    return _preference_event(ours, event_id, sender, opt_out_type)


def _old_preference(ours: _Ours, message: Mapping[str, Any]) -> list[Parsed]:
    """The same as the On-Premises API told it; other system messages, such as a changed number, change nothing."""
    system = table(message, "system")
    opt_out_type = _PREFERENCES.get(text(system, "marketing"))
    if opt_out_type is None or text(system, "type") != "user_preference_changed":
        return []
    return _preference_event(ours, text(message, "id"), _person(message, "from", "from_user_id"), opt_out_type)


def _preference_event(ours: _Ours, event_id: str, sender: str, opt_out_type: OptOutType) -> list[Parsed]:
    required(id=event_id, metadata=ours.number or ours.id, **{"wa_id or user_id": sender})
    return [
        Inbound(
            event_id,
            sender,
            ours.number,
            "",
            channel="whatsapp",
            opt_out_type=opt_out_type,
            recipient_ref=ours.ref,
            kind="preference",
            scope="marketing",
        )
    ]


def _receipt(ours: _Ours, status: Mapping[str, Any]) -> list[Parsed]:
    state = text(status, "status")
    if state not in _FINAL:
        return []
    message_id = text(status, "id")
    required(id=message_id)
    code = None if _FINAL[state] is None else str(first_of(status, "errors").get("code", "")) or None
    failure = _FINAL[state] and FAILURES.get(code or "", "permanent")
    return [
        Receipt(message_id, ours.number, _person(status, "recipient_id", "recipient_user_id") or None, failure, code)
    ]


def first_of(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The first object of a list; empty if there is none."""
    found = fields.get(name)
    return found[0] if isinstance(found, list) and found and isinstance(found[0], dict) else {}
