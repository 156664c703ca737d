"""The server of a workspace: keys, permissions, rate limits, and everything that may go wrong with a request."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from tests.standins.braze import endpoints as at
from tests.standins.braze.objects import as_list
from tests.standins.braze.rates import Rates
from tests.standins.braze.record import Arrival
from tests.standins.braze.users import Alias, Profile
from tests.standins.faults import GAVE_UP, LOST_ANSWERS, QUEUED, REFUSALS, TOO_LARGE, UNKNOWN, Faults

API_KEY = "0f0e0d0c-1111-4222-8333-444455556666"

_PERMISSIONS = {
    ("POST", at.TRACK): "users.track",
    ("POST", at.ALIAS_NEW): "users.alias.new",
    ("POST", at.EXPORT): "users.export.ids",
    ("POST", at.STATUS_SET): "subscription.status.set",
    ("POST", at.STATUS_SET_V1): "subscription.status.set",
    ("POST", at.SEND): "messages.send",
    ("GET", "/subscription/status/get"): "subscription.groups.get",
}
_TEXTS = {
    429: "Rate Limited",
    413: "Payload Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


@dataclass(slots=True)
class _Fault:
    status: int | None = None
    applies: bool = False
    headers: dict[str, str] = field(default_factory=dict)


class Braze(at.Endpoints):
    """`applied` holds every ("alias" | "state" | "attributes" | "event", object) in order; `dropped` what was lost
    silently; `arrivals` every custom event as it was accepted, and `aliases_at` when each alias was, in unix seconds;
    `sent` each (phone, SMS) that left by `/messages/send`; `calls` counts the requests by path. With a `record`, a
    file, objects and arrivals are not kept in memory, see `Record`.

    `latency` is the time until an answer, and `delay` from answer to effect, in seconds; `delays` has other ones by
    path, and up to `jitter` comes on top by chance; `users.lag` is how much later states are read. `rates` has the
    requests that each path takes, `objects_in_all` the cap of the newer contracts (50). `too_large_over`, if set, is
    the most objects before a 413; `blocked_events` are names of events that it refuses, `blocked` phones, ids and alias
    names that `alias/new` and `status/set` refuse. With `all_or_nothing` one faulty object spoils its request, and
    without `names_errors` nobody learns which. `remarks` stand among the errors of every success. `queueing` answers
    202, `writes_plus` exports numbers with their plus sign.

    `random_faults`, if set (`faults` does), spoils some of the requests; `unknown` counts how often a text's id was in
    a request whose outcome the caller cannot know.
    """

    def __init__(
        self,
        *,
        delay: float = 0.05,
        limit: int = 250_000,
        window: float = 60.0,
        objects_in_all: int | None = None,
        latency: float = 0.0,
        record: Path | None = None,
    ) -> None:
        super().__init__(delay, objects_in_all, record)
        self.latency = latency
        self.rates = Rates(limit, window)
        self.random_faults: Faults | None = None
        self.unknown: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.api_key = API_KEY
        self.permissions = set(_PERMISSIONS.values())
        self.queueing = False
        self.keeps_requests = record is None
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self._faults: deque[_Fault] = deque()

    @property
    def url(self) -> str:
        """What a customer would configure as the REST endpoint."""
        return self.origin

    @property
    def profiles(self) -> dict[Alias, Profile]:
        """The users by (label, name) of each of their aliases."""
        return self.users.profiles

    @property
    def arrivals(self) -> list[Arrival]:
        """The custom events as they were accepted, repeats too."""
        return self.record.arrivals

    @property
    def dropped(self) -> list[tuple[str, dict[str, Any]]]:
        """What was lost silently."""
        return self.record.dropped

    @property
    def events(self) -> list[dict[str, Any]]:
        """The custom events applied, in order, repeats too."""
        return [item for kind, item in self.applied if kind == "event"]

    def fail(self, status: int, times: int = 1, *, applies: bool = False) -> None:
        """The next requests are answered with this status; they have no effect unless `applies`."""
        self._faults.extend(_Fault(status, applies) for _ in range(times))

    def refuse_for_rate(self, reset_in: int, times: int = 1) -> None:
        """The next requests are answered 429, with a reset `reset_in` seconds from now."""
        self._faults.extend(_Fault(429, headers=_exhausted(reset_in)) for _ in range(times))

    def hang(self, times: int = 1, *, applies: bool = False) -> None:
        """The next requests are never answered; with `applies` they take effect all the same."""
        self._faults.extend(_Fault(applies=applies) for _ in range(times))

    def faults(self, rate: float, seed: int) -> Faults:
        """From now on that share of requests meets a fault of any kind, drawn by the seed; returns what counts them."""
        self.random_faults = Faults(rate, seed, (*REFUSALS, *LOST_ANSWERS, *QUEUED, *TOO_LARGE, *GAVE_UP))
        return self.random_faults

    def add_user(
        self,
        alias_name: str,
        *,
        alias_label: str = "phone",
        phone: str | None = None,
        external_id: str | None = None,
    ) -> Profile:
        """A user with an alias, who was there before; returns the profile."""
        if external_id:
            self.users.with_external_id(external_id)
            self.users.add_alias({"alias_label": alias_label, "alias_name": alias_name, "external_id": external_id})
        profile = self.users.named((alias_label, alias_name))
        if phone:
            self.users.move(profile, phone)
        return profile

    def remove_user(self, alias_name: str, *, alias_label: str = "phone") -> None:
        """A user is gone, and all aliases with them."""
        self.users.remove(self.profiles[alias_label, alias_name])

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
        if path == "/_report" and request.method == "GET":
            return web.Response(body=orjson.dumps(self.report()), content_type="application/json")
        refused = self._refusal(request)
        if refused:
            return refused
        self.calls[path] += 1
        number = self.calls[path]
        headers = self.rates.headers(path)
        if request.method == "GET":
            return self._states(request, headers)
        try:
            payload = orjson.loads(await request.read())
        except orjson.JSONDecodeError:
            return _answer(400, "Bad Request", headers)
        if self.keeps_requests:
            self.requests.append((path, payload))
        if self.latency:
            await asyncio.sleep(self.latency)
        if self.random_faults and (mode := self.random_faults.draw(*_senseless(payload))):
            return await self._spoil(mode, request, payload, number)
        if self._faults:
            return await self._fail(self._faults.popleft(), request, payload, number)
        if request.transport is None or request.transport.is_closing():
            self._note_unknown(payload)  # the caller did not wait so long
        status, answer = self.judge(path, payload, number)
        return _answer(202, "queued", headers) if self.queueing else _answer(status, answer, headers)

    def _refusal(self, request: web.Request) -> web.Response | None:
        """What is answered before the body is read."""
        path = request.path
        permission = _PERMISSIONS.get((request.method, path))
        refused: tuple[int, str] | None = None
        if permission is None:
            refused = 404, "Not Found"
        elif request.headers.get("Authorization") != f"Bearer {self.api_key}":
            refused = 401, "Invalid API Key"
        elif permission not in self.permissions:
            refused = 403, "Access Denied"
        elif self.rates.count(path):
            refused = 429, "Rate Limited"
        return _answer(*refused, self.rates.headers(path)) if refused else None

    async def _fail(
        self, fault: _Fault, request: web.Request, payload: dict[str, Any], number: int
    ) -> web.StreamResponse:
        if fault.status in (None, 504):
            self._note_unknown(payload)
        if fault.applies:
            self.judge(request.path, payload, number)
        if fault.status is None:
            return await self.never_answer(request)
        headers = {**self.rates.headers(request.path), **fault.headers}
        return _answer(fault.status, _TEXTS.get(fault.status, "Bad Request"), headers)

    async def _spoil(self, mode: str, request: web.Request, payload: dict[str, Any], number: int) -> web.StreamResponse:
        if mode in UNKNOWN:
            self._note_unknown(payload)
        if mode in LOST_ANSWERS or mode in QUEUED:
            self.judge(request.path, payload, number)
        if mode.startswith("hang"):
            return await self.never_answer(request)
        if mode.startswith("cut"):
            if request.transport:
                request.transport.abort()
            return web.Response(status=503)
        status = int(mode.split()[0])
        headers = self.rates.headers(request.path)
        if status == 429:
            headers = {**headers, **_exhausted(1)}
        return _answer(status, _TEXTS.get(status, "queued"), headers)

    def _note_unknown(self, payload: dict[str, Any]) -> None:
        self.unknown.update(event["properties"]["sms_message_id"] for event in payload.get("events", ()))

    def _states(self, request: web.Request, headers: Mapping[str, str]) -> web.Response:
        group = request.query.get("subscription_group_id", "")
        found: dict[str, Profile | None] = {}
        for external_id in request.query.getall("external_id", []) + request.query.getall("external_id[]", []):
            found[external_id] = self.users.by_external_id.get(external_id)
        if not found:
            for phone in as_list(request.query.getall("phone", [])):
                found[phone] = next(iter(self.users.by_phone.get(phone, ())), None)
        states = {
            name: (profile.groups.shown.get(group, "unknown") if profile else "unknown").capitalize()
            for name, profile in found.items()
        }
        return _answer(200, {"status": states, "message": "success"}, headers)

    def report(self) -> dict[str, Any]:
        """What has come, for who is in another process; long lists are in the file of the record, if there is one."""
        counts = self.random_faults.counts if self.random_faults else {}
        return self.record.report() | {"requests": self.calls, "faults": counts, "unknown": self.unknown}


def _senseless(payload: dict[str, Any]) -> tuple[str, ...]:
    """Faults that a request cannot meet: nothing smaller is left of one that is about one person."""
    most = max(len(payload.get(array, ())) for array in ("attributes", "events", "user_aliases"))
    states = sum(len(as_list(group.get("phones"))) for group in payload.get("subscription_groups", ()))
    return () if max(most, states) > 1 else TOO_LARGE


def _exhausted(reset_in: int) -> dict[str, str]:
    return {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + reset_in)}


def _answer(status: int, answer: str | dict[str, Any], headers: Mapping[str, str]) -> web.Response:
    body = {"message": answer} if isinstance(answer, str) else answer
    return web.Response(status=status, headers=headers, body=orjson.dumps(body), content_type="application/json")
