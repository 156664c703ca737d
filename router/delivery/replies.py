"""One shard's replies on their way to people, by the send API of one carrier account."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from router.consent import CONFIRM_WITHIN, EVERYTHING, may_be_answered
from router.delivery.attempt import Held, adapter_fault
from router.delivery.gate import Gate
from router.delivery.pace import Pace
from router.egress import leave
from router.errors import DeliveryError, SendError, StoreUnavailable
from router.ports import Carrier, Http
from router.records import write_sent
from router.store import LEDGER, Entry, Outbox, People, Steps
from router.telemetry import Metrics
from router.types import Outgoing, Receipt

_log = structlog.get_logger("router.delivery.replies")

#: How many entries are looked at from the first on that is still open, and how many are read at once.
_WINDOW, _READ_AT_ONCE = 5000, 500
#: How many texts of a shard and account may be under way together.
_MOST_IN_FLIGHT = 32
#: The pause of a reply that failed, in seconds: the first, doubled each time, and the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
#: Before the store is told again what it could not be told, in seconds.
_STORE_PAUSE = 0.2

#: Notes that the carrier of an account sends a person nothing. Raises `StoreUnavailable`.
Block = Callable[[str, Receipt], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Sending:
    """A carrier account that replies are sent by. `name` is that of its lane.

    `bearing` has the consents that the state of each program follows from. In seconds: `answer_within`, and `timeout`
    of one request.
    """

    name: str
    account: str
    carrier: Carrier
    http: Http
    gate: Gate
    pace: Pace
    bearing: Mapping[str, tuple[str, ...]]
    answer_within: float
    timeout: float = 0.0


@dataclass(order=True, slots=True)
class _Reply:
    """A reply that waits: confirmations of opt-outs before all others, then in the order of the texts answered."""

    others_first: bool
    place: int
    entry: Entry = field(compare=False)
    failures: int = field(default=0, compare=False)


class ReplyLane:
    """Sends replies as fast as their numbers may, under a lease.

    Nobody is sent a reply who has opted out since, nor one that comes too late. One text of a person is under way at a
    time. What may have been sent is only sent again if the carrier sends it once all the same, or if the process died
    while it was under way.
    """

    def __init__(
        self,
        held: Held,
        sending: Sending,
        outbox: Outbox,
        people: People,
        block: Block,
        metrics: Metrics,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._block = block
        self._held = held
        self._sending = sending
        self._outbox = outbox
        self._people = people
        self._metrics = metrics
        self._clock = clock
        self._monotonic = monotonic
        self._changed = asyncio.Event()
        self._stopping = False
        self._busy: set[str] = set()
        self._unrecorded = False

    @property
    def shard(self) -> int:
        """The shard whose replies are sent."""
        return self._held.lease.shard

    @property
    def in_flight(self) -> bool:
        """Whether a text is under way now, or was, and the store does not know yet what became of it."""
        return bool(self._busy or self._unrecorded)

    @property
    def grace(self) -> float:
        """How long that may take, in seconds."""
        return self._sending.timeout

    def notify(self) -> None:
        """The shard has new entries."""
        self._changed.set()

    def offer(self, after: str, entries: Sequence[Entry]) -> None:
        """The shard has these new entries, which follow the one with the id `after`."""
        self.notify()

    def stop(self) -> None:
        """Ends `run` after the texts that are under way."""
        self._stopping = True
        self._changed.set()

    async def run(self) -> None:
        """Sends until `stop`, from what the store says. Raises `LeaseLost`, `StoreUnavailable`."""
        self._position, ahead = await self._outbox.begin(self._held.lease, self._sending.name)
        self._recorded = (self._position, sorted(ahead))
        self._window: deque[Entry] = deque()
        self._settled = set(ahead)
        self._dead: list[tuple[Entry, DeliveryError]] = []
        #: Replies that were sent, for the ledger.
        self._sent: list[tuple[Entry, bytes]] = []
        self._waiting: dict[str, list[_Reply]] = {}
        self._news: dict[str, asyncio.Event] = {}
        #: Whoever has a reply that failed and waits for its next attempt: later ones do not overtake it.
        self._held_back: set[str] = set()
        #: Tasks that wait and send nothing themselves.
        self._patient: set[asyncio.Task[None]] = set()
        self._busy.clear()
        self._unrecorded = False
        self._taken_up = 0
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                await self._follow()
                for task in self._patient:
                    task.cancel()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _follow(self) -> None:
        """Takes up what is in the outbox and records what became of it, then waits for either."""
        last = self._position
        while True:
            self._changed.clear()
            entries = await self._next(last)
            for entry in entries:
                self._take_up(entry)
                last = entry.id
            recorded = await self._record()
            if self._stopping and recorded and not self._busy:
                return
            if not entries and recorded:
                await self._changed.wait()

    async def _next(self, last: str) -> list[Entry]:
        """What follows in the outbox, as much as there is room for."""
        room = 0 if self._stopping else min(_READ_AT_ONCE, _WINDOW - len(self._window))
        try:
            return await self._outbox.read(self.shard, last, room) if room > 0 else []
        except StoreUnavailable:
            if not self.in_flight:
                raise
            # What is under way is waited for and recorded: forgotten, it would be sent a second time.
            await asyncio.sleep(_STORE_PAUSE)
            self._changed.set()
            return []

    def _take_up(self, entry: Entry) -> None:
        self._window.append(entry)
        wanted = self._sending.name in entry.destinations and entry.id not in self._settled
        number = entry.event.message.recipient if wanted else None
        if number and entry.event.decision.reply:
            self._taken_up += 1
            self._wait(number, _Reply(entry.event.decision.intent != "opt_out", self._taken_up, entry))
        else:
            self._settled.add(entry.id)

    def _wait(self, number: str, reply: _Reply) -> None:
        if number not in self._waiting:
            self._waiting[number], self._news[number] = [], asyncio.Event()
            self._patient.add(self._tasks.create_task(self._work(number)))
        self._waiting[number].append(reply)
        self._news[number].set()

    async def _record(self) -> bool:
        """Tells the store what is settled; whether it knows everything now."""
        while self._window and self._window[0].id in self._settled:
            self._position = self._window.popleft().id
            self._settled.discard(self._position)
        books = (self._position, sorted(self._settled))
        if books == self._recorded and not self._dead:
            self._unrecorded = False
            return True
        steps = Steps(in_order=True)
        dead, sent = list(self._dead), list(self._sent)
        for entry, note in sent:
            steps.note(entry, note)
        for entry, error in dead:
            steps.dead(error, self._clock(), self._sending.name, entry)
        steps.position(*books)
        try:
            await self._outbox.settle(self._held.lease, self._sending.name, steps)
        except StoreUnavailable as error:
            # What is under way goes on: it would have to be sent twice otherwise.
            _log.warning("replies not recorded", shard=self.shard, error=str(error))
            await asyncio.sleep(_STORE_PAUSE)
            return False
        del self._dead[: len(dead)]
        del self._sent[: len(sent)]
        self._recorded = books
        self._unrecorded = bool(self._dead or self._settled - set(books[1]))
        return not self._unrecorded

    async def _work(self, number: str) -> None:
        """Sends the replies of one of our numbers, one at each of its turns."""
        news = self._news[number]
        while True:
            news.clear()
            if self._stopping or len(self._busy) >= _MOST_IN_FLIGHT or self._first(number) is None:
                await news.wait()
                continue
            await self._sending.gate.opened()
            await self._sending.pace.turn(number)
            # What is most urgent is only known now.
            reply = None if self._stopping else self._first(number)
            if reply is not None:
                self._waiting[number].remove(reply)
                self._busy.add(reply.entry.event.message.sender)
                self._tasks.create_task(self._send(number, reply))

    def _first(self, number: str) -> _Reply | None:
        """The most urgent reply whose sender has none under way; those that are too late are settled."""
        for reply in sorted(self._waiting[number]):
            if self._is_late(reply.entry):
                self._waiting[number].remove(reply)
                self._settle(reply.entry, "late")
                continue
            sender = reply.entry.event.message.sender
            if sender not in self._busy and not (sender in self._held_back and reply.others_first):
                return reply
        return None

    def _is_late(self, entry: Entry) -> bool:
        if entry.event.decision.intent == "opt_out":
            # From the opt-out itself, also for a dead letter that is tried again.
            return self._clock() - entry.event.at > min(CONFIRM_WITHIN, self._sending.answer_within)
        return self._clock() - entry.joined > self._sending.answer_within

    async def _send(self, number: str, reply: _Reply) -> None:
        entry = reply.entry
        sender = entry.event.message.sender
        try:
            if not await self._may_be_sent(entry):
                self._settle(entry, "opted_out")
                return
            if self._monotonic() >= self._held.until:
                raise StoreUnavailable(f"the lease of shard {self.shard} ran out before it could be renewed")
            event = entry.event
            message = Outgoing.reply(event.id, event.message, number, event.decision.reply or "")
            leave(event.id, self._sending.account, number, sender, event.decision)
            message_id = await self._sending.carrier.send(self._sending.http, message)
            if LEDGER in entry.destinations:
                self._sent.append((entry, write_sent(event, self._clock(), number, message_id)))
            self._sending.gate.succeeded()
            self._metrics.delivery_seconds.labels(self._sending.name, "known").observe(
                max(0.0, self._clock() - entry.event.at)
            )
            self._settle(entry, "delivered")
        except StoreUnavailable as error:
            self._again(number, reply, DeliveryError(str(error), retryable=True))
        except DeliveryError as error:
            await self._failed(number, reply, error)
        except Exception as error:  # noqa: BLE001 (an adapter is anybody's code; whatever it raises, nothing is lost)
            self._again(number, reply, adapter_fault(error, self._sending.name, self._metrics))
        finally:
            self._busy.discard(sender)
            for news in self._news.values():
                news.set()
            self._changed.set()

    async def _may_be_sent(self, entry: Entry) -> bool:
        """Whether the person still is where the reply left them, as far as that matters."""
        event, now = entry.event, self._clock()
        program = event.decision.program or ""
        person = await self._people.get(event.message.sender)
        # A program that is not configured any more had this account at least.
        bearing = self._sending.bearing.get(program, (program, f"@{self._sending.account}", EVERYTHING))
        state = person.state(bearing, now) if person else "none"
        return may_be_answered(event.decision, state, now - event.at)

    async def _failed(self, number: str, reply: _Reply, error: DeliveryError) -> None:
        entry = reply.entry
        if isinstance(error, SendError) and error.failure == "opted_out":
            try:
                message = entry.event.message
                await self._block(self._sending.account, Receipt(entry.event.id, number, message.sender, "opted_out"))
            except StoreUnavailable as away:
                self._again(number, reply, DeliveryError(str(away), retryable=True))
                return
            self._settle(entry, "blocked")
        elif error.outcome_unknown and not self._sending.carrier.idempotent:
            self._metrics.unknown_outcomes.labels(self._sending.name).inc()
            self._give_up(entry, error, f"it is not known whether the text was sent: {error.reason}")
        elif error.retryable:
            self._again(number, reply, error)
        else:
            self._give_up(entry, error, error.reason)

    def _again(self, number: str, reply: _Reply, error: DeliveryError) -> None:
        """Lets the reply wait by itself; and all others if the carrier asks for it, or cannot be reached."""
        _log.warning("reply will be sent again", destination=self._sending.name, shard=self.shard, reason=error.reason)
        self._metrics.deliveries.labels(self._sending.name, "retried").inc()
        if not isinstance(error, SendError) or (error.retry_after is not None and error.status is not None):
            self._sending.gate.failed(error)  # it is about more than this reply or its number
        if len(self._window) >= _WINDOW:
            self._give_up(reply.entry, error, f"it failed and held up thousands of others: {error.reason}")
            return
        pause = (
            min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**reply.failures) if error.retry_after is None else error.retry_after
        )
        reply.failures = min(reply.failures + 1, 16)
        waiting = self._tasks.create_task(self._wait_after(pause, number, reply))
        self._patient.add(waiting)
        waiting.add_done_callback(self._patient.discard)

    async def _wait_after(self, pause: float, number: str, reply: _Reply) -> None:
        sender = reply.entry.event.message.sender
        self._held_back.add(sender)
        await asyncio.sleep(pause)
        self._held_back.discard(sender)
        self._wait(number, reply)

    def _give_up(self, entry: Entry, error: DeliveryError, reason: str) -> None:
        _log.warning("reply given up", destination=self._sending.name, event_id=entry.event.id, reason=reason)
        self._dead.append((entry, error.because(reason)))
        self._settle(entry, "dead")

    def _settle(self, entry: Entry, outcome: str) -> None:
        self._metrics.deliveries.labels(self._sending.name, outcome).inc()
        self._settled.add(entry.id)
        self._unrecorded = True
        self._changed.set()
