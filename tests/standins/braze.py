"""A Braze workspace: the endpoints that keyroute calls, with what Braze does not tell its callers.

It answers before it applies, drops what is for a missing alias without a word, and keeps every repeat.
"""

import asyncio
import json
import re
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.standins._server import Server
from tests.standins.faults import LOST_ANSWERS, QUEUED, UNKNOWN, Faults

API_KEY = "0f0e0d0c-1111-4222-8333-444455556666"

_PERMISSIONS = {
    "/users/track": "users.track",
    "/users/alias/new": "users.alias.new",
    "/v2/subscription/status/set": "subscription.status.set",
    "/users/export/ids": "users.export.ids",
}
_TOO_MANY = "The max number of external_ids and aliases per request was exceeded"
_NOT_VALID = "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields."
_IDENTIFIER_MISSING = "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")

Alias = tuple[str, str]


@dataclass(slots=True)
class Profile:
    """A user. Profiles with the same phone share one `groups`: state by subscription group."""

    aliases: set[Alias] = field(default_factory=set)
    phone: str | None = None
    groups: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A custom event that was accepted: the text's id, who sent it, when (unix seconds), and in which request."""

    message_id: str
    sender: str
    at: float
    request: int


@dataclass(slots=True)
class _Fault:
    status: int | None = None
    applies: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "Internal Server Error"


