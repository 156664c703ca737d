"""The outbox seen by workers: leases of shards, reading, and recording what became of each entry."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any, cast

import orjson

from router.errors import DeliveryError, LeaseLost
from router.records import LEDGER as LEDGER
from router.records import read_event
from router.store.connection import Store, asked
from router.types import Event

#: Of how many people of each shard and destination it is looked since when they wait by themselves.
_PEOPLE_LOOKED_AT = 8
#: Numbers what is recorded in order. A lease is held by one process.
_TURNS = count(1)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a shard. `token` is higher than that of every holder before."""

    shard: int
    owner: str
    token: int


@dataclass(frozen=True)
class Entry:
    """One entry of a shard's outbox, as it is kept and as platforms see it.

    `known`: the destinations where the sender's alias existed at acceptance.
    """

    id: str
    destinations: tuple[str, ...]
    known: tuple[str, ...]
    message: bytes
    decision: bytes

    @cached_property
    def event(self) -> Event:
        """What platforms see. Imported rows, which go to the ledger alone, make no event: see `destinations` first."""
        return read_event(self.message, self.decision)

    @property
    def joined(self) -> float:
        """When it joined the outbox, in unix seconds: later than the event for one that was retried."""
        return _joined(self.id)


@dataclass(frozen=True, slots=True)
class Parked:
    """An entry that had to wait by itself; its event says that the alias is new. `joined` as in `Entry`."""

    joined: float
    message: bytes
    decision: bytes
    event: Event


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in the outboxes: how many entries for the slowest destination, and, beside them, whoever waits alone.

    By destination: `oldest`, since when its first open entry waits, in unix seconds, None if there is none; `parked`,
    how many people's entries wait by themselves; `oldest_parked`, since when the first of those waits, of a few people
    of each shard: all there are, or some by chance.
    """

    entries: int
    oldest: dict[str, float | None]
    parked: dict[str, int]
    oldest_parked: dict[str, float | None]


class Steps:
    """What became of some entries at one destination; recorded all at once by `Outbox.settle`.

    `in_order`: once the store has recorded them, neither they nor any made before them, in order too and for the same
    destination and lease, have an effect any more: nobody knew whether they had arrived, and told them once more, or
    they were on their way for too long. Their `turn` says so; it is 0 for others.
    """

    def __init__(self, *, in_order: bool = False) -> None:
        self.turn = next(_TURNS) if in_order else 0
        self.arguments: list[str | bytes | int] = []

    def position(self, entry_id: str, ahead: Sequence[str]) -> None:
        """Everything up to the entry is settled, and so are those `ahead` of it."""
        self.arguments += ("position", entry_id, orjson.dumps(ahead))

    def park(self, sender: str, entry: Entry) -> None:
        """The entry waits until the sender's alias exists."""
        self.arguments += ("park", sender, orjson.dumps([entry.id, entry.message.decode(), entry.decision.decode()]))

    def known(self, sender: str) -> None:
        """The sender's alias exists."""
        self.arguments += ("known", sender)

    def unknown(self, sender: str) -> None:
        """The sender's alias does not exist any more."""
        self.arguments += ("unknown", sender)

    def unpark(self, sender: str, count: int) -> None:
        """The sender's first `count` waiting entries are settled."""
        self.arguments += ("unpark", sender, count)

    def dead(self, error: DeliveryError, at: float, destination: str, entry: Entry | Parked) -> None:
        """The entry is given up on."""
        self.arguments += ("dead", error.reason, f"{at:.3f}", destination, entry.message, entry.decision)
        self.arguments += (error.request, error.answer)

    def note(self, entry: Entry, message: bytes) -> None:
        """What became of the entry goes to the ledger, once. To be added before `position`."""
        self.arguments += ("note", entry.id, message)

    def row(self, sender: str, line: bytes, head: str) -> None:
        """The ledger's next row; `head` is what the sender's chain ends with now."""
        self.arguments += ("row", sender, line, head)

    def close_segment(self) -> None:
        """The rows up to here make the open segment: what it holds is fixed."""
        self.arguments += ("close",)

    def sealed(self, segment: int) -> None:
        """The oldest closed segment is in a file: its rows need not be kept here."""
        self.arguments += ("sealed", segment)

    def removed(self, segment: int, last: int) -> None:
        """The oldest sealed segment, whose last row has the number `last`, is removed: its time is over."""
        self.arguments += ("removed", segment, last)

    def erasure(self, sender: str, head: str) -> None:
        """What rows say of the sender's person is to be erased, in the chain that ends with `head`."""
        self.arguments += ("erasure", sender, head)

    def forget(self, sender: str, at: float) -> None:
        """All that is known of the sender is forgotten but opt-outs and blocks, and what was written after `at`."""
        self.arguments += ("forget", sender, int(at * 1e6))

    def erase(self, row: int, line: bytes) -> None:
        """`line` takes the place of a row that is not in a file yet."""
        self.arguments += ("erase", row, line)

    def erased(self, sender: str, head: str) -> None:
        """The erasure that was noted with `head` is done."""
        self.arguments += ("erased", sender, head)


