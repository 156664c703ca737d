"""The parts of long texts that came one by one: kept until all are there, or their time is over."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from router.store.connection import Store, asked

#: The most long texts of a shard whose time is over that are looked for at once.
_MOST_DUE = 100


@dataclass(frozen=True, slots=True)
class Part:
    """One part. All parts of a text have the same `sender` and `name`; `number` counts from 1.

    `id` stands for the carrier's message id and `content` for what is said, each in 24 characters.
    """

    sender: str
    name: str
    id: str
    content: str
    number: int
    total: int
    record: bytes


@dataclass(frozen=True, slots=True)
class Group:
    """The parts of one text, to which none is added any more: their records in order.

    `first` is the id of the part that came first; with the name it stands for this text and no other.
    """

    shard: int
    name: str
    first: str
    records: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Added:
    """What came of adding a part.

    `group`: parts to be accepted as one text now. `taken` is False if they are another text's: the part is to be added
    again when they are forgotten. `known`: what `forget` was told of the text that the part has completed already;
    empty if another one did.
    """

    group: Group | None = None
    taken: bool = True
    known: bytes | None = None


class Parts:
    """The parts of every shard. All methods raise `StoreUnavailable`; each can be repeated."""

    def __init__(self, store: Store) -> None:
        self._redis = store.redis
        self._keys = store.keys
        self._join = store.script("join")

    async def add(self, part: Part, deadline: float) -> Added:
        """Keeps a part, of a new text until the deadline in unix seconds."""
        shard = self._keys.shard_of(part.sender)
        arguments: list[str | bytes | int] = ["add", part.id, part.content, part.number, part.total, part.record]
        answer = await self._run(shard, part.name, [*arguments, repr(deadline)])
        if answer[0] == b"known":
            return Added(known=answer[1])
        if answer[0] == b"waits":
            return Added()
        return Added(_group(shard, part.name, answer[1]), taken=answer[0] == b"whole")

    async def due(self, now: float) -> list[tuple[int, str]]:
        """Shard and name of parts whose time is over."""
        pipeline = self._redis.pipeline(transaction=False)
        for shard in range(self._keys.shards):
            pipeline.zrangebyscore(self._keys.deadlines(shard), "-inf", now, 0, _MOST_DUE)
        found = cast("list[list[bytes]]", await asked(pipeline.execute()))
        return [(shard, name.decode()) for shard, names in enumerate(found) for name in names]

    async def close(self, shard: int, name: str, now: float) -> Group | None:
        """The parts that have come, if their time is over by `now`."""
        answer = await self._run(shard, name, ["close", repr(now)])
        return _group(shard, name, answer[1]) if answer[0] == b"whole" else None

    async def forget(self, group: Group, seconds: int, *, completed_by: str = "", known: bytes = b"") -> None:
        """Forgets parts whose text is accepted; for some seconds, that they were. `known` goes to the part that
        completed them should it come again.
        """
        await self._run(group.shard, group.name, ["forget", group.first, completed_by, known, seconds])

    async def _run(self, shard: int, name: str, arguments: list[str | bytes | int]) -> list[Any]:
        keys = [self._keys.parts(shard, name), self._keys.joined(shard, name), self._keys.deadlines(shard)]
        return cast("list[Any]", await asked(self._join.run_again(keys, [name, *arguments])))


def _group(shard: int, name: str, flat: list[bytes]) -> Group:
    kept: Mapping[bytes, bytes] = dict(zip(flat[::2], flat[1::2], strict=True))
    numbers = sorted(int(field) for field in kept if field.isdigit())
    records = (kept[b"%d" % number].split(b" ", 2)[2] for number in numbers)
    return Group(shard, name, kept[b"first"].decode(), tuple(records))
