"""Rows of the ledger as they are made: in the order of acceptance, each once, whatever dies between two steps."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from router.cli.history import described
from router.config import load
from router.delivery.ledger import LedgerLane
from router.errors import LeaseLost, StoreUnavailable
from router.ledger.drafts import SEAL, Provider
from router.records import write_sent
from router.routing import Routing
from router.store import LEDGER, NO_HEAD, Entry, Lease, Outbox, Steps, Store
from router.tasks import cancelled
from tests.commits import CHAT, START, until
from tests.commits import text as commit_text
from tests.ledgers import LedgerBench, on_record, said
from tests.running import write_configuration


@pytest.fixture
def bench(store: Store, tmp_path: Path) -> LedgerBench:
    return LedgerBench(store, str(tmp_path / "ledger"))


async def test_rows_stand_in_the_order_of_acceptance_and_each_follows_the_one_before_it_of_its_person(
    bench: LedgerBench,
) -> None:
    for sender, words in [(0, "a"), (1, "b"), (0, "c"), (1, "d"), (0, "e")]:
        await bench.accept(sender, said=words)
    await bench.catch_up()
    rows = await bench.rows()

    assert said(rows) == ["a", "b", "c", "d", "e"]
    assert [row.seq for row in rows] == [1, 2, 3, 4, 5]
    assert [row.previous for row in rows] == [NO_HEAD.hash, NO_HEAD.hash, rows[0].hash, rows[1].hash, rows[2].hash]
    assert [row.public["accepted_at"] for row in rows] == sorted(row.public["accepted_at"] for row in rows)
    assert await bench.faults() == []


async def test_the_store_is_not_told_one_by_one_of_what_is_none_of_the_ledgers(
    bench: LedgerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []
    settle = bench.outbox.settle

    async def counted(lease: Lease, destination: str, steps: Steps) -> list[int]:
        told.append(time.monotonic())
        return await settle(lease, destination, steps)

    monkeypatch.setattr(bench.outbox, "settle", counted)
    mine = Outbox(bench.store, [LEDGER])
    newest, _ = await mine.position(0, LEDGER)

    async def offer(lane: LedgerLane) -> None:
        nonlocal newest
        if entries := await mine.read(0, newest, 10):
            lane.offer(newest, entries)
            newest = entries[-1].id
        else:  # the lane has come across them by itself
            newest, _ = await mine.position(0, LEDGER)

    async def is_told() -> bool:
        return (await mine.position(0, LEDGER))[0] == newest

    async with bench.lane() as lane:
        running = asyncio.create_task(lane.run())
        await bench.accept(0)
        await offer(lane)
        await until(is_told)
        began, before = time.monotonic(), len(told)
        for number in range(60):
            other = commit_text(f"other {number}", CHAT, sender=bench.senders[1], destinations=("crm",), need_alias=())
            await bench.commits.commit(other)
            await offer(lane)
        await until(is_told)
        assert len(told) - before <= 3 + (time.monotonic() - began) / 0.25
        await bench.accept(0)
        await offer(lane)
        await until(is_told)
        await bench.commits.commit(replace(other, digest=b"last"))
        await offer(lane)
        lane.stop()
        await running
    assert await is_told()
    assert len(await bench.rows()) == 2


async def test_a_record_that_comes_late_writes_no_row_again(
    bench: LedgerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle, read, late = bench.outbox.settle, bench.outbox.read, list[Steps]()

    async def delayed(lease: Lease, destination: str, steps: Steps) -> list[int]:
        if steps.arguments and not late:
            late.append(steps)
            raise StoreUnavailable("on its way")
        return await settle(lease, destination, steps)

    async with bench.lane() as lane:

        async def read_as_it_comes(shard: int, after: str, count: int) -> list[Entry]:
            if late:
                await settle(lane._held.lease, LEDGER, late[0])
            return await read(shard, after, count)

        monkeypatch.setattr(bench.outbox, "settle", delayed)
        monkeypatch.setattr(bench.outbox, "read", read_as_it_comes)
        await bench.accept(0, 1)
        with pytest.raises(StoreUnavailable):
            await lane.catch_up()
        await lane.catch_up()

    assert len(await bench.rows()) == 2
    assert await bench.faults() == []


async def test_a_row_says_all_that_proof_of_consent_needs(bench: LedgerBench) -> None:
    await bench.accept(0, said="Stop please!!", reply="Goodbye.", rule="keyword:en/STOP (courtesy)", channel="whatsapp")
    await bench.catch_up()
    (row,) = await bench.rows()
    accepted_at, version = row.public["accepted_at"], row.public["list_version"]

    assert row.public == {
        "event_id": "evt_1",
        "accepted_at": accepted_at,
        "received_at": 1.0,
        "occurred_at": None,
        "direction": "revoked",
        "method": "keyword",
        "program": "deals",
        "before": "none",
        "after": "unsubscribed",
        "channel": "whatsapp",
        "sender_number": "2020",
        "keyword": "STOP",
        "language": "en",
        "rule": "keyword:en/STOP (courtesy)",
        "list_version": version,
        "provider": "post",
        "reply": {"id": "evt_1", "at": 1.0, "text": "Goodbye."},
        "consent_text": None,
    }
    assert row.private is not None
    assert row.private | {"nonce": ""} == {
        "phone": bench.senders[0],
        "text": "Stop please!!",
        "normalised_text": "stop please",
        "button": None,
        "message_id": "1",
        "source_url": None,
        "operator": None,
        "nonce": "",
    }
    assert len(row.private["nonce"]) == 32


@pytest.mark.parametrize(
    ("how", "direction", "method"),
    [
        ({"after": "pending", "intent": "opt_in", "rule": "keyword:en/START"}, "granted", "keyword"),
        ({"after": "subscribed", "intent": "opt_in", "rule": "keyword:en/START"}, "granted", "keyword"),
        ({"rule": "phrase:en/stop-texts"}, "revoked", "phrase"),
        ({"rule": "keyword:en/STOP (misspelling)"}, "revoked", "fuzzy"),
        ({"rule": "keyword:en/STOP (first_word)"}, "revoked", "keyword"),
        ({"rule": "custom:deals/LEAVE", "payload": "LEAVE"}, "revoked", "button"),
        ({"rule": "preference:STOP", "kind": "preference"}, "revoked", "provider"),
        ({"rule": None}, "revoked", "provider"),
        ({"rule": "api:/subscription/status/set", "kind": "api"}, "revoked", "api"),
        (
            {
                "after": "subscribed",
                "rule": "api:event/phone_number_captured",
                "kind": "api",
                "proof": {"source_url": "https://example.com/join", "consent_text": "I agree.", "operator": None},
            },
            "granted",
            "web",
        ),
        ({"rule": "provider:block", "kind": "receipt", "after": "none"}, "provider_block", "provider"),
        ({"intent": "help", "rule": "keyword:en/HELP", "after": "none"}, "help", "keyword"),
    ],
)
async def test_a_row_says_what_was_done_and_how(
    bench: LedgerBench, how: dict[str, Any], direction: str, method: str
) -> None:
    await bench.record(0, **how)
    (row,) = await bench.rows()

    assert (row.public["direction"], row.public["method"]) == (direction, method)


def test_nothing_is_cut_away_before_the_ledger_has_seen_it(tmp_path: Path) -> None:
    assert LEDGER in Routing(load(write_configuration(tmp_path))).lanes


async def test_a_yes_to_the_question_confirms(bench: LedgerBench) -> None:
    await bench.record(0, after="pending", intent="opt_in")
    await bench.record(0, after="subscribed", intent="confirm", rule="keyword:en/YES")

    assert [row.public["direction"] for row in await bench.rows()] == ["granted", "confirmed"]


async def test_a_reply_that_was_sent_is_a_row_and_read_as_one(bench: LedgerBench) -> None:
    await bench.accept(0, reply="Bye.", waits_at=("reply:acme",))
    event = (await bench.outbox.read(0, "0-0", 1))[0].event
    await bench.ledger.ask(0, orjson.loads(write_sent(event, 2.0, "2020", "SM1")))
    await bench.catch_up()
    asked, sent = (described(row, {"deals": "Deals"}) for row in await bench.history())

    assert "was to be sent “Bye.”" in asked
    assert sent.splitlines() == [
        "1970-01-01 00:00:02 UTC  Deals: the answer was sent, by the carrier",
        "    answered “Bye.”",
        "    event evt_1 from post, its message SM1; row 0/2",
    ]
    assert await bench.faults() == []


async def test_a_chunk_of_imported_rows_makes_a_row_for_each_person(bench: LedgerBench) -> None:
    first, second = bench.senders[:2]
    chunk = {
        "v": 1,
        "id": "imp_1",
        "at": 5.0,
        "account": "import",
        "rows": [[first, "deals", "none", "subscribed", 2_000_000, 7], [second, "@all", "none", "unsubscribed", 1, 8]],
        "proof": {"source_url": None, "consent_text": "I agree.", "operator": "jo"},
        "source": "FILE list.csv",
    }
    await bench.ledger.ask(0, chunk)
    await bench.catch_up(channels={"deals": "whatsapp"})
    rows = await bench.rows()
    await bench.record(0)

    assert rows[0].public.keys() == (await bench.rows())[-1].public.keys()
    assert [row.public["direction"] for row in rows] == ["granted", "revoked"]
    assert {row.public["method"] for row in rows} == {"import"}
    assert rows[0].public["occurred_at"] == 2.0
    assert [row.public["channel"] for row in rows] == ["whatsapp", None]
    assert rows[0].private is not None
    assert (rows[0].private["source"], rows[0].private["operator"]) == ("FILE list.csv, line 7", "jo")
    assert [row.public["program"] for row in rows] == ["deals", "@all"]
    assert await bench.faults() == []


async def test_what_is_not_for_the_ledger_is_passed_over_and_cut_away(bench: LedgerBench) -> None:
    sender = bench.senders[0]
    await bench.commits.commit(commit_text("a", START, sender=sender, destinations=(LEDGER, "crm"), need_alias=()))
    await bench.commits.commit(commit_text("b", START, sender=sender, destinations=("crm",), need_alias=()))
    await bench.catch_up()

    assert len(await bench.rows()) == 1
    assert await bench.outbox.read(0, "0-0", 10) == []


class Cut(Outbox):
    """An outbox whose next steps are taken and not confirmed, as when the process dies or the line breaks."""

    cut = True

    async def settle(self, lease: Lease, destination: str, steps: Steps) -> list[int]:
        answer = await super().settle(lease, destination, steps)
        if self.cut:
            self.cut = False
            raise StoreUnavailable("cut")
        return answer


async def test_rows_that_were_written_when_the_answer_was_lost_are_not_written_again(bench: LedgerBench) -> None:
    await bench.accept(0, 1, 0)
    bench.outbox = Cut(bench.store, [LEDGER])
    with pytest.raises(StoreUnavailable):
        await bench.catch_up()
    bench.outbox = Outbox(bench.store, [LEDGER])
    await bench.accept(1)
    await bench.catch_up()

    assert [row.public["event_id"] for row in await bench.rows()] == ["evt_1", "evt_2", "evt_3", "evt_4"]
    assert await bench.faults() == []


async def test_who_lost_the_shard_appends_nothing(bench: LedgerBench) -> None:
    async with bench.lane() as late:
        await bench.store.redis.delete(bench.store.keys.lease(0))
        await bench.record(0)
        await bench.accept(0)
        with pytest.raises(LeaseLost):
            await late.catch_up()

    assert len(await bench.rows()) == 1


async def test_a_lane_works_on_what_comes_until_it_is_stopped(bench: LedgerBench) -> None:
    async with bench.lane() as lane:
        running = asyncio.create_task(lane.run())
        await bench.accept(0)
        lane.notify()
        await until(_rows(bench, 1))
        await bench.accept(1, 0)
        lane.notify()
        await until(_rows(bench, 3))
        lane.stop()
        await running

    assert await bench.faults() == []


async def test_more_than_a_batch_is_made_whole(bench: LedgerBench) -> None:
    await asyncio.gather(*(bench.commits.commit(on_record(f"{i}", bench.senders[i % 9])) for i in range(1300)))
    await bench.catch_up(seal_rows=10_000)
    rows = await bench.rows()

    assert [row.seq for row in rows] == list(range(1, 1301))
    assert await bench.faults() == []


async def test_a_segment_is_closed_by_its_age_while_nothing_happens(bench: LedgerBench) -> None:
    await bench.accept(0)
    async with bench.lane(seal_after=0.05) as lane:
        running = asyncio.create_task(lane.run())

        async def sealed() -> bool:
            return (await bench.ledger.state(0)).sealed == 1

        await until(_rows(bench, 1))
        bench.clock.now += 1
        await until(sealed)
        await cancelled([running])

    assert await bench.lines() == []
    assert await bench.faults() == []


async def test_what_the_ledger_keeps_with_a_person_is_short_enough_for_the_store(bench: LedgerBench) -> None:
    for _ in range(3):
        await bench.record(0, seal=True)
    kept = await bench.store.redis.hget(bench.store.keys.person(bench.senders[0]), "ledger")
    encoding = await bench.store.redis.object("ENCODING", bench.store.keys.person(bench.senders[0]))

    assert kept is not None
    assert len(kept) < 64
    assert encoding in (b"listpack", b"ziplist")


async def test_a_reply_that_nobody_has_given_has_no_time(bench: LedgerBench) -> None:
    for answers, lane in ((True, ()), (False, ()), (True, ("reply:acme",))):
        await bench.accept(0, reply="Bye.", waits_at=lane)
        await bench.catch_up(providers={"acme": Provider("post", answers)})
    rows = await bench.rows()

    assert [row.public["reply"]["at"] for row in rows] == [1.0, None, None]


async def test_a_seal_that_is_asked_for_takes_what_was_accepted_before_it_and_nothing_else(bench: LedgerBench) -> None:
    await bench.accept(0, 1)
    await bench.ask(SEAL)
    await bench.accept(0)
    await bench.catch_up()

    assert len(bench.recording.segments.read(0, 1)) == 2
    assert [row.segment for row in await bench.rows()] == [2]
    assert orjson.loads(bench.recording.segments.read(0, 1)[0])["seq"] == 1


def _rows(bench: LedgerBench, count: int) -> Callable[[], Awaitable[bool]]:
    async def there() -> bool:
        return len(await bench.lines()) == count

    return there
