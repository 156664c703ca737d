"""One running process: what it holds, in the order in which it is opened; closed in reverse."""

import asyncio
import importlib
import os
import uuid
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Literal

import structlog
from prometheus_client import generate_latest

from router.acceptance import Acceptance
from router.backlog import Backlog
from router.config import Settings
from router.disposal import Whole
from router.embedded import EmbeddedServer
from router.errors import ConfigurationError, Problem, StoreUnavailable
from router.outage import Outage
from router.outbound import Outbound
from router.pipeline import Pipeline
from router.ports import Http
from router.reception import Reception
from router.routing import Routing
from router.spill import Spill
from router.store import LEDGER, Commits, DeadLetters, Outbox, Parts, People, Store
from router.tasks import cancelled
from router.telemetry import Metrics
from router.types import RawRequest

if TYPE_CHECKING:
    from router.delivery.worker import Worker

_log = structlog.get_logger("router.service")

Role = Literal["all", "ingress", "worker"]

EMBEDDED = "embedded"
#: How often it is looked whether the embedded store still runs, in seconds.
_LOOK_AFTER_STORE = 0.25
#: How long the start waits for the texts that an earlier process left behind, in seconds.
_LONGEST_START = 0.5
#: How often it is looked for long texts whose parts have waited long enough, in seconds.
_SWEEP = 0.5
#: How long the server takes to listen after the start, in seconds.
_LISTENING = 0.05


def open_store(settings: Settings) -> tuple[Store, EmbeddedServer | None]:
    """The configured store, not yet connected; an embedded server is started but not yet waited for."""
    server = EmbeddedServer(settings.store.data) if settings.store.url == EMBEDDED else None
    if server:
        server.spawn()
    store = Store(
        server.url if server else settings.store.url,
        prefix=settings.store.prefix,
        shards=settings.store.shards,
        durability=settings.store.durability,
        timeout_seconds=settings.store.timeout_seconds,
        password=settings.store.password.reveal() if settings.store.password else None,
    )
    return store, server


