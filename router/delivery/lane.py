"""One shard's outbox on its way to one destination: in order, in batches, nothing skipped."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

from router.delivery.aliases import AliasWorker
from router.delivery.attempt import Attempt, Attempts, Destination, Held, Waiting
from router.delivery.gate import Gate
from router.errors import DeliveryError
from router.store import Entry, Outbox, Parked, People, Steps
from router.telemetry import Metrics
from router.types import Event


class Lane:
    """Delivers one shard's events to one destination, under a lease.

    Texts of a person whom the platform does not know yet are parked; the person's later texts queue up behind them,
    everybody else's go on.
    """

    def __init__(
        self,
        held: Held,
        destination: Destination,
        outbox: Outbox,
        people: People,
        aliases: AliasWorker | None,
        metrics: Metrics,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._held = held
        self._destination = destination
        self._platform = destination.platform
        self._outbox = outbox
        self._people = people
        self._aliases = aliases
        self._metrics = metrics
        self._clock = clock
        self._attempts = Attempts(held, destination, metrics, clock, monotonic)
        self._news = asyncio.Event()
        self._released: asyncio.Queue[str] = asyncio.Queue()
        #: Whoever failed alone is tried again at its own pace, and holds up nobody else.
        self._parked_gate = Gate(monotonic, random.Random())  # noqa: S311 (jitter, not a secret)
        self._parked: set[str] = set()
        #: Held while the store is told what became of parked texts and `_parked` is brought in line with it.
        self._books = asyncio.Lock()
        self._position = ""
        self._ahead: set[str] = set()
        self._stopping = False

    @property
    def shard(self) -> int:
        """The shard that is delivered."""
        return self._held.lease.shard

    @property
    def in_flight(self) -> bool:
        """Whether an attempt is under way now."""
        return self._attempts.in_flight > 0

    @property
    def grace(self) -> float:
        """How long it may need beyond what all may, in seconds: its events can be sent a second time."""
        return 0.0

    def notify(self) -> None:
        """The shard has new entries."""
        self._news.set()

    def release(self, sender: str) -> None:
        """The sender's alias exists: its parked texts can go."""
        self._released.put_nowait(sender)

    async def run(self) -> None:
        """Delivers until `stop`, from what the store says. Raises `LeaseLost`, `StoreUnavailable`."""
        self._parked.clear()
        self._released = asyncio.Queue()
        self._position, self._ahead = await self._outbox.position(self.shard, self._destination.name)
        for sender in await self._outbox.parked(self.shard, self._destination.name):
            head = await self._head(sender)
            self._wait(sender, head.joined if head else self._clock())
        try:
            async with asyncio.TaskGroup() as tasks:
                releasing = tasks.create_task(self._release_parked())
                await self._follow()
                releasing.cancel()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _follow(self) -> None:
        """Works through the outbox, then waits for news of it."""
        while not self._stopping:
            self._news.clear()
            entries = await self._outbox.read(self.shard, self._position, self._platform.batch_size)
            if entries:
                await self._settle(entries)
            else:
                await self._news.wait()

    def stop(self) -> None:
        """Ends `run` after the attempt that is under way."""
        self._stopping = True
        self._news.set()

    async def _settle(self, entries: list[Entry]) -> None:
        """Sees to it that each entry is delivered, parked, passed over or given up on."""
        pending = await self._take_up(entries, entries, [])
        while pending and not self._stopping:
            attempt = await self._attempts.make(self._batch(pending), self._destination.gate)
            if attempt.settled:
                pending = await self._note_attempt(entries, pending, attempt)
            elif len(pending) < self._platform.batch_size:
                # One text that nobody takes must not hide that others would be taken.
                more = await self._outbox.read(self.shard, entries[-1].id, self._platform.batch_size - len(pending))
                entries += more
                pending = await self._take_up(entries, more, pending)

    async def _take_up(self, entries: list[Entry], fresh: Sequence[Entry], pending: list[Entry]) -> list[Entry]:
        """The open ones with those of the fresh entries that are to be delivered; the rest is parked or passed over."""
        steps, parked, wanted = await self._sort([entry for entry in fresh if entry.id not in self._ahead])
        pending = pending + wanted
        if parked or (fresh and not pending):
            self._advance(steps, entries, pending)
            await self._record(steps, parked)
        return pending

    async def _note_attempt(self, entries: list[Entry], pending: list[Entry], attempt: Attempt[Entry]) -> list[Entry]:
        """Records an attempt; what is still open. A sender who failed while others did not waits by itself."""
        steps = Steps()
        self._give_up(steps, attempt)
        failed = {entry.event.message.sender for entry in attempt.failed} if attempt.taken else set()
        still_open, parked = [], []
        for entry in pending:
            sender = entry.event.message.sender
            if entry.id in attempt.settled:
                continue
            if sender in failed:
                steps.park(sender, entry)
                parked.append(sender)
            else:
                still_open.append(entry)
        self._advance(steps, entries, still_open)
        await self._record(steps, parked)
        return still_open

    def _advance(self, steps: Steps, entries: Sequence[Entry], pending: Sequence[Entry]) -> None:
        """Moves the position to before the first open entry, and notes the settled ones beyond it."""
        opened = {entry.id for entry in pending}
        first_open = next((i for i, entry in enumerate(entries) if entry.id in opened), len(entries))
        if first_open:
            self._position = entries[first_open - 1].id
        self._ahead = {entry.id for entry in entries[first_open:] if entry.id not in opened}
        steps.position(self._position, sorted(self._ahead))

    async def _sort(self, entries: Sequence[Entry]) -> tuple[Steps, list[str], list[Entry]]:
        """What to park (as steps, with its senders) and what to deliver; the rest is not for this platform."""
        wanted = [
            entry for entry in entries if self._destination.name in entry.destinations and self._wanted(entry.event)
        ]
        unknown = await self._unknown(wanted)
        steps, parked, pending = Steps(), [], []
        for entry in wanted:
            sender = entry.event.message.sender
            if sender in self._parked or sender in unknown:
                steps.park(sender, entry)
                parked.append(sender)
            else:
                pending.append(entry)
        return steps, parked, pending

    def _wanted(self, event: Event) -> bool:
        wanted = self._platform.wants(event)
        if not wanted:
            self._metrics.deliveries.labels(self._destination.name, "ignored").inc()
        return wanted

    async def _unknown(self, entries: Sequence[Entry]) -> set[str]:
        """The senders whose alias did not exist when they wrote, and does not now."""
        if not self._platform.needs_alias:
            return set()
        senders = {
            entry.event.message.sender for entry in entries if self._destination.name not in entry.known
        } - self._parked
        return senders - await self._people.known(self._destination.name, sorted(senders)) if senders else senders

    async def _record(self, steps: Steps, parked: Sequence[str]) -> None:
        async with self._books:
            await self._outbox.settle(self._held.lease, self._destination.name, steps)
            for sender in parked:
                self._wait(sender, self._clock())

    def _wait(self, sender: str, since: float) -> None:
        # Also called for a sender that was let go while its next text was on the way here.
        if sender not in self._parked:
            self._parked.add(sender)
            if self._aliases:
                self._aliases.add(sender, since, self.release, self._give_up_on)
            else:
                self.release(sender)

    def _batch(self, pending: Sequence[Waiting]) -> list[Waiting]:
        if not self._platform.one_per_sender:
            return list(pending[: self._platform.batch_size])
        first = {entry.event.message.sender: entry for entry in reversed(pending)}
        return list(reversed(first.values()))[: self._platform.batch_size]

    def _give_up(self, steps: Steps, attempt: Attempt[Any]) -> None:
        for entry, error in attempt.dead:
            steps.dead(error.reason, self._clock(), self._destination.name, entry)

    async def _release_parked(self) -> None:
        """Delivers the texts of senders whose alias exists by now, the oldest of each, several senders at a time."""
        senders: dict[str, None] = {}
        while not self._stopping:
            released = [] if senders else [await self._released.get()]
            while not self._released.empty():
                released.append(self._released.get_nowait())
            if released and self._platform.needs_alias:
                await self._note_known(released)
            if released:
                senders |= dict.fromkeys(released)
            await self._deliver_parked(senders)

    async def _note_known(self, senders: Sequence[str]) -> None:
        steps = Steps()
        for sender in senders:
            steps.known(sender)
        await self._outbox.settle(self._held.lease, self._destination.name, steps)

    async def _deliver_parked(self, senders: dict[str, None]) -> None:
        """One attempt; takes those out of `senders` of whom nothing is parked any more."""
        chosen = list(senders)[: self._platform.batch_size]
        for sender in chosen:
            senders[sender] = senders.pop(sender)  # to the end: who fails does not keep the others waiting
        heads = await asyncio.gather(*(self._head(sender) for sender in chosen))
        batch = [head for head in heads if head]
        steps = Steps()
        done: list[str] = []
        if batch:
            attempt = await self._attempts.make(batch, self._parked_gate)
            self._give_up(steps, attempt)
            done = [entry.event.message.sender for entry in (*attempt.taken, *(entry for entry, _ in attempt.dead))]
        gone = [sender for sender, head in zip(chosen, heads, strict=True) if head is None]
        await self._unpark(senders, steps, [*((sender, 1) for sender in done), *((sender, 0) for sender in gone)])

    async def _head(self, sender: str) -> Parked | None:
        entries = await self._outbox.parked_entries(self.shard, self._destination.name, sender, 1)
        return entries[0] if entries else None

    async def _unpark(self, senders: dict[str, None], steps: Steps, settled: Sequence[tuple[str, int]]) -> None:
        """Takes settled texts off the parked ones; a sender with none left is parked no more."""
        for sender, count in settled:
            steps.unpark(sender, count)
        if not steps.arguments:
            return
        async with self._books:
            left = await self._outbox.settle(self._held.lease, self._destination.name, steps)
            for (sender, _), count in zip(settled, left, strict=True):
                if not count:
                    self._parked.discard(sender)
                    del senders[sender]

    async def _give_up_on(self, sender: str, error: DeliveryError) -> None:
        """The platform refuses the sender's alias for good: so it would all of the sender's texts."""
        while entries := await self._outbox.parked_entries(self.shard, self._destination.name, sender, 100):
            steps = Steps()
            for entry in entries:
                steps.dead(error.reason, self._clock(), self._destination.name, entry)
            steps.unpark(sender, len(entries))
            async with self._books:
                left = await self._outbox.settle(self._held.lease, self._destination.name, steps)
                if not left[0]:
                    self._parked.discard(sender)
            self._metrics.deliveries.labels(self._destination.name, "dead").inc(len(entries))
        self._parked.discard(sender)
