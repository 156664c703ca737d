"""Everybody that the store knows, some at a time."""

from collections.abc import AsyncIterator
from typing import cast

from router.store.connection import Store, asked
from router.store.people import Person, read_person

#: How many keys the store looks at in one call: texts that arrive meanwhile wait for it.
_LOOKED_AT = 500


class Exports:
    """Reads everybody."""

    def __init__(self, store: Store) -> None:
        self._redis = store.redis
        self._keys = store.keys

    async def people(self) -> AsyncIterator[tuple[str, Person]]:
        """Everybody who was known from begin to end, with their number, in no order. Raises `StoreUnavailable`.

        Who is written to meanwhile is seen before or after. Somebody may come twice if the store grows or shrinks a lot
        meanwhile.
        """
        cursor = -1
        while cursor:
            scanned = await asked(self._redis.scan(max(cursor, 0), match=self._keys.people(), count=_LOOKED_AT))
            cursor, keys = cast("tuple[int, list[bytes]]", scanned)
            pipeline = self._redis.pipeline(transaction=False)
            for key in keys:
                pipeline.hgetall(key)
            found = cast("list[dict[bytes, bytes]]", await asked(pipeline.execute())) if keys else []
            for key, fields in zip(keys, found, strict=True):
                yield key.decode().rpartition("}:person:")[2], read_person(fields)
