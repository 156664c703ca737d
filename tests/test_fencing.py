"""A worker that is paused past its leases and goes on: another has its shards, and nothing of the paused one counts."""

import asyncio
import os
import random
import signal
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import aiohttp

from tests.running import Keyroute, Twilio, write_configuration
from tests.standins.receiver import Receiver

PEOPLE = [f"+1415556{n:04d}" for n in range(40)]
ROUNDS = 3


async def test_a_paused_worker_breaks_no_order_when_it_goes_on(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    seed = random.randrange(2**32)
    record_property("seed", seed)
    chance = random.Random(seed)
    async with Receiver() as receiver, aiohttp.ClientSession() as session:
        config = write_configuration(tmp_path, crm=receiver.url)
        async with (
            Keyroute(config, "--role", "ingress") as ingress,
            Keyroute(config, "--role", "worker") as one,
            Keyroute(config, "--role", "worker") as other,
        ):
            both = (one, other)
            await _until(session, lambda held: held == [2.0, 2.0], both)
            over = asyncio.Event()
            texting = asyncio.create_task(_text(Twilio(ingress.origin, session), over))
            for _ in range(ROUNDS):
                paused = chance.choice(both)
                running = other if paused is one else one
                os.kill(paused.process.pid, signal.SIGSTOP)
                await _until(session, lambda held: held == [4.0], (running,))
                before = len(receiver.ids)
                await receiver.wait_for(before + 50, 20)  # the other one delivers all
                os.kill(paused.process.pid, signal.SIGCONT)
                await _until(session, lambda held: held == [2.0, 2.0], both)
            over.set()
            sent = await texting
            await receiver.until(lambda: len(set(receiver.ids)) >= sum(map(len, sent.values())), 20)
        logs = one.log + other.log
    arrived: dict[str, list[str]] = defaultdict(list)
    first = dict(zip(reversed(receiver.ids), reversed(receiver.events), strict=True))
    for event_id in dict.fromkeys(receiver.ids):
        data = first[event_id]["data"]
        arrived[data["from"]].append(data["message_id"])

    print(f"{len(first)} events, {len(receiver.ids) - len(first)} of them twice")
    assert sent == arrived
    assert logs.count("shard lost to another worker") >= ROUNDS


async def _text(twilio: Twilio, over: asyncio.Event) -> dict[str, list[str]]:
    """Everybody texts, one text after another; what was acknowledged, in order."""
    sent: dict[str, list[str]] = {}

    async def live(person: str) -> None:
        ids = sent.setdefault(person, [])
        while not over.is_set():
            message_id = f"SM{person[1:]}-{len(ids)}"
            status, _ = await twilio.text(message_id, "hello", sender=person)
            assert status == 200
            ids.append(message_id)
            await asyncio.sleep(0.05)  # people take their time

    await asyncio.gather(*map(live, PEOPLE))
    return sent


async def _until(
    session: aiohttp.ClientSession, reached: Callable[[list[float]], bool], workers: tuple[Keyroute, ...]
) -> None:
    """Returns when the workers hold so many shards."""
    async with asyncio.timeout(20):
        while not reached([await _held(session, worker) for worker in workers]):
            await asyncio.sleep(0.02)


async def _held(session: aiohttp.ClientSession, worker: Keyroute) -> float:
    async with session.get(f"{worker.origin}/metrics") as response:
        lines = (await response.text()).splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("keyroute_shards_held ")))
