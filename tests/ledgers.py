"""A ledger at work over a real store: a shard, its people, lanes that make rows and files that take them."""

import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import orjson

from router.consent import STATES
from router.delivery.attempt import Held
from router.delivery.ledger import LedgerLane
from router.ledger.drafts import ERASE, SEAL, Asked, Provider
from router.ledger.keeping import Recording
from router.ledger.reading import walk
from router.ledger.rows import Row, read_row
from router.ledger.segments import Segments
from router.ledger.verification import Verification
from router.records import write_decision
from router.store import LEDGER, Commit, Commits, Ledger, Outbox, Store
from router.telemetry import Metrics
from router.types import ConsentState, Decision, Intent
from router.types import Row as Decided
from tests.commits import Clock, text

DAY = 86_400.0


def on_record(
    name: str,
    sender: str,
    *,
    after: ConsentState = "unsubscribed",
    intent: Intent = "opt_out",
    rule: str = "keyword:en/STOP",
    reply: str | None = None,
    said: str = "Stop",
    waits_at: tuple[str, ...] = (),
    **message: Any,
) -> Commit:
    """A text of a sender that goes on record."""
    rows = []
    for before in STATES:
        decided = Decision(intent, "STOP", None, "deals", "en", rule, before, after, reply)
        rows.append(Decided(before, after, True, 0, 0, (write_decision(decided),), b""))
    commit = text(name, tuple(rows), sender=sender, destinations=(*waits_at, LEDGER), need_alias=(), body=said)
    written = orjson.loads(commit.message)
    return replace(commit, message=orjson.dumps(written | {"message": written["message"] | message}))


@dataclass
class Randomness:
    """Bytes that are never the same twice, and the same in every run."""

    count: int = 0

    def __call__(self, length: int) -> bytes:
        self.count += 1
        return self.count.to_bytes(length, "big")


class LedgerBench:
    """Shard 0 of a store, its senders, and a ledger below `url`."""

    def __init__(self, store: Store, url: str) -> None:
        self.store = store
        self.clock = Clock()
        self.clock.now = time.time()
        self.outbox = Outbox(store, [LEDGER])
        self.ledger = Ledger(store)
        self.metrics = Metrics()
        self.commits = Commits(store, unhandled_kept=8, clock=self.clock, on_failure=lambda: None)
        providers = {"acme": Provider("post", answers=True)}
        self.recording = Recording(Segments(url), providers, 1000, 10 * DAY, 1000 * DAY)
        numbers = (f"+1415555{i:04d}" for i in range(2000))
        self.senders = [number for number in numbers if store.keys.shard_of(number) == 0]
        self.random_bytes: Callable[[int], bytes] = Randomness()
        self._names = 0

    async def accept(self, *senders: int, **how: Any) -> None:
        """A text of each of the senders, by their place, in this order."""
        for sender in senders:
            self._names += 1
            await self.commits.commit(on_record(f"{self._names}", self.senders[sender], **how))

    async def ask(self, what: str, sender: int = 0) -> None:
        """Asks for a seal or an erasure."""
        name = f"ask_{uuid.uuid4().hex}"
        asked = Asked(name, what, self.clock() + 1, self.senders[sender] if what == ERASE else "")
        await self.ledger.ask(0, asked.message())

    @asynccontextmanager
    async def lane(self, **how: Any) -> AsyncIterator[LedgerLane]:
        """A lane under a lease of its own. `how`: what of the recording is different."""
        lease = await self.outbox.take(0, uuid.uuid4().hex, 60.0)
        assert lease
        held = Held(lease, time.monotonic() + 60)
        recording = replace(self.recording, **how)
        try:
            yield LedgerLane(
                held, recording, self.outbox, self.ledger, self.metrics, self.clock, time.monotonic, self.random_bytes
            )
        finally:
            await self.outbox.release(lease)

    async def catch_up(self, **how: Any) -> None:
        """Makes rows of all that waits, and does what is to be done to them."""
        async with self.lane(**how) as lane:
            await lane.catch_up()

    async def record(self, *senders: int, seal: bool = False, **how: Any) -> None:
        """Texts that are rows by the end, in a file if asked for."""
        await self.accept(*senders, **how)
        if seal:
            await self.ask(SEAL)
        await self.catch_up()

    async def lines(self) -> list[bytes]:
        """The rows in the store."""
        state = await self.ledger.state(0)
        return await self.ledger.page(0, state.sealed_rows + 1, 1_000_000) or []

    async def rows(self) -> list[Row]:
        """The same, read."""
        return [read_row(line) for line in await self.lines()]

    async def history(self, sender: int = 0) -> list[Row]:
        """A sender's rows, the oldest first."""
        number = self.senders[sender]
        head = (await self.ledger.heads([number]))[number]
        found: list[Row] = []
        async for _, rows in walk(self.ledger, self.recording.segments, 0, head):
            found += rows
        return found[::-1]

    async def faults(self) -> list[str]:
        """What verification finds."""
        return [str(fault) async for fault in Verification(self.ledger, self.recording.segments).faults()]


def said(rows: Sequence[Row]) -> list[str | None]:
    """What the rows quote."""
    return [row.private["text"] if row.private else None for row in rows]