class Outbox:
    """The outbox of every shard. All methods raise `StoreUnavailable`."""

    def __init__(self, store: Store, destinations: Sequence[str]) -> None:
        self._redis = store.redis
        self._keys = store.keys
        self._destinations = ",".join(destinations)
        self._lease = store.script("lease")
        self._settle = store.script("settle")

    async def take(self, shard: int, owner: str, seconds: float) -> Lease | None:
        """Takes the lease of a shard, or renews it; None if another worker holds it."""
        keys = [self._keys.lease(shard), self._keys.fence(shard)]
        token = cast("int", await asked(self._lease.run(keys, [owner, int(seconds * 1000)])))
        return Lease(shard, owner, token) if token else None

    async def release(self, lease: Lease) -> None:
        """Gives the shard up, so that another worker need not wait for the lease to run out."""
        keys = [self._keys.lease(lease.shard), self._keys.fence(lease.shard)]
        await asked(self._lease.run(keys, [lease.owner, 0]))

    async def begin(self, lease: Lease, destination: str) -> tuple[str, set[str]]:
        """The `position` to go on from. What was told in order before and is still on its way changes it no more."""
        await self.settle(lease, destination, Steps(in_order=True))
        return await self.position(lease.shard, destination)

    async def position(self, shard: int, destination: str) -> tuple[str, set[str]]:
        """Up to where a destination is settled, and what is settled beyond."""
        await asked(self._redis.hsetnx(self._keys.positions(shard), destination, "0-0"))
        position = cast("bytes", await asked(self._redis.hget(self._keys.positions(shard), destination)))
        ahead = cast("bytes | None", await asked(self._redis.hget(self._keys.ahead(shard), destination)))
        return position.decode(), set(orjson.loads(ahead or b"[]"))

    async def register(self) -> None:
        """Gives each configured destination a position in every shard, so that nothing meant for it is cut away.

        To be done before the first text is accepted for it: the worker of another process may not know it yet.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for shard in range(self._keys.shards):
            for destination in filter(None, self._destinations.split(",")):
                pipeline.hsetnx(self._keys.positions(shard), destination, "0-0")
        await asked(pipeline.execute())

    async def waiting(self) -> Backlog:
        """What waits now, in three round trips that do not grow with it."""
        shards, names = range(self._keys.shards), [*filter(None, self._destinations.split(","))]
        pipeline = self._redis.pipeline(transaction=False)
        for shard in shards:
            pipeline.xlen(self._keys.outbox(shard))
            pipeline.hgetall(self._keys.positions(shard))
            for name in names:
                pipeline.hlen(self._keys.parked(shard, name))
                pipeline.hrandfield(self._keys.parked(shard, name), _PEOPLE_LOOKED_AT)
        found = cast("list[Any]", await asked(pipeline.execute()))
        width = 2 + 2 * len(names)
        rows = [found[at : at + width] for at in range(0, len(found), width)]
        places = [(shard, name, rows[shard][1].get(name.encode())) for shard in shards for name in names]
        people = [
            (shard, name, sender.decode())
            for shard in shards
            for at, name in enumerate(names)
            for sender in rows[shard][3 + 2 * at] or ()
        ]
        return Backlog(
            entries=sum(row[0] for row in rows),
            oldest=_oldest(names, await self._first_open([(s, n, place.decode()) for s, n, place in places if place])),
            parked={name: sum(row[2 + 2 * at] for row in rows) for at, name in enumerate(names)},
            oldest_parked=_oldest(names, await self._first_parked(people)),
        )

    async def _first_open(self, places: Sequence[tuple[int, str, str]]) -> list[tuple[str, float]]:
        """When the first entry behind each place joined, where there is one."""
        pipeline = self._redis.pipeline(transaction=False)
        for shard, _, place in places:
            pipeline.xrange(self._keys.outbox(shard), min=f"({place}", count=1)
        found = cast("list[Any]", await asked(pipeline.execute()) if places else [])
        return [
            (name, _joined(entries[0][0].decode()))
            for (_, name, _), entries in zip(places, found, strict=True)
            if entries
        ]

    async def _first_parked(self, people: Sequence[tuple[int, str, str]]) -> list[tuple[str, float]]:
        """When the first entry of each of the people joined, where it still waits."""
        pipeline = self._redis.pipeline(transaction=False)
        for place in people:
            pipeline.lindex(self._keys.parked_entries(*place), 0)
        found = cast("list[bytes | None]", await asked(pipeline.execute()) if people else [])
        return [
            (name, _joined(orjson.loads(entry)[0]))
            for (_, name, _), entry in zip(people, found, strict=True)
            if entry is not None
        ]

    async def destinations(self, shard: int) -> set[str]:
        """Every destination that ever had a position in the shard, configured or not."""
        return {
            name.decode() for name in cast("list[bytes]", await asked(self._redis.hkeys(self._keys.positions(shard))))
        }

    async def read(self, shard: int, after: str, count: int) -> list[Entry]:
        """Up to `count` entries that follow the one with the id `after`."""
        found = await asked(self._redis.xrange(self._keys.outbox(shard), min=f"({after}", count=count))
        return [_entry(entry_id, fields) for entry_id, fields in cast("list[Any]", found)]

    async def wait(self, after: dict[int, str], seconds: float, count: int) -> dict[int, list[Entry]]:
        """Waits until a shard has an entry beyond the given id: up to `count` that follow, of each shard that does."""
        streams: dict[Any, Any] = {self._keys.outbox(shard): entry_id for shard, entry_id in after.items()}
        block = max(1, int(seconds * 1000))  # 0 would be for ever
        found = await asked(self._redis.xread(streams, block=block, count=count))
        shards = {self._keys.outbox(shard): shard for shard in after}
        return {
            shards[stream.decode()]: [_entry(entry_id, fields) for entry_id, fields in entries]
            for stream, entries in _streams(found)
        }

    async def newest(self, shard: int) -> str:
        """The id of a shard's last entry, `0-0` if it has none."""
        last = cast("list[Any]", await asked(self._redis.xrevrange(self._keys.outbox(shard), count=1)))
        return last[0][0].decode() if last else "0-0"

    async def settle(self, lease: Lease, destination: str, steps: Steps) -> list[int]:
        """Records the steps at once; how many entries still wait for each `unpark`. Raises `LeaseLost`."""
        arguments = [f"{lease.owner}:{lease.token}", destination, self._destinations, steps.turn, *steps.arguments]
        answer = cast("list[int]", await asked(self._settle.run([self._keys.lease(lease.shard)], arguments)))
        if not answer[0]:
            raise LeaseLost(f"shard {lease.shard} was taken over by another worker")
        return answer[1:]

    async def parked(self, shard: int, destination: str) -> list[str]:
        """The senders whose entries wait for an alias."""
        found = await asked(self._redis.hkeys(self._keys.parked(shard, destination)))
        return [sender.decode() for sender in cast("list[bytes]", found)]

    async def parked_entries(
        self, shard: int, destination: str, senders: Sequence[str], count: int
    ) -> list[list[Parked]]:
        """The first waiting entries of each sender, `count` at most, in one round trip."""
        pipeline = self._redis.pipeline(transaction=False)
        for sender in senders:
            pipeline.lrange(self._keys.parked_entries(shard, destination, sender), 0, count - 1)
        found = cast("list[list[bytes]]", await asked(pipeline.execute()) if senders else [])
        return [[_parked(entry) for entry in entries] for entries in found]


def _entry(entry_id: bytes, fields: dict[bytes, bytes]) -> Entry:
    return Entry(
        id=entry_id.decode(),
        destinations=tuple(fields[b"to"].decode().split(",")),
        known=tuple(fields[b"known"].decode().split(",")),
        message=fields[b"message"],
        decision=fields[b"decision"],
    )


def _parked(entry: bytes) -> Parked:
    entry_id, message, decision = orjson.loads(entry)
    return Parked(_joined(entry_id), message.encode(), decision.encode(), read_event(message, decision, new_alias=True))


def _oldest(names: Sequence[str], found: Sequence[tuple[str, float]]) -> dict[str, float | None]:
    return {name: min((since for of, since in found if of == name), default=None) for name in names}


def _joined(entry_id: str) -> float:
    return int(entry_id.partition("-")[0]) / 1000


def _streams(found: Any) -> list[tuple[bytes, list[Any]]]:
    """The streams in an answer to XREAD, which is a dict or a list of pairs by the version of the protocol."""
    if isinstance(found, dict):
        return [(stream, pages[0]) for stream, pages in found.items()]
    return [(stream, entries) for stream, entries in found or ()]
