"""People who are not known at the platform any more are noticed, without asking about everybody all the time."""

import asyncio
from collections.abc import Sequence

from router.delivery.checking import AliasCheck
from router.delivery.http import HttpClient
from router.errors import DeliveryError
from router.ports import Http
from router.tasks import cancelled
from router.telemetry import Metrics


class Platform:
    """Knows all but those who are `gone`."""

    check_size = 2
    check_every = 0.001

    def __init__(self, gone: Sequence[str]) -> None:
        self.gone = gone
        self.failing = 1
        self.asked: list[list[str]] = []

    async def vanished(self, http: Http, senders: Sequence[str]) -> Sequence[str]:
        self.asked.append(list(senders))
        if self.failing:
            self.failing -= 1
            raise DeliveryError("503", retryable=True)
        return [sender for sender in senders if sender in self.gone]


class Lane:
    """Notes who is forgotten."""

    def __init__(self) -> None:
        self.forgotten: asyncio.Queue[str] = asyncio.Queue()

    def forget(self, sender: str) -> None:
        self.forgotten.put_nowait(sender)


async def test_whoever_has_vanished_is_forgotten_and_a_failure_forgets_nobody() -> None:
    platform, lane, metrics = Platform(gone=["b"]), Lane(), Metrics()
    check = AliasCheck("crm", platform, HttpClient(1.0, allow_private=False), metrics)
    running = asyncio.create_task(check.run())
    while not platform.asked:
        check.note("b", lane)
        await asyncio.sleep(0)
    assert lane.forgotten.empty()
    for sender in "abc":
        check.note(sender, lane)
    async with asyncio.timeout(10):
        assert await lane.forgotten.get() == "b"
    await cancelled([running])

    assert all(len(people) <= platform.check_size for people in platform.asked)
    assert metrics.registry.get_sample_value("keyroute_vanished_aliases_total", {"destination": "crm"}) == 1
