"""Dead letters: deliveries given up on, and requests or texts that nobody could be told of. Nothing here is lost
until somebody drops it (of the others the oldest go first, above `store.unhandled_kept`)."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal, cast
from zlib import crc32

import orjson

from router.consent import EVERYTHING, outside
from router.errors import NoSuchLetter, OutdatedLetter
from router.records import read_event
from router.store.connection import Store, asked
from router.store.people import read_person
from router.types import Change, Event

#: A delivery given up on; a request that made no sense; a text that no destination was told of.
Kind = Literal["delivery", "request", "text"]

#: What lua/retry.lua returns when a consent is not the one that was looked at any more.
_CHANGED = 2


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`id` is `SHARD-MS-SEQ`, with a `u` in front if it is no delivery. `at` is in unix seconds.

    A delivery has a `destination` and an `event`, and what is known of the last `request` and its `answer`; the others
    have their `record` (see `router.unhandled`).
    """

    id: str
    kind: Kind
    reason: str
    at: float
    destination: str | None
    event: Event | None
    record: dict[str, Any] | None
    request: str = ""
    answer: str = ""


class DeadLetters:
    """The dead letters of every shard."""

    def __init__(self, store: Store, unhandled_kept: int) -> None:
        self._redis = store.redis
        self._keys = store.keys
        self._unhandled_kept = -(-unhandled_kept // store.keys.shards)
        self._retry = store.script("retry")

    async def keep(self, record: bytes) -> None:
        """Keeps a record of `router.unhandled`; the oldest go above `store.unhandled_kept`."""
        stream = self._keys.unhandled(crc32(record) % self._keys.shards)
        await asked(self._redis.xadd(stream, {"record": record}, maxlen=self._unhandled_kept, approximate=False))

    async def each(self) -> AsyncIterator[DeadLetter]:
        """All of them, shard by shard, oldest first in each."""
        for shard in range(self._keys.shards):
            for stream in (self._keys.dead(shard), self._keys.unhandled(shard)):
                after = "-"
                while page := cast("list[Any]", await asked(self._redis.xrange(stream, min=after, count=500))):
                    for entry_id, fields in page:
                        yield _letter(shard, entry_id, fields)
                    after = f"({page[-1][0].decode()}"

    async def count(self) -> dict[str, int]:
        """How many there are: deliveries, and requests and texts that were not handled."""
        pipeline = self._redis.pipeline(transaction=False)
        for shard in range(self._keys.shards):
            pipeline.xlen(self._keys.dead(shard))
            pipeline.xlen(self._keys.unhandled(shard))
        found = cast("list[int]", await asked(pipeline.execute()))
        return {"delivery": sum(found[::2]), "unhandled": sum(found[1::2])}

    async def get(self, letter_id: str) -> DeadLetter:
        """Raises `NoSuchLetter`."""
        shard, stream, entry_id = self._place(letter_id)
        found = cast("list[Any]", await asked(self._redis.xrange(stream, entry_id, entry_id)))
        if not found:
            raise _no_such(letter_id)
        return _letter(shard, *found[0])

    async def retry(self, letter_id: str, now: float) -> None:
        """Puts a delivery back at the end of the outbox, for the destination that refused it.

        Raises `OutdatedLetter` for what it says of a consent, if that does not hold any more.
        """
        letter = await self.get(letter_id)
        shard, stream, entry_id = self._place(letter_id)
        person = self._keys.person(letter.event.message.sender if letter.event else "")
        done = _CHANGED
        while done == _CHANGED:  # the person has said something since it was looked
            seen = await self._checked(letter, person, now)
            done = cast(
                "int", await asked(self._retry.run([stream, self._keys.outbox(shard), person], [entry_id, *seen]))
            )
        if not done:
            raise _no_such(letter_id)

    async def _checked(self, letter: DeadLetter, person: str, now: float) -> list[str | bytes | int]:
        """The consents that what a letter says was held against: names and what was found, in turn."""
        told = _told(letter.event) if letter.event else {}
        fields = [f"consent:{name}" for name in dict.fromkeys(name for names in told.values() for name in names)]
        found = cast("list[bytes | None]", await asked(self._redis.hmget(person, fields)) if fields else [])
        pairs = list(zip(fields, found, strict=True))
        known = read_person({field.encode(): value for field, value in pairs if value is not None})
        for change, names in told.items():
            state = outside(known.state(names, now))
            if state != outside(change.after):
                raise OutdatedLetter(
                    f"the person is {state} by now, and this would tell {letter.destination} {outside(change.after)}. "
                    "Drop it: what was said last is delivered on its own."
                )
        return [part for field, value in pairs for part in (field, value or b"")]

    async def drop(self, letter_id: str) -> None:
        """Forgets it."""
        _, stream, entry_id = self._place(letter_id)
        if not await asked(self._redis.xdel(stream, entry_id)):
            raise _no_such(letter_id)

    def _place(self, letter_id: str) -> tuple[int, str, str]:
        parts = re.fullmatch(r"(u?)(\d{1,4})-(\d{1,20}-\d{1,20})", letter_id)
        if not parts or int(parts[2]) >= self._keys.shards:
            raise _no_such(letter_id)
        shard = int(parts[2])
        return shard, self._keys.unhandled(shard) if parts[1] else self._keys.dead(shard), parts[3]


def _told(event: Event) -> dict[Change, tuple[str, ...]]:
    """What an event says of consents, and the names of those that each follows from. An opt-out is told again where it
    changes nothing.
    """
    return {
        change: (change.program, f"@{event.account}", EVERYTHING)
        for change in event.changes
        if change.before != change.after or event.decision.intent == "opt_out"
    }


def _letter(shard: int, entry_id: bytes, fields: dict[bytes, bytes]) -> DeadLetter:
    letter_id = f"{shard}-{entry_id.decode()}"
    if b"record" in fields:
        record = orjson.loads(fields[b"record"])
        return DeadLetter(f"u{letter_id}", record["kind"], record["reason"], record["at"], None, None, record)
    return DeadLetter(
        id=letter_id,
        kind="delivery",
        reason=fields[b"reason"].decode(),
        at=float(fields[b"at"]),
        destination=fields[b"to"].decode(),
        event=read_event(fields[b"message"], fields[b"decision"]),
        record=None,
        request=fields.get(b"request", b"").decode(),
        answer=fields.get(b"answer", b"").decode(),
    )


def _no_such(letter_id: str) -> NoSuchLetter:
    return NoSuchLetter(f"no dead letter has the id {letter_id!r}. `keyroute dead list` shows those that there are.")
