"""One shard's outbox on its way to one destination: in order, nothing skipped, everything recorded."""

import asyncio
import random
from collections.abc import Callable, Sequence

import structlog

from router.delivery.aliases import AliasWorker
from router.delivery.attempt import Held, Outcome, Waiting, adapter_fault
from router.delivery.books import Books
from router.delivery.dispatch import Dispatch, Line
from router.delivery.following import Following
from router.delivery.window import Window
from router.errors import DeliveryError, StoreUnavailable
from router.store import Entry, Outbox, People, Steps
from router.tasks import cancelled
from router.telemetry import Metrics
from router.types import Event

_log = structlog.get_logger("router.delivery.lane")

#: How many entries are held in memory from the first open one on.
_WINDOW = 500
#: How many people's events may wait in the store by themselves before no more is read.
_MOST_PARKED = 10_000
#: How many people's waiting events are fetched at once, and how many of each.
_FETCHED_AT_ONCE, _FETCHED_EACH = 100, 20
#: Under load all lanes record what they have delivered at the same moments, this many seconds apart: the store then
#: syncs once for all of them. What a process that is killed had delivered since is delivered again.
_RECORD_EVERY = 0.02
#: The pause of a person whose event fails while others are taken, in seconds: the first, doubled each time, and the
#: longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 60.0
#: Before a store is asked again that did not answer, in seconds.
_STORE_PAUSE = 0.2


