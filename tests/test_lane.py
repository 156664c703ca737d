"""Delivery of one shard to one destination: order, batches, parking, retries, dead letters; over the real store."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from router.delivery.aliases import AliasWorker
from router.delivery.attempt import Destination, Held
from router.delivery.dispatch import Dispatch
from router.delivery.gate import Gate
from router.delivery.http import HttpClient
from router.delivery.lane import Lane
from router.errors import DeliveryError, LeaseLost, OutdatedLetter
from router.store import Commits, DeadLetters, Directory, Outbox, People, Steps, Store
from router.tasks import cancelled
from router.telemetry import Metrics
from router.types import Event
from tests.commits import LEAVE, START, STOP, Clock, text, until
from tests.standins.platform import Recorder


class Bench:
    """A store, a shard and what it takes to run lanes on it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.outbox = Outbox(store, ["crm"])
        self.commits = Commits(store, unhandled_kept=8, clock=Clock(), on_failure=lambda: None)
        self.senders = [f"+1415555{i:04d}" for i in range(200) if store.keys.shard_of(f"+1415555{i:04d}") == 0]
        self.metrics = Metrics()

    async def accept(self, *names: str, sender: int = 0, need_alias: bool = False) -> None:
        """Texts for the destination `crm`, of one of the shard's senders."""
        for name in names:
            await self.commits.commit(
                text(
                    name,
                    LEAVE,
                    sender=self.senders[sender],
                    destinations=("crm",),
                    need_alias=("crm",) if need_alias else (),
                    body="unwanted" if name.startswith("unwanted") else "hi",
                )
            )

    @asynccontextmanager
    async def lane(
        self, platform: Recorder, *, give_up_after: float = 1e12, retry_unknown: bool = True
    ) -> AsyncIterator[Lane]:
        """A lane at work under a fresh lease."""
        owner = f"w{random.random()}"
        lease = await self.outbox.take(0, owner, 60.0)
        assert lease
        http = HttpClient(1.0, allow_private=False)  # not opened: the recorder sends nothing
        gate = Gate(time.monotonic, random.Random(1))
        aliases = (
            AliasWorker("crm", platform, http, gate, give_up_after, self.metrics, time.time)
            if platform.needs_alias
            else None
        )
        dispatch = Dispatch(
            Destination("crm", platform, http, gate, give_up_after, retry_unknown),
            self.metrics,
            time.time,
            time.monotonic,
        )
        held = Held(lease, time.monotonic() + 60)
        lane = Lane(held, dispatch, self.outbox, People(self.store), aliases, self.metrics, time.time, asyncio.Lock())
        self.running = asyncio.create_task(lane.run())
        tasks = [self.running]
        if aliases:
            tasks.append(asyncio.create_task(aliases.run()))
        try:
            yield lane
        finally:
            lane.stop()
            await cancelled(tasks)
            await dispatch.close()
            await self.outbox.release(lease)

    def another(self, lane: Lane) -> Lane:
        """A lane that follows another one under the same lease."""
        return Lane(
            lane.held,
            lane._dispatch,
            self.outbox,
            People(self.store),
            lane._aliases,
            self.metrics,
            time.time,
            asyncio.Lock(),
        )

    async def settled(self) -> None:
        """Returns when the outbox of the shard is empty: everything in it is settled, and it was cut."""

        async def cut() -> bool:
            return not await self.outbox.read(0, "0-0", 1)

        await until(cut)

    async def unparked(self) -> None:
        """Returns when nobody's events wait in the store by themselves."""

        async def gone() -> bool:
            return not await self.outbox.parked(0, "crm")

        await until(gone)


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


def ids(*names: str) -> list[str]:
    return [f"evt_{name}" for name in names]


