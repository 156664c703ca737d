"""Dead letters: what is put back, in which order, and what must not be; over the real store and the real command."""

import asyncio
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from router.cli.store import opened
from router.config import load
from router.errors import DeliveryError, OutdatedLetter
from router.records import write_decision
from router.store import Commits, DeadLetters, Outbox, Steps, Store
from router.types import Decision, Row
from router.unhandled import text_record
from tests.commits import LEAVE, MESSAGE, START, STOP, Clock, text
from tests.running import KEYROUTE, write_configuration

REFUSED = DeliveryError("400", retryable=False)
#: An opt-out as `decide` makes it: it says so, also where it changes nothing.
OPT_OUT = tuple(
    replace(
        row,
        decisions=(
            write_decision(Decision("opt_out", "STOP", None, None, None, None, row.before, "unsubscribed", None)),
        ),
    )
    for row in STOP
)


def commits(store: Store) -> Commits:
    return Commits(store, unhandled_kept=8, clock=Clock(), on_failure=lambda: None)


async def say(taken: Commits, name: str, rows: tuple[Row, ...], sender: str, destination: str = "crm") -> None:
    await taken.commit(text(name, rows, sender=sender, destinations=(destination,), need_alias=()))


async def bury(store: Store, destination: str = "crm") -> list[str]:
    """Makes dead letters of all that waits for a destination; their ids."""
    outbox = Outbox(store, [destination])
    for shard in range(store.keys.shards):
        lease = await outbox.take(shard, "w", 60.0)
        entries = await outbox.read(shard, "0-0", 1000)
        assert lease
        steps = Steps()
        for entry in entries:
            steps.dead(REFUSED, time.time(), destination, entry)
        if entries:
            steps.position(entries[-1].id, [])
            await outbox.settle(lease, destination, steps)
        await outbox.release(lease)
    return [letter.id async for letter in DeadLetters(store, 8).each()]


async def waiting(store: Store) -> list[str]:
    """The ids of the events in the outbox, shard by shard."""
    outbox = Outbox(store, ["crm"])
    shards = [await outbox.read(shard, "0-0", 1000) for shard in range(store.keys.shards)]
    return [entry.event.id for entries in shards for entry in entries]


async def test_nothing_that_is_said_meanwhile_is_overruled_by_a_retry(store: Store) -> None:
    senders = [f"+1415555{n:04}" for n in range(200)]
    dead, taken = DeadLetters(store, 8), commits(store)
    for sender in senders:
        await say(taken, f"start{sender}", START, sender)
    letters = await bury(store)

    async def retry(letter_id: str) -> None:
        with suppress(OutdatedLetter):
            await dead.retry(letter_id, time.time())

    # All at once: some say it between the looks of a retry.
    await asyncio.gather(*map(retry, letters), *(say(taken, f"stop{sender}", OPT_OUT, sender) for sender in senders))

    order: dict[str, list[str]] = defaultdict(list)
    for event_id in await waiting(store):
        order[event_id[-4:]].append(event_id.removeprefix("evt_").partition("+")[0])
    assert len(order) == len(senders)
    assert [said for said in order.values() if said[-1] != "stop"] == []


async def test_an_opt_out_that_changed_nothing_does_not_overrule_who_has_subscribed_since(store: Store) -> None:
    sender, dead, taken = "+14155550001", DeadLetters(store, 8), commits(store)
    await say(taken, "stop", OPT_OUT, sender)
    await say(taken, "again", OPT_OUT, sender)
    _, repeated = await bury(store)
    await say(taken, "start", START, sender)

    with pytest.raises(OutdatedLetter, match="is subscribed by now, and this would tell crm unsubscribed"):
        await dead.retry(repeated, time.time())
    await say(taken, "stop again", OPT_OUT, sender)
    await dead.retry(repeated, time.time())
    assert (await waiting(store))[-1] == "evt_again"


async def test_they_are_counted(store: Store) -> None:
    dead, taken = DeadLetters(store, 100), commits(store)
    assert await dead.count() == {"delivery": 0, "unhandled": 0}
    for n in range(3):
        await say(taken, f"t{n}", LEAVE, f"+1415555000{n}")
    await bury(store)
    await dead.keep(text_record("why", "acme", 1.0, orjson.dumps(MESSAGE)))

    assert await dead.count() == {"delivery": 3, "unhandled": 1}


async def run(*arguments: str, config: Path) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        str(KEYROUTE), "dead", *arguments, "--config", str(config), stdout=-1, stderr=-1
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_of_several_that_are_named_the_others_are_retried_where_one_cannot_be(tmp_path: Path) -> None:
    config = write_configuration(tmp_path, crm="https://crm.example.com/events")
    async with opened(load(config)) as store:
        taken = commits(store)
        await say(taken, "lost", LEAVE, "+14155550001", "former")
        await bury(store, "former")
        for n in range(2):
            await say(taken, f"t{n}", LEAVE, f"+1415555000{n}")
        await bury(store)
        letters = {letter.event.id: letter.id async for letter in DeadLetters(store, 8).each() if letter.event}
        lost = letters.pop("evt_lost")
        code, out, err = await run("retry", *letters.values(), *letters.values(), lost, config=config)
        left = [letter.id async for letter in DeadLetters(store, 8).each()]

    assert (code, out, left) == (1, "retried 2\n", [lost])
    assert f"{lost}: the destination 'former' is not configured. Configure it again, then retry; or drop it." in err


async def test_one_that_is_gone_meanwhile_holds_up_no_other(tmp_path: Path) -> None:
    config = write_configuration(tmp_path, crm="https://crm.example.com/events")
    async with opened(load(config)) as store:
        taken = commits(store)
        for n in range(500):
            await say(taken, f"t{n}", LEAVE, f"+1415555{n:04}")
        await bury(store)
        both = await asyncio.gather(*(run("drop", "--all", config=config) for _ in range(2)))
        left = [letter.id async for letter in DeadLetters(store, 8).each()]

    assert left == []
    assert sum(int(out.removeprefix("dropped ")) for _, out, _ in both) == 500
    assert all("Traceback" not in err for _, _, err in both)


async def test_those_of_one_moment_go_in_the_order_of_their_ends(tmp_path: Path) -> None:
    config = write_configuration(tmp_path, crm="https://crm.example.com/events")
    names = [f"t{n}" for n in range(5)]
    async with opened(load(config)) as store:
        taken = commits(store)
        for name in names:
            await say(taken, name, LEAVE, "+14155550001")
        ids = await bury(store)
        assert (await run("retry", *reversed(ids), config=config))[1] == "retried 5\n"
        assert await waiting(store) == [f"evt_{name}" for name in names]
