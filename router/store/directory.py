"""What callers of the API and files call people: their own ids for them, and which number stands behind each.

An id takes some 40 bytes when there are many: digests stand in hashes of a few hundred at most, which the store keeps
packed.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, TypeVar, cast

from router.store.connection import Store, asked

#: Long enough that no two ids share one.
_DIGEST_SIZE = 12
#: How often somebody can have moved on before their id leads nowhere; also what ends a search if the store is damaged.
_MOST_MOVES = 32
#: How many keys the store looks at in one call.
_LOOKED_AT = 1000
#: An external id, or its digest.
_Id = TypeVar("_Id", str, bytes)


class Directory:
    """External ids → E.164 numbers. All methods raise `StoreUnavailable`.

    Numbers are given to other people in time. So an id is kept with the number and how often its holders had moved away
    from it before; a move then takes along those who had the number until then, and nobody who gets it later.
    """

    def __init__(self, store: Store) -> None:
        self._redis = store.redis
        self._keys = store.keys
        self._learn = store.script("learn")

    async def learn(self, numbers: Mapping[str, str]) -> None:
        """Notes the number of each external id, instead of what was noted before."""
        places = await self._written(list(numbers.values()))
        shards: dict[int, list[bytes]] = defaultdict(list)
        for external_id, place in zip(numbers, places, strict=True):
            digest, written = _digest(external_id), place.encode()
            shards[self._keys.external_shard(digest)] += (digest, bytes((len(written),)), written)
        await asyncio.gather(
            *(
                asked(self._learn.run_again([self._keys.externals(shard)], [b"".join(learnt), _DIGEST_SIZE]))
                for shard, learnt in shards.items()
            )
        )

    async def find(self, external_ids: Iterable[str]) -> dict[str, str]:
        """The number of each external id that is known."""
        ids = list(dict.fromkeys(external_ids))
        found = await self._ask([("HGET", self._keys.external(d), d) for d in map(_digest, ids)])
        return await self._followed({id_: place.decode() for id_, place in zip(ids, found, strict=True) if place})

    async def move(self, old: str, new: str) -> None:
        """From now on, the external ids of a number lead to another one. Consent stays with the numbers."""
        if old != new:
            (place,) = await self._written([new])
            await self._ask([("RPUSH", self._keys.moved(old), place)])

    async def forget(self, number: str) -> int:
        """Forgets a number, and the external ids that lead to it; how many there were. Looks at all that are known."""
        moved = {key.rpartition("}:moved:")[2]: key async for key in self._keys_like(self._keys.moved_from())}
        gone = 0
        for shard in range(self._keys.shards):
            async for key in self._keys_like(f"{self._keys.externals(shard)}*"):
                gone += await self._forget_in(key, number, {*moved, number})
        await self._ask([("DEL", self._keys.moved(number))])
        for key in moved.values():
            ((*places,),) = await self._ask([("LRANGE", key, 0, -1)])
            left = [at for at, place in enumerate(places) if place and _read(place.decode())[0] == number]
            # The others keep their places: they are counted.
            await self._ask([("LSET", key, at, "") for at in left])
        return gone

    async def _forget_in(self, key: str, number: str, moved: set[str]) -> int:
        """Takes out of a hash of external ids those that lead to a number; those that moved on lead on without it."""
        (found,) = await self._ask([("HGETALL", key)])
        places = {digest: place.decode() for digest, place in found.items() if _read(place.decode())[0] in moved}
        numbers = await self._followed(places)
        gone = [digest for digest, found in numbers.items() if found == number]
        past = {digest: found for digest, found in numbers.items() if found != number}
        written = await self._written(list(past.values()))
        commands: list[tuple[str | bytes | int, ...]] = [("HDEL", key, *gone)] if gone else []
        commands += [("HSET", key, digest, place) for digest, place in zip(past, written, strict=True)]
        await self._ask(commands)
        return len(gone)

    async def name(self, numbers: Sequence[str]) -> None:
        """Notes that people exist of whom nothing else may be known."""
        await self._ask([("HSETNX", self._keys.person(number), "named", "1") for number in numbers])

    async def know(self, destination: str, numbers: Iterable[str]) -> None:
        """Notes that the aliases of people exist at a destination."""
        await self._ask([("HSET", self._keys.person(n), f"alias:{destination}", "1") for n in dict.fromkeys(numbers)])

    async def speak(self, languages: Mapping[str, str]) -> None:
        """Notes the language of each number."""
        await self._ask([("HSET", self._keys.person(number), "lang", tag) for number, tag in languages.items()])

    async def _followed(self, places: dict[_Id, str]) -> dict[_Id, str]:
        """The numbers that places lead to now, of those that lead anywhere."""
        settled: dict[_Id, str] = {}
        for _ in range(_MOST_MOVES):
            if not places:
                break
            after = await self._ask(
                [("LINDEX", self._keys.moved(n), before) for n, before in map(_read, places.values())]
            )
            moved = {id_: to.decode() for id_, to in zip(places, after, strict=True) if to is not None}
            settled |= {id_: _read(place)[0] for id_, place in places.items() if id_ not in moved}
            places = {id_: to for id_, to in moved.items() if to}  # empty: it was forgotten
        return settled

    async def _keys_like(self, pattern: str) -> AsyncIterator[str]:
        cursor = -1
        while cursor:
            scanned = await asked(self._redis.scan(max(cursor, 0), match=pattern, count=_LOOKED_AT))
            cursor, keys = cast("tuple[int, list[bytes]]", scanned)
            for key in keys:
                yield key.decode()

    async def _written(self, numbers: Sequence[str]) -> list[str]:
        """The numbers as they are to be kept now."""
        moves = await self._ask([("LLEN", self._keys.moved(number)) for number in numbers])
        return [f"{number} {count}" if count else number for number, count in zip(numbers, moves, strict=True)]

    async def _ask(self, commands: Sequence[tuple[str | bytes | int, ...]]) -> list[Any]:
        """The answers to some commands, in one round trip."""
        if not commands:
            return []
        pipeline = self._redis.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return cast("list[Any]", await asked(pipeline.execute()))


def _read(place: str) -> tuple[str, int]:
    number, _, moves = place.partition(" ")
    return number, int(moves or 0)


def _digest(external_id: str) -> bytes:
    return blake2b(external_id.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_SIZE).digest()
