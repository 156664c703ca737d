"""Segments of the ledger: sealed into files, kept for their time; what happens when the files are away."""

import asyncio
import gzip
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from router.errors import LeaseLost, LedgerUnavailable, StoreUnavailable
from router.ledger.drafts import SEAL
from router.ledger.segments import Segments
from router.store import LEDGER, Lease, Outbox, Steps, Store
from router.tasks import cancelled
from tests.commits import until
from tests.ledgers import DAY, LedgerBench, said


@pytest.fixture(params=["folder", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A place for files: on disk, and one that is only like an object store."""
    if request.param == "folder":
        yield str(tmp_path / "ledger")
        return
    folder = f"memory://{uuid.uuid4().hex}"
    yield folder
    files, path = fsspec.url_to_fs(folder)
    if files.exists(path):
        files.rm(path, recursive=True)


@pytest.fixture
def bench(store: Store, url: str) -> LedgerBench:
    return LedgerBench(store, url)


def listed(url: str) -> list[str]:
    files, path = fsspec.url_to_fs(url)
    return sorted(found.rpartition("/")[2] for found in files.find(path))


async def test_a_full_segment_goes_into_a_file_and_leaves_the_store(bench: LedgerBench, url: str) -> None:
    for _ in range(5):
        await bench.accept(0, 1)
        await bench.catch_up(seal_rows=4)

    assert listed(url) == ["00000001.jsonl.gz", "00000002.jsonl.gz"]
    assert [len(bench.recording.segments.read(0, number)) for number in (1, 2)] == [4, 4]
    assert [row.seq for row in await bench.rows()] == [9, 10]
    assert await bench.faults() == []


async def test_a_file_is_compressed_lines_that_anybody_can_read(bench: LedgerBench, url: str) -> None:
    await bench.record(0, 1, seal=True)
    files, path = fsspec.url_to_fs(url)
    content = files.cat_file(f"{path}/0/00000001.jsonl.gz")

    assert gzip.decompress(content).splitlines() == bench.recording.segments.read(0, 1)


class Dying(Outbox):
    """An outbox that does not take the next word that a segment is sealed."""

    dead = False

    async def settle(self, lease: Lease, destination: str, steps: Steps) -> list[int]:
        if "sealed" in steps.arguments and not self.dead:
            self.dead = True
            raise StoreUnavailable("dead")
        return await super().settle(lease, destination, steps)


async def test_a_seal_that_died_after_the_file_was_written_is_repeated_with_the_same_bytes(
    bench: LedgerBench, url: str
) -> None:
    files, path = fsspec.url_to_fs(url)
    bench.outbox = Dying(bench.store, [LEDGER])
    with pytest.raises(StoreUnavailable):
        await bench.record(0, 1, seal=True)
    written = files.cat_file(f"{path}/0/00000001.jsonl.gz")
    bench.outbox = Outbox(bench.store, [LEDGER])
    await bench.record(1)

    assert files.cat_file(f"{path}/0/00000001.jsonl.gz") == written
    assert len(await bench.rows()) == 1
    assert listed(url) == ["00000001.jsonl.gz"]
    assert await bench.faults() == []


async def test_who_lost_the_shard_puts_no_file_in_place(bench: LedgerBench, url: str) -> None:
    await bench.accept(0)
    await bench.ask(SEAL)
    async with bench.lane() as lane:
        lane.stop()
        with pytest.raises(LedgerUnavailable, match="taken over"):
            await lane.catch_up()

    assert listed(url) == []


async def test_who_lost_the_shard_while_sealing_takes_nothing_from_the_store(bench: LedgerBench) -> None:
    class Taken(Outbox):
        async def settle(self, lease: Lease, destination: str, steps: Steps) -> list[int]:
            if "sealed" in steps.arguments:
                await bench.store.redis.set(bench.store.keys.lease(0), "another:99")
            return await super().settle(lease, destination, steps)

    bench.outbox = Taken(bench.store, [LEDGER])
    with pytest.raises(LeaseLost):
        await bench.record(0, 1, seal=True)

    assert len(await bench.lines()) == 2


async def test_rows_are_appended_while_the_files_are_away_and_sealed_when_they_are_back(
    store: Store, tmp_path: Path
) -> None:
    bench = LedgerBench(store, str(tmp_path / "ledger"))
    (tmp_path / "ledger").write_text("in the way")
    async with bench.lane(seal_rows=2) as lane:
        running = asyncio.create_task(lane.run())
        for count in (2, 4, 5):
            await bench.accept(*[0] * (count - len(await bench.lines())))
            lane.notify()
            await until(_waiting(bench, count))
        await until(_failed(bench))
        (tmp_path / "ledger").unlink()
        await until(_waiting(bench, 1))
        await cancelled([running])

    assert [len(bench.recording.segments.read(0, number)) for number in (1, 2)] == [2, 2]
    assert await bench.faults() == []


@pytest.mark.parametrize(
    ("url", "remedy"), [("nosuch://bucket/ledger", "Correct ledger.url"), ("gs://bucket/x", "install the package")]
)
async def test_a_place_that_cannot_be_used_is_named_with_what_to_do(store: Store, url: str, remedy: str) -> None:
    bench = LedgerBench(store, url)
    with pytest.raises(LedgerUnavailable) as caught:
        await bench.record(0, seal=True)

    assert remedy in str(caught.value)
    assert len(await bench.lines()) == 1


async def test_a_segment_is_removed_when_the_time_of_its_newest_row_is_over(bench: LedgerBench, url: str) -> None:
    await bench.record(0, 1, seal=True)
    await bench.record(0, 2, seal=True)
    bench.clock.now += 1001 * DAY
    await bench.accept(0, 3)
    await bench.catch_up(seal_rows=2)
    await bench.accept(1)
    await bench.catch_up()
    state = await bench.ledger.state(0)

    # The clock of the store did not move, so what was written last is as old to us.
    assert (state.removed, state.sealed) == (3, 3)
    assert listed(url) == []
    assert await bench.faults() == []
    assert said(await bench.history(1)) == ["Stop"]
    assert said(await bench.history(0)) == []
    assert len(await bench.ledger.heads(bench.senders[:4])) == 4


async def test_a_file_that_was_lost_or_spoilt_holds_up_the_removal_of_no_other(bench: LedgerBench, url: str) -> None:
    files, path = fsspec.url_to_fs(url)
    for _ in range(4):
        await bench.record(0, 1, seal=True)
    files.rm_file(f"{path}/0/00000001.jsonl.gz")
    spoilt = files.cat_file(f"{path}/0/00000003.jsonl.gz")
    files.pipe_file(f"{path}/0/00000003.jsonl.gz", spoilt[:-9])
    bench.clock.now += 1001 * DAY
    await bench.accept(0)
    await bench.ask(SEAL)
    await bench.accept(1)
    await bench.catch_up()

    assert listed(url) == []
    assert (await bench.ledger.state(0)).removed_rows == 9
    assert await bench.faults() == []


async def test_a_file_whose_header_was_altered_is_not_taken_for_an_old_one(bench: LedgerBench, url: str) -> None:
    files, path = fsspec.url_to_fs(url)
    await bench.record(0, seal=True)
    content = files.cat_file(f"{path}/0/00000001.jsonl.gz")
    files.pipe_file(f"{path}/0/00000001.jsonl.gz", content[:4] + (1).to_bytes(4, "little") + content[8:])
    await bench.record(1, seal=True)

    assert listed(url) == ["00000001.jsonl.gz", "00000002.jsonl.gz"]
    assert said(await bench.history(0)) == ["Stop"]


@pytest.mark.parametrize("spoilt", [b"", b"junk"])
async def test_a_spoilt_file_that_nothing_readable_follows_is_not_removed(
    bench: LedgerBench, url: str, spoilt: bytes
) -> None:
    files, path = fsspec.url_to_fs(url)
    await bench.record(0, seal=True)
    files.pipe_file(f"{path}/0/00000001.jsonl.gz", spoilt)
    await bench.record(1, seal=True)

    assert (await bench.ledger.state(0)).removed == 0
    assert await bench.faults() != []


async def test_a_file_of_another_ledger_is_not_written_over(bench: LedgerBench, url: str, store: Store) -> None:
    await bench.record(0, 1, seal=True)
    files, path = fsspec.url_to_fs(url)
    kept = files.cat_file(f"{path}/0/00000001.jsonl.gz")
    state, rows = bench.store.keys.ledger_state(0), bench.store.keys.ledger(0)
    await store.redis.delete(state, rows, *(store.keys.person(sender) for sender in bench.senders[:2]))
    bench.random_bytes = lambda length: b"x" * length
    with pytest.raises(LedgerUnavailable, match=r"another ledger.*Give ledger\.url a folder of its own"):
        await bench.record(0, seal=True)

    assert files.cat_file(f"{path}/0/00000001.jsonl.gz") == kept
    assert said(await bench.history(0)) == ["Stop"]


async def test_nobody_else_can_read_the_files(store: Store, tmp_path: Path) -> None:
    bench = LedgerBench(store, str(tmp_path / "ledger"))
    await bench.record(0, seal=True)
    folder = tmp_path / "ledger" / "0"

    assert [path.stat().st_mode & 0o077 for path in (folder.parent, folder, *folder.iterdir())] == [0, 0, 0]


async def test_a_segment_whose_time_is_not_over_is_kept(bench: LedgerBench, url: str) -> None:
    await bench.record(0, seal=True)
    bench.clock.now += 999 * DAY
    await bench.record(0, seal=True)

    assert listed(url) == ["00000001.jsonl.gz", "00000002.jsonl.gz"]


async def test_a_file_whose_removal_was_cut_short_is_removed_the_next_time(bench: LedgerBench, url: str) -> None:
    await bench.record(0, seal=True)
    async with bench.lane():
        lease = Lease(0, *_holder(await bench.store.redis.get(bench.store.keys.lease(0))))
        steps = Steps()
        steps.removed(1, 1)
        await bench.outbox.settle(lease, LEDGER, steps)
    await bench.record(1, seal=True)

    assert listed(url) == ["00000002.jsonl.gz"]
    assert await bench.faults() == []


async def test_the_store_holds_no_more_after_many_segments_than_after_a_few(bench: LedgerBench) -> None:
    async def size() -> int:
        keys = [bench.store.keys.ledger(0), bench.store.keys.ledger_state(0), bench.store.keys.erasures(0)]
        people = [bench.store.keys.person(sender) for sender in bench.senders[:20]]
        sizes = [await bench.store.redis.memory_usage(key, samples=0) or 0 for key in (*keys, *people)]
        return sum(sizes)

    for _ in range(2):
        await bench.accept(*range(20), *range(20))
        await bench.catch_up(seal_rows=40)
    few = await size()
    for _ in range(10):
        await bench.accept(*range(20), *range(20))
        await bench.catch_up(seal_rows=40)

    assert (await bench.ledger.state(0)).sealed == 12
    assert await size() <= few + 64


def test_a_password_in_the_url_is_not_shown() -> None:
    assert Segments("sftp://me:secret@files.example.com/ledger").address == "sftp://…@files.example.com/ledger"


def _holder(kept: Any) -> tuple[str, int]:
    owner, _, token = kept.decode().rpartition(":")
    return owner, int(token)


def _waiting(bench: LedgerBench, count: int) -> Callable[[], Awaitable[bool]]:
    async def there() -> bool:
        return len(await bench.lines()) == count

    return there


def _failed(bench: LedgerBench) -> Callable[[], Awaitable[bool]]:
    async def there() -> bool:
        return bool(bench.metrics.registry.get_sample_value("keyroute_ledger_segments_total", {"outcome": "failed"}))

    return there
