"""Dead letters: deliveries given up on, and requests or texts that nobody could be told of. Nothing here is lost
until somebody drops it (of the second kind the oldest go first, above `store.refused_kept`)."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal, cast
from zlib import crc32

import orjson

from router.errors import RouterError
from router.store.connection import Store, asked
from router.store.outbox import read_event
from router.types import Event

Kind = Literal["delivery", "refused"]


class NoSuchLetter(RouterError):
    """No dead letter has that id."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`id` is `SHARD-MS-SEQ`, with an `r` in front for a refused one. `at` is in unix seconds.

    A delivery has a `destination` and an `event`; a refused request or text has its `record` instead
    (keys of `pipeline.refused`).
    """

    id: str
    kind: Kind
    reason: str
    at: float
    destination: str | None
    event: Event | None
    record: dict[str, Any] | None


class DeadLetters:
    """The dead letters of every shard."""

    def __init__(self, store: Store, refused_kept: int) -> None:
        self._redis = store.redis
        self._keys = store.keys
        self._refused_kept = max(1, refused_kept // store.keys.shards)
        self._retry = store.script("retry")

    async def refuse(self, record: bytes) -> None:
        """Keeps a refused request; the oldest go above `store.refused_kept`."""
        stream = self._keys.refused(crc32(record) % self._keys.shards)
        await asked(self._redis.xadd(stream, {"record": record}, maxlen=self._refused_kept, approximate=False))

    async def each(self) -> AsyncIterator[DeadLetter]:
        """All of them, shard by shard, oldest first in each."""
        kinds: tuple[Kind, ...] = ("delivery", "refused")
        for shard in range(self._keys.shards):
            for kind in kinds:
                after = "-"
                while page := await self._page(kind, shard, after):
                    for entry_id, fields in page:
                        yield _letter(kind, shard, entry_id, fields)
                    after = f"({page[-1][0].decode()}"

    async def get(self, letter_id: str) -> DeadLetter:
        """Raises `NoSuchLetter`."""
        kind, shard, entry_id = self._place(letter_id)
        found = cast("list[Any]", await asked(self._redis.xrange(self._stream(kind, shard), entry_id, entry_id)))
        if not found:
            raise _no_such(letter_id)
        return _letter(kind, shard, *found[0])

    async def retry(self, letter_id: str) -> None:
        """Puts a delivery back at the end of the outbox, for the destination that refused it."""
        _, shard, entry_id = self._place(letter_id)
        if not await asked(self._retry.run([self._keys.dead(shard), self._keys.outbox(shard)], [entry_id])):
            raise _no_such(letter_id)

    async def drop(self, letter_id: str) -> None:
        """Forgets it."""
        kind, shard, entry_id = self._place(letter_id)
        if not await asked(self._redis.xdel(self._stream(kind, shard), entry_id)):
            raise _no_such(letter_id)

    def _stream(self, kind: Kind, shard: int) -> str:
        return self._keys.dead(shard) if kind == "delivery" else self._keys.refused(shard)

    async def _page(self, kind: Kind, shard: int, after: str) -> list[Any]:
        return cast("list[Any]", await asked(self._redis.xrange(self._stream(kind, shard), min=after, count=500)))

    def _place(self, letter_id: str) -> tuple[Kind, int, str]:
        parts = re.fullmatch(r"(r?)(\d{1,4})-(\d{1,20}-\d{1,20})", letter_id)
        if not parts or int(parts[2]) >= self._keys.shards:
            raise _no_such(letter_id)
        return "refused" if parts[1] else "delivery", int(parts[2]), parts[3]


def _letter(kind: Kind, shard: int, entry_id: bytes, fields: dict[bytes, bytes]) -> DeadLetter:
    if kind == "refused":
        record = orjson.loads(fields[b"record"])
        return DeadLetter(f"r{shard}-{entry_id.decode()}", kind, record["reason"], record["at"], None, None, record)
    return DeadLetter(
        id=f"{shard}-{entry_id.decode()}",
        kind=kind,
        reason=fields[b"reason"].decode(),
        at=float(fields[b"at"]),
        destination=fields[b"to"].decode(),
        event=read_event(fields[b"message"], fields[b"decision"]),
        record=None,
    )


def _no_such(letter_id: str) -> NoSuchLetter:
    return NoSuchLetter(f"no dead letter has the id {letter_id!r}. `keyroute dead list` shows those that there are.")
