"""A platform adapter that sends nothing: what it takes, refuses or breaks on is set by the test."""

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from router.errors import DeliveryError
from router.ports import Http, Options, OptionsType
from router.types import Event
from tests.commits import until


class Recorder:
    """A platform that remembers what it took, in order; what it does can be set."""

    Options: ClassVar[OptionsType] = Options
    ProgramOptions: ClassVar[OptionsType] = Options
    alias_batch_size = 4
    requests_at_once = 1

    def __init__(
        self,
        *,
        needs_alias: bool = False,
        makes_known: bool = False,
        one_per_sender: bool = False,
        batch_size: int = 10,
    ) -> None:
        self.needs_alias = needs_alias
        self.makes_known = makes_known
        self.one_per_sender = one_per_sender
        self.batch_size = batch_size
        self.taken: list[Event] = []
        self.batches: list[list[str]] = []
        self.aliases: list[list[str]] = []
        self.refuse: dict[str, DeliveryError] = {}
        self.break_on: set[str] = set()
        self.refuse_alias: set[str] = set()
        self.alias_failure: DeliveryError | None = None
        self.alias_gate = asyncio.Event()
        self.alias_gate.set()
        self._changed = asyncio.Condition()

    def wants(self, event: Event) -> bool:
        return event.message.text != "unwanted"

    async def ensure_aliases(self, http: Http, senders: Sequence[str]) -> None:
        self.aliases.append(list(senders))
        await self.alias_gate.wait()
        if self.alias_failure:
            raise self.alias_failure
        if self.refuse_alias & set(senders):
            raise DeliveryError("no such alias may be", retryable=False)

    async def deliver(self, http: Http, events: Sequence[Event]) -> Sequence[DeliveryError | None]:
        self.batches.append([event.id for event in events])
        if self.break_on & set(self.batches[-1]):
            raise KeyError("a mistake in the adapter")
        results: list[DeliveryError | None] = []
        stopped: dict[str, DeliveryError] = {}
        for event in events:
            error = stopped.get(event.message.sender) or self.refuse.get(event.id)
            if error and error.retryable:
                stopped[event.message.sender] = DeliveryError("not sent: the one before it failed", retryable=True)
            results.append(error)
        async with self._changed:
            self.taken += [event for event, error in zip(events, results, strict=True) if error is None]
            self._changed.notify_all()
        return results

    async def tried(self, count: int) -> None:
        """Waits until that many batches were attempted."""

        async def enough() -> bool:
            return len(self.batches) >= count

        await until(enough)

    async def has(self, count: int) -> list[str]:
        """Waits until that many were taken, and gives their ids in order."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: len(self.taken) >= count)
        return [event.id for event in self.taken]