async def test_events_arrive_in_the_order_of_acceptance_and_the_outbox_is_cut_behind_them(bench: Bench) -> None:
    await bench.accept("a", "b", "c")
    platform = Recorder()
    async with bench.lane(platform) as lane:
        assert await platform.has(3) == ids("a", "b", "c")
        await bench.settled()
        await bench.accept("d")
        lane.notify()
        assert await platform.has(4) == ids("a", "b", "c", "d")


async def test_what_waits_goes_in_one_batch(bench: Bench) -> None:
    await bench.accept(*"abcdefghijkl")
    platform = Recorder(batch_size=10)
    async with bench.lane(platform):
        await platform.has(12)

    assert platform.batches == [ids(*"abcdefghij"), ids(*"kl")]


async def test_a_batch_holds_one_event_of_a_sender_where_the_platform_keeps_no_order(bench: Bench) -> None:
    await bench.accept("stop1", "start1", "stop1b", sender=0)
    await bench.accept("a2", "b2", sender=1)
    platform = Recorder(one_per_sender=True)
    async with bench.lane(platform):
        await platform.has(5)

    assert platform.batches == [ids("stop1", "a2"), ids("start1", "b2"), ids("stop1b")]


async def test_an_event_that_the_platform_has_no_use_for_is_passed_over(bench: Bench) -> None:
    await bench.accept("unwanted", "b")
    platform = Recorder()
    async with bench.lane(platform):
        assert await platform.has(1) == ids("b")
        await bench.settled()


async def test_a_refused_event_becomes_a_dead_letter_and_the_rest_of_its_batch_is_delivered(bench: Bench) -> None:
    await bench.accept("a", "b", "c")
    platform = Recorder()
    platform.refuse["evt_b"] = DeliveryError("400: no such field", retryable=False)
    async with bench.lane(platform):
        assert await platform.has(2) == ids("a", "c")
        await bench.settled()

    letters = [letter async for letter in DeadLetters(bench.store, 8).each()]
    assert [(letter.reason, letter.destination, letter.event and letter.event.id) for letter in letters] == [
        ("400: no such field", "crm", "evt_b")
    ]


async def test_a_dead_letter_that_is_retried_is_delivered_once_and_gone(bench: Bench) -> None:
    await bench.accept("a")
    platform = Recorder()
    platform.refuse["evt_a"] = DeliveryError("400", retryable=False)
    dead = DeadLetters(bench.store, 8)
    async with bench.lane(platform) as lane:
        await bench.settled()
        platform.refuse.clear()
        await dead.retry((await anext(dead.each())).id, time.time())
        lane.notify()
        assert await platform.has(1) == ids("a")

    assert [letter async for letter in dead.each()] == []


async def test_events_are_sent_again_until_they_are_taken_and_those_taken_are_not(bench: Bench) -> None:
    for sender, name in enumerate("abc"):
        await bench.accept(name, sender=sender)
    platform = Recorder()
    platform.refuse["evt_a"] = DeliveryError("503", retryable=True, retry_after=0.01)
    async with bench.lane(platform):
        await platform.has(2)
        platform.refuse.clear()
        assert await platform.has(3) == ids("b", "c", "a")
        await bench.settled()

    assert set(map(tuple, platform.batches)) == {tuple(ids("a", "b", "c")), tuple(ids("a"))}


async def test_an_adapter_that_fails_in_its_own_way_loses_nothing_and_is_tried_again(bench: Bench) -> None:
    await bench.accept("a", "b")
    platform = Recorder()
    platform.break_on = {"evt_a"}
    async with bench.lane(platform):
        await platform.tried(2)
        platform.break_on.clear()
        assert await platform.has(2) == ids("a", "b")


async def test_an_adapter_that_fails_for_too_long_leaves_dead_letters(bench: Bench) -> None:
    await bench.accept("a")
    platform = Recorder()
    platform.break_on = {"evt_a"}
    async with bench.lane(platform, give_up_after=0.0):
        await bench.settled()

    letters = [letter.reason async for letter in DeadLetters(bench.store, 8).each()]
    assert letters == ["the adapter failed with KeyError; the log has the rest"]


