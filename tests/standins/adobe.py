"""An Adobe Experience Platform sandbox: tokens, streaming inlets, profiles that follow later, and journeys.

It answers before it applies, takes what has no consent as consented, and lets a person into a journey once in five
minutes, all without telling its callers.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web

from tests.standins._server import Server
from tests.standins.faults import LOST_ANSWERS, UNKNOWN, Faults

CLIENT_ID, CLIENT_SECRET, ORG = "client-1", "a-secret-for-the-tests", "0123@AdobeOrg"
INLET = "0f0e0d0c"
#: A destination `aep` in this sandbox. Its secret is to stand in the file `adobe.secret`.
_DESTINATION = """
[destinations.aep]
platform = "adobe"
url = "{origin}"
token_url = "{origin}/ims/token/v3"
inlet = "{inlet}"
ims_org = "{org}"
client_id = "{client_id}"
client_secret = "file:adobe.secret"
scopes = ["openid", "AdobeID"]
consent_flow = "flow-c"
consent_dataset = "set-c"
event_flow = "flow-e"
event_dataset = "set-e"
event_schema = "https://ns.adobe.com/acme/schemas/1"
tenant = "_acme"
"""
_LARGEST = 1_000_000
_AGAIN_AFTER = 300.0


def destination(origin: str, more: str) -> str:
    """The configuration of a destination `aep`, a sandbox at `origin`, with more of its keys."""
    return _DESTINATION.format(origin=origin, inlet=INLET, org=ORG, client_id=CLIENT_ID) + more


@dataclass(frozen=True, slots=True)
class Arrival:
    """A text that was accepted: its event's id, who sent it, and when, in unix seconds."""

    event_id: str
    sender: str
    at: float


