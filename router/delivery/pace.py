"""How fast our numbers may send."""

import asyncio
from collections.abc import Callable


class Pace:
    """Spaces out the texts of each number, whichever shard they come from."""

    def __init__(self, rates: dict[str, float], monotonic: Callable[[], float]) -> None:
        """`rates`: texts a second by number."""
        self._rates = rates
        self._monotonic = monotonic
        self._free_at: dict[str, float] = {}
        #: How many processes send: each keeps to its part of what a number may.
        self.processes = 1

    async def turn(self, number: str) -> None:
        """Returns when a number may send its next text; that turn is taken then."""
        now = self._monotonic()
        turn = max(now, self._free_at.get(number, now))
        self._free_at[number] = turn + self.processes / self._rates.get(number, 1.0)
        if turn > now:
            await asyncio.sleep(turn - now)
