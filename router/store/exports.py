"""Everybody that the store knows, some at a time."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, cast

from router.store.connection import Store, asked
from router.store.people import Consent, read_consent

#: How many keys the store looks at in one call: texts that arrive meanwhile wait for it.
_LOOKED_AT = 500


@dataclass(frozen=True, slots=True)
class Known:
    """A person with what they have said; `consent` as in `Person`."""

    sender: str
    consent: dict[str, Consent]
    language: str | None


class Exports:
    """Reads everybody."""

    def __init__(self, store: Store) -> None:
        self._redis = store.redis
        self._keys = store.keys

    async def people(self) -> AsyncIterator[Known]:
        """Everybody who was known from begin to end, in no order. Raises `StoreUnavailable`.

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
                yield _known(key, fields)


def _known(key: bytes, fields: dict[Any, bytes]) -> Known:
    language = fields.get(b"lang")
    return Known(
        sender=key.decode().rpartition("}:person:")[2],
        consent={
            name.decode().removeprefix("consent:"): read_consent(kept.decode())
            for name, kept in fields.items()
            if name.startswith(b"consent:")
        },
        language=language.decode() if language else None,
    )
