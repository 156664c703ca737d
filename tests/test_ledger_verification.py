"""Tampering with the ledger shows, wherever it is done; and nothing else does."""

import asyncio
import gzip
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from router.ledger.drafts import ERASE, SEAL
from router.ledger.rows import Draft, read_row, without_private, write_row
from router.ledger.verification import Verification
from router.store import Head, Store
from tests.ledgers import LedgerBench


@pytest.fixture
def bench(store: Store, tmp_path: Path) -> LedgerBench:
    return LedgerBench(store, str(tmp_path / "ledger"))


def rewrite(bench: LedgerBench, number: int, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Changes the rows in a file, as somebody could who can write there."""
    path = _file(bench, number)
    lines = gzip.decompress(path.read_bytes()).splitlines()
    path.write_bytes(gzip.compress(b"".join(line + b"\n" for line in change(lines))))


def _file(bench: LedgerBench, number: int) -> Path:
    return Path(bench.recording.segments.address) / "0" / f"{number:08d}.jsonl.gz"


async def filled(bench: LedgerBench) -> None:
    """Two segments in files, and two rows in the store."""
    await bench.record(0, 1, 0, 2, seal=True)
    await bench.record(0, 1, 2, seal=True)
    await bench.record(1, 0)
    assert await bench.faults() == []


async def test_a_ledger_that_nobody_has_touched_is_good(bench: LedgerBench) -> None:
    await filled(bench)
    verification = Verification(bench.ledger, bench.recording.segments)

    assert [fault async for fault in verification.faults()] == []
    assert (verification.rows, verification.segments) == (9, 2)


async def test_an_empty_ledger_is_good(bench: LedgerBench) -> None:
    assert await bench.faults() == []


async def test_a_flipped_byte_in_a_row_of_a_file_is_found_and_is_one_fault(bench: LedgerBench) -> None:
    await filled(bench)
    rewrite(bench, 1, lambda lines: [lines[0], lines[1].replace(b"Stop", b"Step", 1), *lines[2:]])

    assert await bench.faults() == [
        "shard 0, segment 1, row 2: was changed where it says who it was and what they said: its hash is another one"
    ]


@pytest.mark.parametrize("place", [0, 5, 12, 40, 200, -3])
async def test_a_flipped_byte_of_a_compressed_file_is_found(bench: LedgerBench, place: int) -> None:
    await filled(bench)
    content = bytearray(_file(bench, 1).read_bytes())
    content[place] ^= 1
    _file(bench, 1).write_bytes(content)
    faults = await bench.faults()

    if place == 5:  # the time in its header, which says nothing of the rows
        assert faults == []
    else:
        assert faults
        assert all(fault.startswith("shard 0, segment 1") for fault in faults)


async def test_a_row_taken_out_of_a_file_is_found(bench: LedgerBench) -> None:
    await filled(bench)
    rewrite(bench, 1, lambda lines: [lines[0], *lines[2:]])
    faults = await bench.faults()

    assert faults[0] == "shard 0, segment 1, row 3: 1 row(s) before 3 are missing"
    assert "shard 0, segment 2, row 6: follows a row that is missing, or that another row follows already" in faults


async def test_the_last_rows_of_a_file_taken_out_are_found(bench: LedgerBench) -> None:
    await filled(bench)
    rewrite(bench, 2, lambda lines: lines[:-1])
    faults = await bench.faults()

    assert "shard 0, segment 3, row 8: 1 row(s) before 8 are missing" in faults


async def test_the_last_rows_in_the_store_taken_out_are_found(bench: LedgerBench) -> None:
    await filled(bench)
    await bench.store.redis.rpop(bench.store.keys.ledger(0))

    assert await bench.faults() == [
        "shard 0, row 9: 1 row(s) before 10 are missing",
        "shard 0, segment 3: the last row of a person, as the store has it, is missing",
        "shard 0: 1 row(s) end a chain that nobody has: forged, or the person's record is gone",
    ]


async def test_the_last_file_taken_away_with_the_rows_in_the_store_is_found(bench: LedgerBench) -> None:
    await bench.record(0, 1, seal=True)
    await bench.record(0, seal=True)
    _file(bench, 2).unlink()
    faults = await bench.faults()

    assert faults[0] == "shard 0, segment 2: its file is missing. Put it back from a backup."
    assert "shard 0, segment 2: the last row of a person, as the store has it, is missing" in faults


async def test_a_file_that_is_missing_is_found_and_what_follows_is_not_accused(bench: LedgerBench) -> None:
    await filled(bench)
    _file(bench, 1).unlink()

    assert await bench.faults() == ["shard 0, segment 1: its file is missing. Put it back from a backup."]


async def test_a_file_of_another_segment_in_its_place_is_found(bench: LedgerBench) -> None:
    await filled(bench)
    _file(bench, 2).write_bytes(_file(bench, 1).read_bytes())

    assert any("belongs into shard 0, segment 1" in fault for fault in await bench.faults())


async def test_a_forged_row_in_place_of_one_is_found_although_it_fits_itself(bench: LedgerBench) -> None:
    await filled(bench)

    def forge(lines: list[bytes]) -> list[bytes]:
        row = read_row(lines[2])
        draft = Draft("", row.public | {"direction": "granted", "after": "subscribed"}, row.private)
        previous = Head(row.previous, row.previous_segment)
        line, _ = write_row(draft, row.shard, row.seq, row.segment, previous, bytes(16))
        return [*lines[:2], line, *lines[3:]]

    rewrite(bench, 1, forge)

    assert "shard 0, segment 2, row 5: follows a row that is missing, or that another row follows already" in (
        await bench.faults()
    )


async def test_a_forged_row_at_the_end_is_found(bench: LedgerBench) -> None:
    await filled(bench)
    draft = Draft("", {"direction": "granted"}, {"phone": "+1"})
    line, _ = write_row(draft, 0, 10, 3, Head("0" * 64, 0), bytes(16))
    await bench.store.redis.rpush(bench.store.keys.ledger(0), line)

    assert await bench.faults() == ["shard 0: 1 row(s) in the store were never written by keyroute: forged"]

    await bench.store.redis.hincrby(bench.store.keys.ledger_state(0), "rows", 1)

    assert await bench.faults() == [
        "shard 0: 1 row(s) end a chain that nobody has: forged, or the person's record is gone"
    ]


async def test_a_second_row_after_one_is_found(bench: LedgerBench) -> None:
    await filled(bench)
    rows = await bench.rows()
    previous = Head(rows[0].previous, rows[0].previous_segment)
    line, _ = write_row(Draft("", rows[0].public, None), 0, 10, 3, previous, bytes(16))
    await bench.store.redis.rpush(bench.store.keys.ledger(0), line)
    await bench.store.redis.hincrby(bench.store.keys.ledger_state(0), "rows", 1)

    faults = await bench.faults()
    assert faults[0] == "shard 0, segment 3, row 10: follows a row that is missing, or that another row follows already"


async def test_rows_that_changed_places_are_found(bench: LedgerBench) -> None:
    await filled(bench)
    rewrite(bench, 1, lambda lines: [lines[1], lines[0], *lines[2:]])

    assert (await bench.faults())[0] == "shard 0, segment 1, row 2: 1 row(s) before 2 are missing"


async def test_words_taken_out_without_a_request_on_record_are_found(bench: LedgerBench) -> None:
    await filled(bench)
    rewrite(bench, 1, lambda lines: [without_private(lines[0]), *lines[1:]])

    assert await bench.faults() == [
        "shard 0, segment 1, row 1: who it was and what they said is gone, and no erasure stands on record after it"
    ]


async def test_a_person_whose_record_in_the_store_is_gone_is_found(bench: LedgerBench) -> None:
    await filled(bench)
    await bench.store.redis.delete(bench.store.keys.person(bench.senders[0]))

    assert await bench.faults() == [
        "shard 0: 1 row(s) end a chain that nobody has: forged, or the person's record is gone"
    ]


@pytest.mark.parametrize(
    "forged",
    [
        {"seq": "1"},
        {"previous": None},
        {"previous": "zz" * 32},
        {"segment": 1.5},
        {"public": []},
        {"public": None},
        {"v": 2},
    ],
)
async def test_a_row_of_another_make_is_a_fault_and_stops_nothing(
    bench: LedgerBench, forged: dict[str, object]
) -> None:
    await filled(bench)

    def forge(lines: list[bytes]) -> list[bytes]:
        return [orjson.dumps(orjson.loads(lines[0]) | forged), *lines[1:]]

    rewrite(bench, 1, forge)
    faults = await bench.faults()

    assert faults[0].startswith("shard 0, segment 1, row 1: ")
    assert all("row 2:" not in fault for fault in faults)


async def test_erased_rows_are_good_in_the_store_and_in_files(bench: LedgerBench) -> None:
    await filled(bench)
    await bench.ask(ERASE, 0)
    await bench.catch_up()

    assert await bench.faults() == []


async def test_what_is_written_sealed_and_erased_meanwhile_is_no_fault(bench: LedgerBench) -> None:
    await filled(bench)
    stop = asyncio.Event()

    async def write() -> None:
        async with bench.lane(seal_rows=7) as lane:
            while not stop.is_set():
                await bench.accept(0, 1, 2, 3, 4)
                await bench.ask(ERASE, 3)
                await lane.catch_up()

    writing = asyncio.create_task(write())
    found = [await bench.faults() for _ in range(10)]
    stop.set()
    await writing

    assert found == [[]] * 10
    assert (await bench.ledger.state(0)).sealed > 2


@pytest.mark.parametrize("when", ["state", "every_head", "page"])
async def test_rows_that_move_into_a_file_between_two_looks_are_no_fault(bench: LedgerBench, when: str) -> None:
    await filled(bench)
    looks = 0
    original = getattr(bench.ledger, when)

    async def more() -> None:
        nonlocal looks
        looks += 1
        if looks <= 4:
            await bench.accept(0, 3)
            await bench.ask(SEAL)
            async with bench.lane() as lane:
                lane._ledger = lane._keeper._ledger = type(bench.ledger)(bench.store)
                await lane.catch_up()

    class Moving(type(bench.ledger)):  # type: ignore[misc]
        async def look(self, *arguments: object) -> object:
            await more()
            return await original(*arguments)

        async def looks(self, *arguments: object) -> object:
            await more()
            async for found in original(*arguments):
                yield found
                await more()

    setattr(Moving, when, Moving.looks if when == "every_head" else Moving.look)
    moving = Moving(bench.store)

    assert [str(fault) async for fault in Verification(moving, bench.recording.segments).faults()] == []
    assert await bench.faults() == []
