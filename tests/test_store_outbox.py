"""Leases of shards: one holder at a time, given back by the holder alone; who held it before writes nothing."""

import asyncio

import pytest

from router.errors import LeaseLost
from router.store import Outbox, Steps, Store
from tests.commits import until


@pytest.fixture
def outbox(store: Store) -> Outbox:
    return Outbox(store, ["crm"])


async def test_a_shard_has_one_holder_until_it_is_given_back(outbox: Outbox) -> None:
    mine = await outbox.take(0, "mine", 60.0)
    assert mine
    assert await outbox.take(0, "other", 60.0) is None
    assert await outbox.take(0, "mine", 60.0) == mine

    await outbox.release(mine)
    other = await outbox.take(0, "other", 60.0)
    assert other
    assert other.token > mine.token


async def test_who_lost_a_shard_neither_gives_it_back_nor_writes_to_it(outbox: Outbox, store: Store) -> None:
    late = await outbox.take(0, "late", 0.02)
    assert late

    async def free() -> bool:
        return not await store.redis.exists(store.keys.lease(0))

    await until(free)
    holder = await outbox.take(0, "holder", 60.0)
    await outbox.release(late)

    assert await outbox.take(0, "late", 60.0) is None
    assert await outbox.take(0, "holder", 60.0) == holder
    with pytest.raises(LeaseLost):
        await outbox.settle(late, "crm", Steps())


async def test_what_is_recorded_again_because_nobody_knew_whether_it_was_has_no_second_effect(
    outbox: Outbox, store: Store
) -> None:
    lease = await outbox.take(0, "w", 60.0)
    assert lease
    await store.redis.rpush(store.keys.parked_entries(0, "crm", "+1"), "a", "b", "c")
    steps, later = Steps(in_order=True), Steps(in_order=True)
    for each in (steps, later):
        each.unpark("+1", 1)

    assert await outbox.settle(lease, "crm", steps) == [2]
    assert await outbox.settle(lease, "crm", steps) == [2]
    assert await outbox.settle(lease, "crm", later) == [1]
    assert await outbox.settle(lease, "crm", steps) == [1], "it was on its way for long"
    assert await store.redis.lrange(store.keys.parked_entries(0, "crm", "+1"), 0, -1) == [b"c"]


async def test_what_is_on_its_way_when_somebody_begins_anew_has_no_effect(outbox: Outbox) -> None:
    lease = await outbox.take(0, "w", 60.0)
    assert lease
    late, beside = Steps(in_order=True), Steps()
    late.position("5-0", [])
    beside.position("7-0", [])
    assert await outbox.begin(lease, "crm") == ("0-0", set())

    await outbox.settle(lease, "crm", late)
    assert await outbox.position(0, "crm") == ("0-0", set())
    await outbox.settle(lease, "crm", beside)
    assert await outbox.position(0, "crm") == ("7-0", set())


async def test_what_is_in_order_is_so_for_a_lease_and_a_destination(outbox: Outbox, store: Store) -> None:
    await store.redis.rpush(store.keys.parked_entries(0, "crm", "+1"), "a", "b", "c")
    await store.redis.rpush(store.keys.parked_entries(0, "erp", "+1"), "a", "b", "c")
    steps = Steps(in_order=True)
    steps.unpark("+1", 1)
    first = await outbox.take(0, "w", 60.0)
    assert first
    assert await outbox.settle(first, "crm", Steps(in_order=True)) == []

    assert await outbox.settle(first, "erp", steps) == [2]
    await outbox.release(first)
    second = await outbox.take(0, "w", 60.0)
    assert second
    assert await outbox.settle(second, "crm", steps) == [2]


async def test_a_wait_of_less_than_a_millisecond_ends(outbox: Outbox) -> None:
    assert await asyncio.wait_for(outbox.wait({0: "0-0"}, 0.0001, 1), 2) == {}
