"""How events leave for a destination: at once, or in batches of what waits, one request of a person at a time."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence
from contextlib import asynccontextmanager

import pytest

from router.delivery.attempt import Destination, Held, Outcome
from router.delivery.dispatch import Dispatch, Line
from router.delivery.gate import Gate
from router.delivery.http import HttpClient
from router.delivery.pacing import Pacing
from router.errors import DeliveryError
from router.ports import Http
from router.store import Entry, Lease
from router.telemetry import Metrics
from router.types import Event, HttpResponse
from tests.standins.platform import Recorder

_MESSAGE = (
    '{{"v":1,"id":"evt_{}","at":1.0,"account":"acme","programs":["deals"],"message":{{"message_id":"{}",'
    '"sender":"{}","recipient":"2020","text":"hi","channel":"sms","media":[]}}}}'
)
_DECISION = b'["none",null,null,null,null,null,null,"none","none"]'


class Shard:
    """The lane of a shard, as a dispatch knows it: sends what a line still holds, and remembers every outcome."""

    def __init__(self, dispatch: Dispatch, held_for: float = 60.0) -> None:
        self.held = Held(Lease(0, "w", 1), time.monotonic() + held_for)
        self.closed = False
        self.outcomes: list[tuple[str, Outcome]] = []
        self._dispatch = dispatch

    def line(self, sender: str, *names: str) -> Line:
        """A person's events, which leave when they may."""
        entries = [
            Entry(f"{i}-0", ("crm",), ("crm",), _MESSAGE.format(name, name, sender).encode(), _DECISION)
            for i, name in enumerate(names)
        ]
        line = Line(self, sender, deque(entries))
        self._dispatch.add(line)
        return line

    def sent(self, line: Line, outcome: Outcome) -> None:
        self.outcomes.append((line.sender, outcome))
        for _ in outcome.settled:
            line.waiting.popleft()
        if line.waiting and not (outcome.failed and outcome.alone):
            self._dispatch.add(line)

    def forget(self, sender: str) -> None:
        raise AssertionError("nobody is checked here")


class Slow(Recorder):
    """Answers when it is told to, or after a time."""

    def __init__(self, *, at_once: int = 1, batch_size: int = 10, one_per_sender: bool = False) -> None:
        super().__init__(batch_size=batch_size, one_per_sender=one_per_sender)
        self.requests_at_once = at_once
        self.answering = asyncio.Event()
        self.answering.set()
        self.under_way = self.most_under_way = 0
        self.failing: DeliveryError | None = None

    async def deliver(self, http, events):  # type: ignore[no-untyped-def]
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.failing:
                self.batches.append([event.id for event in events])
                raise self.failing
            await self.answering.wait()
            return await super().deliver(http, events)
        finally:
            self.under_way -= 1


@asynccontextmanager
async def dispatching(platform: Recorder):  # type: ignore[no-untyped-def]
    gate = Gate(time.monotonic, random.Random(1))
    http = HttpClient(1.0, allow_private=False)  # not opened: the platform sends nothing
    dispatch = Dispatch(Destination("crm", platform, http, gate, 1e12), Metrics(), time.time, time.monotonic)
    try:
        yield dispatch
    finally:
        await dispatch.close()


