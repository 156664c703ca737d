"""Replies on their way to people: urgency, pace, what is not sent any more, failures; over the real store."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest

from router.consent import STATES
from router.delivery.attempt import Held
from router.delivery.gate import Gate
from router.delivery.http import HttpClient
from router.delivery.pace import Pace
from router.delivery.replies import ReplyLane, Sending
from router.errors import DeliveryError, SendError, StoreUnavailable
from router.ledger.drafts import Provider, read_entry
from router.ports import Http
from router.records import write_decision
from router.store import LEDGER, Commit, Commits, DeadLetters, Lease, Outbox, People, Steps, Store
from router.tasks import cancelled
from router.telemetry import Metrics
from router.types import ConsentState, Decision, Intent, Outgoing, Receipt, Row
from tests.commits import STOP, Clock, plan, text, until

LANE = "reply:acme"


@dataclass
class Carrier:
    """A carrier that takes texts as it is told, and keeps what it took."""

    #: What `send` raises, text by text; when they are used up it takes what it is sent.
    failures: list[Exception] = field(default_factory=list)
    #: What is never taken.
    never: str = ""
    sent: list[Outgoing] = field(default_factory=list)
    tried: list[Outgoing] = field(default_factory=list)
    idempotent: bool = False
    #: Nothing is taken before this is set.
    open: asyncio.Event = field(default_factory=asyncio.Event)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def send(self, http: Http, message: Outgoing) -> str:
        self.tried.append(message)
        async with self.news:
            self.news.notify_all()
        await self.open.wait()
        if self.failures:
            raise self.failures.pop(0)
        if message.text == self.never:
            raise SendError("come again", "temporary")
        self.sent.append(message)
        async with self.news:
            self.news.notify_all()
        return f"SM{len(self.sent)}"

    async def has(self, count: int) -> list[str]:
        """The texts taken, once there are as many."""
        async with asyncio.timeout(10), self.news:
            await self.news.wait_for(lambda: len(self.sent) >= count)
        return [message.text for message in self.sent]

    async def is_asked(self, count: int) -> None:
        """Returns when it was asked to send as many."""
        async with asyncio.timeout(10), self.news:
            await self.news.wait_for(lambda: len(self.tried) >= count)


def answer(name: str, sender: str, intent: Intent, after: ConsentState, reply: str | None) -> Commit:
    """A text that leads to a state, and what it is answered."""
    rows = []
    for before in STATES:
        decision = Decision(intent, None, None, "deals", None, None, before, after, reply)
        rows.append(Row(before, after, True, 0, 0, (write_decision(decision),), b""))
    commit = text(name, tuple(rows), sender=sender, destinations=(LANE,), need_alias=())
    return replace(commit, message=orjson.dumps(orjson.loads(commit.message) | {"at": time.time()}))


class Bench:
    """A store, a shard and what it takes to send its replies."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.outbox = Outbox(store, [LANE])
        self.people = People(store)
        self.dead = DeadLetters(store, 100)
        self.commits = Commits(store, unhandled_kept=8, clock=Clock(), on_failure=lambda: None)
        self.senders = [f"+1415555{i:04d}" for i in range(200) if store.keys.shard_of(f"+1415555{i:04d}") == 0]
        self.metrics = Metrics()
        self.late_by = 0.0
        self.blocked: list[tuple[str, str | None, str | None]] = []

    async def block(self, account: str, receipt: Receipt) -> None:
        """Notes whom the carrier sends nothing."""
        self.blocked.append((account, receipt.sender, receipt.recipient))

    async def custom(self, name: str, sender: int = 0) -> None:
        """A keyword that is answered with its name."""
        await self.commits.commit(answer(name, self.senders[sender], "custom", "subscribed", name))

    async def stop(self, name: str, sender: int = 0, reply: str | None = "bye") -> None:
        """An opt-out, confirmed."""
        await self.commits.commit(answer(name, self.senders[sender], "opt_out", "unsubscribed", reply))

    @asynccontextmanager
    async def lane(self, carrier: Any, *, rate: float = 1000.0, within: float = 3600.0) -> AsyncIterator[ReplyLane]:
        """A lane at work under a fresh lease."""
        owner = f"w{random.random()}"
        lease = await self.outbox.take(0, owner, 60.0)
        assert lease
        sending = Sending(
            LANE,
            "acme",
            carrier,
            HttpClient(1.0, allow_private=False),
            Gate(time.monotonic, random.Random(1)),
            Pace({"2020": rate}, time.monotonic),
            {"deals": ("deals", "@acme", "@other", "@all")},
            within,
        )
        lane = ReplyLane(
            Held(lease, time.monotonic() + 60),
            sending,
            self.outbox,
            self.people,
            self.block,
            self.metrics,
            lambda: time.time() + self.late_by,
            time.monotonic,
        )
        running = asyncio.create_task(lane.run())
        try:
            yield lane
            lane.stop()
            await running
        finally:
            await cancelled([running])
            await self.outbox.release(lease)

    async def settled(self) -> None:
        """Returns when the outbox of the shard is empty."""

        async def cut() -> bool:
            return not await self.outbox.read(0, "0-0", 1)

        await until(cut)

    async def reasons(self) -> list[str]:
        return [letter.reason async for letter in self.dead.each()]

    def count(self, outcome: str) -> float:
        return (
            self.metrics.registry.get_sample_value(
                "keyroute_deliveries_total", {"destination": LANE, "outcome": outcome}
            )
            or 0.0
        )


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


