"""Which worker processes are alive: what a fair share of the shards is reckoned from."""

from typing import cast

from router.store.connection import Store, asked


class Workers:
    """This process among the others. All methods raise `StoreUnavailable`."""

    def __init__(self, store: Store, owner: str, lease_seconds: float) -> None:
        self._redis = store.redis
        self._key = store.keys.workers
        self._owner = owner
        self._lease_seconds = lease_seconds

    async def count(self) -> int:
        """Says that this process is alive, and counts those that are. The store's clock decides, not ours."""
        seconds, microseconds = cast("tuple[int, int]", await asked(self._redis.time()))
        now = seconds + microseconds / 1e6
        await asked(self._redis.zadd(self._key, {self._owner: now}))
        await asked(self._redis.zremrangebyscore(self._key, "-inf", now - self._lease_seconds))
        return max(1, cast("int", await asked(self._redis.zcard(self._key))))

    async def leave(self) -> None:
        """Says that this process works no more."""
        await asked(self._redis.zrem(self._key, self._owner))
