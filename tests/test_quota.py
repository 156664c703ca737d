"""Calls of the API counted in the store, on both kinds of it."""

import asyncio

from router.store import Quota, Store


async def test_calls_are_counted_by_name_and_window_and_forgotten(store: Store) -> None:
    one, other = Quota(store), Quota(store)
    counts = await asyncio.gather(*(quota.take("track", 7, 3) for quota in (one, other) for _ in range(10)))

    assert sorted(counts) == list(range(1, 21))
    assert await one.take("track", 8, 3) == 1
    assert await one.take("aliases", 7, 60) == 1
    assert 3 < await store.redis.ttl(store.keys.quota("track", 7)) <= 6