async def test_a_change_of_consent_that_does_not_hold_any_more_is_not_retried(bench: Bench) -> None:
    sender, dead = bench.senders[0], DeadLetters(bench.store, 8)
    await bench.commits.commit(text("start", START, sender=sender, destinations=("crm",)))
    platform = Recorder()
    platform.refuse["evt_start"] = DeliveryError("400", retryable=False)
    async with bench.lane(platform):
        await bench.settled()
    letter = await anext(dead.each())
    await bench.commits.commit(text("stop", STOP, sender=sender))

    with pytest.raises(OutdatedLetter, match="is unsubscribed by now, and this would tell crm subscribed"):
        await dead.retry(letter.id, time.time())
    assert [left.id async for left in dead.each()] == [letter.id]


async def test_what_was_taken_beyond_an_open_event_is_not_sent_again_by_the_next_worker(bench: Bench) -> None:
    await bench.accept("a", "b", sender=0)
    await bench.accept("c", sender=1)
    platform = Recorder(one_per_sender=True)
    platform.refuse["evt_b"] = DeliveryError("503", retryable=True, retry_after=30.0)
    async with bench.lane(platform):
        await platform.has(2)

        async def noted() -> bool:
            return bool((await bench.outbox.position(0, "crm"))[1])

        await until(noted)
    platform.refuse.clear()
    async with bench.lane(platform):
        assert await platform.has(3) == ids("a", "c", "b")


async def test_an_event_that_nobody_takes_holds_up_its_sender_and_nobody_else(bench: Bench) -> None:
    platform = Recorder(batch_size=3)
    platform.refuse["evt_poison"] = DeliveryError("500", retryable=True)
    await bench.accept("poison", "behind", sender=0)
    async with bench.lane(platform) as lane:
        for i in range(20):
            await bench.accept(f"m{i}", sender=1 + i % 3)
            lane.notify()
        assert sorted(await platform.has(20)) == sorted(ids(*(f"m{i}" for i in range(20))))
        await bench.settled()
        await bench.accept("later", sender=0)
        lane.notify()
        await bench.settled()
        platform.refuse.clear()
        assert (await platform.has(23))[-3:] == ids("poison", "behind", "later")


async def test_a_lane_that_was_interrupted_starts_from_what_the_store_says(bench: Bench) -> None:
    platform = Recorder(needs_alias=True)
    platform.alias_gate.clear()
    await bench.accept("a", need_alias=True)
    async with bench.lane(platform) as lane:
        await bench.settled()
        await cancelled([bench.running])
        again = asyncio.create_task(lane.run())
        platform.alias_gate.set()
        assert await platform.has(1) == ids("a")
        lane.stop()
        await cancelled([again])


async def test_an_alias_that_cannot_be_made_in_time_leaves_dead_letters(bench: Bench) -> None:
    platform = Recorder(needs_alias=True)
    platform.alias_failure = DeliveryError("503 for ever", retryable=True, retry_after=0.02)
    await bench.accept("a", need_alias=True)
    async with bench.lane(platform, give_up_after=0.1):

        async def kept() -> bool:
            return bool([letter async for letter in DeadLetters(bench.store, 8).each()])

        await until(kept)
        assert await bench.outbox.parked(0, "crm") == []


async def test_an_event_that_waits_longer_than_the_limit_is_given_up_at_its_next_failure(bench: Bench) -> None:
    await bench.accept("a", sender=0)
    await bench.accept("b", sender=1)
    platform = Recorder()
    platform.refuse["evt_a"] = DeliveryError("503 for ever", retryable=True, retry_after=0.02)
    async with bench.lane(platform, give_up_after=0.1):
        assert await platform.has(1) == ids("b")

        async def kept() -> bool:
            return [letter.reason async for letter in DeadLetters(bench.store, 8).each()] == ["503 for ever"]

        await until(kept)


