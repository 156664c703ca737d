"""Two calls of texts under way at once: which texts may go in the second, and what becomes of all when one fails.

The scripts run in the real store; when each begins and ends is up to the test.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from router.errors import StoreUnavailable
from router.store import Commit, Commits, Committed, Outbox, Store
from router.store.connection import Script
from tests.commits import LEAVE, Clock, text

FULL, ENOUGH = 32, 16
SOMEBODY = [f"+1415555{place:04d}" for place in range(200)]


class Gate:
    """A script of the store that waits to be let through, and may be made to lose its connection on either side."""

    def __init__(self, script: Script, reached: "asyncio.Queue[Gate]") -> None:
        self._script = script
        self._reached = reached
        self._open: asyncio.Future[str] | None = None
        self.keys: list[str] = []

    async def run_again(self, keys: list[str], arguments: list[str | bytes | int]) -> object:
        """As that of `Script`."""
        self.keys = keys
        fate = await self._passed()
        if fate == "lost before":
            raise RedisConnectionError(fate)
        found = await self._script.run_again(keys, arguments)
        if fate == "to the gate behind":
            await self._passed()
        if fate == "lost behind":
            raise RedisConnectionError(fate)
        return found

    async def _passed(self) -> str:
        self._open = asyncio.get_running_loop().create_future()
        self._reached.put_nowait(self)
        return await self._open

    def pass_on(self, fate: str = "through") -> None:
        """Lets the call go on; `to the gate behind`: it is reached again once the store has answered."""
        assert self._open is not None
        self._open.set_result(fate)


class World:
    """Commits whose calls pass gates, and everything that was told, in the order in which it was."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.reached: asyncio.Queue[Gate] = asyncio.Queue()
        self.told: list[tuple[str, str]] = []
        self.now = 0.0
        make = store.script
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                store, "script", lambda *names, held: cast("Script", Gate(make(*names, held=held), self.reached))
            )
            self.commits = Commits(
                store,
                unhandled_kept=8,
                clock=Clock(),
                on_failure=lambda: self.told.append(("", "away")),
                now=lambda: self.now,
            )

    def submit(self, name: str, sender: str) -> None:
        """Puts a text in line."""

        def told(result: Committed | StoreUnavailable) -> None:
            self.told.append((name, "accepted" if isinstance(result, Committed) else "failed"))

        lost: Callable[[], object] = partial(self.told.append, (name, "lost"))
        commit: Commit = replace(text(name, LEAVE, sender=sender), lost=lost)
        self.commits.submit(commit, told)

    async def next_call(self) -> Gate:
        """The next call that is made."""
        return await asyncio.wait_for(self.reached.get(), 10)

    async def quiet(self) -> None:
        """Returns when whatever was to begin has begun."""
        for _ in range(5):
            await asyncio.sleep(0)

    async def told_all(self, count: int) -> None:
        """Returns when so much was told."""
        async with asyncio.timeout(10):
            while len(self.told) < count:
                await asyncio.sleep(0)

    async def events(self) -> list[str]:
        """The ids of all events in the outbox, in the order of each shard."""
        outbox = Outbox(self.store, [])
        shards = [await outbox.read(shard, "0-0", 10_000) for shard in range(self.store.keys.shards)]
        return [entry.event.id.removeprefix("evt_") for entries in shards for entry in entries]


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


async def _two_under_way(world: World) -> tuple[Gate, Gate]:
    """The first text of SOMEBODY[0] in one call, and one of each of enough others in another."""
    world.submit("first", SOMEBODY[0])
    first = await world.next_call()
    for place in range(1, ENOUGH + 1):
        world.submit(f"t{place}", SOMEBODY[place])
    return first, await world.next_call()


async def test_a_second_call_goes_when_enough_wait_for_it_and_the_rest_waits_for_the_first(world: World) -> None:
    world.submit("first", SOMEBODY[0])
    first = await world.next_call()
    for place in range(1, ENOUGH):
        world.submit(f"t{place}", SOMEBODY[place])
    await world.quiet()
    assert world.reached.empty()

    world.submit("full", SOMEBODY[ENOUGH])
    second = await world.next_call()
    assert (len(first.keys), len(second.keys)) == (1, ENOUGH)
    world.submit("last", SOMEBODY[0])
    second.pass_on()
    await world.quiet()
    assert world.reached.empty()  # there is a call under way that takes it along
    first.pass_on()
    last = await world.next_call()
    assert len(last.keys) == 1
    last.pass_on()
    await world.told_all(ENOUGH + 2)
    assert set(await world.events()) == {name for name, _ in world.told}


