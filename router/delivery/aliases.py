"""The worker that makes unknown people known to a platform: many at a time, each once, while their texts wait."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from router.delivery.attempt import adapter_fault, ending
from router.delivery.gate import Gate
from router.errors import DeliveryError
from router.ports import Http, Platform
from router.telemetry import Metrics

_log = structlog.get_logger("router.delivery.aliases")

#: How many requests may be under way at once.
_AT_ONCE = 4

Release = Callable[[str], None]
Refuse = Callable[[str, DeliveryError], None]


@dataclass(frozen=True, slots=True)
class _Request:
    sender: str
    since: float
    release: Release
    refuse: Refuse


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

    def add(self, sender: str, since: float, release: Release, refuse: Refuse) -> None:
        """Asks for the alias of a person whose texts wait `since` then, in unix seconds. One who is asked for must not
        be asked for again before one of the two is called.

        `release` is called when it exists, `refuse` if the platform refuses it or does not make it in time.
        """
        self._queue.put_nowait(_Request(sender, since, release, refuse))

    async def run(self) -> None:
        """Runs until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(_AT_ONCE, self._platform.requests_at_once)):
                tasks.create_task(self._work())

    async def _work(self) -> None:
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
                await self._split(batch, error)
                return
            _log.warning("alias creation will be retried", destination=self._name, reason=error.reason)
            self._gate.failed(error)
            batch = self._without_overdue(batch, error)

    async def _attempt(self, senders: Sequence[str]) -> DeliveryError | None:
        try:
            await self._platform.ensure_aliases(self._http, senders)
        except DeliveryError as error:
            return error
        except asyncio.CancelledError as error:
            if ending():
                raise
            return adapter_fault(error, self._name, self._metrics)
        except Exception as error:  # noqa: BLE001 (as in router.delivery.attempt)
            return adapter_fault(error, self._name, self._metrics)
        return None

    def _without_overdue(self, batch: list[_Request], error: DeliveryError) -> list[_Request]:
        """Those that can wait longer; the others are given up on."""
        limit = self._clock() - self._give_up_after
        for request in batch:
            if request.since <= limit:
                self._refuse(request, error)
        return [request for request in batch if request.since > limit]

    async def _split(self, batch: list[_Request], error: DeliveryError) -> None:
        """One person may spoil the request for all: halve it until that one stands alone."""
        if len(batch) == 1:
            self._refuse(batch[0], error)
            return
        middle = len(batch) // 2
        await self._create(batch[:middle])
        await self._create(batch[middle:])

    def _refuse(self, request: _Request, error: DeliveryError) -> None:
        _log.warning("alias given up", destination=self._name, reason=error.reason)
        request.refuse(request.sender, error)
