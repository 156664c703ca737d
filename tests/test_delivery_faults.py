"""Platforms that fail in every way, and workers that are killed: nothing is lost, swapped or doubled for nothing.

`pytest tests/test_delivery_faults.py --texts 100000` is the whole of it; `make test` delivers a few. `--seed N` repeats
the faults of a run, though not when they meet which event.
"""

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from router.cli.store import opened
from router.config import load
from router.store import DeadLetters, Store
from tests.running import ALERTS, BRAZE_KEY, Keyroute, Twilio, write_configuration
from tests.standins._server import Server
from tests.standins.adobe import CLIENT_SECRET, Adobe, destination
from tests.standins.braze import Braze
from tests.standins.faults import LOST_ANSWERS, OF_ADOBE, QUEUED, REFUSALS, TOO_LARGE, Faults
from tests.standins.receiver import Receiver

#: The share of requests that something is wrong with, at each platform.
RATE = 0.05
MODES = {
    Receiver: (*REFUSALS, *LOST_ANSWERS, *TOO_LARGE),
    Braze: (*REFUSALS, *LOST_ANSWERS, *TOO_LARGE, *QUEUED),
    Adobe: (*REFUSALS, *LOST_ANSWERS, *TOO_LARGE, *OF_ADOBE),
}
FORMS = ("", 'create = "with_event"', 'consent = "status_set"\nlook_up = true')
#: How many people text at once.
AT_ONCE = 64
#: What a worker may have delivered and not recorded when it was killed: seconds before its end and after.
BEFORE, AFTER = 2.0, 0.5
#: What is taken to be a stall of the platforms, in seconds, and how long after it requests from before may arrive.
STALL, BEHIND = 0.5, 1.0
TEXTS = ("COUPONS", "what is this", "STATUS now", "thanks", "START", "STOP")
ADOBE = "allow_private = true\ntimeout_seconds = 1\n"

#: An event's name at a platform, and when it arrived there.
Arrivals = list[tuple[str, str, float]]


@dataclass
class World:
    """The platforms, and what has been sent: the ids of each person's texts, in the order of acceptance."""

    receiver: Receiver
    braze: Braze
    adobe: Adobe
    accepted: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    kills: list[float] = field(default_factory=list)
    stalls: list[float] = field(default_factory=list)

    def told(self, keeps: Callable[[str], bool] = lambda text: True) -> dict[str, list[str]]:
        """The ids of each person's texts that are of a kind."""
        found = {
            person: [message_id for message_id, text in texts if keeps(text)] for person, texts in self.accepted.items()
        }
        return {person: ids for person, ids in found.items() if ids}

    def opted_in(self) -> dict[str, str]:
        """The last word on consent of everybody who has said one that changes it."""
        last: dict[str, str] = {}
        for person, texts in self.accepted.items():
            for _, text in texts:
                if text == "STOP":
                    last[person] = "unsubscribed"
                elif text == "START":
                    last[person] = "subscribed"
        return last


@pytest.fixture
def texts(pytestconfig: pytest.Config) -> int:
    count: int = pytestconfig.getoption("--texts")
    return count


@pytest.fixture
def seed(pytestconfig: pytest.Config, record_property: Callable[[str, object], None]) -> int:
    given: int | None = pytestconfig.getoption("--seed")
    seed = random.randrange(2**32) if given is None else given
    record_property("seed", seed)
    return seed


