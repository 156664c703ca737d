"""A receiver of signed webhooks that checks signatures with the reference library of Standard Webhooks."""

import asyncio
import json
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from tests.standins._server import Server
from tests.standins.faults import LOST_ANSWERS, UNKNOWN, Faults

SECRET = "whsec_BwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiMkJSY="


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request that came: what it said, when (monotonic seconds), and what it was answered (None: nothing)."""

    id: str
    event: dict[str, Any]
    headers: dict[str, str]
    arrived: float
    status: int | None


class Receiver(Server):
    """`events` holds what was accepted, in order of arrival, repeats too, each event of a batch for itself; so do `ids`
    and `times` (unix seconds). `attempts` holds every request.

    `url` is where to send. `failing`, while set, is the status of every answer; `answer_headers` go with each, and so
    does the body of the request if it `echoes`.
    """

    def __init__(self, secret: str = SECRET) -> None:
        super().__init__()
        self.secret = secret
        self.events: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.times: list[float] = []
        self.random_faults: Faults | None = None
        #: How often each event was in a request whose sender cannot know what became of it.
        self.unknown: Counter[str] = Counter()
        self.attempts: list[Attempt] = []
        self.failing: int | None = None
        self.answer_headers: dict[str, str] = {}
        self.echoes = False
        self.in_flight = 0
        self._faults: deque[int | None] = deque()
        self._refused: dict[str, int] = {}
        self._lost_answers = 0
        self._gate = asyncio.Event()
        self._gate.set()

    @property
    def url(self) -> str:
        """Where the events go."""
        return f"{self.origin}/events"

    def fail(self, status: int, times: int = 1) -> None:
        """The next requests are answered with this status."""
        self._faults.extend([status] * times)

    def hang(self, times: int = 1) -> None:
        """The next requests are read and never answered."""
        self._faults.extend([None] * times)

    def lose_answer(self, times: int = 1) -> None:
        """The next requests are accepted, but the caller hears nothing of it."""
        self._lost_answers += times

    def refuse(self, event_id: str, status: int = 400) -> None:
        """This one event is never accepted."""
        self._refused[event_id] = status

    def hold(self) -> None:
        """Keeps every request waiting until `release`."""
        self._gate.clear()

    def release(self) -> None:
        """Lets the waiting requests go on."""
        self._gate.set()

    async def wait_for(self, n: int, within: float = 5.0) -> None:
        """Returns once n events were accepted; raises `TimeoutError` after `within` seconds."""
        await self.until(lambda: len(self.events) >= n, within)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Verifies, records, answers."""
        body = await request.read()
        self.in_flight += 1
        arrived = time.monotonic()
        self.changed()
        try:
            await self._gate.wait()
            event_id = request.headers.get("webhook-id", "")
            event, status = self._judge(request, event_id, body)
            self.attempts.append(Attempt(event_id, event, dict(request.headers), arrived, status))
            mode = self.random_faults.draw() if self.random_faults and status == 204 else None
            if mode == "413" and len(_each(event_id, event)) < 2:
                mode = None
            if mode in UNKNOWN:
                self.unknown.update(name for name, _ in _each(event_id, event))
            if status == 204 and (mode is None or mode in LOST_ANSWERS):
                for name, one in _each(event_id, event):
                    self.events.append(one)
                    self.ids.append(name)
                    self.times.append(time.time())
        finally:
            self.in_flight -= 1
        self.changed()
        if status == 204 and self._lost_answers:
            self._lost_answers -= 1
            status = None
        if mode and mode.startswith("cut") and request.transport:
            request.transport.abort()
        if status is None or (mode and mode.startswith("hang")):
            return await self.never_answer(request)
        if mode:
            status = int(mode) if mode.isdecimal() else 503
        return web.Response(status=status, headers=self.answer_headers, body=body if self.echoes else None)

    def _judge(self, request: web.Request, event_id: str, body: bytes) -> tuple[dict[str, Any], int | None]:
        try:
            Webhook(self.secret).verify(body, dict(request.headers), json_parse=False)
        except WebhookVerificationError:
            return {}, 401
        event = json.loads(body)
        if self.failing is not None:
            return event, self.failing
        if self._faults:
            return event, self._faults.popleft()
        refused = (self._refused[name] for name, _ in _each(event_id, event) if name in self._refused)
        return event, next(refused, 204)


def _each(webhook_id: str, received: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The events of a request with their ids."""
    if received.get("type") == "events.batch":
        return [(event["id"], event) for event in received["data"]["events"]]
    return [(webhook_id, received)]
