"""A person's rows, found by walking back from the last one: only segments that hold some are read."""

from collections.abc import AsyncIterator, Iterable

from router.errors import DamagedLedger
from router.ledger.rows import Row, hash_of, read_row
from router.ledger.segments import Segments
from router.store import NO_HEAD, Head, Ledger
from router.tasks import in_thread

_AT_ONCE = 500


async def walk(ledger: Ledger, segments: Segments, shard: int, head: Head) -> AsyncIterator[tuple[int, list[Row]]]:
    """The rows of the chain that ends with `head`, the newest first: for each sealed segment its own, with its number;
    those that are not sealed come together, as of segment 0. Ends where retention has removed the rest.

    Raises `DamagedLedger`, `LedgerUnavailable`, `StoreUnavailable`.
    """
    while head.hash != NO_HEAD.hash:
        state = await ledger.state(shard)
        if head.segment <= state.removed:
            return
        if head.segment <= state.sealed:
            number, rows = head.segment, await in_thread(_sealed, segments, shard, head)
        else:
            number, rows = 0, await _unsealed(ledger, shard, head, state.sealed)
            if not rows and head.segment <= (await ledger.state(shard)).sealed:
                continue
        if not rows:
            raise DamagedLedger(_lost(shard, head))
        yield number, rows
        head = Head(rows[-1].previous, rows[-1].previous_segment)


def _sealed(segments: Segments, shard: int, head: Head) -> list[Row]:
    try:
        return list(_links(reversed(segments.read(shard, head.segment)), head.hash, head.segment - 1))
    except DamagedLedger as error:
        raise DamagedLedger(f"shard {shard}, segment {head.segment}: {error}") from None


async def _unsealed(ledger: Ledger, shard: int, head: Head, sealed: int) -> list[Row]:
    """Nothing if the rows were sealed meanwhile: then they are looked for in the file."""
    state = await ledger.state(shard)
    rows: list[Row] = []
    before = state.rows
    while before > state.sealed_rows:
        first = max(before - _AT_ONCE, state.sealed_rows) + 1
        page = await ledger.page(shard, first, before - first + 1)
        if page is None:
            return []
        wanted = rows[-1].previous if rows else head.hash
        rows += _links(reversed(page), wanted, sealed)
        if rows and rows[-1].previous_segment <= sealed:
            break
        before = first - 1
    return rows


def _links(newest_first: Iterable[bytes], wanted: str, last_before: int) -> Iterable[Row]:
    """The rows of a chain among others, up to the one that follows one of the segment `last_before` or an older one."""
    sought = wanted.encode()
    for line in newest_first:
        if hash_of(line) == sought:
            try:
                row = read_row(line)
            except DamagedLedger as error:
                raise DamagedLedger(f"a row of this person {error}") from None
            yield row
            if row.previous_segment <= last_before:
                return
            sought = row.previous.encode()


def _lost(shard: int, head: Head) -> str:
    return (
        f"shard {shard}, segment {head.segment}: a row of this person is missing. `keyroute ledger --verify` says what "
        "else is; put the file back from a backup."
    )
