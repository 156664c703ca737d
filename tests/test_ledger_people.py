"""What the ledger says of one person: their history over many segments, and its erasure on request."""

from dataclasses import replace
from pathlib import Path

import pytest

from router.errors import DamagedLedger, StoreUnavailable
from router.ledger.drafts import ERASE, SEAL
from router.ledger.rows import read_row
from router.ledger.segments import Segments
from router.store import LEDGER, Lease, Outbox, People, Steps, Store
from tests.ledgers import LedgerBench, said


@pytest.fixture
def bench(store: Store, tmp_path: Path) -> LedgerBench:
    return LedgerBench(store, str(tmp_path / "ledger"))


async def test_a_history_is_found_over_many_segments_and_only_those_with_the_persons_rows_are_read(
    bench: LedgerBench,
) -> None:
    for segment in range(8):
        await bench.record(*([0, 0] if segment in (1, 4, 6) else [1]), seal=True, said=f"in {segment}")
    await bench.record(0, said="in the store")
    read: list[int] = []

    class Watched(Segments):
        def read(self, shard: int, number: int) -> list[bytes]:
            read.append(number)
            return super().read(shard, number)

    bench.recording = replace(bench.recording, segments=Watched(bench.recording.segments.address))

    assert said(await bench.history()) == [
        "in 1", "in 1", "in 4", "in 4", "in 6", "in 6", "in the store",
    ]  # fmt: skip
    assert read == [7, 5, 2]


async def test_a_history_in_the_store_is_found_page_by_page(bench: LedgerBench) -> None:
    for part in range(4):
        await bench.record(0, *[1] * 400, 0, said=f"{part}")

    assert said(await bench.history()) == ["0", "0", "1", "1", "2", "2", "3", "3"]


async def test_who_is_not_on_record_has_no_history(bench: LedgerBench) -> None:
    await bench.record(1)

    assert await bench.history(0) == []


async def test_a_history_with_a_row_missing_says_where(bench: LedgerBench) -> None:
    await bench.record(0, seal=True)
    await bench.record(0)
    (Path(bench.recording.segments.address) / "0" / "00000001.jsonl.gz").unlink()
    with pytest.raises(DamagedLedger, match=r"shard 0, segment 1: its file is missing\. Put it back"):
        await bench.history()


async def test_an_erasure_takes_out_who_it_was_and_what_they_said_and_nothing_of_others(bench: LedgerBench) -> None:
    await bench.record(0, 1, 0, seal=True)
    await bench.record(0, 1)
    await bench.ask(ERASE, 0)
    await bench.catch_up()
    mine, others = await bench.history(0), await bench.history(1)
    lines = bench.recording.segments.read(0, 1) + await bench.lines()

    assert [row.public["direction"] for row in mine] == ["revoked", "revoked", "revoked", "erased"]
    assert said(mine) == [None] * 4
    assert said(others) == ["Stop", "Stop"]
    assert not any(bench.senders[0].encode() in line for line in lines)
    assert await bench.faults() == []
    assert await bench.ledger.erasures(0) == {}


async def test_an_opt_out_outlives_the_erasure_and_all_else_is_forgotten(bench: LedgerBench) -> None:
    sender = bench.senders[0]
    await bench.record(0)
    await bench.store.redis.hset(
        bench.store.keys.person(sender),
        mapping={
            "consent:news": "subscribed 5",
            "consent:asked": "pending 6:9:unsubscribed",
            "consent:all": "choosing 7:9:unsubscribed",
            "alias:braze": "1",
            "lang": "fr",
            "replies": "1:1",
            "block:acme/2020": "4",
        },
    )
    await bench.ask(ERASE, 0)
    await bench.catch_up()
    person = await People(bench.store).get(sender)
    left = await bench.store.redis.hkeys(bench.store.keys.person(sender))

    assert person is not None
    assert {name: consent.state for name, consent in person.consent.items()} == {
        "deals": "unsubscribed",
        "asked": "unsubscribed",
        "all": "unsubscribed",
    }
    assert sorted(left) == [b"block:acme/2020", b"consent:all", b"consent:asked", b"consent:deals", b"ledger"]


