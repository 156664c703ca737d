"""What each endpoint of a workspace does with a body: it judges and answers at once, and applies later."""

import asyncio
import random
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from tests.standins._server import Server
from tests.standins.braze.objects import as_list, fault_of_attributes, fault_of_event, is_state
from tests.standins.braze.record import Arrival, Record
from tests.standins.braze.users import Profile, Users

TRACK, ALIAS_NEW, EXPORT = "/users/track", "/users/alias/new", "/users/export/ids"
STATUS_SET, STATUS_SET_V1 = "/v2/subscription/status/set", "/subscription/status/set"
SEND = "/messages/send"

_TOO_MANY = "The max number of external_ids and aliases per request was exceeded"
_NOT_VALID = "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields."
_BOTH = "Either an email address or a phone number should be provided, but not both."
_KINDS = {"attributes": "attributes", "events": "event", "purchases": "purchase"}

Answer = tuple[int, dict[str, Any]]
Item = dict[str, Any]


class Endpoints(Server):
    """The endpoints. Attributes are explained at `Braze`."""

    def __init__(self, delay: float, objects_in_all: int | None, record: Path | None) -> None:
        super().__init__()
        self.users = Users(lambda delay, run: asyncio.get_running_loop().call_later(delay, run))
        self.record = Record(record)
        self.applied: list[tuple[str, Item]] = []
        self.sent: list[tuple[str, Item]] = []
        self.aliases_at: dict[str, float] = {}
        self.too_large_over: int | None = None
        self.blocked_events: set[str] = set()
        self.blocked: set[str] = set()
        self.all_or_nothing = False
        self.names_errors = True
        self.writes_plus = False
        self.remarks: list[Any] = []
        self.delays: dict[str, float] = {}
        self.jitter = 0.0
        self._delay = delay
        self._effect_in = delay
        self._chance = random.Random(1)
        self._objects_in_all = objects_in_all
        self._judges: dict[str, Callable[[Item, int], Answer]] = {
            TRACK: self._track,
            ALIAS_NEW: self._new_aliases,
            EXPORT: self._export,
            STATUS_SET: self._set_states,
            STATUS_SET_V1: lambda payload, number: self._set_states({"subscription_groups": [_as_v2(payload)]}, number),
            SEND: self._send,
        }

    def judge(self, path: str, payload: Item, number: int) -> Answer:
        """The answer to a request, whose effects follow; `number` is the request's."""
        # What is asked in two requests may take effect in any order.
        self._effect_in = self.delays.get(path, self._delay) + self._chance.uniform(0.0, self.jitter)
        return self._judges[path](payload, number)

    def _track(self, payload: Item, number: int) -> Answer:
        arrays: dict[str, list[Item]] = {array: payload.get(array) or [] for array in _KINDS}
        count = sum(map(len, arrays.values()))
        if self.too_large_over is not None and count > self.too_large_over:
            return 413, {"message": "Payload Too Large"}
        if max(map(len, arrays.values())) > 75 or (self._objects_in_all and count > self._objects_in_all):
            return 400, {"message": "Max Input Length Exceeded"}
        accepted: dict[str, list[Item]] = {array: [] for array in _KINDS}
        errors: list[Item] = []
        for array, items in arrays.items():
            for index, item in enumerate(items):
                fault = fault_of_event(item, self.blocked_events) if array == "events" else fault_of_attributes(item)
                if fault:
                    errors.append({"type": fault, "input_array": array, "index": index})
                else:
                    accepted[array].append(item)
        if not any(accepted.values()) or (errors and self.all_or_nothing):
            return 400, {"message": _NOT_VALID} | ({"errors": errors} if self.names_errors else {})
        self._note_arrivals(accepted["events"], number)
        self._later([(_KINDS[array], item) for array, items in accepted.items() for item in items])
        processed = {f"{array}_processed": len(items) for array, items in accepted.items() if items or array in payload}
        return self._success(processed, errors)

    def _note_arrivals(self, events: list[Item], number: int) -> None:
        now = time.time()
        arrivals = []
        for item in events:
            if message_id := item.get("properties", {}).get("sms_message_id"):
                sender = item["user_alias"]["alias_name"] if "user_alias" in item else item.get("external_id", "")
                arrivals.append(Arrival(message_id, sender, now, number))
        self.record.arrived(arrivals)

    def _new_aliases(self, payload: Item, _: int) -> Answer:
        aliases: list[Item] = payload.get("user_aliases") or []
        if len(aliases) > 50:
            return 400, {"message": _TOO_MANY}
        return self._take("user_aliases", "alias", aliases, lambda alias: [alias["alias_name"]])

    def _set_states(self, payload: Item, _: int) -> Answer:
        groups: list[Item] = payload.get("subscription_groups") or []
        if any(as_list(group.get("phones")) and as_list(group.get("emails")) for group in groups):
            return 400, {"message": _BOTH}
        if sum(map(len, map(_users_of, groups))) > 50:
            return 400, {"message": _TOO_MANY}
        if not groups or not all(map(is_state, groups)):
            return 400, {"message": "Bad Request"}
        return self._take("subscription_groups", "state", groups, _users_of)

    def _take(self, array: str, kind: str, items: list[Item], names: Callable[[Item], Collection[str]]) -> Answer:
        """Accepts the items of a list but those that name somebody who is blocked."""
        faulty = [self.blocked.intersection(names(item)) for item in items]
        accepted = [item for item, found in zip(items, faulty, strict=True) if not found]
        errors = [
            {"type": f"{min(found)} is not valid", "input_array": array, "index": index}
            for index, found in enumerate(faulty)
            if found
        ]
        if not accepted or (errors and self.all_or_nothing):
            return 400, {"message": "Bad Request"} | ({"errors": errors} if self.names_errors else {})
        if kind == "alias":
            for item in accepted:
                self.aliases_at.setdefault(item["alias_name"], time.time())
        self._later([(kind, item) for item in accepted])
        return self._success({"aliases_processed": len(accepted)} if kind == "alias" else {}, errors)

    def _success(self, processed: Item, errors: list[Any]) -> Answer:
        errors = [*(errors if self.names_errors else []), *self.remarks]
        return 201, {"message": "success", **processed} | ({"errors": errors} if errors else {})

    def _export(self, payload: Item, _: int) -> Answer:
        fields = payload.get("fields_to_export")
        if not fields:
            return 400, {"message": "fields_to_export is required"}
        aliases = [(alias["alias_label"], alias["alias_name"]) for alias in payload.get("user_aliases", ())]
        external_ids = as_list(payload.get("external_ids"))
        if len(aliases) + len(external_ids) > 50:
            return 400, {"message": _TOO_MANY}
        asked = [self.users.profiles.get(alias) for alias in aliases]
        asked += [self.users.by_external_id.get(external_id) for external_id in external_ids]
        found = dict.fromkeys([*filter(None, asked), *self.users.by_phone.get(payload.get("phone", ""), ())])
        missing = [external_id for external_id in external_ids if external_id not in self.users.by_external_id]
        users = [self._exported(profile, fields) for profile in found]
        return 201, {"message": "success", "users": users, "invalid_user_ids": missing}

    def _exported(self, profile: Profile, fields: Collection[str]) -> Item:
        aliases = [{"alias_label": label, "alias_name": name} for label, name in sorted(profile.aliases)]
        # Braze writes the number with its plus sign or without, and leaves out what is not there.
        phone = profile.phone if self.writes_plus or not profile.phone else profile.phone.lstrip("+")
        user = {"user_aliases": aliases, "external_id": profile.external_id, "phone": phone} | profile.attributes
        return {key: value for key, value in user.items() if value and key in fields}

    def _send(self, payload: Item, _: int) -> Answer:
        aliases = payload.get("user_aliases") or []
        sms = (payload.get("messages") or {}).get("sms")
        if not aliases or not sms:
            return 400, {"message": "No message to send" if aliases else "No Recipients"}
        for alias in aliases:
            profile = self.users.profiles.get((alias["alias_label"], alias["alias_name"]))
            # Who is not subscribed is left out, and nobody is told.
            if profile and profile.phone and profile.groups.get(sms["subscription_group_id"]) == "subscribed":
                self.sent.append((profile.phone, sms))
        return 201, {"dispatch_id": f"{len(self.sent):032x}", "message": "success"}

    def _later(self, items: list[tuple[str, Item]]) -> None:
        asyncio.get_running_loop().call_later(self._effect_in, self._apply, items)

    def _apply(self, items: list[tuple[str, Item]]) -> None:
        for kind, item in items:
            if kind == "alias":
                self.users.add_alias(item)
            elif kind == "state":
                self._apply_state(item)
            elif profile := self.users.of(item):
                if kind == "attributes":
                    self.users.update(profile, item)
                elif self.record.keeps:
                    profile.events.append(item)
            else:
                self.record.dropped_silently(kind, item)
                continue
            if self.record.keeps:
                self.applied.append((kind, item))
        self.changed()

    def _apply_state(self, item: Item) -> None:
        profiles = []
        for phone in as_list(item.get("phones")):
            if sharing := self.users.by_phone.get(phone):
                profiles.append(sharing[0])
            else:
                self.record.dropped_silently("state", item | {"phones": [phone]})
        found = map(self.users.by_external_id.get, as_list(item.get("external_ids")))
        profiles += filter(None, found)
        self.users.set_state(profiles, item["subscription_group_id"], item["subscription_state"])


def _users_of(group: Item) -> list[str]:
    return [name for key in ("phones", "external_ids", "emails") for name in as_list(group.get(key))]


def _as_v2(payload: Item) -> Item:
    """The body of the older endpoint, which has one group, as the newer one has it."""
    names = {"phone": "phones", "email": "emails", "external_id": "external_ids"}
    return {names.get(key, key): as_list(value) if key in names else value for key, value in payload.items()}
