"""What is done to rows after they are written: sealed into files, erased on request, removed when their time is over.

All of it under the shard's lease, one thing at a time; each step can be repeated by whoever holds the shard next.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import structlog

from router.errors import DamagedLedger, LeaseLost, LedgerUnavailable, StoreUnavailable
from router.ledger.drafts import Provider
from router.ledger.reading import walk
from router.ledger.rows import Row, hash_of, read_row, without_private
from router.ledger.segments import Packing, Segments
from router.store import LEDGER, Head, Lease, Ledger, LedgerState, Outbox, Steps
from router.tasks import in_thread
from router.telemetry import Metrics
from router.types import Channel

_log = structlog.get_logger("router.ledger.keeping")
#: How many rows are read at once.
_AT_ONCE = 500
#: The pause when the files do not answer, in seconds: the first, doubled each time, and the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class Recording:
    """How the ledger is kept. A segment is closed when it has `seal_rows` rows or is `seal_after` old; removed when its
    newest row is `keep` old; both in seconds. `providers` by account, `channels` by program.
    """

    segments: Segments
    providers: Mapping[str, Provider]
    seal_rows: int
    seal_after: float
    keep: float
    channels: Mapping[str, Channel] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Sealed:
    """A segment with a file: the number of its last row, and when that was accepted, in unix seconds."""

    segment: int
    last: int
    newest: float


class Keeper:
    """Keeps one shard's rows under a lease. What cannot be done now waits, and holds up no row."""

    def __init__(
        self,
        lease: Lease,
        still: Callable[[], bool],
        recording: Recording,
        outbox: Outbox,
        ledger: Ledger,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        """`still`: whether the shard is held for sure."""
        self._lease = lease
        self._shard = lease.shard
        self._still = still
        self._segments = recording.segments
        self._keep = recording.keep
        self._outbox = outbox
        self._ledger = ledger
        self._metrics = metrics
        self._clock = clock
        self._wanted = asyncio.Event()
        #: The oldest sealed segment that was looked up.
        self._oldest: _Sealed | None = None

    def notify(self) -> None:
        """There is something to do."""
        self._wanted.set()

    async def run(self) -> None:
        """Works until the lease is lost. What fails is tried again, after a pause if it is the files."""
        pause = _FIRST_PAUSE
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self.catch_up()
                pause = _FIRST_PAUSE
            except LeaseLost:
                return
            except DamagedLedger as error:
                self._failed("ledger damaged, run keyroute ledger --verify", error)
            except (LedgerUnavailable, StoreUnavailable) as error:
                self._failed("ledger not sealed, its rows wait in the store", error)
                self._wanted.set()
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            except Exception:  # noqa: BLE001 (whatever it is, it must not end the keeping of this shard for good)
                _log.exception("ledger not kept, will be tried again", shard=self._shard)
                self._metrics.failures.labels("ledger").inc()
                self._wanted.set()
                await asyncio.sleep(_LONGEST_PAUSE)

    def _failed(self, what: str, error: Exception) -> None:
        _log.warning(what, shard=self._shard, error=str(error))
        self._metrics.ledger_segments.labels("failed").inc()

    async def catch_up(self) -> None:
        """Does all that is to be done. Raises `LedgerUnavailable`, `DamagedLedger`, `StoreUnavailable`, `LeaseLost`."""
        state = await self._ledger.state(self._shard)
        for segment in range(state.sealed + 1, state.closed + 1):
            await self._seal(segment)
            await self._expire()
        damage = None
        for sender, head in (await self._ledger.erasures(self._shard)).items():
            try:
                await self._erase(sender, head)
            except DamagedLedger as error:  # others need not wait until that is mended
                damage = error
        if damage:
            raise damage

    async def _seal(self, segment: int) -> None:
        state = await self._ledger.state(self._shard)
        first, last = state.sealed_rows + 1, state.ends[segment]
        await self._check_place(segment, (await self._rows(first, 1))[0])
        packing = Packing()
        for at in range(first, last + 1, _AT_ONCE):
            lines = await self._rows(at, min(_AT_ONCE, last + 1 - at))
            await in_thread(packing.add, lines)
        await self._put(segment, packing)
        await self._settle(partial(Steps.sealed, segment=segment))
        self._metrics.ledger_segments.labels("sealed").inc()
        self._metrics.ledger_waiting.labels(str(self._shard)).dec(last + 1 - first)
        _log.info("ledger segment sealed", shard=self._shard, segment=segment, rows=last + 1 - first)

    async def _rows(self, first: int, count: int) -> list[bytes]:
        """Rows that only the holder of the lease can take from the store: if they are gone, somebody else is."""
        lines = await self._ledger.page(self._shard, first, count)
        if lines is None:
            raise LeaseLost(f"shard {self._shard} was taken over by another worker")
        if len(lines) < count:
            raise DamagedLedger(f"shard {self._shard}: rows from {first} on are missing in the store.")
        return lines

    async def _check_place(self, segment: int, first: bytes) -> None:
        """A file of another ledger is not written over: who begins with an empty store would lose all proof so far."""
        try:
            found = await in_thread(self._segments.read, self._shard, segment)
        except DamagedLedger:
            return  # there is none, or what a writer that was cut short has left
        if found and hash_of(found[0]) != hash_of(first):
            raise LedgerUnavailable(
                f"segment {segment} of shard {self._shard} would take the place of a file of another ledger at "
                f"{self._segments.address}. Give ledger.url a folder of its own, or move what is there elsewhere."
            )

    async def _expire(self) -> None:
        """Removes the sealed segments whose time is over; notes it first: a file that is left then goes next time."""
        state = await self._ledger.state(self._shard)
        if state.removed:
            await in_thread(self._segments.remove, self._shard, state.removed)
        while (oldest := await self._oldest_kept(state)) and self._clock() - oldest.newest > self._keep:
            await self._settle(partial(Steps.removed, segment=oldest.segment, last=oldest.last))
            for segment in range(state.removed + 1, oldest.segment + 1):
                await in_thread(self._segments.remove, self._shard, segment)
            self._metrics.ledger_segments.labels("removed").inc()
            state = await self._ledger.state(self._shard)

    async def _oldest_kept(self, state: LedgerState) -> _Sealed | None:
        """The oldest sealed segment that can be read; those before it, lost or spoilt, go when it goes.

        Its time is that of a row that is as it was written: proof is never removed by what anybody could have altered.
        """
        if self._oldest and self._oldest.segment > state.removed:
            return self._oldest
        for segment in range(state.removed + 1, state.sealed + 1):
            with suppress(DamagedLedger):
                lines = await in_thread(self._segments.read, self._shard, segment)
                row = read_row(lines[-1] if lines else b"")
                if (row.shard, row.segment) == (self._shard, segment):
                    self._oldest = _Sealed(segment, row.seq, row.public["accepted_at"])
                    return self._oldest
        return None

    async def _erase(self, sender: str, head: Head) -> None:
        # What a writer that was cut short has left may hold what is to be erased.
        await in_thread(self._segments.tidy, self._shard)
        async for segment, rows in walk(self._ledger, self._segments, self._shard, head):
            quoting = [row for row in rows if row.private is not None]
            if not quoting:
                continue
            if segment:
                await self._erase_in_file(segment, quoting)
            else:
                await self._erase_in_store(quoting)
        await self._settle(partial(Steps.erased, sender=sender, head=str(head)))
        self._metrics.ledger_segments.labels("erased").inc()

    async def _erase_in_store(self, rows: Sequence[Row]) -> None:
        for row in rows:
            line = (await self._rows(row.seq, 1))[0]
            await self._settle(partial(Steps.erase, row=row.seq, line=without_private(line)))

    async def _erase_in_file(self, segment: int, rows: Sequence[Row]) -> None:
        chosen = {row.hash.encode() for row in rows}
        lines = await in_thread(self._segments.read, self._shard, segment)
        packing = Packing()
        kept = [without_private(line) if hash_of(line) in chosen else line for line in lines]
        await in_thread(packing.add, kept)
        await self._put(segment, packing)

    async def _put(self, segment: int, packing: Packing) -> None:
        content = await in_thread(packing.finish)
        mark = str(self._lease.token)
        await in_thread(self._segments.put, self._shard, segment, content, mark, self._still)

    async def _settle(self, add: Callable[[Steps], None]) -> None:
        steps = Steps()  # beside those of the lane: each of them may come late or twice
        add(steps)
        await self._outbox.settle(self._lease, LEDGER, steps)
