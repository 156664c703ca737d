"""What happens while the store is away: texts are refused or spilled, and when it is back the spilled ones go first."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from router.errors import StoreUnavailable
from router.spill import Spill
from router.tasks import cancelled
from router.telemetry import Metrics
from router.types import RawRequest

_log = structlog.get_logger("router.outage")
Replay = Callable[[RawRequest], Awaitable[None]]
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


class Outage:
    """The one switch between the store and the spill.

    From the first failure until every spilled text is in the store, no text goes to the store directly: it would
    overtake those that wait.
    """

    def __init__(self, spill: Spill, ping: Callable[[], Awaitable[object]], metrics: Metrics) -> None:
        self.spill = spill
        self._ping = ping
        self._metrics = metrics
        self._replay: Replay | None = None
        self._recovery: asyncio.Task[None] | None = None

    @property
    def over(self) -> bool:
        """Whether texts go to the store."""
        return self._recovery is None

    def check(self) -> None:
        """Raises `StoreUnavailable` while the store is away or spilled texts wait."""
        if self._recovery is not None:
            raise StoreUnavailable("the store is away, or texts that came while it was away are still being taken in")

    def begin(self) -> None:
        """Stops sending texts to the store, and starts trying to reach it. Harmless if that goes on already."""
        if self._recovery is None:
            self._metrics.store_up.set(0)
            self._recovery = asyncio.create_task(self._recover())

    async def start(self, replay: Replay) -> None:
        """Takes in what an earlier process left behind, before the first text."""
        self._replay = replay
        self.begin()
        if self._recovery is not None:
            await self._recovery

    async def close(self) -> None:
        """Ends a recovery that is under way; what was not replayed stays on disk."""
        if self._recovery is not None:
            await cancelled([self._recovery])
        self.spill.close()

    async def _recover(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._ping()
                replayed = await self._take_in()
                break
            except StoreUnavailable as error:
                _log.warning("store away", error=str(error), retry_in_seconds=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        # Nothing is awaited between the last look at the spill and this line, so no text slips in between.
        self._recovery = None
        self._metrics.store_up.set(1)
        _log.info("store in use", replayed=replayed)

    async def _take_in(self) -> int:
        if self._replay is None:
            raise StoreUnavailable("nothing takes spilled texts before `start`")
        replayed = 0
        while True:
            replayed += await self.spill.replay(self._replay)
            if self.spill.empty:
                return replayed