async def test_nothing_is_lost_swapped_or_doubled_for_nothing(tmp_path: Path, texts: int, seed: int) -> None:
    chance = random.Random(seed)
    form = chance.choice(FORMS)
    print(f"Braze with {form or 'its defaults'}")
    people = [f"+1415{i:07d}" for i in range(5550000, 5550000 + max(50, texts // 20))]
    (tmp_path / "adobe.secret").write_text(CLIENT_SECRET)
    async with AsyncExitStack() as running:
        w = World(Receiver(), Braze(), Adobe())
        w.braze.api_key, w.braze.keeps_requests = BRAZE_KEY, False
        for platform in (w.receiver, w.braze, w.adobe):
            await running.enter_async_context(platform)
            platform.random_faults = Faults(RATE, chance.randrange(2**32), MODES[type(platform)])
        config = write_configuration(
            tmp_path,
            crm=w.receiver.url,
            braze=w.braze.url,
            extra="[programs.alerts.destinations.aep]\n" + destination(w.adobe.origin, ADOBE),
        )
        config.write_text(
            config.read_text()
            .replace("lease_seconds = 1", "lease_seconds = 2")
            .replace("timeout_seconds = 2", "timeout_seconds = 1\nbatch_size = 50")
            .replace("timeout_seconds = 5", f"timeout_seconds = 1\nrequests_at_once = 4\n{form}")
        )
        ingress = await running.enter_async_context(Keyroute(config, "--role", "ingress"))
        async with opened(load(config)) as store:
            await _make_known(w.braze, store, people[::2])
        workers = [await running.enter_async_context(Keyroute(config, "--role", "worker")) for _ in range(2)]
        over = asyncio.Event()
        killing = asyncio.create_task(_kill(w, workers, chance, over))
        watching = asyncio.create_task(_note_stalls(w))
        await _text(w, ingress, people, texts, chance)
        over.set()
        await killing
        await _arrived(w, within=60 + texts / 200)
        async with opened(load(config)) as store:
            letters = [letter async for letter in DeadLetters(store, 100).each()]
        watching.cancel()
    assert letters == []
    assert w.kills
    _check(w)


async def _make_known(braze: Braze, store: Store, people: Iterable[str]) -> None:
    """Half of the people are known from the start, at the platform and here."""
    pipeline = store.redis.pipeline(transaction=False)
    for person in people:
        braze.add_user(person, phone=person)
        braze.aliases_at[person] = 0.0
        pipeline.hset(store.keys.person(person), "alias:braze", "1")
    await pipeline.execute()


async def _kill(w: World, workers: list[Keyroute], chance: random.Random, over: asyncio.Event) -> None:
    """Ends a worker every other second or so, most times without a warning, and starts it again."""
    longest = 0.5
    while not over.is_set():
        try:
            await asyncio.wait_for(over.wait(), chance.uniform(0.2, longest))
        except TimeoutError:
            worker = chance.choice(workers)
            longest = min(longest * 2, 4.0)
            if not w.kills or chance.random() < 0.7:
                worker.kill()
                w.kills.append(time.time())
            else:
                worker.process.terminate()
                await asyncio.to_thread(worker.process.wait, 20)
            worker.start()


async def _note_stalls(w: World) -> None:
    """Notes when the platforms, which are in this process, stood still for about as long as workers wait for them."""
    while True:
        began = time.time()
        await asyncio.sleep(0.05)
        if time.time() - began > STALL:
            w.stalls.append(time.time())


async def _text(w: World, ingress: Keyroute, people: list[str], count: int, chance: random.Random) -> None:
    """Sends that many texts, each person's one after another."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as session:
        twilio = Twilio(ingress.origin, session)

        async def live(mine: list[str], count: int, own: random.Random) -> None:
            for n in range(count):
                person, text = own.choice(mine), own.choice(TEXTS)
                message_id = f"SM{person[1:]}-{n}"
                status, _ = await twilio.text(message_id, text, sender=person, to=ALERTS)
                assert status == 200
                w.accepted[person].append((message_id, text))

        share = [people[i::AT_ONCE] for i in range(min(AT_ONCE, len(people)))]
        await asyncio.gather(*(live(mine, count // len(share), random.Random(chance.random())) for mine in share))


def _is_event(text: str) -> bool:
    return text not in ("START", "STOP")


async def _arrived(w: World, within: float) -> None:
    """Returns when every platform has everything; what is missing shows in the checks."""
    events = sum(map(len, w.told(_is_event).values()))
    every = sum(map(len, w.told().values()))
    await _reached(w.receiver, lambda: len(set(w.receiver.ids)), every, within)
    await _reached(w.braze, lambda: len({arrival.message_id for arrival in w.braze.arrivals}), events, within)
    await _reached(w.adobe, lambda: len({arrival.event_id for arrival in w.adobe.arrivals}), events, within)
    states = w.opted_in()
    try:
        await w.braze.until(lambda: all(w.braze.state(p, "group-alerts") == s for p, s in states.items()), within)
    except TimeoutError:
        print("Braze has not been told of every state")
    try:
        await w.adobe.until(lambda: all(w.adobe.consented(p) == (s == "subscribed") for p, s in states.items()), within)
    except TimeoutError:
        print("Adobe has not been told of every state")


async def _reached(platform: Server, arrived: Callable[[], int], wanted: int, within: float) -> None:
    try:
        await platform.until(lambda: arrived() >= wanted, within)
    except TimeoutError:
        print(f"{type(platform).__name__}: {arrived()} of {wanted} arrived")


def _check(w: World) -> None:
    received: Arrivals = [
        (event["data"]["message_id"], event["data"]["from"], at)
        for event, at in zip(w.receiver.events, w.receiver.times, strict=True)
    ]
    by_event = {id_: event["data"]["message_id"] for id_, event in zip(w.receiver.ids, w.receiver.events, strict=True)}
    events = w.told(_is_event)
    unknown = Counter({by_event[id_]: count for id_, count in w.receiver.unknown.items() if id_ in by_event})
    _check_platform(w, "webhook", w.told(), received, unknown)
    arrivals: Arrivals = [(one.message_id, one.sender, one.at) for one in w.braze.arrivals]
    _check_platform(w, "braze", events, arrivals, w.braze.unknown)
    arrivals = [(by_event[one.event_id], one.sender, one.at) for one in w.adobe.arrivals]
    unknown = Counter({by_event[id_]: count for id_, count in w.adobe.unknown.items()})
    _check_platform(w, "adobe", events, arrivals, unknown)
    _check_braze(w)


def _check_platform(
    w: World, name: str, accepted: dict[str, list[str]], arrivals: Arrivals, unknown: Counter[str]
) -> None:
    """Everything is there, in order once repeats are left out, and each repeat has a reason."""
    first: dict[str, list[str]] = defaultdict(list)
    times: dict[str, list[float]] = defaultdict(list)
    for message_id, person, at in arrivals:
        if message_id not in times:
            first[person].append(message_id)
        times[message_id].append(at)
    repeats = {message_id: found for message_id, found in times.items() if len(found) > 1}
    unexplained = {
        message_id: found
        for message_id, found in repeats.items()
        if len(found) - 1 > unknown[message_id] + sum(_was_cut_off(w, at) for at in found[:-1])
    }
    doubled = sum(map(len, repeats.values())) - len(repeats)
    print(f"{name}: {len(times)} events, {doubled} repeats after {sum(unknown.values())} unknown outcomes")
    assert first == accepted
    assert unexplained == {}


def _was_cut_off(w: World, arrived: float) -> bool:
    """Whether the sender may have heard nothing of it: it was killed, or had given up waiting."""
    killed = any(arrived - AFTER <= at <= arrived + BEFORE for at in w.kills)
    return killed or any(at - BEHIND <= arrived <= at + BEHIND for at in w.stalls)


def _check_braze(w: World) -> None:
    """Nothing came before its alias, nothing was dropped in silence, and the last word on consent holds."""
    # Who was made known by an event has no alias of an earlier request.
    early = [one for one in w.braze.arrivals if one.at < w.braze.aliases_at.get(one.sender, 0.0)]
    states = w.opted_in()
    faults = w.receiver.random_faults, w.braze.random_faults, w.adobe.random_faults
    print(f"{len(w.kills)} kills; {len(w.stalls)} times the platforms stood still")
    print(f"faults: {[dict(found.counts) for found in faults if found]}")
    assert early == []
    assert w.braze.dropped == []
    assert {person: w.braze.state(person, "group-alerts") for person in states} == states
    assert {person: w.adobe.consented(person) for person in states} == {
        person: state == "subscribed" for person, state in states.items()
    }
