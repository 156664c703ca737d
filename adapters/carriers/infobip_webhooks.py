"""What is in a webhook of Infobip's: texts of all channels, receipts, and what people say about marketing.

Facts: Infobip's OpenAPI for SMS, MMS and WhatsApp webhooks, and its list of message status codes.
"""

import json
from collections.abc import Mapping
from typing import Any

from adapters._requests import entries, json_object, made_id, parsed_each, required, table, text
from router.errors import BadPayload
from router.ports import Parsed
from router.types import Channel, Inbound, Media, OptOutType, Receipt, SendFailure

_CHANNELS: Mapping[str, Channel] = {"": "whatsapp", "WHATSAPP": "whatsapp", "RCS": "rcs"}
_PREFERENCES: Mapping[str, OptOutType] = {"stop": "STOP", "resume": "START"}
#: Where the words of a WhatsApp message stand, by its type, and what stands behind a tapped button.
_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("TEXT", "BUTTON", "ORDER"), "text"),
    **dict.fromkeys(("IMAGE", "VIDEO", "DOCUMENT", "AUDIO", "VOICE", "STICKER"), "caption"),
    **dict.fromkeys(("INTERACTIVE_BUTTON_REPLY", "INTERACTIVE_LIST_REPLY"), "title"),
}
_TAPS: Mapping[str, str] = {"BUTTON": "payload", "INTERACTIVE_BUTTON_REPLY": "id", "INTERACTIVE_LIST_REPLY": "id"}
#: What becomes of a text in the end, by the group of its status: None is delivered.
FINAL: Mapping[str, SendFailure | None] = {
    "DELIVERED": None,
    "UNDELIVERABLE": "permanent",
    "EXPIRED": "temporary",
    "REJECTED": "permanent",
}
#: By the id of a status. An account without credit (12, 17) is mended like wrong credentials.
FAILURES: Mapping[str, SendFailure] = {
    **dict.fromkeys(("10", "14"), "opted_out"),
    **dict.fromkeys(("8", "52"), "invalid_number"),
    "20": "throttled",
    **dict.fromkeys(("12", "17"), "auth"),
    **dict.fromkeys(("11", "13"), "permanent"),
}


def read_webhook(body: bytes) -> list[Parsed]:
    """What a webhook says. Raises `BadPayload`."""
    fields = json_object(body)
    if "results" not in fields and "content" in fields:
        return _preferences(fields, body)
    if fields.get("results") is None:
        if fields.get("messageCount") == 0:
            return []
        raise BadPayload("results is missing. Send only Infobip's own webhooks here.")
    return parsed_each(_with_exact_ids(entries(fields, "results"), body), _entry)


def _with_exact_ids(results: list[Any], body: bytes) -> list[Any]:
    """The entries, with ids that are whole numbers as they were written: JSON is read with 64 bits."""
    if not any(isinstance(entry, dict) and isinstance(entry.get("messageId"), float) for entry in results):
        return results
    try:
        written = json.loads(body)["results"]
    except (ValueError, RecursionError):
        raise BadPayload("A messageId cannot be read. Send only Infobip's own webhooks here.") from None
    return [
        {**entry, "messageId": exact.get("messageId")} if isinstance(entry, dict) else entry
        for entry, exact in zip(results, written, strict=True)
    ]


def _entry(entry: dict[str, Any]) -> list[Parsed]:
    if entry.get("seenAt") is not None:
        return []
    if isinstance(entry.get("status"), dict):
        return _receipts(entry)
    contact, message = table(entry, "contact"), entry.get("message")
    sender = _written(entry, "from") or text(contact, "phoneNumber") or text(contact, "userId")
    message_id, recipient = _written(entry, "messageId"), _written(entry, "to")
    required(**{"messageId": message_id, "from": sender, "to": recipient})
    channel: Channel | None = "sms"
    words, tap = text(entry, "text"), ""
    media: tuple[Media, ...] = ()
    if isinstance(message, list):
        channel, (words, media) = "mms", _segments(message)
    elif isinstance(message, dict):
        channel, (words, media, tap) = _CHANNELS.get(text(entry, "integrationType")), _said(message)
    if channel is None or not (words or media or tap):
        return []
    return [Inbound(message_id, sender, recipient, words, channel=channel, media=media, payload=tap or None)]


def _written(entry: Mapping[str, Any], name: str) -> str:
    """A field that is a text, or a whole number."""
    found = entry.get(name)
    return str(found) if isinstance(found, int) and not isinstance(found, bool) else text(entry, name)


def _segments(segments: list[Any]) -> tuple[str, tuple[Media, ...]]:
    """The words and files of an MMS."""
    words, media = [], []
    for segment in segments:
        if not isinstance(segment, dict):
            raise BadPayload("A segment of a message is no JSON object. Send only Infobip's own webhooks here.")
        kind, url = text(segment, "contentType"), text(segment, "url")
        if url:
            media.append(Media(url=url, content_type=kind or None))
        elif kind.partition(";")[0].strip().lower() == "text/plain":
            words.append(text(segment, "value"))
    return "\n".join(words), tuple(media)


def _said(message: Mapping[str, Any]) -> tuple[str, tuple[Media, ...], str]:
    """The words and file of a WhatsApp message and what stands behind a tapped button, each empty if there is none."""
    kind = text(message, "type")
    if kind not in _WORDS:
        return "", (), ""
    url = text(message, "url") if _WORDS[kind] == "caption" else ""
    tap = text(message, _TAPS[kind]) if kind in _TAPS else ""
    return text(message, _WORDS[kind]), (Media(url=url),) if url else (), tap


def _preferences(fields: Mapping[str, Any], body: bytes) -> list[Parsed]:
    """What a person said about marketing in the WhatsApp app."""
    content = table(fields, "content")
    sender, recipient = _written(content, "from"), _written(fields, "from") or _written(content, "sender")
    status = text(content, "notificationMessagesStatus")
    required(**{"content.from": sender, "from": recipient, "content.notificationMessagesStatus": status})
    hint = _PREFERENCES.get(status.lower())
    if hint is None:
        return []
    return [
        Inbound(
            made_id(body),
            sender,
            recipient,
            "",
            channel="whatsapp",
            opt_out_type=hint,
            kind="preference",
            scope="marketing",
        )
    ]


def _receipts(entry: Mapping[str, Any]) -> list[Parsed]:
    status, error = table(entry, "status"), table(entry, "error")
    message_id, group = _written(entry, "messageId"), text(status, "groupName")
    if not message_id or group not in FINAL:
        return []
    code, final = _written(status, "id"), FINAL[group]
    if final:
        final = FAILURES.get(code, "temporary" if error.get("permanent") is False else final)
    sender = _written(entry, "sender") or _written(entry, "from")
    recipient = _written(entry, "to")
    return [Receipt(message_id, sender or None, recipient or None, final, (code or None) if final else None)]
