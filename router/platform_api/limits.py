"""How many calls the API takes, as the platform's documents have it, and the headers that say so."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from router.store import Quota


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests in so many seconds, for all operations of the same `name` and all callers together."""

    name: str
    requests: int
    seconds: int


TRACK = Limit("track", 3_000, 3)
ALIASES = Limit("aliases", 20_000, 60)
STATUS_SET = Limit("status-set", 5_000, 60)
DEFAULT = Limit("default", 250_000, 3_600)


@dataclass(frozen=True, slots=True)
class Standing:
    """How callers stand. `allowed` is the most calls of a window, `reset` its end, which is in `wait` seconds."""

    allowed: int
    taken: int
    reset: int
    wait: int

    @property
    def exceeded(self) -> bool:
        """Whether the call is one too many."""
        return self.taken > self.allowed

    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers of the answer."""
        return (
            ("x-ratelimit-limit", str(self.allowed)),
            ("x-ratelimit-remaining", str(max(0, self.allowed - self.taken))),
            ("x-ratelimit-reset", str(self.reset)),
        )


class Limiter:
    """Counts calls, together with the other processes."""

    def __init__(self, quota: Quota, factor: Callable[[], float], clock: Callable[[], float]) -> None:
        """`factor` multiplies every limit; 0 turns them off."""
        self._quota = quota
        self._factor = factor
        self._clock = clock
        self._last: dict[str, Standing] = {}

    async def take(self, limit: Limit) -> Standing | None:
        """Counts a call; None if there are no limits. Raises `StoreUnavailable`."""
        now = self.last(limit)
        if now is None:
            return None
        taken = await self._quota.take(limit.name, now.reset // limit.seconds - 1, limit.seconds)
        self._last[limit.name] = standing = replace(now, taken=taken)
        return standing

    def last(self, limit: Limit) -> Standing | None:
        """How callers stood after the last call that this process counted: for answers that need not be counted."""
        factor = self._factor()
        if not factor:
            return None
        now = int(self._clock())
        reset = (now // limit.seconds + 1) * limit.seconds
        allowed = max(1, int(limit.requests * factor))
        last = self._last.get(limit.name)
        return Standing(allowed, last.taken if last and last.reset == reset else 0, reset, reset - now)