async def test_an_unknown_number_parks_only_its_own_texts_and_they_keep_their_order(bench: Bench) -> None:
    platform = Recorder(needs_alias=True, one_per_sender=True)
    platform.alias_gate.clear()
    await bench.store.redis.hset(bench.store.keys.person(bench.senders[1]), "alias:crm", "1")
    await bench.accept("stop", sender=0, need_alias=True)
    async with bench.lane(platform) as lane:
        await bench.accept("known", sender=1, need_alias=True)
        await bench.accept("start", sender=0, need_alias=True)
        lane.notify()
        assert await platform.has(1) == ids("known")
        await bench.settled()
        platform.alias_gate.set()
        await platform.has(3)
        await bench.unparked()
        await bench.accept("stop2", sender=0, need_alias=True)
        lane.notify()
        assert await platform.has(4) == ids("known", "stop", "start", "stop2")

    assert platform.aliases == [[bench.senders[0]]]
    assert [event.new_alias for event in platform.taken] == [False, True, True, False]


async def test_parked_texts_survive_the_worker_and_later_ones_queue_up_behind_them(bench: Bench) -> None:
    platform = Recorder(needs_alias=True)
    platform.alias_gate.clear()
    await bench.accept("a", "b", need_alias=True)
    async with bench.lane(platform):
        await bench.settled()
    platform.alias_gate.set()
    await bench.accept("c", need_alias=True)
    async with bench.lane(platform):
        assert await platform.has(3) == ids("a", "b", "c")


async def test_many_unknown_numbers_take_few_requests(bench: Bench) -> None:
    platform = Recorder(needs_alias=True)
    for i in range(8):
        await bench.accept(f"m{i}", sender=i, need_alias=True)
    async with bench.lane(platform):
        await platform.has(8)

    assert len(platform.aliases) <= 3


async def test_a_person_whom_the_platform_refuses_spoils_nobody_elses_alias(bench: Bench) -> None:
    platform = Recorder(needs_alias=True)
    platform.refuse_alias = {bench.senders[2]}
    for i in range(4):
        await bench.accept(f"m{i}", sender=i, need_alias=True)
    async with bench.lane(platform):
        assert sorted(await platform.has(3)) == ids("m0", "m1", "m3")
        dead = DeadLetters(bench.store, 8)

        async def kept() -> bool:
            return bool([letter async for letter in dead.each()])

        await until(kept)
        letters = [letter async for letter in dead.each()]

    assert [(letter.reason, letter.event and letter.event.id) for letter in letters] == [
        ("no such alias may be", "evt_m2")
    ]


@pytest.mark.parametrize("seed", range(5))
async def test_no_mix_of_parking_and_letting_go_breaks_the_order_of_a_sender(bench: Bench, seed: int) -> None:
    chance = random.Random(seed)
    platform = Recorder(needs_alias=True, one_per_sender=chance.random() < 0.5, batch_size=chance.randint(1, 5))
    expected: dict[str, list[str]] = {}
    total = 120
    async with bench.lane(platform) as lane:
        for i in range(total):
            sender = chance.randrange(6)
            expected.setdefault(bench.senders[sender], []).append(f"evt_{i}")
            await bench.accept(str(i), sender=sender, need_alias=True)
            if chance.random() < 0.3:
                lane.notify()
            if chance.random() < 0.2:
                platform.alias_gate.clear() if chance.random() < 0.5 else platform.alias_gate.set()
        platform.alias_gate.set()
        lane.notify()
        await platform.has(total)

    found: dict[str, list[str]] = {}
    for event in platform.taken:
        found.setdefault(event.message.sender, []).append(event.id)
    assert expected == found


