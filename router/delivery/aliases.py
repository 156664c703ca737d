"""The worker that makes unknown people known to a platform: many at a time, each once, while their texts wait."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from router.delivery.attempt import adapter_fault
from router.delivery.gate import Gate
from router.errors import DeliveryError, LeaseLost, StoreUnavailable
from router.ports import Http, Platform
from router.telemetry import Metrics

_log = structlog.get_logger("router.delivery.aliases")

Release = Callable[[str], None]
GiveUp = Callable[[str, DeliveryError], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Request:
    sender: str
    since: float
    release: Release
    give_up: GiveUp


class AliasWorker:
    """Creates aliases at one platform."""

    def __init__(
        self,
        name: str,
        platform: Platform,
        http: Http,
        gate: Gate,
        give_up_after: float,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        """`give_up_after` is in seconds, `clock` in unix seconds."""
        self._give_up_after = give_up_after
        self._clock = clock
        self._name = name
        self._platform = platform
        self._http = http
        self._gate = gate
        self._metrics = metrics
        self._queue: asyncio.Queue[_Request] = asyncio.Queue()

    def add(self, sender: str, since: float, release: Release, give_up: GiveUp) -> None:
        """Asks for the alias of a person whose texts wait `since` then, in unix seconds.

        `release` is called when it exists, `give_up` if the platform refuses it or does not make it in time.
        """
        self._queue.put_nowait(_Request(sender, since, release, give_up))

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            batch = [await self._queue.get()]
            while not self._queue.empty() and len(batch) < self._platform.alias_batch_size:
                batch.append(self._queue.get_nowait())
            await self._create(batch)

    async def _create(self, batch: list[_Request]) -> None:
        while batch:
            await self._gate.opened()
            error = await self._attempt([request.sender for request in batch])
            if error is None:
                self._gate.succeeded()
                for request in batch:
                    request.release(request.sender)
                return
            if not error.retryable:
                await self._refused(batch, error)
                return
            _log.warning("alias creation will be retried", destination=self._name, reason=error.reason)
            self._gate.failed(error)
            batch = await self._without_overdue(batch, error)

    async def _attempt(self, senders: Sequence[str]) -> DeliveryError | None:
        try:
            await self._platform.ensure_aliases(self._http, senders)
        except DeliveryError as error:
            return error
        except Exception as error:  # noqa: BLE001 (as in router.delivery.attempt)
            return adapter_fault(error, self._name, self._metrics)
        return None

    async def _without_overdue(self, batch: list[_Request], error: DeliveryError) -> list[_Request]:
        """Those that can wait longer; the others are given up on."""
        limit = self._clock() - self._give_up_after
        for request in batch:
            if request.since <= limit:
                await self._give_up_on(request, error)
        return [request for request in batch if request.since > limit]

    async def _refused(self, batch: list[_Request], error: DeliveryError) -> None:
        """One person may spoil the request for all: halve it until that one stands alone."""
        if len(batch) == 1:
            await self._give_up_on(batch[0], error)
            return
        middle = len(batch) // 2
        await self._create(batch[:middle])
        await self._create(batch[middle:])

    async def _give_up_on(self, request: _Request, error: DeliveryError) -> None:
        _log.warning("alias given up", destination=self._name, reason=error.reason)
        try:
            await request.give_up(request.sender, error)
        except LeaseLost:
            _log.info("sender left to another worker", destination=self._name)
        except StoreUnavailable:
            self._queue.put_nowait(request)
            self._gate.failed(error)
