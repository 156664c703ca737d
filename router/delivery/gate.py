"""The pause before the next attempt at a destination, shared by all that deliver there."""

import asyncio
import random
from collections.abc import Callable

from router.errors import DeliveryError

_FIRST, _LONGEST = 0.2, 10.0


class Gate:
    """Open while the destination takes what it is sent; closed for a growing time after a failure."""

    def __init__(self, clock: Callable[[], float], chance: random.Random) -> None:
        """`clock` is monotonic, in seconds."""
        self._clock = clock
        self._chance = chance
        self._failures = 0
        self.opens_at = 0.0

    async def opened(self) -> None:
        """Returns when the next attempt may be made."""
        left = self.opens_at - self._clock()
        if left > 0:
            await asyncio.sleep(left)
            await self.opened()  # it may have closed again meanwhile

    def failed(self, error: DeliveryError) -> None:
        """Closes for as long as the destination asked, else for twice as long as before, less up to half by chance."""
        now = self._clock()
        if now < self.opens_at and error.retry_after is None:
            return  # one of several attempts that were under way together: the pause is counted once
        pause = min(_LONGEST, _FIRST * 2**self._failures) * self._chance.uniform(0.5, 1.0)
        self._failures = min(self._failures + 1, 16)
        self.opens_at = max(self.opens_at, now + (error.retry_after if error.retry_after is not None else pause))

    def succeeded(self) -> None:
        """The destination took something: the next failure starts again at the shortest pause."""
        self._failures = 0
