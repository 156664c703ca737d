"""One running process: what it holds, in the order in which it is opened; closed in reverse."""

import asyncio
import importlib
import os
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Literal

import structlog

from router.config import Settings
from router.embedded import EmbeddedServer
from router.errors import ConfigurationError, Problem, StoreUnavailable
from router.outage import Outage
from router.pipeline import Pipeline
from router.routing import Routing
from router.spill import Spill
from router.store import Commits, DeadLetters, Store
from router.telemetry import Metrics

if TYPE_CHECKING:
    from router.delivery.worker import Worker

_log = structlog.get_logger("router.service")

Role = Literal["all", "ingress", "worker"]

EMBEDDED = "embedded"


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

    def __init__(self, settings: Settings, role: Role, clock: Callable[[], float]) -> None:
        self.settings = settings
        self.role = role
        self.metrics = Metrics()
        self._clock = clock
        self._owner = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._open = AsyncExitStack()
        self._worker: Worker | None = None
        self._store, self._server = open_store(settings)
        self.outage = Outage(
            Spill(settings.store.data / "spill", settings.store.spill_max_bytes), self._ping, self.metrics
        )
        commits = Commits(
            self._store,
            replies_per_hour=settings.limits.replies_per_hour,
            refused_kept=settings.store.refused_kept,
            clock=clock,
            on_failure=self.outage.begin,
        )
        self.dead = DeadLetters(self._store, settings.store.refused_kept)
        self.pipeline = Pipeline(Routing(settings), commits, self.dead, self.outage, self.metrics, clock)

    async def start(self) -> None:
        """Opens everything. Raises `StoreUnavailable` or `StoreMismatch`, with nothing left open."""
        if self._server:
            self._open.callback(self._server.stop)
        async with AsyncExitStack() as opened:
            opened.push_async_callback(self._open.aclose)
            self._open.push_async_callback(self._store.close)
            if self._server:
                await self._server.ready()
            await self._store.open()
            if self.role != "worker":
                self._open.push_async_callback(self.outage.close)
                await self.outage.start(self.pipeline.replay)
            self._open.push_async_callback(self._stop_worker)
            opened.pop_all()

    async def start_worker(self) -> None:
        """Begins to deliver, where that is this process's role.

        A step of its own, so that texts are taken already: the HTTP client alone takes 200 ms to import.
        """
        if self.role == "ingress":
            return
        module = await asyncio.to_thread(importlib.import_module, "router.delivery.worker")
        worker: Worker = module.Worker(self.settings, self._store, self._owner, self.metrics, self._clock)
        self._worker = worker
        await worker.start()

    async def stop(self) -> None:
        """Closes everything, the last opened first."""
        await self._open.aclose()

    async def reload(self, settings: Settings) -> None:
        """Takes another configuration into use, or raises `ConfigurationError` and keeps the old one."""
        fixed = [name for name in ("server", "store") if getattr(settings, name) != getattr(self.settings, name)]
        if fixed:
            raise ConfigurationError(
                str(settings.path),
                [
                    Problem(0, name, "cannot be changed while keyroute runs.", "Restart it to change this section.")
                    for name in fixed
                ],
            )
        routing = await asyncio.to_thread(Routing, settings)
        await self._stop_worker()
        self.settings, self.pipeline.routing = settings, routing
        await self.start_worker()

    async def unready(self) -> str | None:
        """Why this process should get no traffic now; None if it should."""
        if not self.outage.over:
            return "the store is away, or texts from the spill file are still being taken in"
        try:
            await self._ping()
        except StoreUnavailable as error:
            return str(error)
        return None

    async def _ping(self) -> None:
        try:
            await self._store.ping()
        except StoreUnavailable:
            if self._server:
                # An embedded server that has ended is started again, here or by whichever process asks first.
                self._server.spawn()
            raise

    async def _stop_worker(self) -> None:
        if self._worker:
            worker, self._worker = self._worker, None
            await worker.stop()