async def test_a_worker_whose_shard_was_taken_over_writes_nothing_more(bench: Bench) -> None:
    await bench.accept("a")
    platform = Recorder()
    async with bench.lane(platform) as lane:
        await bench.settled()
        await bench.store.redis.delete(bench.store.keys.lease(0))
        other = await bench.outbox.take(0, "other", 60.0)
        assert other
        await bench.accept("b")
        lane.notify()
        await platform.has(2)

        with pytest.raises(LeaseLost):
            await bench.running

    assert (await bench.outbox.position(0, "crm"))[0] < (await bench.outbox.newest(0))


async def test_more_than_fits_into_memory_is_delivered_in_order(bench: Bench) -> None:
    names = [str(i) for i in range(1200)]
    for at in range(0, len(names), 100):
        await asyncio.gather(*(bench.accept(name, sender=int(name) % 50) for name in names[at : at + 100]))
    platform = Recorder(batch_size=75, one_per_sender=True)
    async with bench.lane(platform):
        taken = await platform.has(len(names))

    assert sorted(taken) == sorted(ids(*names))


async def test_one_event_that_nobody_takes_holds_up_nobody_where_each_goes_by_itself(bench: Bench) -> None:
    platform = Recorder(batch_size=1)
    platform.refuse["evt_bad"] = DeliveryError("500", retryable=True)
    await bench.accept("bad", "behind", sender=0)
    for i in range(1, 9):
        await bench.accept(f"m{i}", sender=i)
    async with bench.lane(platform):
        assert sorted(await platform.has(8)) == ids(*(f"m{i}" for i in range(1, 9)))
        await bench.settled()
        platform.refuse.clear()
        assert (await platform.has(10))[8:] == ids("bad", "behind")


async def test_what_may_have_arrived_is_a_dead_letter_where_it_must_not_be_sent_again(bench: Bench) -> None:
    await bench.accept("a", "b")
    platform = Recorder()
    platform.refuse["evt_a"] = DeliveryError("no answer", retryable=True, outcome_unknown=True)
    async with bench.lane(platform, retry_unknown=False):
        assert await platform.has(1) == ids("b")
        await bench.settled()

    letters = [letter async for letter in DeadLetters(bench.store, 8).each()]
    assert [letter.reason for letter in letters] == ["it is not known whether the event arrived: no answer"]


async def test_somebody_whom_an_event_makes_known_is_known_from_the_next_text_on(bench: Bench) -> None:
    platform = Recorder(makes_known=True)
    await bench.accept("a", need_alias=True)
    async with bench.lane(platform) as lane:
        await platform.has(1)
        await bench.settled()
        await bench.accept("b", need_alias=True)
        lane.notify()
        await platform.has(2)

    assert [event.new_alias for event in platform.taken] == [True, False]
    assert platform.aliases == []


async def test_somebody_who_vanished_at_the_platform_is_made_known_again(bench: Bench) -> None:
    platform = Recorder(needs_alias=True)
    await bench.accept("a", need_alias=True)
    async with bench.lane(platform) as lane:
        await platform.has(1)
        await bench.unparked()
        lane.forget(bench.senders[0])

        async def forgotten() -> bool:
            return not await People(bench.store).known("crm", [bench.senders[0]])

        await until(forgotten)
        await bench.accept("b", need_alias=True)
        lane.notify()
        await platform.has(2)

    assert platform.aliases == [[bench.senders[0]]] * 2


async def test_what_is_offered_before_a_lane_knows_what_is_parked_waits_its_turn(bench: Bench) -> None:
    platform = Recorder(needs_alias=True)
    platform.alias_gate.clear()
    await bench.accept("a", need_alias=True)
    async with bench.lane(platform):
        await bench.settled()
        assert await bench.outbox.parked(0, "crm") == [bench.senders[0]]
    position, _ = await bench.outbox.position(0, "crm")
    await Directory(bench.store).know("crm", [bench.senders[0]])
    await bench.accept("b", need_alias=True)
    entries = await bench.outbox.read(0, position, 10)
    async with bench.lane(platform) as lane:
        for _ in range(500):  # as often as there can be news while it reads its place
            lane.offer("0-0", entries)
            lane.offer(position, entries)
            await asyncio.sleep(0)
        platform.alias_gate.set()
        assert await platform.has(2) == ids("a", "b")
        await bench.settled()
        await bench.unparked()

    assert platform.batches == [ids("a"), ids("b")] or platform.batches == [ids("a", "b")]


