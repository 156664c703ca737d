"""A worker that is asked to stop: requests under way may finish, all of them within one grace."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from router.config import Settings, load
from router.delivery import worker
from router.delivery.worker import Worker
from router.routing import Routing
from router.store import Commits, Store
from router.telemetry import Metrics
from router.types import Receipt
from tests.commits import LEAVE, Clock, text, until
from tests.running import write_configuration
from tests.standins.receiver import Receiver

pytestmark = pytest.mark.alone


async def _no_block(account: str, receipt: Receipt) -> None:
    raise AssertionError(f"{account} sent nothing: {receipt.code}")


async def test_destinations_that_do_not_answer_hold_up_a_stop_once_and_not_once_each(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_GRACE", 0.5)
    commits = Commits(store, unhandled_kept=8, clock=Clock(), on_failure=lambda: None)
    async with Receiver() as receiver:
        receiver.hold()
        settings = load(write_configuration(tmp_path, crm=receiver.url))
        for i in range(40):
            sender = f"+1415555{i:04d}"
            await commits.commit(text(str(i), LEAVE, sender=sender, destinations=("crm",), need_alias=()))
        works = Worker(settings, Routing(settings), store, "w", _no_block, Metrics(), time.time)
        await works.start()
        await receiver.until(lambda: receiver.in_flight >= 5, 10)
        began = time.monotonic()
        await works.stop()
        took = time.monotonic() - began
        receiver.release()

    assert 0.5 <= took < 0.5 * store.keys.shards
    assert await asyncio.gather(*(store.redis.exists(store.keys.lease(i)) for i in range(store.keys.shards))) == [0] * 4


@asynccontextmanager
async def working(store: Store, settings: Settings, owner: str = "w") -> AsyncIterator[Worker]:
    works = Worker(settings, Routing(settings), store, owner, _no_block, Metrics(), time.time)
    await works.start()
    try:
        yield works
    finally:
        await works.stop()


def of_shard(store: Store, shard: int) -> str:
    """Somebody of that shard."""
    return next(one for one in (f"+1415555{i:04d}" for i in range(200)) if store.keys.shard_of(one) == shard)


async def accept(store: Store, name: str, sender: str) -> None:
    commits = Commits(store, unhandled_kept=8, clock=Clock(), on_failure=lambda: None)
    await commits.commit(text(name, LEAVE, sender=sender, destinations=("crm",), need_alias=()))


async def test_a_shard_that_was_taken_while_the_store_failed_is_worked_on_once_it_answers(
    store: Store, tmp_path: Path
) -> None:
    outbox = store.keys.outbox(0)
    async with Receiver() as receiver:
        settings = load(write_configuration(tmp_path, crm=receiver.url))
        await store.redis.set(outbox, "not a stream")  # so reading it fails
        with capture_logs() as logs:
            async with working(store, settings):

                async def failed() -> bool:
                    return "leases not renewed" in [line["event"] for line in logs]

                await until(failed)
                await store.redis.delete(outbox)
                await accept(store, "1", of_shard(store, 0))
                await receiver.wait_for(1, 5)


async def test_a_store_that_forgot_its_leases_stops_no_shard(store: Store, tmp_path: Path) -> None:
    async with Receiver() as receiver:
        settings = load(write_configuration(tmp_path, crm=receiver.url))
        async with working(store, settings):
            await until(lambda: _all_held(store))
            await store.redis.delete(*(store.keys.lease(0), store.keys.fence(0)))
            await accept(store, "1", of_shard(store, 0))
            await receiver.wait_for(1, 5)
            await accept(store, "2", of_shard(store, 0))
            await receiver.until(lambda: len(set(receiver.ids)) == 2, 5)
            newest = await store.redis.xrevrange(store.keys.outbox(0), count=1)

            async def recorded() -> bool:
                position = await store.redis.hget(store.keys.positions(0), "crm")
                return bool(newest and position == newest[0][0]) or not await store.redis.xlen(store.keys.outbox(0))

            await until(recorded)


async def _all_held(store: Store) -> bool:
    return await store.redis.exists(*map(store.keys.lease, range(store.keys.shards))) == store.keys.shards


async def test_a_destination_that_hangs_costs_no_lease_when_another_worker_joins(store: Store, tmp_path: Path) -> None:
    async with Receiver() as receiver:
        receiver.hold()
        settings = load(write_configuration(tmp_path, crm=receiver.url))
        async with working(store, settings, "one"):
            await until(lambda: _all_held(store))
            for shard in range(store.keys.shards):
                await accept(store, str(shard), of_shard(store, shard))
            await receiver.until(lambda: receiver.in_flight >= store.keys.shards, 5)
            async with working(store, settings, "two") as two:
                lost = []

                async def shared() -> bool:
                    held = await store.redis.mget(map(store.keys.lease, range(store.keys.shards)))
                    kept = [holder for holder in held[: store.keys.shards // 2] if holder]
                    lost.append(len(kept) < store.keys.shards // 2)
                    return len(two._held) == store.keys.shards // 2

                await until(shared, 10.0)
                receiver.release()
    assert not any(lost)
