"""Workers that are killed again and again while they write the ledger: every text is a row, once and in its turn."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from router.cli.store import opened
from router.config import load
from router.errors import StoreUnavailable
from router.ledger.rows import read_row
from router.ledger.segments import Segments
from router.ledger.verification import Verification
from router.store import LEDGER, Commits, Ledger, Outbox, Store
from tests.commits import Clock, until
from tests.ledgers import on_record
from tests.running import Keyroute, write_configuration

PEOPLE = [f"+1415555{i:04d}" for i in range(20)]
TEXTS, KILLS = 1500, 4


async def test_nothing_is_missing_doubled_or_swapped(tmp_path: Path, embedded_url: str, prefix: str) -> None:
    store = f'url = "{embedded_url}"\nprefix = "{prefix}"'
    config = write_configuration(tmp_path, store=store, extra="[ledger]\nseal_rows = 40")
    accepted: list[str] = []
    await until(_answers(embedded_url, prefix))
    async with opened(load(config)) as opened_store:
        writing = asyncio.create_task(write(opened_store, accepted))
        worker = Keyroute(config, "--role", "worker")
        worker.start()
        for kill in range(KILLS):
            await until(_rows(opened_store, (kill + 1) * TEXTS // (KILLS + 2)), 30)
            worker.kill()
            worker.start()
        await writing
        await until(_rows(opened_store, TEXTS), 30)
        worker.stop()
        settings = load(config)
        ledger, segments = Ledger(opened_store), Segments(settings.ledger.url)
        faults = [str(fault) async for fault in Verification(ledger, segments).faults()]
        found = [await events(ledger, segments, shard) for shard in range(4)]

    assert faults == []
    assert [len(each) for each in found if not each] == []
    assert found == [[f"evt_{name}" for name in accepted if shard_of(opened_store, name) == s] for s in range(4)]


def shard_of(store: Store, name: str) -> int:
    return store.keys.shard_of(PEOPLE[int(name) % len(PEOPLE)])


async def write(store: Store, accepted: list[str]) -> None:
    """Texts of many people, faster than workers are killed."""
    commits = Commits(store, unhandled_kept=8, clock=Clock(), on_failure=lambda: None)
    await Outbox(store, [LEDGER]).register()
    for first in range(0, TEXTS, 10):
        names = [f"{number}" for number in range(first, first + 10)]
        await asyncio.gather(*(commits.commit(on_record(n, PEOPLE[int(n) % len(PEOPLE)])) for n in names))
        accepted += names
        await asyncio.sleep(0.002)


async def events(ledger: Ledger, segments: Segments, shard: int) -> list[str]:
    """The events on record, in the order of the rows."""
    state = await ledger.state(shard)
    lines = [line for number in range(1, state.sealed + 1) for line in segments.read(shard, number)]
    lines += await ledger.page(shard, state.sealed_rows + 1, TEXTS) or []
    return [read_row(line).public["event_id"] for line in lines]


def _answers(url: str, prefix: str) -> Callable[[], Awaitable[bool]]:
    async def there() -> bool:
        store = Store(url, prefix=prefix, shards=4, durability="fsync", timeout_seconds=5.0)
        try:
            await store.ping()
        except StoreUnavailable:
            return False
        finally:
            await store.close()
        return True

    return there


def _rows(store: Store, count: int) -> Callable[[], Awaitable[bool]]:
    async def there() -> bool:
        states = [await Ledger(store).state(shard) for shard in range(4)]
        return sum(state.rows for state in states) >= count

    return there
