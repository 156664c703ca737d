"""How many calls of the API have come in the present window of time, counted for all processes together."""

from typing import cast

from router.store.connection import Store, asked


class Quota:
    """Raises `StoreUnavailable`."""

    def __init__(self, store: Store) -> None:
        self._redis = store.redis
        self._keys = store.keys

    async def take(self, name: str, window: int, seconds: int) -> int:
        """Counts one more call in the window with this number; how many that makes."""
        key = self._keys.quota(name, window)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.incr(key)
        pipeline.expire(key, 2 * seconds)  # twice: the clocks of the processes may differ
        count, _ = cast("tuple[int, bool]", await asked(pipeline.execute()))
        return count
