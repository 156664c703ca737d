"""A worker that is asked to stop: requests under way may finish, all of them within one grace."""

import asyncio
import time
from pathlib import Path

import pytest

from router.config import load
from router.delivery import worker
from router.delivery.worker import Worker
from router.routing import Routing
from router.store import Commits, Store
from router.telemetry import Metrics
from router.types import Receipt
from tests.commits import LEAVE, Clock, text
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
