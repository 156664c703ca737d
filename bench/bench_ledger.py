"""What a row of the ledger costs: made, checked, and on its way from the outbox through the store into a file."""

import asyncio
import secrets
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from router.ledger.drafts import SEAL
from router.ledger.rows import Draft, read_row, write_row
from router.store import NO_HEAD, Commit
from tests.ledgers import LedgerBench, on_record
from tests.running import own_store

ROWS, PEOPLE = 20_000, 400
REPLY = "Weekly deals: you are unsubscribed and will get no more messages."
PUBLIC = {
    "event_id": "evt_51af9d8419834620be7e6fb4bd8232d9",
    "accepted_at": 1_800_000_000.5,
    "received_at": 1_800_000_000.4,
    "direction": "revoked",
    "method": "keyword",
    "program": "deals",
    "before": "subscribed",
    "after": "unsubscribed",
    "channel": "sms",
    "sender_number": "20202",
    "reply": {"id": "evt_51af9d8419834620be7e6fb4bd8232d9", "at": 1_800_000_000.4, "text": REPLY},
}
DRAFT = Draft("+14155550101", PUBLIC, {"phone": "+14155550101", "text": "Stop please!!", "message_id": "SM0123456789"})


@pytest.mark.benchmark(group="ledger")
def test_making_a_row(benchmark: BenchmarkFixture) -> None:
    benchmark(write_row, DRAFT, 3, 8, 2, NO_HEAD, bytes(16))


@pytest.mark.benchmark(group="ledger")
def test_checking_a_row(benchmark: BenchmarkFixture) -> None:
    benchmark(read_row, write_row(DRAFT, 3, 8, 2, NO_HEAD, bytes(16))[0])


def test_rows_a_second_through_the_store_and_into_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(_measured(Path(folder)))
    with capsys.disabled():
        print("\n" + "\n".join(f"{name:28} {value:12,.0f}" for name, value in figures.items()))

    assert figures["rows a second, made"] >= 5000


async def _measured(folder: Path) -> dict[str, float]:
    async with own_store(folder) as store:
        bench = LedgerBench(store, str(folder / "ledger"))
        bench.random_bytes = secrets.token_bytes
        for first in range(0, ROWS, 1000):
            texts = (_text(bench.senders[i % PEOPLE]) for i in range(first, first + 1000))
            await asyncio.gather(*map(bench.commits.commit, texts))
        figures = {"rows a second, made": ROWS / await _seconds(bench.catch_up(seal_rows=ROWS * 2))}
        kept = await store.redis.memory_usage(store.keys.ledger(0), samples=0) or 0
        await bench.ask(SEAL)
        figures["rows a second, sealed"] = ROWS / await _seconds(bench.catch_up())
        figures["rows a second, verified"] = ROWS / await _seconds(_good(bench))
        figures["bytes a row in the store"] = kept / ROWS
        figures["bytes a row in a file"] = _size(folder) / ROWS
        return figures


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("ledger/0/*.gz"))


def _text(sender: str) -> Commit:
    name, message_id = secrets.token_hex(16), f"SM{secrets.token_hex(16)}"
    return on_record(name, sender, reply=REPLY, message_id=message_id)


async def _good(bench: LedgerBench) -> None:
    assert await bench.faults() == []


async def _seconds(work: Awaitable[None]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began