async def test_nothing_is_left_of_who_has_not_opted_out(bench: LedgerBench) -> None:
    await bench.record(0, after="subscribed", intent="opt_in", seal=True)
    await bench.ask(ERASE, 0)
    await bench.catch_up()

    assert not await bench.store.redis.exists(bench.store.keys.person(bench.senders[0]))
    assert await bench.history(0) == []
    assert said([read_row(line) for line in bench.recording.segments.read(0, 1)]) == [None]
    assert await bench.faults() == []


async def test_what_a_person_says_after_the_erasure_is_on_record(bench: LedgerBench) -> None:
    await bench.record(0)
    await bench.ask(ERASE, 0)
    await bench.accept(0, said="Hello again")
    await bench.catch_up()

    assert said(await bench.history(0)) == [None, None, "Hello again"]
    assert await bench.faults() == []


async def test_consent_given_after_the_request_is_not_forgotten(bench: LedgerBench) -> None:
    bench.clock.now += 10
    await bench.accept(0, after="subscribed", intent="opt_in")
    bench.clock.now -= 10
    await bench.ask(ERASE, 0)
    await bench.catch_up()
    person = await People(bench.store).get(bench.senders[0])

    assert person is not None
    assert person.consent["deals"].state == "subscribed"


class Dying(Outbox):
    """An outbox that breaks at the step of a name."""

    def __init__(self, bench: LedgerBench, step: str) -> None:
        super().__init__(bench.store, [LEDGER])
        self._step = step

    async def settle(self, lease: Lease, destination: str, steps: Steps) -> list[int]:
        if self._step in steps.arguments:
            raise StoreUnavailable("dead")
        return await super().settle(lease, destination, steps)


@pytest.mark.parametrize("step", ["erasure", "erase", "erased"])
async def test_an_erasure_that_was_cut_short_is_finished_by_whoever_holds_the_shard_next(
    bench: LedgerBench, step: str
) -> None:
    await bench.record(0, 0, seal=True)
    await bench.record(0)
    await bench.ask(ERASE, 0)
    whole, bench.outbox = bench.outbox, Dying(bench, step)
    with pytest.raises(StoreUnavailable):
        await bench.catch_up()
    bench.outbox = whole
    await bench.catch_up()

    assert said(await bench.history(0)) == [None] * 4
    assert [row.public["direction"] for row in await bench.history(0)] == ["revoked"] * 3 + ["erased"]
    assert await bench.faults() == []


async def test_an_erasure_and_a_seal_in_one_go_leave_nothing_in_the_file(bench: LedgerBench) -> None:
    await bench.accept(0, 1)
    await bench.ask(ERASE, 0)
    await bench.ask(SEAL)
    await bench.catch_up()
    rows = [read_row(line) for line in bench.recording.segments.read(0, 1)]

    assert said(rows) == [None, "Stop", None]
    assert await bench.faults() == []


async def test_an_erasure_that_cannot_be_done_holds_up_no_other(bench: LedgerBench) -> None:
    await bench.record(0, seal=True)
    await bench.record(1, seal=True)
    first = Path(bench.recording.segments.address) / "0" / "00000001.jsonl.gz"
    kept = first.read_bytes()
    first.unlink()
    await bench.ask(ERASE, 0)
    await bench.ask(ERASE, 1)
    with pytest.raises(DamagedLedger):
        await bench.catch_up()

    assert list(await bench.ledger.erasures(0)) == [bench.senders[0]]
    assert said(await bench.history(1)) == [None, None]

    first.write_bytes(kept)
    await bench.catch_up()

    assert said(await bench.history(0)) == [None, None]
    assert await bench.faults() == []


async def test_what_a_writer_that_was_cut_short_has_left_goes_with_the_erasure(bench: LedgerBench) -> None:
    await bench.record(0, seal=True)
    part = Path(bench.recording.segments.address) / "0" / "00000001.jsonl.gz.7.part"
    part.write_bytes(b"Stop")
    await bench.ask(ERASE, 0)
    await bench.catch_up()

    assert [path.name for path in part.parent.iterdir()] == ["00000001.jsonl.gz"]
