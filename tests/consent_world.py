"""The application and its reply lanes on a store of their own, with a clock that is moved: one for each history."""

import asyncio
import gc
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import orjson

from router.calls import Call
from router.config import Settings, load
from router.delivery.attempt import Held
from router.delivery.gate import Gate
from router.delivery.http import HttpClient
from router.delivery.pace import Pace
from router.delivery.replies import ReplyLane, Sending
from router.routing import Account, Routing
from router.service import Service, open_store
from router.spill import Spill
from router.store import Entry, Imports, Lease, Outbox, People, Person, Stated, Steps, Store, Target
from router.tasks import cancelled
from router.telemetry import Metrics
from router.types import RawRequest
from tests.asgi import call, serving
from tests.standins.post import PROOF, Relay

#: Long before now, so that no moved clock is ahead of the store's own: by that it is told when a reply comes too late.
BEGAN = time.time() - 10 * 365 * 86_400.0
_METRICS = Metrics()
_CLOSED, _COLLECT_EVERY = count(), 20


class Books(Outbox):
    """An outbox that tells when a lane has recorded something."""

    def __init__(self, store: Store, destinations: Sequence[str]) -> None:
        super().__init__(store, destinations)
        self._news = asyncio.Condition()
        self._positions: dict[str, str] = {}

    async def until(self, lane: str, position: str) -> None:
        """Returns when a lane has recorded that it has come so far."""
        async with asyncio.timeout(10), self._news:
            await self._news.wait_for(lambda: self._positions.get(lane) == position)

    async def settle(self, lease: Lease, destination: str, steps: Steps) -> list[int]:
        answer = await super().settle(lease, destination, steps)
        if "position" not in steps.arguments:  # it begins
            return answer
        async with self._news:
            self._positions[destination] = str(steps.arguments[steps.arguments.index("position") + 1])
            self._news.notify_all()
        return answer


@cache
def _settings(config: Path) -> Settings:
    return load(config)


@cache
def _routing(config: Path) -> Routing:
    return Routing(_settings(config))


@dataclass
class World:
    """What a history happens in. `config` is the same for all; the store's prefix is the history's own."""

    config: Path
    prefix: str
    now: float = BEGAN
    last: str = "0-0"

    @property
    def url(self) -> str:
        """Where the store is."""
        return _settings(self.config).store.url

    async def open(self) -> None:
        """Starts everything."""
        found = _settings(self.config)
        store = found.store.model_copy(update={"prefix": self.prefix, "data": self.config.with_name(self.prefix)})
        self.settings = found.model_copy(update={"store": store})
        self.routing = _routing(self.config)
        self._open = AsyncExitStack()
        self._application = AsyncExitStack()
        self.store, _ = open_store(self.settings)
        self._open.push_async_callback(self.store.close)
        await self.store.open()
        self.books = Books(self.store, self.routing.lanes)
        self.people = People(self.store)
        await self._start()
        self._service: Service | None = None
        lease = await self.books.take(0, "tests", 3600.0)
        assert lease
        self._lanes = {found.reply_lane: self._lane(found, lease) for found in self.routing.accounts.values()}
        Relay.sent.clear()

    async def close(self) -> None:
        """Stops everything."""
        await self._application.aclose()
        await self._open.aclose()
        # An application takes what it holds out of the collector's sight: it is meant to live as long as its process.
        gc.unfreeze()
        if next(_CLOSED) % _COLLECT_EVERY == 0:
            gc.collect()

    async def restart(self, *late: RawRequest) -> None:
        """Ends the application and starts another, which finds texts on disk that an earlier one could not store."""
        await self._application.aclose()
        if late:
            spill = Spill(self.settings.store.data / "spill", self.settings.store.spill_max_bytes)
            for request in late:
                await spill.append(request)
            spill.close()
        await self._start()
        ready = await call(self.app, RawRequest("", "GET", b"", {}, b"", 0.0, "/readyz"))
        assert ready.status == 200, ready

    def request(self, account: str, *entries: dict[str, Any]) -> RawRequest:
        """A carrier's request, as it comes now."""
        return RawRequest(account, "POST", b"", PROOF, orjson.dumps(entries), self.now, f"/in/{account}")

    async def post(self, request: RawRequest) -> list[str]:
        """Sends a carrier's request; the texts that its answer gives to people."""
        reply = await call(self.app, request)
        assert reply.status == 200, reply
        return [given["text"] for given in orjson.loads(reply.body)["replies"]]

    async def call(self, said: Call) -> None:
        """What a caller of the API says."""
        if self._service is None:
            self._service = Service(self.settings, "ingress", lambda: self.now)
            await self._service.open()
            self._open.push_async_callback(self._service.stop)
        await self._service.pipeline.call([said])

    async def imports(self, name: str, program: str, state: str, as_of: float | None, *, overrides: bool) -> None:
        """A file with one row."""
        before = self.now if overrides else None
        entry = (b'{"v":1,"id":"imp_1","at":1.0,"account":"import","rows":[', b'],"source":"people.csv"}')
        imports = Imports(
            self.store, lambda: entry, lambda: self.now, as_of=as_of, override_before=before, dry_run=False
        )
        target = Target(program, state, self.routing.bearing_on(program))
        await imports.apply([Stated(1, name, target, "")])

    async def happened(self) -> tuple[list[Entry], list[str]]:
        """What was decided since the last time, and what was sent to people for it, once all that is to be sent is."""
        entries = await self.books.read(0, self.last, 100)
        if entries:
            self.last = entries[-1].id
        for name in {name for entry in entries for name in entry.destinations if name in self._lanes}:
            self._lanes[name].notify()
            await self.books.until(name, self.last)
        sent = [message.text for message in Relay.sent]
        Relay.sent.clear()
        # What was noted of replies that were sent, and what was imported, is for the ledger alone, and no event.
        return [entry for entry in entries if entry.decision != b"{}"], sent

    async def person(self, name: str) -> Person:
        """What is known of somebody."""
        return await self.people.get(name) or Person({})

    async def _start(self) -> None:
        self._application = AsyncExitStack()
        self.app = await self._application.enter_async_context(serving(self.settings, lambda: self.now))

    def _lane(self, account: Account, lease: Lease) -> ReplyLane:
        sending = Sending(
            account.reply_lane,
            account.name,
            account.carrier,
            HttpClient(1.0, allow_private=False),
            Gate(time.monotonic, random.Random(1)),
            Pace(self.routing.texts_per_second(account.name), time.monotonic),
            {program: self.routing.bearing_on(program) for program in self.settings.programs},
            86_400.0,
        )
        held = Held(lease, time.monotonic() + 3600)
        clock, monotonic = (lambda: self.now), time.monotonic
        lane = ReplyLane(held, sending, self.books, self.people, _unblocked, _METRICS, clock, monotonic)
        self._open.push_async_callback(cancelled, [asyncio.create_task(lane.run())])
        return lane


async def _unblocked(*_: object) -> None:
    raise AssertionError("the carriers of the tests send everything")