class Lane:
    """Delivers one shard's events to one destination, under a lease.

    Texts of a person whom the platform does not know yet are parked in the store; the person's later texts queue up
    behind them, everybody else's go on.
    """

    def __init__(
        self,
        held: Held,
        dispatch: Dispatch,
        outbox: Outbox,
        people: People,
        aliases: AliasWorker | None,
        metrics: Metrics,
        clock: Callable[[], float],
        catching_up: asyncio.Lock,
    ) -> None:
        """`catching_up` as for `Following`."""
        self.held = held
        self.closed = False
        self._dispatch = dispatch
        self._platform = dispatch.destination.platform
        self._name = dispatch.destination.name
        self._outbox = outbox
        self._people = people
        self._aliases = aliases
        self._metrics = metrics
        self._clock = clock
        self._catching_up = catching_up
        self._chance = random.Random()  # noqa: S311 (jitter, not a secret)
        self._begun = False
        self._to_record = asyncio.Event()
        self._recording = False
        self._begin(Window("0-0", ()))

    def _begin(self, window: Window) -> None:
        self._window = window
        self._recorded = window.books()
        self._following = Following(self._outbox, self.shard, window, self._catching_up, self._has_room, self._take_up)
        self._lines: dict[str, Line] = {}
        self._books = Books()
        self._asking: list[Line] = []
        self._to_fetch: dict[Line, None] = {}

    @property
    def shard(self) -> int:
        """The shard that is delivered."""
        return self.held.lease.shard

    @property
    def in_flight(self) -> bool:
        """Whether a request is under way now, or was, and the store does not know yet what became of it."""
        unrecorded = self._to_record.is_set() or self._recording
        return unrecorded or any(line.under_way for line in self._lines.values())

    @property
    def grace(self) -> float:
        """How long it may need beyond what all may, in seconds: its events can be sent a second time."""
        return 0.0

    def notify(self) -> None:
        """The shard has new entries."""
        self._following.look()

    def offer(self, after: str, entries: Sequence[Entry]) -> None:
        """The shard has these new entries, which follow the one with the id `after`."""
        if self._begun:  # else `run` finds them in the store, once it knows what is settled and what is parked
            self._following.offer(after, entries)

    def release(self, sender: str) -> None:
        """The sender's alias exists: what waits for it can go."""
        if line := self._lines.get(sender):
            self._books.known[sender] = True
            self._fetch(line)

    def refuse(self, sender: str, error: DeliveryError) -> None:
        """The platform refuses the sender's alias for good: so it would all of the sender's texts."""
        if line := self._lines.get(sender):
            line.refused = error
            self._fetch(line)

    def forget(self, sender: str) -> None:
        """The sender's alias does not exist any more."""
        self._books.known[sender] = False
        self._to_record.set()

    async def run(self) -> None:
        """Delivers until `stop`, from what the store says. Raises `LeaseLost`, `StoreUnavailable`."""
        self._begin(Window(*await self._outbox.begin(self.held.lease, self._name)))
        for sender in await self._outbox.parked(self.shard, self._name):
            line = self._lines[sender] = Line(self, sender, parked=True)
            self._make_known(line, self._clock())
        self._begun = True
        tasks = [asyncio.create_task(self._following.run()), asyncio.create_task(self._keep_books())]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            self._begun = False
            await cancelled(tasks)
            for line in self._lines.values():
                line.gone = True

    def stop(self) -> None:
        """Ends `run` after the requests that are under way."""
        self.closed = True
        self._to_record.set()

    def _has_room(self) -> bool:
        return not self.closed and len(self._window) < _WINDOW and len(self._lines) < _MOST_PARKED

    def _take_up(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if not self._window.take_in(entry.id):
                continue
            if self._name not in entry.destinations or not self._wanted(entry.event):
                self._window.settle(entry.id)
                self._to_record.set()
            else:
                self._join(entry)

    def _wanted(self, event: Event) -> bool:
        try:
            wanted = self._platform.wants(event)
        except Exception as error:  # noqa: BLE001 (as in router.delivery.attempt)
            adapter_fault(error, self._name, self._metrics)
            return True  # sending it will show what becomes of it
        if not wanted:
            self._metrics.deliveries.labels(self._name, "ignored").inc()
        return wanted

    def _join(self, entry: Entry) -> None:
        """Puts an entry at the end of its sender's line."""
        sender = entry.event.message.sender
        line = self._lines.get(sender)
        if line is None:
            line = self._lines[sender] = Line(self, sender)
            if self._platform.needs_alias and self._name not in entry.known:
                line.asking = True
                self._asking.append(line)
                self._to_record.set()
        if line.parked:
            self._park(line, entry)
            return
        line.waiting.append(entry)
        if not (line.asking or line.queued or line.under_way):
            self._dispatch.add(line)

    async def _ask(self) -> None:
        """Sends those whose alias has come to exist since they wrote, and parks the others."""
        asked = list(self._asking)
        try:
            known = await self._people.known(self._name, [line.sender for line in asked])
        except StoreUnavailable as error:
            await self._store_away("people not looked up", error)
            return
        for line in asked:
            line.asking = False
            if line.sender in known:
                self._dispatch.add(line)
            else:
                self._make_known(line, line.waiting[0].joined)
                self._park_all(line)
        del self._asking[: len(asked)]

    def _make_known(self, line: Line, since: float) -> None:
        if self._aliases:
            self._aliases.add(line.sender, since, self.release, self.refuse)
        else:
            self._fetch(line)

    def _park_all(self, line: Line) -> None:
        line.parked = True
        waiting = list(line.waiting)
        line.waiting.clear()
        for item in waiting:
            self._park(line, item)

    def _park(self, line: Line, item: Waiting) -> None:
        if isinstance(item, Entry):  # else it is parked already
            line.untold += 1
            self._books.parked.append((line, item))
            self._to_record.set()

    def _fetch(self, line: Line) -> None:
        self._to_fetch[line] = None
        self._to_record.set()

    def sent(self, line: Line, outcome: Outcome) -> None:
        """What became of the first events of a line."""
        for error in outcome.settled:
            self._settle(line, line.waiting.popleft(), error)
        if outcome.settled:
            line.failures, line.failed_at = 0, float("inf")
        if outcome.failed and outcome.alone:
            self._hold_back(line, outcome.failed)
        elif line.waiting and not self.closed:
            self._dispatch.add(line)
        elif not (line.parked or line.waiting):
            del self._lines[line.sender]
        self._to_record.set()

    def _settle(self, line: Line, item: Waiting, error: DeliveryError | None) -> None:
        if isinstance(item, Entry):
            self._window.settle(item.id)
            if self._platform.makes_known and error is None and self._name not in item.known:
                self._books.known[line.sender] = True
        else:
            self._books.unparked[line] = self._books.unparked.get(line, 0) + 1
        if error:
            _log.warning("event given up", destination=self._name, event_id=item.event.id, reason=error.reason)
            self._metrics.deliveries.labels(self._name, "dead").inc()
            self._books.dead.append((item, error))

    def _hold_back(self, line: Line, error: DeliveryError) -> None:
        """A person whose event fails while others are taken waits alone, and in the store, so that the others go on."""
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**line.failures) * self._chance.uniform(0.5, 1.0)
        line.failures = min(line.failures + 1, 16)
        if line.parked:
            again: Callable[[Line], None] = self._dispatch.add
        else:
            self._park_all(line)
            again = self._fetch
        asyncio.get_running_loop().call_later(error.retry_after or pause, self._again, again, line)

    def _again(self, begin: Callable[[Line], None], line: Line) -> None:
        if not (self.closed or line.gone):
            begin(line)

    async def _keep_books(self) -> None:
        """Records what became of events, and fetches those that have waited by themselves."""
        while not (self.closed and not self.in_flight):
            await self._to_record.wait()
            self._to_record.clear()
            self._recording = True
            await self._record()
            self._recording = False
            if self.closed:
                continue
            if self._asking:
                await self._ask()
            if self._to_fetch:
                await self._fetch_parked()
            elif not self._books.parked:
                await asyncio.sleep(_RECORD_EVERY - asyncio.get_running_loop().time() % _RECORD_EVERY)

    async def _record(self) -> None:
        """Tells the store, as often as it takes."""
        books, self._books = self._books, Books()
        for _, entry in books.parked:
            self._window.settle(entry.id)
        position = self._window.books()
        if position == self._recorded and not books:
            return
        left = await self._told(books.steps(self._name, self._clock(), position))
        self._recorded = position
        for line, _ in books.parked:
            line.untold -= 1
        for line, count in zip(books.unparked, left, strict=True):
            if line.waiting or line in self._books.unparked:
                continue  # more of them are settled meanwhile, or will be
            if count or line.untold:
                self._fetch(line)
            else:
                del self._lines[line.sender]
        self._following.made_room()

    async def _told(self, steps: Steps) -> list[int]:
        while True:
            try:
                return await self._outbox.settle(self.held.lease, self._name, steps)
            except StoreUnavailable as error:
                await self._store_away("deliveries not recorded", error)

    async def _fetch_parked(self) -> None:
        """Sends the first of those who wait by themselves, or gives them up."""
        lines = list(self._to_fetch)[:_FETCHED_AT_ONCE]
        senders = [line.sender for line in lines]
        try:
            found = await self._outbox.parked_entries(self.shard, self._name, senders, _FETCHED_EACH)
        except StoreUnavailable as error:
            await self._store_away("waiting events not read", error)
            found = []
        for line, items in zip(lines if found else [], found, strict=True):
            del self._to_fetch[line]
            if line.queued or line.under_way or line.waiting or line in self._books.unparked:
                continue  # what was found may have been sent meanwhile
            line.waiting.extend(items)
            if not items and line.untold:
                self._to_fetch[line] = None
            elif not items:
                del self._lines[line.sender]
            elif line.refused:
                while line.waiting:
                    self._settle(line, line.waiting.popleft(), line.refused)
            else:
                self._dispatch.add(line)
        if self._to_fetch or bool(self._books):
            self._to_record.set()

    async def _store_away(self, what: str, error: StoreUnavailable) -> None:
        _log.warning(f"{what}, tried again", shard=self.shard, error=str(error))
        self._to_record.set()
        await asyncio.sleep(_STORE_PAUSE)