async def test_what_is_offered_to_a_lane_before_it_runs_is_sent_once(bench: Bench) -> None:
    await bench.accept("a", "b")
    entries = await bench.outbox.read(0, "0-0", 10)
    platform = Recorder()
    async with bench.lane(platform) as lane:
        lane.offer("0-0", entries)
        await bench.settled()
        assert await platform.has(2) == ids("a", "b")

    assert sorted(name for batch in platform.batches for name in batch) == ids("a", "b")


async def test_the_next_lane_under_the_same_lease_records_what_it_does(bench: Bench) -> None:
    platform = Recorder(needs_alias=True)
    platform.alias_gate.clear()
    async with bench.lane(platform) as lane:
        await cancelled([bench.running])
        for name in ("a", "b"):
            await bench.accept(name, sender=ord(name) - ord("a"), need_alias=True)
            lane = bench.another(lane)
            running = asyncio.create_task(lane.run())
            await bench.settled()
            lane.stop()
            await cancelled([running])

    assert sorted(await bench.outbox.parked(0, "crm")) == sorted(bench.senders[:2])


async def test_what_the_lane_before_still_has_on_its_way_takes_nothing_from_the_next(bench: Bench) -> None:
    await bench.accept("a", need_alias=True)
    platform = Recorder(needs_alias=True)
    platform.alias_gate.clear()
    async with bench.lane(platform) as lane:
        await bench.settled()
        await cancelled([bench.running])
        on_its_way = Steps(in_order=True)
        on_its_way.unpark(bench.senders[0], 1)
        following = bench.another(lane)
        running = asyncio.create_task(following.run())
        await until(lambda: _soon(following._begun))
        assert await bench.outbox.settle(lane.held.lease, "crm", on_its_way) == [1]
        platform.alias_gate.set()
        assert await platform.has(1) == ids("a")
        following.stop()
        await cancelled([running])


async def test_somebody_let_go_twice_is_sent_what_waits_once(bench: Bench) -> None:
    platform = Recorder(needs_alias=True)
    platform.alias_gate.clear()
    sending = asyncio.Event()
    deliver = platform.deliver

    async def slowly(http, events):  # type: ignore[no-untyped-def]
        await sending.wait()
        return await deliver(http, events)

    platform.deliver = slowly  # type: ignore[method-assign]
    await bench.accept("a", need_alias=True)
    async with bench.lane(platform) as lane:
        await bench.settled()
        platform.alias_gate.set()
        await until(lambda: _soon(lane.in_flight))
        line = lane._lines[bench.senders[0]]
        await until(lambda: _soon(line.under_way))
        lane.release(bench.senders[0])
        sending.set()
        await platform.has(1)
        await bench.unparked()
        await bench.accept("b", sender=0)
        lane.notify()
        assert await platform.has(2) == ids("a", "b")

    assert platform.batches == [ids("a"), ids("b")]


async def _soon(value: bool) -> bool:
    return value


class Unsure(Recorder):
    """Breaks when it is asked whether it wants something."""

    def wants(self, event: Event) -> bool:
        raise KeyError("a mistake in the adapter")


async def test_an_adapter_that_cannot_say_what_it_wants_holds_up_nothing(bench: Bench) -> None:
    platform = Unsure()
    async with bench.lane(platform) as lane:
        await bench.accept("a")
        lane.notify()
        assert await platform.has(1) == ids("a")
        position, _ = await bench.outbox.position(0, "crm")
        await bench.accept("b")
        lane.offer(position, await bench.outbox.read(0, position, 10))
        assert await platform.has(2) == ids("a", "b")
        await bench.settled()