class Adobe(Server):
    """`profiles` holds the consents of each person as applied, `events` every ExperienceEvent, repeats too, `arrivals`
    likewise as accepted, `journeys` the (person, event id) of each that started.

    `delay` is the time from answer to effect, in seconds; `refused_events` are ids of events that a batch names as
    faulty; `random_faults` spoils some requests, and `unknown` counts the events in those whose outcome the caller
    cannot know. `tokens_given` counts tokens, which last `token_seconds`.
    """

    def __init__(self, *, delay: float = 0.01, token_seconds: float = 86_399) -> None:
        super().__init__()
        self.delay = delay
        self.token_seconds = token_seconds
        self.token_latency = 0.0
        self.tokens_given = 0
        self.profiles: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.arrivals: list[Arrival] = []
        self.journeys: list[tuple[str, str]] = []
        self.event_ids: set[str] = set()
        self.refused_events: set[str] = set()
        self.fails_entries_with = 400
        self.says = "refused"
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.random_faults: Faults | None = None
        self.unknown: Counter[str] = Counter()
        self._tokens: dict[str, float] = {}
        self._started: dict[tuple[str, str], float] = {}
        self._faults: list[tuple[int, dict[str, str]]] = []

    def fail(self, status: int, times: int = 1, **headers: str) -> None:
        """The next requests to an inlet have no effect and are answered with this status."""
        self._faults += [(status, {name.replace("_", "-"): value for name, value in headers.items()})] * times

    def end_tokens(self) -> None:
        """No token that was given is good any more."""
        self._tokens.clear()

    def consented(self, sender: str, channel: str = "sms") -> bool:
        """Whether Journey Optimizer would text a person: unless something else is said, it would."""
        marketing = self.profiles.get(sender, {}).get("marketing", {})
        return bool(marketing.get(channel, {}).get("val", "y") == "y")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers as the two services do."""
        if request.path == "/ims/token/v3":
            return await self._give_token(request)
        if not request.path.startswith("/collection/batch/"):
            return _problem(404, "Not Found")
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self._tokens.get(token, 0.0) <= time.monotonic():
            return _problem(401, "Unauthorized")
        if request.headers.get("x-gw-ims-org-id") != ORG or request.headers.get("x-api-key") != CLIENT_ID:
            return _problem(403, "Forbidden")
        body = await request.read()
        if len(body) > _LARGEST:
            return _problem(413, "Payload Too Large")
        if self._faults:
            status, headers = self._faults.pop(0)
            return _problem(status, "as asked", headers)
        messages = json.loads(body)["messages"]
        self.requests.append((request.path.rpartition("/")[2], {"messages": messages}))
        # That a token is good no more right after it was given is no fault but a wrong secret.
        fresh = self._tokens[token] - time.monotonic() > self.token_seconds - 1.0
        if self.random_faults and (mode := self.random_faults.draw(*(("401",) if fresh else ()))):
            return await self._spoil(mode, request, messages)
        return self._accept(messages)

    async def _give_token(self, request: web.Request) -> web.StreamResponse:
        form = {name: values[0] for name, values in parse_qs((await request.read()).decode()).items()}
        await asyncio.sleep(self.token_latency)
        right = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        if any(form.get(name) != value for name, value in right.items()) or "scope" not in form:
            return web.json_response({"error": "invalid_client"}, status=401)
        self.tokens_given += 1
        token = f"token-{self.tokens_given}"
        self._tokens[token] = time.monotonic() + self.token_seconds
        answer = {"access_token": token, "token_type": "bearer", "expires_in": self.token_seconds}
        return web.json_response(answer)

    async def _spoil(self, mode: str, request: web.Request, messages: list[dict[str, Any]]) -> web.StreamResponse:
        if mode in UNKNOWN:
            self.unknown.update(id_ for message in messages if (id_ := _event_id(message)))
        if mode == "413" and len(messages) < 2:
            return self._accept(messages)
        if mode == "401":
            self.end_tokens()
        if mode == "207":
            return self._accept(messages, failing=messages[::2])
        if mode in LOST_ANSWERS:
            self._accept(messages)
        if mode.startswith("hang"):
            return await self.never_answer(request)
        if mode.startswith("cut"):
            if request.transport:
                request.transport.abort()
            return web.Response(status=503)
        return _problem(int(mode), "by chance", {"Retry-After": "0"} if mode == "429" else {})

    def _accept(self, messages: list[dict[str, Any]], failing: Sequence[dict[str, Any]] = ()) -> web.Response:
        responses = []
        good = []
        for at, message in enumerate(messages):
            if message in failing:
                responses.append({"statusCode": 503, "message": "by chance"})
            elif fault := self._fault_of(message):
                responses.append({"statusCode": self.fails_entries_with, "message": fault})
            else:
                responses.append({"xactionId": f"{time.time()}:{at}"})
                good.append(message)
        now = time.time()
        for message in good:
            if entity := message["body"].get("xdmEntity"):
                self.arrivals.append(Arrival(entity["_id"], _person(entity), now))
        asyncio.get_running_loop().call_later(self.delay, self._apply, good)
        answer = {"inletId": INLET, "batchId": "1", "receivedTimeMs": int(now * 1000), "responses": responses}
        return web.json_response(answer, status=207)

    def _fault_of(self, message: dict[str, Any]) -> str | None:
        header, body = message["header"], message["body"]
        if header.get("imsOrgId") != ORG or not header.get("datasetId"):
            return "imsOrgId or datasetId is missing"
        if "operations" in header:
            return None if body.get("identityMap") and header.get("flowId") else "no identity, or no flow"
        if header.get("schemaRef") != body.get("xdmMeta", {}).get("schemaRef"):
            return "schemaRefs differ"
        entity = body.get("xdmEntity") or {}
        if not entity.get("_id") or not entity.get("timestamp"):
            return "Message has unknown xdm format"
        return self.says if entity["_id"] in self.refused_events else None

    def _apply(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            body = message["body"]
            if "operations" in message["header"]:
                profile = self.profiles.setdefault(_person(body), {})
                _merge(profile, body["consents"])
            else:
                self.events.append(body["xdmEntity"])
                self._start(body["xdmEntity"])
        self.changed()

    def _start(self, entity: dict[str, Any]) -> None:
        event_id = entity.get("_experience", {}).get("campaign", {}).get("orchestration", {}).get("eventID")
        key = _person(entity), event_id
        if event_id in self.event_ids and time.time() - self._started.get(key, 0.0) >= _AGAIN_AFTER:
            self._started[key] = time.time()
            self.journeys.append(key)


def _merge(into: dict[str, Any], said: dict[str, Any]) -> None:
    for key, value in said.items():
        if isinstance(value, dict):
            _merge(into.setdefault(key, {}), value)
        else:
            into[key] = value


def _person(body: dict[str, Any]) -> str:
    return str(body["identityMap"]["Phone"][0]["id"])


def _event_id(message: dict[str, Any]) -> str | None:
    entity = message["body"].get("xdmEntity")
    return entity["_id"] if entity else None


def _problem(status: int, title: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"type": "http://ns.adobe.com/adobecloud/problem/data-collection-service/inlet", "status": status}
    return web.json_response(body | {"title": title, "report": {"message": title}}, status=status, headers=headers)
