"""External ids: which person a caller means by an id of its own.

An id takes some 40 bytes when there are many: digests stand in hashes of a few hundred at most, which the store keeps
packed.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import cast

from router.store.connection import Store, asked

#: Long enough that no two ids share one.
_DIGEST_SIZE = 12


class Directory:
    """Senders by external id. All methods raise `StoreUnavailable`."""

    def __init__(self, store: Store) -> None:
        self._redis = store.redis
        self._keys = store.keys
        self._learn = store.script("learn")

    async def learn(self, senders: Mapping[str, str]) -> None:
        """Notes external id → sender. An id that is known already means the new sender from now on."""
        shards: dict[int, list[bytes]] = defaultdict(list)
        for external_id, sender in senders.items():
            digest, written = _digest(external_id), sender.encode()
            shards[self._keys.external_shard(digest)] += (digest, bytes((len(written),)), written)
        await asyncio.gather(
            *(
                asked(self._learn.run_again([self._keys.externals(shard)], [b"".join(learnt), _DIGEST_SIZE]))
                for shard, learnt in shards.items()
            )
        )

    async def find(self, external_ids: Iterable[str]) -> dict[str, str]:
        """External id → sender, of those ids that are known."""
        wanted = list(dict.fromkeys(external_ids))
        if not wanted:
            return {}
        pipeline = self._redis.pipeline(transaction=False)
        for external_id in wanted:
            digest = _digest(external_id)
            pipeline.hget(self._keys.external(digest), cast("str", digest))
        found = cast("list[bytes | None]", await asked(pipeline.execute()))
        return {name: sender.decode() for name, sender in zip(wanted, found, strict=True) if sender is not None}


def _digest(external_id: str) -> bytes:
    return blake2b(external_id.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_SIZE).digest()