async def test_a_call_takes_a_quarter_of_many_that_wait(world: World) -> None:
    world.submit("first", SOMEBODY[0])
    first = await world.next_call()
    for place in range(4 * 50):
        world.submit(f"more {place}", SOMEBODY[0])
    taken: list[int] = []
    while len(taken) < 4:
        first.pass_on()
        first = await world.next_call()
        taken.append(len(first.keys))
    first.pass_on()
    assert taken == [50, 37, FULL, FULL]
    await world.told_all(1 + sum(taken))


async def test_a_call_takes_the_more_the_longer_the_one_before_took(world: World) -> None:
    world.submit("first", SOMEBODY[0])
    call = await world.next_call()
    for place in range(999):
        world.submit(f"more {place}", SOMEBODY[0])
    taken = []
    for seconds in (1.0, 0.03005, 0.00505, 0.001):
        world.now += seconds
        call.pass_on()
        call = await world.next_call()
        taken.append(len(call.keys))
    call.pass_on()
    assert taken == [512, 300, 50, 34]
    await world.told_all(1 + sum(taken))


async def test_texts_of_a_person_with_one_under_way_are_held_back_and_others_overtake_them(world: World) -> None:
    world.submit("first", SOMEBODY[0])
    first = await world.next_call()
    for name in ("held back", "too"):
        world.submit(name, SOMEBODY[0])
    for place in range(1, ENOUGH + 1):
        world.submit(f"t{place}", SOMEBODY[place])
    second = await world.next_call()
    assert world.store.keys.person(SOMEBODY[0]) not in second.keys

    first.pass_on()
    second.pass_on()
    third = await world.next_call()
    third.pass_on()
    await world.told_all(ENOUGH + 3)
    assert [name for name, _ in world.told if not name.startswith("t")] == ["first", "held back"]
    assert [name for name in await world.events() if name in ("first", "held back", "too")] == [
        "first", "held back", "too",
    ]  # fmt: skip


async def test_texts_of_one_person_who_floods_go_in_one_call_after_another(world: World) -> None:
    world.submit("first", SOMEBODY[0])
    first = await world.next_call()
    for place in range(3 * FULL):
        world.submit(f"more {place}", SOMEBODY[0])
        await world.quiet()
    assert world.reached.empty()
    assert world.commits.waiting == 3 * FULL
    for _ in range(4):
        first.pass_on()
        if len(world.told) < 2 * FULL:
            first = await world.next_call()
    await world.told_all(3 * FULL + 1)
    assert [name for name, _ in world.told] == ["first", *(f"more {place}" for place in range(3 * FULL))]


async def test_when_one_call_fails_all_under_way_and_all_that_waits_is_told_so_at_once_in_order(world: World) -> None:
    first, second = await _two_under_way(world)
    world.submit("waits", SOMEBODY[0])
    second.pass_on("lost before")
    await world.told_all(1)
    assert world.told[0] == ("", "away")
    assert [name for name, what in world.told if what == "lost"] == [
        "first", *(f"t{place}" for place in range(1, ENOUGH + 1)), "waits",
    ]  # fmt: skip
    before = len(world.told)
    for place in range(1, ENOUGH + 1):
        world.submit(f"more {place}", SOMEBODY[place])
    (await world.next_call()).pass_on("lost behind")  # while the first is still under way
    await world.told_all(before + 1)
    assert len(world.told) == before + 1 + 2 * ENOUGH
    first.pass_on()  # the store took it all the same: nobody is told again
    world.submit("later", SOMEBODY[0])
    (await world.next_call()).pass_on()
    await world.told_all(before + 1 + 2 * ENOUGH + 1)
    assert world.told[before + 1 + 2 * ENOUGH :] == [("later", "accepted")]


async def test_who_was_accepted_is_told_so_before_their_later_texts_fail(world: World) -> None:
    first, second = await _two_under_way(world)
    world.submit("later", SOMEBODY[0])
    first.pass_on("to the gate behind")
    assert await world.next_call() is first
    first.pass_on()
    second.pass_on("lost before")  # both come at once
    await world.told_all(2 + 1 + 2 * ENOUGH + 1)
    mine = [found for found in world.told if found[0] in ("first", "later")]
    assert mine == [("first", "accepted"), ("later", "lost"), ("later", "failed")]


async def test_after_a_failure_others_do_not_wait_for_a_call_that_hangs(world: World) -> None:
    first, _hangs = await _two_under_way(world)
    first.pass_on("lost before")
    await world.told_all(2 * (ENOUGH + 1) + 1)
    world.submit("somebody else's", SOMEBODY[-1])
    (await world.next_call()).pass_on()
    await world.told_all(2 * (ENOUGH + 1) + 2)
    assert world.told[-1] == ("somebody else's", "accepted")