async def turns(count: int = 10) -> None:
    """Lets everything run that needs no time."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_lone_event_leaves_at_once() -> None:
    platform = Slow()
    async with dispatching(platform) as dispatch:
        Shard(dispatch).line("a", "1")
        await turns()

        assert platform.batches == [["evt_1"]]


async def test_what_comes_while_a_request_is_under_way_leaves_together_over_all_shards() -> None:
    platform = Slow()
    platform.answering.clear()
    async with dispatching(platform) as dispatch:
        one, other = Shard(dispatch), Shard(dispatch)
        one.line("a", "1")
        await turns()
        for sender in "bcd":
            one.line(sender, f"{sender}1")
            other.line(sender.upper(), f"{sender}2")
            await turns()
        platform.answering.set()
        await platform.has(7)

    assert platform.batches == [["evt_1"], ["evt_b1", "evt_b2", "evt_c1", "evt_c2", "evt_d1", "evt_d2"]]
    assert [sender for sender, _ in other.outcomes] == ["B", "C", "D"]


async def test_a_person_is_in_one_request_at_a_time_however_many_may_be_under_way() -> None:
    platform = Slow(at_once=4, batch_size=1, one_per_sender=True)
    platform.answering.clear()
    async with dispatching(platform) as dispatch:
        shard = Shard(dispatch)
        shard.line("a", "a1", "a2", "a3")
        shard.line("b", "b1")
        await turns()
        assert platform.under_way == 2
        platform.answering.set()
        assert [name for name in await platform.has(4) if "a" in name] == ["evt_a1", "evt_a2", "evt_a3"]


async def test_no_more_requests_are_under_way_than_the_platform_takes() -> None:
    platform = Slow(at_once=3, batch_size=2)
    platform.answering.clear()
    async with dispatching(platform) as dispatch:
        shard = Shard(dispatch)
        for i in range(60):
            shard.line(f"s{i}", str(i))
        await turns()
        platform.answering.set()
        await platform.has(60)

    assert platform.most_under_way == 3
    assert all(len(batch) == 2 for batch in platform.batches)


async def test_after_a_failure_one_request_tries_and_the_rest_follows_it() -> None:
    platform = Slow(at_once=4, batch_size=1)
    platform.failing = DeliveryError("503", retryable=True)
    async with dispatching(platform) as dispatch:
        shard = Shard(dispatch)
        for name in "abcdefgh":
            shard.line(name, name)
        await turns()
        first = len(platform.batches)
        assert first == 4
        await platform.tried(first + 1)
        await turns()
        assert len(platform.batches) == first + 1
        platform.failing = None
        assert len(await platform.has(8)) == 8


async def test_an_event_that_fails_while_others_are_taken_is_said_to_fail_alone() -> None:
    platform = Slow(at_once=2, batch_size=1)
    platform.refuse["evt_bad"] = DeliveryError("500", retryable=True)
    async with dispatching(platform) as dispatch:
        shard = Shard(dispatch)
        shard.line("a", "a")
        shard.line("b", "bad")
        await platform.tried(2)
        await turns()

        assert dict(shard.outcomes)["b"].alone


async def test_nothing_leaves_under_a_lease_that_may_be_over_until_it_is_renewed() -> None:
    platform = Slow()
    async with dispatching(platform) as dispatch:
        shard = Shard(dispatch, held_for=0.0)
        shard.line("a", "a")
        Shard(dispatch).line("b", "b")
        assert await platform.has(1) == ["evt_b"]
        shard.held.until = time.monotonic() + 60
        assert await platform.has(2) == ["evt_b", "evt_a"]


async def test_nothing_leaves_of_a_shard_that_is_given_up() -> None:
    platform = Slow()
    async with dispatching(platform) as dispatch:
        given_up = Shard(dispatch)
        given_up.line("a", "a")
        given_up.closed = True
        gone = Shard(dispatch).line("b", "b")
        gone.gone = True
        Shard(dispatch).line("c", "c")
        await turns()

        assert platform.batches == [["evt_c"]]


def steady(pacing: Pacing, at_once: int, answers_in: float, rate: float, seconds: float) -> tuple[float, float]:
    """What waits longest, in seconds, and how many requests an event takes, at an even rate once it has settled."""
    under_way: list[float] = []
    waiting: list[float] = []
    waited, requests, events = 0.0, 0, 0
    step = 0.0001
    for turn in range(int(seconds / step)):
        now = turn * step
        for ends in [end for end in under_way if end <= now]:
            under_way.remove(ends)
            pacing.answered(answers_in)
        if turn % round(1 / rate / step) == 0:
            waiting.append(now)
        if waiting and len(under_way) < at_once and pacing.wait(len(under_way), now) <= 0:
            if now > seconds / 2:
                waited = max(waited, now - waiting[0])
                requests, events = requests + 1, events + len(waiting)
            waiting.clear()
            pacing.left(now)
            under_way.append(now + answers_in)
    return waited, requests / events


@pytest.mark.parametrize(("rate", "most_requests"), [(1000, 0.2), (2000, 0.1)])
def test_requests_are_spread_so_that_nothing_waits_for_an_answer(rate: float, most_requests: float) -> None:
    waited, requests = steady(Pacing(8), 8, 0.05, rate, 2.0)

    assert waited <= 0.0085
    assert requests < most_requests


async def test_what_joins_a_person_whose_lease_is_renewed_late_is_sent_once_and_in_order() -> None:
    platform = Slow(one_per_sender=True)
    async with dispatching(platform) as dispatch:
        shard = Shard(dispatch, held_for=0.0)
        line = shard.line("a", "1")
        await turns()
        if not line.queued:  # as a lane does with what comes next
            dispatch.add(line)
        await turns()
        shard.held.until = time.monotonic() + 60
        assert await platform.has(1) == ["evt_1"]
        shard.line("b", "2")
        assert await platform.has(2) == ["evt_1", "evt_2"]
        later = asyncio.Event()
        asyncio.get_running_loop().call_later(0.3, later.set)
        await later.wait()
        shard.line("c", "3")
        assert await platform.has(3) == ["evt_1", "evt_2", "evt_3"]


class Twice(Slow):
    """Needs two requests for each batch."""

    async def deliver(self, http: Http, events: Sequence[Event]) -> Sequence[DeliveryError | None]:
        for _ in range(2):
            await http.request("POST", "http://203.0.113.1/", headers={}, body=b"")
        return [None] * len(events)


async def test_no_second_request_of_a_batch_leaves_when_its_lease_is_over() -> None:
    shards: list[Shard] = []
    left = []

    class Overtaken:
        async def request(self, method: str, url: str, *, headers: dict[str, str], body: bytes) -> HttpResponse:
            left.append(1)
            shards[0].held.until = 0.0
            return HttpResponse(204, {}, b"")

    destination = Destination("crm", Twice(), Overtaken(), Gate(time.monotonic, random.Random(1)), 1e12)
    dispatch = Dispatch(destination, Metrics(), time.time, time.monotonic)
    shards.append(Shard(dispatch))
    shards[0].line("a", "1")
    while not shards[0].outcomes:
        await asyncio.sleep(0)
    await dispatch.close()

    ((_, outcome),) = shards[0].outcomes
    assert left == [1]
    assert outcome.failed
    assert (outcome.settled, outcome.failed.retryable, outcome.failed.outcome_unknown) == ([], True, False)


class Odd(Recorder):
    """Once does something that no adapter should."""

    def __init__(self, oddity: BaseException, *, raises: bool) -> None:
        super().__init__()
        self.oddities = [oddity]
        self.raises = raises

    async def deliver(self, http, events):  # type: ignore[no-untyped-def]
        if self.oddities and self.raises:
            raise self.oddities.pop()
        return [self.oddities.pop()] if self.oddities else await super().deliver(http, events)


@pytest.mark.parametrize(
    ("oddity", "raises"), [(ValueError("a result"), False), (asyncio.CancelledError(), True)], ids=["result", "cancel"]
)
async def test_whatever_an_adapter_returns_or_lets_out_the_event_is_sent_again(
    oddity: BaseException, raises: bool
) -> None:
    platform = Odd(oddity, raises=raises)
    async with dispatching(platform) as dispatch:
        Shard(dispatch).line("a", "1")
        assert await platform.has(1) == ["evt_1"]