class Braze(Server):
    """`applied` holds every ("alias" | "attributes" | "event", object) in order; `dropped` what was lost silently.

    `delay` is the time from answer to effect, in seconds; `limit` the requests per `window` seconds, per endpoint;
    `objects_in_all` the cap of the newer contracts (50). `too_large_over`, if set, is the most objects before a 413;
    `blocked_events` are names that it refuses. With `all_or_nothing` one faulty object spoils its request, and without
    `names_errors` nobody learns which. `remarks` stand among the errors of every success. `latency` is the time until
    an answer, in seconds; `random_faults`, if set, spoils some of the requests, and `unknown` counts how often a text's
    id was in one whose outcome the caller cannot know. `arrivals` holds every custom event as it was accepted.
    """

    def __init__(
        self,
        *,
        delay: float = 0.05,
        limit: int = 250_000,
        window: float = 60.0,
        objects_in_all: int | None = None,
        latency: float = 0.0,
    ) -> None:
        super().__init__()
        self.latency = latency
        self.random_faults: Faults | None = None
        self.unknown: Counter[str] = Counter()
        self.arrivals: list[Arrival] = []
        self.calls: Counter[str] = Counter()
        #: When each alias was accepted, in unix seconds.
        self.aliases_at: dict[str, float] = {}
        self.api_key = API_KEY
        self.permissions = set(_PERMISSIONS.values())
        self.too_large_over: int | None = None
        self.queueing = False
        self.keeps_requests = True
        self.blocked_events: set[str] = set()
        self.all_or_nothing = False
        self.names_errors = True
        self.remarks: list[Any] = []
        self.profiles: dict[Alias, Profile] = {}
        self.applied: list[tuple[str, dict[str, Any]]] = []
        self.dropped: list[tuple[str, dict[str, Any]]] = []
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self._delay = delay
        self._limit = limit
        self._window = window
        self._objects_in_all = objects_in_all
        self._groups_of_phone: dict[str, dict[str, str]] = {}
        self._used: dict[str, tuple[float, int]] = {}
        self._faults: deque[_Fault] = deque()

    @property
    def url(self) -> str:
        """What a customer would configure as the REST endpoint."""
        return self.origin

    @property
    def events(self) -> list[dict[str, Any]]:
        """The custom events applied, in order, repeats too."""
        return [item for kind, item in self.applied if kind == "event"]

    def fail(self, status: int, times: int = 1) -> None:
        """The next requests have no effect and are answered with this status."""
        self._faults.extend(_Fault(status) for _ in range(times))

    def refuse_for_rate(self, reset_in: int, times: int = 1) -> None:
        """The next requests are answered 429, with a reset `reset_in` seconds from now."""
        headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + reset_in)}
        self._faults.extend(_Fault(429, headers=headers, message="Rate Limited") for _ in range(times))

    def hang(self, times: int = 1, *, applies: bool = False) -> None:
        """The next requests are never answered; with `applies` they take effect all the same."""
        self._faults.extend(_Fault(applies=applies) for _ in range(times))

    def add_user(self, alias_name: str, *, alias_label: str = "phone", phone: str | None = None) -> Profile:
        """A user with an alias, who was there before; returns the profile."""
        profile = self._create((alias_label, alias_name))
        if phone:
            self._set_phone(profile, phone)
        return profile

    def remove_user(self, alias_name: str, *, alias_label: str = "phone") -> None:
        """A user is gone, and the alias with them."""
        del self.profiles[alias_label, alias_name]

    def state(self, alias_name: str, group: str, *, alias_label: str = "phone") -> str | None:
        """What Braze keeps of a person's consent: `subscribed`, `unsubscribed` or nothing."""
        profile = self.profiles.get((alias_label, alias_name))
        return profile.groups.get(group) if profile else None

    async def wait_for(self, n: int, within: float = 5.0) -> None:
        """Returns once n custom events were applied; raises `TimeoutError` after `within` seconds."""
        await self.until(lambda: len(self.events) >= n, within)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Checks as the real one does, answers, and applies later."""
        path = request.path
        if path not in _PERMISSIONS or request.method != "POST":
            return _answer(404, {"message": "Not Found"}, {})
        if request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return _answer(401, {"message": "Invalid API Key"}, {})
        if _PERMISSIONS[path] not in self.permissions:
            return _answer(403, {"message": "Access Denied"}, {})
        headers, exhausted = self._count(path)
        if exhausted:
            return _answer(429, {"message": "Rate Limited"}, headers)
        payload = json.loads(await request.read())
        self.calls[path] += 1
        if self.keeps_requests:
            self.requests.append((path, payload))
        if self.latency:
            await asyncio.sleep(self.latency)
        if self.random_faults and (mode := self.random_faults.draw()):
            return await self._spoil(mode, request, payload, headers)
        fault = self._faults.popleft() if self._faults else None
        if fault and fault.applies:
            self._accept(path, payload)
        if fault and fault.status is None:
            return await self.never_answer(request)
        if fault and fault.status is not None:
            return _answer(fault.status, {"message": fault.message}, headers | fault.headers)
        status, answer = self._accept(path, payload)
        return _answer(status, answer, headers)

    async def _spoil(
        self, mode: str, request: web.Request, payload: dict[str, Any], headers: dict[str, str]
    ) -> web.StreamResponse:
        if mode in UNKNOWN:
            self.unknown.update(event["properties"]["sms_message_id"] for event in payload.get("events", ()))
        if mode == "413" and len(payload.get("events", ())) < 2:
            status, answer = self._accept(request.path, payload)
            return _answer(status, answer, headers)
        if mode in LOST_ANSWERS or mode in QUEUED:
            self._accept(request.path, payload)
        if mode in QUEUED:
            return _answer(202, {"message": "queued"}, headers)
        if mode.startswith("hang"):
            return await self.never_answer(request)
        if mode.startswith("cut"):
            if request.transport:
                request.transport.abort()
            return web.Response(status=503)
        if mode == "429":
            headers = headers | {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 1)}
        return _answer(int(mode), {"message": "Rate Limited" if mode == "429" else "Internal Server Error"}, headers)

    def _count(self, path: str) -> tuple[dict[str, str], bool]:
        now = time.time()
        reset, used = self._used.get(path, (0.0, 0))
        if now >= reset:
            reset, used = now + self._window, 0
        used += 1
        self._used[path] = (reset, used)
        headers = {
            "X-RateLimit-Limit": str(self._limit),
            "X-RateLimit-Remaining": str(max(self._limit - used, 0)),
            "X-RateLimit-Reset": str(int(reset) + 1),
        }
        return headers, used > self._limit

    def _accept(self, path: str, payload: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.queueing:
            asyncio.get_running_loop().call_later(self._delay, self._judge, path, payload)
            return 202, {"message": "queued"}
        return self._judge(path, payload)

    def _judge(self, path: str, payload: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        match path:
            case "/users/alias/new":
                return self._accept_aliases(payload)
            case "/v2/subscription/status/set":
                return self._accept_states(payload)
            case "/users/export/ids":
                return self._export(payload)
        return self._accept_track(payload)

    def _accept_states(self, payload: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        groups = payload["subscription_groups"]
        if sum(len(group["phones"]) for group in groups) > 50:
            return 400, {"message": _TOO_MANY}
        self._later([("state", group) for group in groups])
        return 201, {"message": "success"}

    def _export(self, payload: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if "fields_to_export" not in payload:
            return 400, {"message": "fields_to_export is required"}
        aliases = [(alias["alias_label"], alias["alias_name"]) for alias in payload["user_aliases"]]
        if len(aliases) > 50:
            return 400, {"message": _TOO_MANY}
        found = {id(profile): profile for alias in aliases if (profile := self.profiles.get(alias))}
        users: list[dict[str, Any]] = []
        for profile in found.values():
            named = [{"alias_label": label, "alias_name": name} for label, name in sorted(profile.aliases)]
            # Braze writes the number with its plus sign or without, and leaves out what is not there.
            users.append({"user_aliases": named} | ({"phone": profile.phone.lstrip("+")} if profile.phone else {}))
        return 201, {"message": "success", "users": users, "invalid_user_ids": []}

    def _accept_aliases(self, payload: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        aliases = payload["user_aliases"]
        if len(aliases) > 50:
            return 400, {"message": _TOO_MANY}
        for alias in aliases:
            self.aliases_at.setdefault(alias["alias_name"], time.time())
        self._later([("alias", alias) for alias in aliases])
        return 201, {"aliases_processed": len(aliases), "message": "success"}

    def _accept_track(self, payload: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        arrays = {array: payload.get(array, []) for array in ("attributes", "events")}
        count = sum(map(len, arrays.values()))
        if self.too_large_over is not None and count > self.too_large_over:
            return 413, {"message": "Payload Too Large"}
        if max(map(len, arrays.values())) > 75 or (self._objects_in_all and count > self._objects_in_all):
            return 400, {"message": "Max Input Length Exceeded"}
        accepted, errors = self._sorted_out(arrays)
        if not accepted or (errors and self.all_or_nothing):
            return 400, {"message": _NOT_VALID} | ({"errors": errors} if self.names_errors else {})
        now, request = time.time(), self.calls["/users/track"]
        self.arrivals += [
            Arrival(item["properties"]["sms_message_id"], item["user_alias"]["alias_name"], now, request)
            for kind, item in accepted
            if kind == "event" and "sms_message_id" in item.get("properties", {})
        ]
        self._later(accepted)
        answer: dict[str, Any] = {"message": "success"}
        for kind, name in (("attributes", "attributes_processed"), ("event", "events_processed")):
            answer[name] = sum(of == kind for of, _ in accepted)
        return 201, answer | ({"errors": errors} if (errors := errors + self.remarks) else {})

    def _sorted_out(
        self, arrays: dict[str, list[dict[str, Any]]]
    ) -> tuple[list[tuple[str, dict[str, Any]]], list[dict[str, Any]]]:
        accepted = []
        errors = []
        for array, items in arrays.items():
            for index, item in enumerate(items):
                if fault := self._fault_of(array, item):
                    errors.append({"type": fault, "input_array": array, "index": index})
                else:
                    accepted.append(("event" if array == "events" else array, item))
        return accepted, errors

    def _fault_of(self, array: str, item: dict[str, Any]) -> str | None:
        if "user_alias" not in item:
            return _IDENTIFIER_MISSING
        if array == "attributes":
            return None
        if not isinstance(item.get("name"), str) or not item["name"]:
            return "'name' is required"
        if item["name"] in self.blocked_events:
            return f"{item['name']} is blocked"
        if not _TIME.fullmatch(str(item.get("time"))):
            return "'time' is required and must be ISO 8601"
        return _property_fault(item.get("properties", {}))

    def _later(self, items: list[tuple[str, dict[str, Any]]]) -> None:
        asyncio.get_running_loop().call_later(self._delay, self._apply, items)

    def _apply(self, items: list[tuple[str, dict[str, Any]]]) -> None:
        for kind, item in items:
            if kind == "alias":
                self._create((item["alias_label"], item["alias_name"]))
                self.applied.append((kind, item))
            elif kind == "state":
                self._apply_state(item)
            else:
                self._apply_track(kind, item)
        self.changed()

    def _apply_track(self, kind: str, item: dict[str, Any]) -> None:
        alias = (item["user_alias"]["alias_label"], item["user_alias"]["alias_name"])
        profile = self.profiles.get(alias)
        if profile is None:
            if item.get("_update_existing_only", True):
                self.dropped.append((kind, item))
                return
            profile = self._create(alias)
        if kind == "event":
            profile.events.append(item)
        else:
            self._update(profile, item)
        self.applied.append((kind, item))

    def _apply_state(self, item: dict[str, Any]) -> None:
        for phone in item["phones"]:
            if (groups := self._groups_of_phone.get(phone)) is None:
                self.dropped.append(("state", item | {"phones": [phone]}))
            else:
                groups[item["subscription_group_id"]] = item["subscription_state"]
        self.applied.append(("state", item))

    def _update(self, profile: Profile, item: dict[str, Any]) -> None:
        traits = {key: value for key, value in item.items() if key not in ("user_alias", "_update_existing_only")}
        if phone := traits.pop("phone", None):
            self._set_phone(profile, phone)
        for group in traits.pop("subscription_groups", []):
            profile.groups[group["subscription_group_id"]] = group["subscription_state"]
        profile.attributes.update(traits)

    def _create(self, alias: Alias) -> Profile:
        profile = self.profiles.setdefault(alias, Profile())
        profile.aliases.add(alias)
        return profile

    def _set_phone(self, profile: Profile, phone: str) -> None:
        # A number that Braze knows keeps its states, and the profile takes them over; a new one takes the profile's.
        profile.groups = self._groups_of_phone.setdefault(phone, dict(profile.groups))
        profile.phone = phone


def _property_fault(properties: dict[str, Any]) -> str | None:
    for name, value in properties.items():
        if name in ("time", "event_name") or name.startswith("$") or not 1 <= len(name) <= 255:
            return f"property name {name} is not allowed"
        if isinstance(value, str) and len(value) > 255:
            return f"property {name} is longer than 255 characters"
    return None


def _answer(status: int, answer: dict[str, Any], headers: dict[str, str]) -> web.Response:
    return web.Response(
        status=status, headers=headers, body=json.dumps(answer).encode(), content_type="application/json"
    )