async def test_a_call_that_fails_when_its_texts_were_told_so_fails_nobody_else(world: World) -> None:
    first, second = await _two_under_way(world)
    first.pass_on("lost before")
    await world.told_all(2 * (ENOUGH + 1) + 1)
    world.submit("held back", SOMEBODY[1])  # whose earlier text is under way still
    await world.quiet()
    assert world.reached.empty()
    second.pass_on("lost before")
    (await world.next_call()).pass_on()
    await world.told_all(2 * (ENOUGH + 1) + 2)
    assert world.told[-1] == ("held back", "accepted")
    assert world.told.count(("", "away")) == 1


async def test_a_second_call_has_enough_also_when_others_are_held_back(world: World) -> None:
    first, second = await _two_under_way(world)
    for number in range(ENOUGH - 1):
        world.submit(f"more {number}", SOMEBODY[0])
    world.submit("lone", SOMEBODY[-1])
    second.pass_on()
    await world.told_all(ENOUGH)
    await world.quiet()
    assert world.reached.empty()
    first.pass_on()
    assert len((await world.next_call()).keys) == ENOUGH


async def test_whoever_floods_keeps_nobody_else_waiting(world: World) -> None:
    under_way = [*await _two_under_way(world)]
    sent = dict.fromkeys(SOMEBODY[:2], 0)

    def flood(sender: str) -> None:
        """So much of them waits always."""
        told = sum(name.startswith(sender) for name, _ in world.told)
        while sent[sender] - told < 130:
            sent[sender] += 1
            world.submit(f"{sender} {sent[sender]}", sender)

    for sender in sent:
        flood(sender)
    world.submit("somebody else's", SOMEBODY[-1])
    taken = 0
    while world.store.keys.person(SOMEBODY[-1]) not in under_way[-1].keys:
        gate = under_way.pop(0)
        taken += len(gate.keys)
        assert taken < 8 * FULL
        before = len(world.told)
        gate.pass_on()
        await world.told_all(before + len(gate.keys))
        for sender in sent:
            flood(sender)
        await world.quiet()
        while not world.reached.empty():
            under_way.append(world.reached.get_nowait())


async def test_a_callback_that_fails_keeps_nobody_else_from_being_told(world: World) -> None:
    faults: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(str(context["exception"])))

    def fails(*_: object) -> None:
        raise ValueError("of mine")

    world.commits.submit(replace(text("a", LEAVE, sender=SOMEBODY[0]), lost=fails), fails)
    world.submit("b", SOMEBODY[1])
    (await world.next_call()).pass_on("lost before")
    await world.told_all(3)
    world.commits.submit(text("c", LEAVE, sender=SOMEBODY[0]), fails)
    world.submit("d", SOMEBODY[1])
    (await world.next_call()).pass_on()
    await world.told_all(4)
    assert world.told == [("", "away"), ("b", "lost"), ("b", "failed"), ("d", "accepted")]
    assert faults == ["of mine"] * 3


@pytest.mark.parametrize("seed", range(12))
async def test_each_persons_texts_are_accepted_told_and_lost_in_their_order(world: World, seed: int) -> None:
    chance = random.Random(seed)
    people = SOMEBODY[: chance.choice((3, 40, 200))]
    submitted: dict[str, list[str]] = defaultdict(list)
    at_gates: list[Gate] = []
    for number in range(1500):
        name, sender = f"n{number}", chance.choice(people)
        submitted[sender].append(name)
        world.submit(name, sender)
        if chance.random() < 0.05:
            await world.quiet()
        while not world.reached.empty():
            at_gates.append(world.reached.get_nowait())
        if at_gates and chance.random() < 0.03:
            fate = chance.choices(("through", "lost before", "lost behind"), (20, 1, 1))[0]
            at_gates.pop(chance.randrange(len(at_gates))).pass_on(fate)
    async with asyncio.timeout(30):
        while sum(what != "lost" for name, what in world.told if name) < 1500:
            await asyncio.sleep(0)
            while not world.reached.empty():
                at_gates.append(world.reached.get_nowait())
            while at_gates:
                at_gates.pop().pass_on()

    told: dict[str, list[str]] = defaultdict(list)
    for name, what in world.told:
        told[what].append(name)
    events = await world.events()
    for names in submitted.values():
        place = {name: number for number, name in enumerate(names)}
        for found in (told["accepted"], told["lost"], told["failed"], events):
            mine = [place[name] for name in found if name in place]
            assert mine == sorted(set(mine))
    assert sorted(told["accepted"] + told["failed"]) == sorted(name for names in submitted.values() for name in names)
    assert told["lost"] == told["failed"]
    assert set(told["accepted"]) <= set(events)
    _check_order_of_telling(world.told, submitted)


def _check_order_of_telling(told: list[tuple[str, str]], submitted: dict[str, list[str]]) -> None:
    """Each person is told what became of their texts in the order in which they sent them."""
    when = {name: number for number, (name, what) in enumerate(told) if name and what != "lost"}
    for names in submitted.values():
        assert [when[name] for name in names] == sorted(when[name] for name in names)
