"""How many requests an endpoint still takes, told by the rate-limit headers of its answers."""

from adapters._http import rate_limit_reset, retry_after
from router.types import HttpResponse


class Quota:
    """The rate limit of one endpoint, right with several requests under way.

    Within a window what is left only falls, so the lowest number told is the newest, in whatever order answers come.
    It does not count the requests that are under way: these are taken off.
    """

    def __init__(self) -> None:
        self._under_way = 0
        self._told: int | None = None
        self._resets_at = 0.0

    def wait(self, now: float) -> float:
        """How long until another request may leave, in seconds; `now` is in unix seconds."""
        if now >= self._resets_at:
            self._told = None
        return self._resets_at - now if self._told is not None and self._told <= self._under_way else 0.0

    def left(self) -> None:
        """A request leaves."""
        self._under_way += 1

    def unanswered(self) -> None:
        """A request got no answer; it may have been counted."""
        self._under_way -= 1
        self._fewer()

    def answered(self, response: HttpResponse, now: float) -> None:
        """A request got its answer."""
        self._under_way -= 1
        told = response.headers.get("x-ratelimit-remaining", "").strip()
        reset = rate_limit_reset(response.headers, now)
        if response.status == 429:
            self._told = 0
            if pause := retry_after(response.headers, now) or reset:
                self._resets_at = now + pause
        elif not told.isdecimal() or reset is None:
            self._fewer()
        elif self._told is None or round(now + reset) > round(self._resets_at):
            self._told, self._resets_at = int(told), now + reset
        elif round(now + reset) == round(self._resets_at):
            self._told = min(self._told, int(told))

    def _fewer(self) -> None:
        if self._told is not None:
            self._told -= 1
