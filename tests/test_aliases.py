"""The worker that makes people known: nobody is lost by a failure, and one refusal spoils nobody else."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from router.delivery.aliases import AliasWorker
from router.delivery.gate import Gate
from router.delivery.http import HttpClient
from router.errors import DeliveryError
from router.ports import Http
from router.telemetry import Metrics
from tests.standins.platform import Recorder


class Answers(Recorder):
    """Fails with what it is told to, one after another, then refuses `refused`, then takes everybody."""

    def __init__(self, *failures: BaseException, refused: Sequence[str] = ()) -> None:
        super().__init__(needs_alias=True)
        self._failures = list(failures)
        self.refuse_alias = set(refused)

    async def ensure_aliases(self, http: Http, senders: Sequence[str]) -> None:
        if self._failures:
            self.aliases.append(list(senders))
            raise self._failures.pop(0)
        await super().ensure_aliases(http, senders)


class Asked:
    """Asks for aliases, and waits for what becomes of each."""

    def __init__(self, worker: AliasWorker, gate: Gate) -> None:
        self.gate = gate
        self.made: list[str] = []
        self.given_up: dict[str, str] = {}
        self._worker = worker
        self._changed = asyncio.Event()

    def ask(self, *senders: str, since: float | None = None) -> None:
        for sender in senders:
            self._worker.add(sender, time.time() if since is None else since, self._release, self._refuse)

    async def all_over(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.made) + len(self.given_up) < count:
                self._changed.clear()
                await self._changed.wait()

    def _release(self, sender: str) -> None:
        self.made.append(sender)
        self._changed.set()

    def _refuse(self, sender: str, error: DeliveryError) -> None:
        self.given_up[sender] = error.reason
        self._changed.set()


@asynccontextmanager
async def working(platform: Recorder) -> AsyncIterator[Asked]:
    gate = Gate(time.monotonic, random.Random(1))
    http = HttpClient(1.0, allow_private=False)  # not opened: the platform sends nothing
    worker = AliasWorker("crm", platform, http, gate, 60.0, Metrics(), time.time)
    task = asyncio.create_task(worker.run())
    try:
        yield Asked(worker, gate)
    finally:
        task.cancel()


async def test_a_failure_closes_the_gate_and_the_same_people_are_asked_for_again() -> None:
    platform = Answers(DeliveryError("503", retryable=True))
    async with working(platform) as asked:
        asked.ask("a", "b")
        began = time.monotonic()
        await asked.all_over(2)

    assert asked.made == ["a", "b"]
    assert platform.aliases == [["a", "b"], ["a", "b"]]
    assert began < asked.gate.opens_at <= time.monotonic()


async def test_an_adapter_that_fails_in_its_own_way_loses_nobody() -> None:
    async with working(Answers(KeyError("a mistake in the adapter"))) as asked:
        asked.ask("a", "b")
        await asked.all_over(2)

    assert asked.made == ["a", "b"]


async def test_who_is_refused_is_found_among_the_others() -> None:
    platform = Answers(refused=["c"])
    async with working(platform) as asked:
        asked.ask("a", "b", "c", "d")
        await asked.all_over(4)

    assert sorted(asked.made) == ["a", "b", "d"]
    assert asked.given_up == {"c": "no such alias may be"}


async def test_who_waits_too_long_is_given_up_and_who_does_not_is_not() -> None:
    async with working(Answers(DeliveryError("503", retryable=True))) as asked:
        asked.ask("overdue", since=time.time() - 61)
        asked.ask("fresh")
        await asked.all_over(2)

    assert (asked.made, asked.given_up) == (["fresh"], {"overdue": "503"})


async def test_an_adapter_that_lets_a_cancellation_out_loses_nobody() -> None:
    async with working(Answers(asyncio.CancelledError())) as asked:
        asked.ask("a", "b")
        await asked.all_over(2)

    assert asked.made == ["a", "b"]
