"""Whether the whole ledger is as it was written, without a phone number; where each fault is, and what it means.

A chain never leaves its shard, so shards are checked one by one, and what is held in memory is the last row of each
person of one shard: some 100 bytes a person. Who can write to the files and to the store can forge a ledger that fits
together; what cannot be done unseen is to change a part of it.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import orjson

from router.errors import DamagedLedger
from router.ledger.rows import Row, read_row
from router.ledger.segments import Segments
from router.store import NO_HEAD, Ledger, LedgerState
from router.tasks import in_thread

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Fault:
    """`segment` and `row` are None for what cannot be told of a single one."""

    shard: int
    segment: int | None
    row: int | None
    meaning: str

    def __str__(self) -> str:
        segment = "" if self.segment is None else f", segment {self.segment}"
        row = "" if self.row is None else f", row {self.row}"
        return f"shard {self.shard}{segment}{row}: {self.meaning}"


class Chains:
    """The chains of one shard as far as its rows were seen. Pure."""

    def __init__(self, shard: int, first: int | None, gone: int) -> None:
        """`first`: the number of the first row, None if it cannot be known. Segments up to `gone` were removed."""
        self._shard = shard
        self._next = first
        self._gone = gone
        self._lost: set[int] = set()
        #: Hashes of rows that no other follows, cut to 16 bytes.
        self.ends: set[bytes] = set()
        #: Those of them that close a chain: nothing need point to them.
        self.closing: set[bytes] = set()
        #: Those before which something was erased, without a row that says so.
        self._unexplained: dict[bytes, tuple[int, int]] = {}
        self._begun: set[bytes] = set()
        self.rows = 0

    @property
    def next(self) -> int | None:
        """The number that the next row must have; None if it cannot be known."""
        return self._next

    def take(self, segment: int | None, line: bytes) -> Iterator[Fault]:
        """The next row, of a segment; None for one that is not sealed."""
        self.rows += 1
        try:
            row = read_row(line)
        except DamagedLedger as error:
            yield Fault(self._shard, segment, self._next, str(error))
            self._follow_damaged(line)
            self._next = None if self._next is None else self._next + 1
            return
        if row.shard != self._shard or segment not in (None, row.segment):
            yield self._fault(row, segment, f"belongs into shard {row.shard}, segment {row.segment}")
        if self._next is not None and row.seq != self._next:
            yield self._fault(row, segment, _gap(self._next, row.seq))
        self._next = row.seq + 1
        yield from self._follow(row, segment)

    def lose(self, segment: int) -> None:
        """A segment that cannot be read: what follows a row of it is believed."""
        self._lost.add(segment)
        self._next = None

    def unexplained(self) -> Iterator[Fault]:
        """Rows that something was taken out of, although nobody has asked for it."""
        for segment, row in self._unexplained.values():
            meaning = "who it was and what they said is gone, and no erasure stands on record after it"
            yield Fault(self._shard, segment, row, meaning)

    def _follow(self, row: Row, segment: int | None) -> Iterator[Fault]:
        previous, own = _short(row.previous), _short(row.hash)
        if previous in self.ends:
            self.ends.discard(previous)
            self.closing.discard(previous)
        elif row.previous != NO_HEAD.hash:
            if not self._may_begin(row, previous):
                meaning = "follows a row that is missing, or that another row follows already"
                yield self._fault(row, segment, meaning)
            self._begun.add(previous)
        self.ends.add(own)
        if row.closes:
            self.closing.add(own)
        self.explain(row)

    def explain(self, row: Row) -> None:
        """A row that says that something was to be erased accounts for all that is gone from its chain by then."""
        since = self._unexplained.pop(_short(row.previous), None)
        if not row.closes and (since or row.erased):
            self._unexplained[_short(row.hash)] = since or (row.segment, row.seq)

    def _may_begin(self, row: Row, previous: bytes) -> bool:
        """Whether the row before it may well be one that is not here any more."""
        gone = 0 < row.previous_segment <= self._gone or row.previous_segment in self._lost
        return gone and previous not in self._begun

    def _follow_damaged(self, line: bytes) -> None:
        # One changed row is one fault: what follows it is still followed, as far as it can be read.
        try:
            written = orjson.loads(line)
            self.ends.discard(_short(written["previous"]))
            self.ends.add(_short(written["hash"]))
        except (ValueError, TypeError, KeyError):
            return

    def _fault(self, row: Row, segment: int | None, meaning: str) -> Fault:
        return Fault(self._shard, row.segment if segment is None else segment, row.seq, meaning)


class Verification:
    """Reads everything, once. `rows` and `segments` say how much that was."""

    def __init__(self, ledger: Ledger, segments: Segments) -> None:
        self._ledger = ledger
        self._segments = segments
        #: Called for each sealed segment, and at the end of each shard.
        self.progress: Callable[[], None] = lambda: None
        self.rows = 0
        self.segments = 0

    async def steps(self) -> int:
        """How often `progress` will be called."""
        states = [await self._ledger.state(shard) for shard in range(self._ledger.shards)]
        return sum(state.sealed - state.removed + 1 for state in states)

    async def faults(self) -> AsyncIterator[Fault]:
        """Every fault. What is written meanwhile does no harm. Raises `LedgerUnavailable`, `StoreUnavailable`."""
        for shard in range(self._ledger.shards):
            async for fault in self._shard(shard):
                yield fault
            self.progress()

    async def _shard(self, shard: int) -> AsyncIterator[Fault]:
        state = await self._ledger.state(shard)
        chains = Chains(shard, state.removed_rows + 1, state.removed)
        async for segment, lines in self._pages(shard, state, chains):
            if isinstance(lines, DamagedLedger):
                yield Fault(shard, segment, None, str(lines))
                continue
            for line in lines:
                for fault in chains.take(segment, line):
                    yield fault
        self.rows += chains.rows
        if chains.next is not None and chains.next <= state.rows:
            yield Fault(shard, None, chains.next, _gap(chains.next, state.rows + 1))
        if (surplus := await self._ledger.surplus(shard)) > 0:
            yield Fault(shard, None, None, f"{surplus} row(s) in the store were never written by keyroute: forged")
        async for fault in self._ends(shard, chains, state):
            yield fault
        for fault in chains.unexplained():
            yield fault

    async def _pages(
        self, shard: int, start: LedgerState, chains: Chains
    ) -> AsyncIterator[tuple[int | None, Sequence[bytes] | DamagedLedger]]:
        """All rows in their order, of files by segment; what makes a file unreadable in place of its rows."""
        number, seen, begun = start.removed + 1, start.removed_rows, False
        while True:
            state = await self._ledger.state(shard)
            if number <= state.sealed:
                lines = await self._file(shard, number)
                if isinstance(lines, DamagedLedger):
                    chains.lose(number)
                    if number <= (await self._ledger.state(shard)).removed:
                        lines = []  # its time was over just now
                elif begun:  # its rows were in the store when the first of them were read
                    lines = [line for line in lines if _seq(line) > seen]
                yield number, lines
                number += 1
                continue
            seen = max(seen, state.sealed_rows)
            page = await self._ledger.page(shard, seen + 1, _AT_ONCE)
            if page is None:
                continue
            page = page[: max(0, start.rows - seen)]
            if not page:
                return
            begun = True
            seen += len(page)
            yield None, page

    async def _file(self, shard: int, number: int) -> list[bytes] | DamagedLedger:
        try:
            return await in_thread(self._segments.read, shard, number)
        except DamagedLedger as error:
            return error
        finally:
            self.segments += 1
            self.progress()

    async def _ends(self, shard: int, chains: Chains, start: LedgerState) -> AsyncIterator[Fault]:
        """The last rows of people, as the store has them, against those that were seen."""
        ends = chains.ends
        met: set[bytes] = set()
        strange: set[tuple[bytes, int]] = set()
        async for heads in self._ledger.every_head(shard):
            for head in heads:
                end = _short(head.hash)
                if end in ends:
                    ends.discard(end)
                    met.add(end)
                elif end not in met and head.segment > start.removed:
                    strange.add((end, head.segment))
        written, followed = await self._since(shard, start, chains)
        removed = (await self._ledger.state(shard)).removed
        for end, segment in strange:
            if end not in written and segment > removed:
                yield Fault(shard, segment, None, "the last row of a person, as the store has it, is missing")
        left = ends - chains.closing - followed - written
        if left:
            meaning = f"{len(left)} row(s) end a chain that nobody has: forged, or the person's record is gone"
            yield Fault(shard, None, None, meaning)

    async def _since(self, shard: int, start: LedgerState, chains: Chains) -> tuple[set[bytes], set[bytes]]:
        """Hashes of the rows written since the start, and of those that they follow."""
        written: set[bytes] = set()
        followed: set[bytes] = set()
        seen, number = start.rows, start.closed + 1
        until = (await self._ledger.state(shard)).rows
        while seen < until and (page := await self._ledger.page(shard, seen + 1, _AT_ONCE)) != []:
            if page is None:  # they went into files while they were looked for
                page = await in_thread(self._segments.read, shard, number)
                number += 1
            # Of a file, some were in the store when they were looked at.
            for row in [row for row in _readable(page) if row.seq > seen]:
                written.add(_short(row.hash))
                followed.add(_short(row.previous))
                chains.explain(row)
            seen = max(seen, _seq(page[-1]) if page else seen)
        return written, followed


def _readable(lines: Sequence[bytes]) -> Iterator[Row]:
    """The rows that are as they were written; the others are found when they are checked."""
    for line in lines:
        with suppress(DamagedLedger):
            yield read_row(line)


def _short(digest: str) -> bytes:
    return bytes.fromhex(digest)[:16]


def _seq(line: bytes) -> int:
    try:
        return int(orjson.loads(line)["seq"])
    except (ValueError, TypeError, KeyError):
        return 1 << 62


def _gap(expected: int, found: int) -> str:
    if found > expected:
        return f"{found - expected} row(s) before {found} are missing"
    return f"stands where row {expected} belongs"
