"""How much waits to be delivered, and for how long: what operators see, and what makes a process ask for no more."""

import asyncio
from collections.abc import Callable

import structlog

from router.errors import StoreUnavailable
from router.store import Outbox
from router.telemetry import Metrics

_log = structlog.get_logger("router.backlog")

#: Between two looks, in seconds.
_EVERY = 1.0
#: Once too much has waited, traffic is asked for again below this share of the limit.
_AGAIN_BELOW = 0.9
#: The share of the store's own limit of memory that may be used.
_MEMORY = 0.85


class Backlog:
    """Looks at what waits, as long as it runs. `too_much` says why no more should come, None if more may."""

    def __init__(self, most: Callable[[], int], metrics: Metrics, clock: Callable[[], float]) -> None:
        """`most`: how many deliveries may wait; `clock` is in unix seconds."""
        self.too_much: str | None = None
        self._most = most
        self._metrics = metrics
        self._clock = clock

    async def watch(self, outbox: Callable[[], Outbox]) -> None:
        """Runs until it is cancelled. `outbox` gives that of the destinations that are configured now."""
        while True:
            try:
                await self.look(outbox())
            except StoreUnavailable as error:
                _log.warning("backlog not known", error=str(error))
            await asyncio.sleep(_EVERY)

    async def look(self, outbox: Outbox) -> None:
        """Looks once. Raises `StoreUnavailable`."""
        waiting = await outbox.waiting()
        now = self._clock()
        for destination, since in waiting.oldest.items():
            self._metrics.oldest_waiting.labels(destination).set(0.0 if since is None else max(0.0, now - since))
        for destination, count in waiting.parked.items():
            self._metrics.parked.labels(destination).set(count)
        self._metrics.waiting.set(waiting.entries)
        self._metrics.store_memory.set(waiting.memory)
        self.too_much = self._judge(waiting.entries, waiting.memory, waiting.most_memory)

    def _judge(self, entries: int, memory: int, most_memory: int) -> str | None:
        share = _AGAIN_BELOW if self.too_much else 1.0
        if entries > self._most() * share:
            return (
                f"{entries} deliveries wait, and limits.waiting_deliveries are enough. Which destination holds them up "
                "shows in keyroute_oldest_waiting_seconds."
            )
        if most_memory and memory > most_memory * _MEMORY * share:
            return (
                f"the store uses {memory / most_memory:.0%} of its maxmemory. Raise it, or see in "
                "keyroute_oldest_waiting_seconds which destination holds up deliveries."
            )
        return None
