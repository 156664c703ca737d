"""How much waits to be delivered, and for how long: what operators see, and what makes a process ask for no more."""

import asyncio
from collections.abc import Callable

import structlog

from router.errors import StoreUnavailable
from router.store import DeadLetters, Outbox, Store
from router.telemetry import Metrics

_log = structlog.get_logger("router.backlog")

#: Between two looks, in seconds.
_EVERY = 1.0
#: Once too much has waited, traffic is asked for again below this share of the limit.
_AGAIN_BELOW = 0.9
#: The share of the store's own limit of memory that may be used.
_MEMORY = 0.85


class _Limit:
    """Whether something is too much: from above a limit on, until a tenth of it is gone."""

    def __init__(self) -> None:
        self._exceeded = False

    def exceeded(self, used: int, most: float) -> bool:
        """By what is used now."""
        self._exceeded = used > most * (_AGAIN_BELOW if self._exceeded else 1.0)
        return self._exceeded


class Backlog:
    """Looks at what waits, as long as it runs. `too_much` says why no more should come, None if more may."""

    def __init__(
        self,
        store: Store,
        dead: DeadLetters,
        most: Callable[[], int],
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        """`most`: how many deliveries may wait; `clock` is in unix seconds."""
        self.too_much: str | None = None
        self._store = store
        self._dead = dead
        self._most = most
        self._metrics = metrics
        self._clock = clock
        self._waiting, self._memory = _Limit(), _Limit()
        self._shown: set[str] = set()

    async def watch(self, outbox: Callable[[], Outbox], answers: Callable[[bool], object] = lambda _: None) -> None:
        """Runs until it is cancelled. `outbox` gives that of the destinations that are configured now; `answers` is
        told each time whether the store did.
        """
        while True:
            try:
                await self.look(outbox())
                answers(True)
            except StoreUnavailable as error:
                answers(False)
                _log.warning("backlog not known", error=str(error))
            except Exception:  # noqa: BLE001 (not looked at any more, what was too much once would be so for ever)
                _log.exception("backlog not known, and looked at again")
                self._metrics.failures.labels("backlog").inc()
            await asyncio.sleep(_EVERY)

    async def look(self, outbox: Outbox) -> None:
        """Looks once. Raises `StoreUnavailable`."""
        waiting, now = await outbox.waiting(), self._clock()
        memory, most_memory = await self._store.memory()
        metrics = self._metrics
        for gauge, since_when in (
            (metrics.oldest_waiting, waiting.oldest),
            (metrics.oldest_parked, waiting.oldest_parked),
        ):
            for destination, since in since_when.items():
                gauge.labels(destination).set(0.0 if since is None else max(0.0, now - since))
        for destination, people in waiting.parked.items():
            metrics.parked.labels(destination).set(people)
        metrics.end(self._shown - waiting.parked.keys())
        self._shown = set(waiting.parked)
        metrics.waiting.set(waiting.entries)
        metrics.store_memory.set(memory)
        for kind, count in (await self._dead.count()).items():
            metrics.dead_letters.labels(kind).set(count)
        self.too_much = self._judge(waiting.entries, sum(waiting.parked.values()), memory, most_memory)
        metrics.too_much_waits.set(self.too_much is not None)

    def _judge(self, entries: int, people: int, memory: int, most_memory: int) -> str | None:
        # Each of the people has one delivery at least that is among the entries no more.
        many = self._waiting.exceeded(entries + people, self._most())
        full = self._memory.exceeded(memory, most_memory * _MEMORY) if most_memory else False
        where = "keyroute_oldest_waiting_seconds and keyroute_waiting_people"
        if many:
            alone = f", and {people} people whose deliveries wait by themselves" if people else ""
            return (
                f"{entries} deliveries wait{alone}: limits.waiting_deliveries ({self._most()}) are enough. Which "
                f"destination holds them up shows in {where}."
            )
        if full:
            return (
                f"the store uses {memory / most_memory:.0%} of its maxmemory. Raise it, or see in {where} which "
                "destination holds up deliveries."
            )
        return None