@pytest.fixture
def carrier() -> Carrier:
    made = Carrier()
    made.open.set()
    return made


async def test_a_reply_is_sent_to_the_person_from_the_number_that_was_texted(bench: Bench, carrier: Carrier) -> None:
    await bench.custom("hello")
    async with bench.lane(carrier):
        await carrier.has(1)
        await bench.settled()

    assert carrier.sent == [Outgoing("evt_hello", "2020", bench.senders[0], "hello", "sms")]
    assert bench.count("delivered") == 1


class Forgetful(Outbox):
    """An outbox whose first answer gets lost."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench.store, [LANE, LEDGER])
        self._lost = False

    async def settle(self, lease: Lease, destination: str, steps: Steps) -> list[int]:
        answer = await super().settle(lease, destination, steps)
        if not self._lost and "note" in steps.arguments:
            self._lost = True
            raise StoreUnavailable("the answer got lost")
        return answer


@pytest.mark.parametrize("answer_is_lost", [False, True])
async def test_that_a_reply_was_sent_goes_on_record_once(
    bench: Bench, carrier: Carrier, *, answer_is_lost: bool
) -> None:
    bench.outbox = Forgetful(bench) if answer_is_lost else Outbox(bench.store, [LANE, LEDGER])
    sender = bench.senders[0]
    stop = answer("1", sender, "opt_out", "unsubscribed", "bye")
    await bench.commits.commit(replace(stop, destinations=(LANE, LEDGER)))
    await bench.commits.commit(answer("2", bench.senders[1], "custom", "subscribed", "hello"))
    async with bench.lane(carrier):
        await carrier.has(2)
    entries = await bench.outbox.read(0, "0-0", 100)
    rows = [read_entry(entry, {"acme": Provider("post", answers=True)}, {}) for entry in entries[2:]]

    assert [entry.destinations for entry in entries] == [(LANE, LEDGER), (LANE,), (LEDGER,)]
    assert isinstance(rows[0], list)
    (row,) = rows[0]
    assert row.sender == sender
    sent = [message.text for message in carrier.sent]
    assert row.private == {"phone": sender, "message_id": f"SM{sent.index('bye') + 1}"}
    assert (row.public["direction"], row.public["event_id"], row.public["provider"]) == ("replied", "evt_1", "post")
    assert row.public["reply"] == {"id": "evt_1", "at": row.public["received_at"], "text": "bye"}


async def test_replies_to_one_person_keep_their_order(bench: Bench, carrier: Carrier) -> None:
    names = [f"n{number}" for number in range(30)]
    for name in names:
        await bench.custom(name)
    async with bench.lane(carrier):
        assert await carrier.has(30) == names


async def test_a_confirmation_goes_ahead_of_everything_that_waits(bench: Bench, carrier: Carrier) -> None:
    for sender in range(1, 8):
        await bench.custom(f"n{sender}", sender)
    await bench.stop("stop", 0)
    async with bench.lane(carrier, rate=20.0):
        texts = await carrier.has(8)

    assert "bye" in texts[:2]


async def test_who_has_opted_out_since_is_sent_nothing_but_the_confirmation(bench: Bench, carrier: Carrier) -> None:
    await bench.custom("coupon")
    await bench.stop("stop")
    async with bench.lane(carrier):
        await bench.settled()

    assert [message.text for message in carrier.sent] == ["bye"]
    assert bench.count("opted_out") == 1


async def test_an_opt_out_of_another_account_of_the_program_counts(bench: Bench, carrier: Carrier) -> None:
    await bench.custom("coupon")
    everything = plan(STOP, consents=("@other",), destinations=(), need_alias=())
    await bench.commits.commit(text("stop", everything, sender=bench.senders[0], destinations=()))
    async with bench.lane(carrier):
        await bench.settled()

    assert carrier.sent == []


async def test_an_opt_out_that_was_taken_back_is_not_confirmed(bench: Bench, carrier: Carrier) -> None:
    await bench.stop("stop")
    await bench.custom("start")
    async with bench.lane(carrier):
        await bench.settled()

    assert [message.text for message in carrier.sent] == ["start"]


async def test_an_opt_out_is_never_confirmed_a_second_time(bench: Bench, carrier: Carrier) -> None:
    await bench.stop("stop")
    await bench.stop("stop again", reply="bye, once more")
    async with bench.lane(carrier):
        await bench.settled()

    assert [message.text for message in carrier.sent] == ["bye"]


async def test_help_is_answered_whoever_asks(bench: Bench, carrier: Carrier) -> None:
    await bench.stop("stop", reply=None)
    await bench.commits.commit(answer("help", bench.senders[0], "help", "unsubscribed", "call us"))
    async with bench.lane(carrier):
        assert await carrier.has(1) == ["call us"]


async def test_what_comes_too_late_is_not_sent(bench: Bench, carrier: Carrier) -> None:
    await bench.custom("coupon", 1)
    await bench.stop("stop", 2)
    bench.late_by = 301.0
    async with bench.lane(carrier):
        await bench.settled()

    assert [message.text for message in carrier.sent] == ["coupon"]
    assert bench.count("late") == 1


async def test_what_failed_is_not_overtaken_but_by_a_confirmation(bench: Bench, carrier: Carrier) -> None:
    carrier.failures = [SendError("come again", "temporary", retry_after=0.2)]
    await bench.custom("first", 1)
    await bench.custom("second", 1)
    async with bench.lane(carrier):
        assert await carrier.has(2) == ["first", "second"]


async def test_a_number_that_fails_by_itself_holds_up_no_other_reply(bench: Bench, carrier: Carrier) -> None:
    carrier.failures = [SendError("no id for this number", "auth", retry_after=60)]
    for sender in range(5):
        await bench.custom(f"n{sender}", sender)
    async with bench.lane(carrier):
        assert len(await carrier.has(4)) == 4


async def test_a_reply_that_nobody_takes_holds_up_no_confirmation_behind_hundreds_of_others(
    bench: Bench, carrier: Carrier
) -> None:
    carrier.never = "stuck"
    await bench.custom("stuck", 0)
    await asyncio.gather(*(bench.custom(f"n{place}", 1 + place % 20) for place in range(600)))
    await bench.stop("stop", 25)
    async with bench.lane(carrier, rate=100_000.0):
        assert "bye" in await carrier.has(601)


class SlowOutbox(Outbox):
    """An outbox that waits before it tells the store what became of replies."""

    def __init__(self, store: Store, destinations: list[str]) -> None:
        super().__init__(store, destinations)
        self.asked, self.answers = asyncio.Event(), asyncio.Event()

    async def settle(self, lease: Lease, destination: str, steps: Steps) -> list[int]:
        if steps.arguments:
            self.asked.set()
            await self.answers.wait()
        return await super().settle(lease, destination, steps)


async def test_a_reply_is_in_flight_until_the_store_knows_of_it(bench: Bench, carrier: Carrier) -> None:
    bench.outbox = slow = SlowOutbox(bench.store, [LANE])
    await bench.custom("a", 1)
    async with bench.lane(carrier) as lane:
        await carrier.has(1)
        await slow.asked.wait()
        assert lane.in_flight
        slow.answers.set()
        await bench.settled()
    async with bench.lane(carrier):
        await bench.custom("b", 1)

    assert [message.text for message in carrier.sent] in (["a"], ["a", "b"])


async def test_who_has_opted_out_at_the_carrier_is_noted(bench: Bench, carrier: Carrier) -> None:
    carrier.failures = [SendError("21610", "opted_out")]
    await bench.custom("coupon")
    async with bench.lane(carrier):
        await bench.settled()

    assert bench.blocked == [("acme", "2020", bench.senders[0])]
    assert bench.count("blocked") == 1
    assert await bench.reasons() == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SendError("no such number", "invalid_number"), "no such number"),
        (SendError("refused", "permanent"), "refused"),
        (
            DeliveryError("timed out", retryable=True, outcome_unknown=True),
            "it is not known whether the text was sent: timed out",
        ),
    ],
)
async def test_what_cannot_be_sent_or_may_have_been_is_a_dead_letter(
    bench: Bench, carrier: Carrier, error: Exception, reason: str
) -> None:
    carrier.failures = [error]
    await bench.custom("a", 1)
    await bench.custom("b", 2)
    async with bench.lane(carrier):
        await carrier.has(1)
        await bench.settled()

    assert len(carrier.tried) == 2
    assert await bench.reasons() == [reason]


@pytest.mark.parametrize(
    "error",
    [
        SendError("slow down", "throttled", retry_after=0.01),
        SendError("come again", "temporary"),
        DeliveryError("no connection", retryable=True, retry_after=0.01),
        ZeroDivisionError("a mistake in the adapter"),
    ],
)
async def test_what_passes_is_tried_again(bench: Bench, carrier: Carrier, error: Exception) -> None:
    carrier.failures = [error]
    await bench.custom("coupon")
    async with bench.lane(carrier):
        assert await carrier.has(1) == ["coupon"]
        await bench.settled()


async def test_what_may_have_been_sent_is_sent_again_where_that_sends_it_once(bench: Bench, carrier: Carrier) -> None:
    carrier.idempotent = True
    carrier.failures = [DeliveryError("timed out", retryable=True, outcome_unknown=True, retry_after=0.01)]
    await bench.custom("coupon")
    async with bench.lane(carrier):
        assert await carrier.has(1) == ["coupon"]
        await bench.settled()

    assert [message.id for message in carrier.tried] == ["evt_coupon"] * 2


async def test_one_text_of_a_person_is_under_way_at_a_time(bench: Bench) -> None:
    carrier = Carrier()
    for name, sender in (("a1", 1), ("a2", 1), ("b1", 2)):
        await bench.custom(name, sender)
    async with bench.lane(carrier):
        await carrier.is_asked(2)
        assert sorted(message.text for message in carrier.tried) == ["a1", "b1"]
        carrier.open.set()
        await carrier.has(3)


async def test_a_stop_waits_for_what_is_under_way_and_nothing_is_sent_twice(bench: Bench) -> None:
    carrier = Carrier()
    await bench.custom("a", 1)
    async with bench.lane(carrier) as lane:
        await carrier.is_asked(1)
        lane.stop()
        await bench.custom("b", 2)
        carrier.open.set()
        await carrier.has(1)
    async with bench.lane(carrier):
        assert await carrier.has(2) == ["a", "b"]


async def test_what_was_settled_out_of_turn_is_not_sent_again(bench: Bench, carrier: Carrier) -> None:
    carrier.failures = [SendError("come again later", "temporary", retry_after=60)]
    await bench.custom("a", 1)
    async with bench.lane(carrier) as lane:
        await carrier.is_asked(1)
        await bench.custom("b", 2)
        lane.notify()
    async with bench.lane(carrier):
        assert sorted(await carrier.has(2)) == ["a", "b"]
        await bench.settled()

    assert len(carrier.sent) == 2


async def test_a_number_sends_no_faster_than_it_may(bench: Bench, carrier: Carrier) -> None:
    for sender in range(6):
        await bench.custom(f"n{sender}", sender)
    began = time.monotonic()
    async with bench.lane(carrier, rate=20.0):
        await carrier.has(6)

    assert time.monotonic() - began >= 5 / 20


async def test_processes_share_the_pace_of_a_number() -> None:
    pace = Pace({"2020": 100.0}, time.monotonic)
    pace.processes = 4
    began = time.monotonic()
    for _ in range(3):
        await pace.turn("2020")

    assert time.monotonic() - began >= 2 * 4 / 100
