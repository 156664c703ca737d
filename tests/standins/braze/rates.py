"""The rate limits of a workspace, as its answers tell them."""

import time
from collections.abc import Mapping


class Rates:
    """`limit` requests per `window` seconds at each path; `of_paths` has those that differ, as (limit, window)."""

    def __init__(self, limit: int, window: float) -> None:
        self.limit = limit
        self.window = window
        self.of_paths: dict[str, tuple[int, float]] = {}
        self._used: dict[str, tuple[float, int]] = {}

    def count(self, path: str) -> bool:
        """Counts a request; whether it is one too many."""
        limit, window = self.of_paths.get(path, (self.limit, self.window))
        now = time.time()
        reset, used = self._used.get(path, (0.0, 0))
        if now >= reset:
            reset, used = now + window, 0
        self._used[path] = reset, used + 1
        return used >= limit

    def headers(self, path: str) -> Mapping[str, str]:
        """The three headers of an answer."""
        limit, window = self.of_paths.get(path, (self.limit, self.window))
        reset, used = self._used.get(path, (time.time() + window, 0))
        return {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(limit - used, 0)),
            "X-RateLimit-Reset": str(int(reset) + 1),
        }
