"""One shard's rows of the ledger of consent: made from the outbox, each once, in the order of acceptance."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import orjson

from router.config import Settings
from router.delivery.attempt import Held
from router.ledger.drafts import ERASE, SEAL, Asked, Provider, erased, read_entry
from router.ledger.keeping import Keeper, Recording
from router.ledger.rows import Draft, write_row
from router.ledger.segments import Segments
from router.routing import API_ACCOUNT, Routing
from router.store import LEDGER, NO_HEAD, Entry, Head, Ledger, Outbox, Steps
from router.tasks import cancelled
from router.telemetry import Metrics

#: How many entries are read at once, and after how many rows a batch is big enough.
_READ_AT_ONCE, _ROWS_AT_ONCE = 200, 200
#: How long it may take until the store is told of entries that are none of the ledger's, in seconds. Most are.
_PASSED_EVERY = 0.25
#: After how many entries others have their turn: texts are answered on the same loop.
_TURN = 25
_NONCE = 16
#: The longest: five of them are never less than five years.
_YEAR = 366 * 86_400


def recording(settings: Settings, routing: Routing) -> Recording:
    """How the configuration has the ledger kept."""
    carriers = {name: account.carrier for name, account in routing.accounts.items()}
    providers = {
        name: Provider(settings.accounts[name].carrier, carrier.replies_inline or carrier.sends)
        for name, carrier in carriers.items()
    }
    return Recording(
        Segments(settings.ledger.url),
        providers | {API_ACCOUNT: Provider(None, answers=True)},
        settings.ledger.seal_rows,
        settings.ledger.seal_minutes * 60,
        settings.ledger.keep_years * _YEAR,
        {name: program.channel for name, program in settings.programs.items()},
    )


class LedgerLane:
    """Appends rows under a lease. A batch of entries is settled with its rows in one call, so none is made twice."""

    def __init__(
        self,
        held: Held,
        recording: Recording,
        outbox: Outbox,
        ledger: Ledger,
        metrics: Metrics,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._held = held
        self._recording = recording
        self._outbox = outbox
        self._ledger = ledger
        self._metrics = metrics
        self._clock = clock
        self._random_bytes = random_bytes
        self._news = asyncio.Event()
        self._stopping = False
        self._position = "0-0"
        self._waits = False
        self._passed: asyncio.TimerHandle | None = None
        self._keeper = Keeper(
            held.lease,
            lambda: not self._stopping and monotonic() < held.until,
            recording,
            outbox,
            ledger,
            metrics,
            clock,
        )

    @property
    def shard(self) -> int:
        """The shard whose rows are made."""
        return self._held.lease.shard

    @property
    def in_flight(self) -> bool:
        """Never: what is cut short is done again by whoever holds the shard next."""
        return False

    @property
    def grace(self) -> float:
        """How long it may need beyond what all may, in seconds."""
        return 0.0

    def notify(self) -> None:
        """The shard has new entries."""
        self._news.set()

    def offer(self, after: str, entries: Sequence[Entry]) -> None:
        """The shard has these new entries, which follow the one with the id `after`: if none of them is for the ledger,
        nobody need ask the store.
        """
        if not self._waits or after != self._position or any(LEDGER in entry.destinations for entry in entries):
            self.notify()
            return
        self._position = entries[-1].id
        self._passed = self._passed or asyncio.get_running_loop().call_later(_PASSED_EVERY, self.notify)

    def stop(self) -> None:
        """Ends `run`, and lets no file be put in place any more."""
        self._stopping = True
        self._news.set()

    async def run(self) -> None:
        """Makes rows until `stop`, from what the store says. Raises `LeaseLost`, `StoreUnavailable`."""
        keeping = asyncio.create_task(self._keeper.run())
        try:
            await self._begin()
            self._keeper.notify()  # what an earlier holder has left undone
            while not self._stopping:
                self._news.clear()
                if await self._append() or self._stopping:
                    continue
                await self._wait()
            await self._tell_passed()
        finally:
            await cancelled([keeping])
            # Whoever holds the shard next counts them.
            self._metrics.ledger_waiting.labels(str(self.shard)).set(0)

    async def catch_up(self) -> None:
        """Makes rows of all that waits, and does all that is to be done to them. Raises what `Keeper.catch_up` does."""
        await self._begin()
        while await self._append():
            pass
        await self._keeper.catch_up()

    async def _begin(self) -> None:
        self._position, _ = await self._outbox.begin(self._held.lease, LEDGER)
        state = await self._ledger.state(self.shard)
        self._rows, self._segment, self._open_from = state.rows, state.closed + 1, state.open_from
        first = await self._ledger.page(self.shard, self._open_from, 1)
        self._metrics.ledger_waiting.labels(str(self.shard)).set(state.rows - state.sealed_rows)
        #: When the first row of the open segment was accepted.
        self._opened: float | None = orjson.loads(first[0])["public"]["accepted_at"] if first else None
        #: Whether the keeper will have something to do.
        self._keep = False

    async def _wait(self) -> None:
        """Until there is something new. Closes the open segment when it is old enough."""
        left = None if self._opened is None else self._opened + self._recording.seal_after - self._clock()
        if left is not None and left <= 0:
            steps = Steps(in_order=True)
            self._close(steps)
            await self._settle(steps)
            return
        self._waits = True
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._news.wait()
        finally:
            self._waits = False

    async def _append(self) -> bool:
        """Makes rows of what comes next in the outbox; whether there was anything."""
        entries = await self._outbox.read(self.shard, self._position, _READ_AT_ONCE)
        if not entries:
            await self._tell_passed()
            return False
        last, work = await self._take(entries)
        heads = await self._ledger.heads(list(dict.fromkeys(draft.sender for _, drafts in work for draft in drafts)))
        steps = Steps(in_order=True)
        for count, (asked, drafts) in enumerate(work, 1):
            if asked:
                self._begin_asked(steps, asked, heads)
            for draft in drafts:
                self._write(steps, draft, heads)
            if asked and asked.what == ERASE:
                steps.forget(asked.sender, asked.at)
            if count % _TURN == 0:
                await asyncio.sleep(0)
        if self._rows + 1 - self._open_from >= self._recording.seal_rows:
            self._close(steps)
        self._position = last
        self._place(steps)
        await self._settle(steps)
        rows = sum(len(drafts) for _, drafts in work)
        self._metrics.ledger_rows.inc(rows)
        self._metrics.ledger_waiting.labels(str(self.shard)).inc(rows)
        return True

    async def _tell_passed(self) -> None:
        """Tells the store of entries that were none of the ledger's."""
        if self._passed:
            steps = Steps(in_order=True)
            self._place(steps)
            await self._settle(steps)

    def _place(self, steps: Steps) -> None:
        """Everything up to here is done."""
        steps.position(self._position, [])
        if self._passed:
            self._passed.cancel()
            self._passed = None

    async def _take(self, entries: Sequence[Entry]) -> tuple[str, list[tuple[Asked | None, list[Draft]]]]:
        """What a batch of the entries asks for, with the rows that it makes; the id of the last entry in the batch."""
        work: list[tuple[Asked | None, list[Draft]]] = []
        last, rows = "", 0
        for count, entry in enumerate(entries, 1):
            if rows >= _ROWS_AT_ONCE:
                break
            last = entry.id
            if LEDGER in entry.destinations:
                found = read_entry(entry, self._recording.providers, self._recording.channels)
                if isinstance(found, Asked):
                    work.append((found, [erased(found, entry.joined)] if found.what == ERASE else []))
                else:
                    work.append((None, found))
                rows += len(work[-1][1])
            if count % _TURN == 0:
                await asyncio.sleep(0)
        return last, work

    def _begin_asked(self, steps: Steps, asked: Asked, heads: dict[str, Head]) -> None:
        if asked.what == SEAL:
            self._close(steps)
        elif heads[asked.sender] != NO_HEAD:
            steps.erasure(asked.sender, str(heads[asked.sender]))
            self._keep = True

    def _write(self, steps: Steps, draft: Draft, heads: dict[str, Head]) -> None:
        nonce = self._random_bytes(_NONCE)
        self._rows += 1
        line, head = write_row(draft, self.shard, self._rows, self._segment, heads[draft.sender], nonce)
        heads[draft.sender] = head
        steps.row(draft.sender, line, str(head))
        if self._opened is None:
            self._opened = draft.public["accepted_at"]

    def _close(self, steps: Steps) -> None:
        """Closes the open segment, if there is anything in it."""
        if self._rows >= self._open_from:
            steps.close_segment()
            self._segment, self._open_from, self._opened = self._segment + 1, self._rows + 1, None
            self._keep = True

    async def _settle(self, steps: Steps) -> None:
        await self._outbox.settle(self._held.lease, LEDGER, steps)
        if self._keep:
            self._keep = False
            self._keeper.notify()
