"""What waits is counted without counting it, and too much of it shows before memory is short."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from router.backlog import Backlog
from router.store import Commits, Outbox, Steps, Store
from router.telemetry import Metrics
from tests.commits import LEAVE, Clock, text
from tests.running import Keyroute, Twilio, write_configuration
from tests.standins.receiver import Receiver


@pytest.fixture
def outbox(store: Store) -> Outbox:
    return Outbox(store, ["crm", "braze"])


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
    assert waiting.memory > 0

    await settle_all(store, outbox, "braze")
    assert (await outbox.waiting()).entries == 0


async def test_whoever_waits_by_themselves_counts(store: Store, outbox: Outbox) -> None:
    await accept(store, "1")
    shard = store.keys.shard_of("+14155550001")
    lease = await outbox.take(shard, "w", 60.0)
    (entry,) = await outbox.read(shard, "0-0", 1)
    steps = Steps()
    steps.park("+14155550001", entry)
    assert lease
    await outbox.settle(lease, "crm", steps)

    assert (await outbox.waiting()).parked == {"crm": 1, "braze": 0}


async def test_no_more_is_asked_for_until_a_tenth_is_gone(store: Store, outbox: Outbox) -> None:
    metrics = Metrics()
    backlog = Backlog(lambda: 10, metrics, lambda: 2e9)
    seen = []
    await outbox.register()
    for name in map(str, range(11)):
        await accept(store, name)
        await backlog.look(outbox)
        seen.append(backlog.too_much)
    assert seen[:10] == [None] * 10
    assert seen[10]
    assert "limits.waiting_deliveries" in seen[10]
    age = metrics.registry.get_sample_value("keyroute_oldest_waiting_seconds", {"destination": "crm"})
    assert age
    assert age > 0

    await settle_all(store, outbox, "crm")
    await backlog.look(outbox)
    assert backlog.too_much
    await settle_all(store, outbox, "braze")
    await backlog.look(outbox)
    assert backlog.too_much is None


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
