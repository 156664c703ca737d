"""Something that a command asks of the ledger: done by the worker that holds the shard, or here if nobody does."""

import asyncio
import os
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from router.delivery.attempt import Held
from router.delivery.ledger import LedgerLane
from router.errors import LedgerUnavailable
from router.ledger.drafts import ERASE, SEAL, Asked
from router.ledger.keeping import Recording
from router.store import LEDGER, Lease, Ledger, Outbox
from router.tasks import cancelled
from router.telemetry import Metrics

#: How long a shard is taken for, and how long a worker may take, in seconds.
_LEASE, _PATIENCE = 10.0, 60.0
#: How often it is looked whether a worker is done, in seconds: nothing tells us.
_LOOK_AGAIN = 0.05


class Asking:
    """What commands have done to the ledger.

    Its methods raise `LedgerUnavailable`, `DamagedLedger`, `StoreUnavailable`.
    """

    def __init__(
        self, outbox: Outbox, ledger: Ledger, recording: Recording, clock: Callable[[], float] = time.time
    ) -> None:
        self._outbox = outbox
        self._ledger = ledger
        self._recording = recording
        self._clock = clock
        self._owner = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"

    async def seal(self, shard: int) -> int:
        """Puts all rows of a shard up to now into files; how many rows that was."""
        before = (await self._ledger.state(shard)).sealed_rows
        await self._ask(shard, Asked(_id(), SEAL, self._clock()))
        state = await self._ledger.state(shard)
        closed = state.closed
        await self._until(shard, lambda now, _: now >= closed)
        return (await self._ledger.state(shard)).sealed_rows - before

    async def erase(self, sender: str) -> None:
        """Forgets a person, see `keyroute erase`."""
        shard = self._ledger.shard_of(sender)
        await self._ask(shard, Asked(_id(), ERASE, self._clock(), sender))
        await self._until(shard, lambda _, waiting: sender not in waiting)

    async def _ask(self, shard: int, asked: Asked) -> None:
        """Puts it into the outbox, and returns when it has been taken up there."""
        entry = _place(await self._ledger.ask(shard, asked.message()))

        async def taken_up() -> bool:
            position, _ = await self._outbox.position(shard, LEDGER)
            return _place(position) >= entry

        await self._here_or_there(shard, taken_up)

    async def _until(self, shard: int, holds: Callable[[int, set[str]], bool]) -> None:
        """Returns when something holds of the last sealed segment and of those who wait for their erasure."""

        async def done() -> bool:
            sealed = (await self._ledger.state(shard)).sealed
            return holds(sealed, set(await self._ledger.erasures(shard)))

        await self._here_or_there(shard, done)

    async def _here_or_there(self, shard: int, done: Callable[[], Awaitable[bool]]) -> None:
        waited = 0.0
        while not await done():
            lease = await self._outbox.take(shard, self._owner, _LEASE)
            if lease:
                await self._work(lease)
                continue
            if waited >= _PATIENCE:
                raise LedgerUnavailable(
                    f"the worker that holds shard {shard} has not done it in {_PATIENCE:.0f} s. It will when it can; "
                    "its log says what it waits for. Ask again to see whether it is done."
                )
            await asyncio.sleep(_LOOK_AGAIN)
            waited += _LOOK_AGAIN

    async def _work(self, lease: Lease) -> None:
        async with self._held(lease) as held:
            await LedgerLane(
                held,
                self._recording,
                self._outbox,
                self._ledger,
                Metrics(),
                self._clock,
                time.monotonic,
                secrets.token_bytes,
            ).catch_up()

    @asynccontextmanager
    async def _held(self, lease: Lease) -> AsyncIterator[Held]:
        """The shard, for as long as the work takes."""
        held = Held(lease, time.monotonic() + _LEASE / 2)

        async def renew() -> None:
            while True:
                await asyncio.sleep(_LEASE / 4)
                until = time.monotonic() + _LEASE / 2
                if await self._outbox.take(lease.shard, self._owner, _LEASE) == lease:
                    held.until = until

        renewing = asyncio.create_task(renew())
        try:
            yield held
        finally:
            await cancelled([renewing])
            await self._outbox.release(lease)


def _id() -> str:
    return f"ask_{uuid.uuid4().hex}"


def _place(entry_id: str) -> tuple[int, int]:
    ms, _, seq = entry_id.partition("-")
    return int(ms), int(seq)
