"""What Adobe Experience Platform is told, in its data model (XDM): consent of a profile, events that start journeys."""

from collections.abc import Mapping
from typing import Any

from adapters._http import utc_time
from router.types import Event

#: What a consent value is for each of our states.
VALUES = {"subscribed": "y", "unsubscribed": "n", "pending": "p"}
#: The longest reason of an opt-out, in characters, and the longest string that we put into an event.
_REASON_LIMIT, _STRING_LIMIT = 255, 1600
_SOURCE = "sms-keyword"  # at most 15 characters


def changed(event: Event) -> dict[str, str]:
    """The consent value of each program whose state a text changed; an opt-out is told again even where it did not."""
    opted_out = event.decision.intent == "opt_out"
    values: dict[str, str] = {}
    for change in event.changes:
        after = "unsubscribed" if opted_out or change.after == "choosing" else change.after
        if after in VALUES and (opted_out or change.after != change.before):
            values[change.program] = VALUES[after]
    return values


def consent(
    event: Event, values: Mapping[str, str], subscriptions: Mapping[str, str], namespace: str
) -> dict[str, Any]:
    """The part of a profile that says what its person has consented to.

    `values` by program, of those that are told here; `subscriptions`: the names of those that have one of their own.
    Of these, one that is given gives the channel; only all of them together take it back.
    """
    at = utc_time(event.at)
    said: dict[str, Any] = {}
    if value := _channel_value(values, subscriptions):
        said = {"val": value, "time": at}
        if value == "n":
            said["reason"] = f"{event.decision.keyword or 'opt-out'} by text"[:_REASON_LIMIT]
    subscriber = {event.message.sender: {"time": at, "source": _SOURCE}}
    named = {
        subscriptions[program]: {"val": value, "type": channel(event), "subscribers": subscriber}
        for program, value in values.items()
        if program in subscriptions
    }
    if named:
        said["subscriptions"] = named
    return {
        "identityMap": _identity(event, namespace),
        "consents": {"marketing": {channel(event): said}, "metadata": {"time": at}},
    }


def _channel_value(values: Mapping[str, str], subscriptions: Mapping[str, str]) -> str | None:
    """The consent of the channel as a whole, if it is to be told."""
    if plain := [value for program, value in values.items() if program not in subscriptions]:
        return plain[-1]
    if "y" in values.values():
        return "y"
    return "n" if all(values.get(program) == "n" for program in subscriptions) else None


def identified(event: Event, body: dict[str, Any], namespace: str) -> None:
    """Says the same of the number itself, for those who have one profile with several numbers."""
    of_channel = body["consents"]["marketing"][channel(event)]
    if "val" in of_channel:
        said = {"val": of_channel["val"], "time": of_channel["time"]}
        body["consents"]["idSpecific"] = {namespace: {event.message.sender: {"marketing": {channel(event): said}}}}


def experience_event(
    event: Event, event_type: str, event_id: str | None, tenant: str, namespace: str
) -> dict[str, Any]:
    """A text as an ExperienceEvent. `event_id` is the one that Journey Optimizer has issued for the journey's event."""
    message, decision = event.message, event.decision
    entity: dict[str, Any] = {
        # The same on every attempt, so that a repeat can be told.
        "_id": event.id,
        "timestamp": utc_time(event.at),
        "eventType": event_type,
        "identityMap": _identity(event, namespace),
        tenant: {
            "sms": {
                "keyword": (decision.keyword or "").lower(),
                "message_body": message.text.lower()[:_STRING_LIMIT],
                "to_number": message.recipient or "",
                "from_number": message.sender,
                "sms_message_id": message.message_id,
            }
        },
    }
    if event_id:
        entity["_experience"] = {"campaign": {"orchestration": {"eventID": event_id}}}
    return entity


def channel(event: Event) -> str:
    """What XDM calls the channel of a text."""
    return "whatsApp" if event.message.channel == "whatsapp" else "sms"


def _identity(event: Event, namespace: str) -> dict[str, Any]:
    return {namespace: [{"id": event.message.sender, "primary": True}]}
