"""What happens while the store is away: texts are refused or spilled, and when it is back the spilled ones go first."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from router.errors import RouterError, StoreUnavailable
from router.spill import Accept, Spill
from router.tasks import cancelled
from router.telemetry import Metrics

_log = structlog.get_logger("router.outage")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


class Outage:
    """The one switch between the store and the spill.

    From the first failure until every spilled text is in the store, no text of this process goes to the store directly:
    it would overtake those that wait.
    """

    def __init__(self, spill: Spill, reach: Callable[[], Awaitable[None]], replay: Accept, metrics: Metrics) -> None:
        """`reach` returns when the store can be used; `replay` takes spilled requests. Both raise `RouterError`."""
        self.spill = spill
        self._reach = reach
        self._replay = replay
        self._metrics = metrics
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
        """Stops sending texts to the store, and starts trying to reach it. Harmless if that goes on already.

        To be called at the start too: an earlier process may have left texts behind.
        """
        if self._recovery is None:
            self._metrics.store_up.set(0)
            self._recovery = asyncio.create_task(self._recover())

    async def over_within(self, seconds: float) -> None:
        """Returns when texts go to the store, or after so many seconds."""
        if self._recovery is not None:
            await asyncio.wait([self._recovery], timeout=seconds)

    async def close(self) -> None:
        """Ends a recovery that is under way; what was not replayed stays on disk."""
        if self._recovery is not None:
            await cancelled([self._recovery])
        self.spill.close()

    async def _recover(self) -> None:
        pause = _FIRST_PAUSE
        replayed = 0
        while True:
            try:
                await self._reach()
                while not self.spill.empty:
                    replayed += await self.spill.replay(self._replay)
                break
            except (RouterError, OSError, ValueError) as error:
                _log.warning("texts wait on disk", error=f"{type(error).__name__}: {error}", retry_in_seconds=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        # Nothing is awaited between the last look at the spill and this line, so no text slips in between.
        self._recovery = None
        self._metrics.store_up.set(1)
        _log.info("store in use", replayed=replayed)
