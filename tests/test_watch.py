"""The watch over all that leaves sees what should not: in this process, and in the servers that tests start."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import aiohttp
import orjson
import pytest

from router.cli.store import opened
from router.config import load
from router.consent import STATES
from router.records import write_decision
from router.store import Commit, Commits, Store
from router.texts import identity
from router.types import Decision, Row
from tests.commits import Clock, text
from tests.receiving import OURS, SENDER, Start
from tests.running import DEALS, Keyroute, Twilio, write_configuration
from tests.test_replies import Bench, Carrier
from tests.watch.sitecustomize import FILE, Watch, seen, stored_state, wrong

BY_DECISION = "the decision says that the person has opted out"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the watch writes now: what these tests make it see is no fault of the run."""
    path = tmp_path / "watched"
    monkeypatch.setenv(FILE, str(path))
    return path


def mistake(name: str, *, sender: str = SENDER, destinations: tuple[str, ...] = ()) -> Commit:
    """A text whose decision is wrong: the person has opted out by it, and is sold something."""
    rows = []
    for state in STATES:
        decision = Decision("custom", None, None, "deals", None, None, state, "unsubscribed", "Buy now!")
        rows.append(Row(state, state, False, 0, 0, (write_decision(decision),), b""))
    return text(name, tuple(rows), sender=sender, destinations=destinations, need_alias=())


async def write(store: Store, commit: Commit, clock: Callable[[], float]) -> None:
    """Puts a text into a store, as if it had been decided so."""
    await Commits(store, unhandled_kept=8, clock=clock, on_failure=lambda: None).commit(commit)


def faults(watch: Watch) -> list[str]:
    """What the watch has found in this process, and need not fail the test for."""
    found, watch.faults = watch.faults, []
    return [orjson.loads(line)["fault"] for line in found]


async def test_the_watch_sees_what_should_not_be_in_an_answer(start: Start, watch: Watch, file: Path) -> None:
    async with start() as w:
        async with w.store() as store:
            _, digest = identity("acme", SENDER, "wrong")
            await write(store, replace(mistake("wrong"), digest=digest), w.clock)
        replies = await w.replies(w.text("hello", "wrong"), w.text("help", sender="+14155550102", recipient=OURS))

    assert [reply["text"] for reply in replies] == ["Buy now!", "Call 555."]
    assert faults(watch) == [BY_DECISION]
    assert seen(file)[0] == 2


async def test_the_watch_sees_what_should_not_be_sent(store: Store, watch: Watch, file: Path) -> None:
    bench, carrier = Bench(store), Carrier()
    carrier.open.set()
    await write(store, mistake("wrong", sender=bench.senders[0], destinations=("reply:acme",)), Clock())
    async with bench.lane(carrier):
        await carrier.has(1)

    assert faults(watch) == [BY_DECISION]


async def test_the_watch_sees_what_a_server_should_not_answer(tmp_path: Path, file: Path) -> None:
    config = write_configuration(tmp_path)
    async with Keyroute(config, environment=os.environ) as server, aiohttp.ClientSession() as session:
        async with opened(load(config)) as store:
            _, digest = identity("twilio", SENDER, "SM1")
            await write(store, replace(mistake("wrong"), digest=digest), time.time)
        twilio = Twilio(server.origin, session)
        _, answer = await twilio.text("SM1", "hello", sender=SENDER, to=DEALS)
        await twilio.text("SM2", "HELP", sender="+14155550102", to=DEALS)
    count, found = seen(file)

    assert b"Buy now!" in answer
    assert [orjson.loads(line)["fault"] for line in found] == [BY_DECISION]
    assert count == 2


@pytest.mark.parametrize(
    ("intent", "before", "after", "stored", "expected"),
    [
        ("custom", "none", "none", None, None),
        ("custom", "subscribed", "subscribed", "subscribed", None),
        ("custom", "subscribed", "subscribed", "unsubscribed", "the store says that the person has opted out"),
        ("opt_in", "none", "subscribed", "choosing", "the store says that the person has opted out"),
        ("none", "choosing", "choosing", "choosing", BY_DECISION),
        ("opt_out", "subscribed", "unsubscribed", "unsubscribed", None),
        ("opt_out", "unsubscribed", "unsubscribed", "unsubscribed", "an opt-out is confirmed again"),
        ("help", "unsubscribed", "unsubscribed", "unsubscribed", None),
    ],
)
def test_only_the_confirmation_and_help_may_go_to_who_has_opted_out(
    intent: str, before: str, after: str, stored: str | None, expected: str | None
) -> None:
    assert wrong(intent, before, after, stored) == expected


def test_the_watch_reads_the_state_that_was_written_last() -> None:
    fields = {"consent:deals": "subscribed 1000000", "consent:@all": "unsubscribed 2000000", "lang": "fr"}

    assert stored_state(fields, ("deals", "@acme", "@all")) == "unsubscribed"
    assert stored_state(fields, ("deals",)) == "subscribed"
    assert stored_state(fields, ("news",)) is None
    assert stored_state(fields, ("deals", "@all"), before=1.5) is None