class Service:
    """The store, the pipeline and, by role, the worker."""

    def __init__(self, settings: Settings, role: Role, clock: Callable[[], float], http: Http | None = None) -> None:
        """`http` is what carriers' keys are fetched with, if not a client of its own."""
        self.settings = settings
        self.role = role
        self.metrics = Metrics()
        self._clock = clock
        self._owner = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._open = AsyncExitStack()  # what `stop` closes
        self._worker: Worker | None = None
        self._starting: asyncio.Task[None] | None = None
        self.store, self._server = open_store(settings)
        spill = Spill(settings.store.data / "spill", settings.store.spill_max_bytes)
        self.outage = Outage(spill, self._reach, self._replay, self.metrics)
        commits = Commits(
            self.store,
            unhandled_kept=settings.store.unhandled_kept,
            clock=clock,
            on_failure=self.outage.begin,
        )
        self.dead = DeadLetters(self.store, settings.store.unhandled_kept)
        self.backlog = Backlog(
            self.store, self.dead, lambda: self.settings.limits.waiting_deliveries, self.metrics, clock
        )
        acceptance = Acceptance(
            commits,
            People(self.store),
            Parts(self.store),
            self.dead,
            self.metrics,
            clock,
            on_failure=self.outage.begin,
        )
        self._outbound = Outbound(http)
        self.pipeline = Pipeline(
            Routing(settings),
            acceptance,
            self.dead,
            self.outage,
            self.metrics,
            clock,
            most_waiting=lambda: self.settings.limits.waiting_texts,
        )
        self.reception = Reception(self.pipeline, self.outage, self._outbound, self.metrics)

    async def start(self) -> None:
        """Opens everything. Raises `StoreMismatch`, and `StoreUnavailable` for an embedded store that cannot start.

        A store that is away does not stop an ingress from taking texts: they wait on disk.
        """
        async with AsyncExitStack() as opened:
            await self._open_store(opened)
            if self.role != "worker":
                opened.push_async_callback(self.outage.close)
                self.outage.begin()
                await self.outage.over_within(_LONGEST_START)
                opened.push_async_callback(self._outbound.close)
                opened.push_async_callback(cancelled, [asyncio.create_task(self._sweep())])
            # Where texts come in, the outage says whether the store is up.
            told = (self.metrics.store_up.set,) if self.role == "worker" else ()
            watch = asyncio.create_task(self.backlog.watch(self._outbox, *told))
            opened.push_async_callback(cancelled, [watch])
            opened.push_async_callback(self._end_delivery)
            self._open = opened.pop_all()

    async def open(self) -> None:
        """Opens the store and nothing else, for commands. Raises `StoreMismatch`, `StoreUnavailable`."""
        async with AsyncExitStack() as opened:
            await self._open_store(opened)
            await self._reach()
            self._open = opened.pop_all()

    async def _open_store(self, opened: AsyncExitStack) -> None:
        if self._server:
            opened.callback(self._server.stop)
        opened.push_async_callback(self.store.close)
        if self._server:
            await self._server.ready()
            watch = asyncio.create_task(self._keep_store_running(self._server))
            opened.push_async_callback(cancelled, [watch])
        try:
            await self._reach()
            self.metrics.store_up.set(1)
        except StoreUnavailable as error:
            _log.warning("the store is away at the start", error=str(error))

    async def _keep_store_running(self, server: EmbeddedServer) -> None:
        """Starts the embedded server again should it end, also if it was another process's and that is gone."""
        while True:
            await asyncio.sleep(_LOOK_AFTER_STORE)
            if server.running:
                continue
            try:
                server.spawn()
            except StoreUnavailable as error:
                _log.error("the embedded store cannot be started", error=str(error))
            if server.running:
                _log.warning("the embedded store had ended and is started again")

    async def _reach(self) -> None:
        """Returns when the store can be used: it answers, is the right one, and cuts nothing of our destinations."""
        await self.store.open()
        await self._outbox().register()

    def _outbox(self) -> Outbox:
        return Outbox(self.store, self.pipeline.routing.lanes)

    async def _replay(self, requests: Sequence[RawRequest]) -> None:
        await self.pipeline.replay(requests)

    async def _sweep(self) -> None:
        """Sees to it that no long text waits for its parts for ever."""
        while True:
            await asyncio.sleep(_SWEEP)
            try:
                await self.pipeline.sweep()
            except StoreUnavailable as error:
                _log.warning("long texts wait for the store", error=str(error))
            except Exception:  # noqa: BLE001 (whatever is wrong with one text, the others must not wait for ever)
                _log.exception("long texts could not be joined, and will be tried again")
                self.metrics.failures.labels("parts").inc()

    def begin_delivery(self) -> None:
        """Starts the worker, where that is this process's role; returns before it works."""
        if self.role != "ingress":
            self._starting = asyncio.create_task(self._start_worker())

    async def stop(self) -> None:
        """Closes everything, the last opened first."""
        await self._open.aclose()

    async def reload(self, settings: Settings) -> list[Whole]:
        """Takes another configuration into use, and returns the old one, to be disposed of.

        Raises a `RouterError` and keeps the old one if that cannot be.
        """
        fixed = [
            name for name in ("server", "store", "ledger") if getattr(settings, name) != getattr(self.settings, name)
        ]
        if fixed:
            remedy = "Restart it to change this section."
            problems = [Problem(0, name, "cannot be changed while keyroute runs.", remedy) for name in fixed]
            raise ConfigurationError(str(settings.path), problems)
        routing = await asyncio.to_thread(Routing, settings)
        await Outbox(self.store, routing.lanes).register()
        worker = await self._new_worker(settings, routing) if self.role != "ingress" else None
        replaced: list[Whole] = [self.settings, self.pipeline.routing]
        self.settings, self.pipeline.routing = settings, routing
        await self._end_delivery()
        if worker:
            self._worker = worker
            await worker.start()
        return replaced

    async def _start_worker(self) -> None:
        # The server listens a moment from now; what delivery imports would hold that up.
        await asyncio.sleep(_LISTENING)
        self._worker = await self._new_worker(self.settings, self.pipeline.routing)
        await self._worker.start()

    async def _new_worker(self, settings: Settings, routing: Routing) -> "Worker":
        # Imported so late because the HTTP client alone takes 200 ms to import, and texts can be taken before.
        module = await asyncio.to_thread(importlib.import_module, "router.delivery.worker")
        self.metrics.begin(name for name in routing.lanes if name != LEDGER)
        block = self.pipeline.block
        worker: Worker = module.Worker(settings, routing, self.store, self._owner, block, self.metrics, self._clock)
        return worker

    async def _end_delivery(self) -> None:
        if self._starting:
            starting, self._starting = self._starting, None
            await cancelled([starting])
        if self._worker:
            worker, self._worker = self._worker, None
            await worker.stop()

    def counted(self) -> bytes:
        """The metrics of this process, in Prometheus's format."""
        return generate_latest(self.metrics.registry)

    async def unready(self) -> str | None:
        """Why this process should get no traffic now; None if it should."""
        if not self.outage.over:
            return "the store is away, or texts from the spill file are still being taken in"
        if self._starting and self._starting.done() and (failure := self._starting.exception()):
            return f"nothing is delivered, restart keyroute: {failure}"
        try:
            await self.store.ping()
        except StoreUnavailable as error:
            return str(error)
        # A worker takes no texts: it is what makes less of those that wait.
        return self.backlog.too_much if self.role != "worker" else None
