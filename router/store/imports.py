"""Imported rows: each shard's in calls of their own, with what changes on record in the same call."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from router.store.connection import Store, asked
from router.store.outbox import LEDGER

#: The most rows in one call: texts that arrive meanwhile wait for it.
_MOST_AT_ONCE = 250
#: How many calls wait at the store: enough that it is never idle, and few before a text that arrives.
_CALLS_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Target:
    """What rows say of consent: a program and its state. `bearing` are the consents of `store.Person` that bear on it,
    the program's own first.
    """

    program: str
    state: str
    bearing: tuple[str, ...]


class Stated(NamedTuple):
    """What one row says of a person, no word of it with a comma. `target` is None if that is nothing of consent;
    `language` is empty if it is not told.
    """

    line: int
    sender: str
    target: Target | None
    language: str


class Stays(NamedTuple):
    """A row that changed nothing, because the person has said something else later, at `since` in unix seconds."""

    line: int
    state: str
    since: float


@dataclass(frozen=True, slots=True)
class Applied:
    """How many rows changed something or had nothing to change, and those that gave way. `new`: unknown people."""

    changed: int
    unchanged: int
    new: int
    stays: tuple[Stays, ...]


#: Makes an entry of the outbox less its rows: what stands before them, and what behind. Called once for each entry.
Entries = Callable[[], tuple[bytes, bytes]]


class Imports:
    """Takes rows. All methods raise `StoreUnavailable`; the rows may then be taken or not, and can be given again."""

    def __init__(
        self,
        store: Store,
        entries: Entries,
        clock: Callable[[], float],
        *,
        as_of: float | None,
        override_before: float | None,
        dry_run: bool,
    ) -> None:
        """`as_of` is the date of the states in unix seconds. Without one, every opt-out on record is later. Opt-outs
        from before `override_before` count for nothing; later ones, such as those that are texted meanwhile, stay.
        """
        self._redis = store.redis
        self._keys = store.keys
        self._script = store.script("consent", "import")
        self._entries = entries
        self._clock = clock
        self._options = (_microseconds(as_of or 0), _microseconds(override_before or 0), int(dry_run))
        self._calls = asyncio.Semaphore(_CALLS_AT_ONCE)

    async def apply(self, rows: Sequence[Stated]) -> Applied:
        """Takes rows, those of one person in their order."""
        shards: dict[int, list[Stated]] = defaultdict(list)
        for row in rows:
            shards[self._keys.shard_of(row.sender)].append(row)
        answers = await asyncio.gather(*(self._take(shard, listed) for shard, listed in shards.items()))
        called = [answer for of_shard in answers for answer in of_shard]
        return Applied(
            changed=sum(answer[0] for answer in called),
            unchanged=sum(answer[1] for answer in called),
            new=sum(answer[2] for answer in called),
            stays=tuple(
                Stays(int(line), state.decode(), int(since) / 1e6)
                for answer in called
                for line, state, since in answer[3]
            ),
        )

    async def size(self) -> int:
        """The bytes that the store takes in memory, less what waits in its outboxes."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.info("memory")
        for shard in range(self._keys.shards):
            pipeline.memory_usage(self._keys.outbox(shard), samples=0)
        memory, *outboxes = cast("list[Any]", await asked(pipeline.execute()))
        return cast("int", memory["used_memory"] - sum(filter(None, outboxes)))

    async def is_shared(self) -> bool:
        """Whether anybody else is connected to the store. To be asked first: later, our own connections are several."""
        clients = cast("dict[str, int]", await asked(self._redis.info("clients")))
        return clients["connected_clients"] > 1

    async def _take(self, shard: int, rows: list[Stated]) -> list[list[Any]]:
        answers = []
        for start in range(0, len(rows), _MOST_AT_ONCE):
            async with self._calls:
                arguments = self._arguments(rows[start : start + _MOST_AT_ONCE])
                answer = await asked(self._script.run_again([self._keys.outbox(shard)], arguments))
            answers.append(cast("list[Any]", answer))
        return answers

    def _arguments(self, rows: Sequence[Stated]) -> list[str | bytes | int]:
        arguments: list[str | bytes | int] = [_microseconds(self._clock()), *self._options, LEDGER, *self._entries()]
        targets = list(dict.fromkeys(row.target for row in rows if row.target))
        numbers: dict[Target | None, int] = {None: 0} | {target: n for n, target in enumerate(targets, start=1)}
        arguments.append(len(targets))
        for named in targets:
            arguments += (named.program, named.state, ",".join(f"consent:{name}" for name in named.bearing))
        # In one argument: the client takes longer to pack four more for each row than the store to read them.
        arguments.append(
            "\n".join(f"{sender},{numbers[target]},{language},{line}" for line, sender, target, language in rows)
        )
        return arguments


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)
