"""The ledger's rows in the store: the newest, until they are sealed into files. Steps of `Outbox.settle` write them.

Rows and segments are numbered from 1 in each shard. A segment is open, then closed (its rows are fixed), then sealed
(they are in a file), and at last removed; only the rows of open and closed ones are here.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from router.records import LEDGER
from router.store.connection import Store, asked

#: How many people are looked at in one go.
_PEOPLE = 1000


@dataclass(frozen=True, slots=True)
class Head:
    """The hash of the last row of a person, in hex, and the segment that it is in."""

    hash: str
    segment: int

    def __str__(self) -> str:
        """As it is kept with the person, in 46 characters and the digits of the segment."""
        return f"{self.segment} {urlsafe_b64encode(bytes.fromhex(self.hash)).decode().rstrip('=')}"

    @classmethod
    def read(cls, kept: bytes | str) -> "Head":
        """The head in what `str` gave."""
        text = kept if isinstance(kept, str) else kept.decode()
        segment, _, digest = text.partition(" ")
        return cls(urlsafe_b64decode(f"{digest}=").hex(), int(segment))


#: What a person's first row follows.
NO_HEAD = Head("0" * 64, 0)


@dataclass(frozen=True, slots=True)
class LedgerState:
    """How far a shard's ledger has come: the numbers of the last row and segment of each kind.

    `ends`: closed segment that is not sealed → its last row.
    """

    rows: int
    sealed_rows: int
    removed_rows: int
    closed: int
    sealed: int
    removed: int
    ends: dict[int, int]

    @property
    def open_from(self) -> int:
        """The first row of the open segment."""
        return self.ends.get(self.closed, self.sealed_rows) + 1


class Ledger:
    """The newest rows of every shard. All methods raise `StoreUnavailable`."""

    def __init__(self, store: Store) -> None:
        self._redis = store.redis
        self._keys = store.keys
        self.shards = store.keys.shards

    def shard_of(self, sender: str) -> int:
        """The shard that a sender's rows belong to."""
        return self._keys.shard_of(sender)

    async def state(self, shard: int) -> LedgerState:
        """How far the ledger has come."""
        found = cast("dict[bytes, bytes]", await asked(self._redis.hgetall(self._keys.ledger_state(shard))))
        fields = {field.decode(): int(value) for field, value in found.items()}
        ends = {int(field[4:]): row for field, row in fields.items() if field.startswith("end:")}
        names = ("rows", "sealed_rows", "removed_rows", "closed", "sealed", "removed")
        return LedgerState(**{name: fields.get(name, 0) for name in names}, ends=ends)

    async def heads(self, senders: Sequence[str]) -> dict[str, Head]:
        """The last row of each of the senders; `NO_HEAD` for who has none."""
        pipeline = self._redis.pipeline(transaction=False)
        for sender in senders:
            pipeline.hget(self._keys.person(sender), "ledger")
        found = cast("list[bytes | None]", await asked(pipeline.execute()))
        return {sender: Head.read(kept) if kept else NO_HEAD for sender, kept in zip(senders, found, strict=True)}

    async def every_head(self, shard: int) -> AsyncIterator[list[Head]]:
        """The last rows of all people of a shard, some at a time. What is written meanwhile may be missed."""
        cursor, pattern = 0, self._keys.people(shard)
        while True:
            answer = await asked(self._redis.scan(cursor, match=pattern, count=_PEOPLE))
            cursor, people = cast("tuple[int, list[bytes]]", answer)
            if people:
                pipeline = self._redis.pipeline(transaction=False)
                for person in people:
                    pipeline.hget(person, "ledger")
                yield [Head.read(kept) for kept in cast("list[bytes | None]", await asked(pipeline.execute())) if kept]
            if not cursor:
                return

    async def page(self, shard: int, first: int, count: int) -> list[bytes] | None:
        """Up to `count` rows from the number `first` on; None if that is in a file by now."""
        while True:
            sealed = (await self.state(shard)).sealed_rows
            if first <= sealed:
                return None
            at = first - sealed - 1
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.hget(self._keys.ledger_state(shard), "sealed_rows")
            pipeline.lrange(self._keys.ledger(shard), at, at + count - 1)
            now, lines = cast("tuple[bytes | None, list[bytes]]", await asked(pipeline.execute()))
            if int(now or 0) == sealed:
                return lines

    async def surplus(self, shard: int) -> int:
        """How many rows there are more than were ever written; below 0 if some are missing."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.llen(self._keys.ledger(shard))
        pipeline.hmget(self._keys.ledger_state(shard), ["rows", "sealed_rows"])
        length, (rows, sealed) = cast("tuple[int, list[bytes | None]]", await asked(pipeline.execute()))
        return length - (int(rows or 0) - int(sealed or 0))

    async def erasures(self, shard: int) -> dict[str, Head]:
        """The senders whose erasure is not done yet, with the last of the rows that it is about."""
        found = cast("dict[bytes, bytes]", await asked(self._redis.hgetall(self._keys.erasures(shard))))
        return {sender.decode("utf-8", "surrogatepass"): Head.read(kept) for sender, kept in found.items()}

    async def ask(self, shard: int, request: dict[str, Any]) -> str:
        """Puts something that is to be done to the ledger into the outbox, in its turn; the id of the entry."""
        fields: Any = {"to": LEDGER, "known": "", "message": orjson.dumps(request), "decision": b"{}"}
        return cast("bytes", await asked(self._redis.xadd(self._keys.outbox(shard), fields))).decode()
