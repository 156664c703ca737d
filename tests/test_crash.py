"""Killed at random moments under load: every acknowledged text is delivered, has one effect, and counts in order.

`pytest tests/test_crash.py --kills 50` is the whole of it; the number of kills is small by default.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from router.cli.store import opened
from router.config import load
from router.store import People
from router.types import ConsentState
from tests.running import Keyroute, Twilio, write_configuration
from tests.standins.receiver import Receiver

PEOPLE = 24
TEXTS = ("STOP", "START", "YES", "HELP", "COUPONS", "arrêt", "what is this", "Stop please!!", "oui")


@dataclass
class Person:
    """Somebody who texts one message after another, each until it is acknowledged, as carriers do."""

    number: str
    chance: random.Random
    acknowledged: list[tuple[str, str]] = field(default_factory=list)

    async def live(self, twilio: Twilio, over: asyncio.Event) -> None:
        """Texts until it is over."""
        while not over.is_set():
            message_id = f"SM{self.number[-4:]}{len(self.acknowledged):06d}"
            text = self.chance.choice(TEXTS)
            answer = await self._until_acknowledged(twilio, message_id, text)
            self.acknowledged.append((message_id, text))
            if self.chance.random() < 0.05:
                assert answer == await self._until_acknowledged(twilio, message_id, text)

    async def _until_acknowledged(self, twilio: Twilio, message_id: str, text: str) -> bytes:
        while True:
            try:
                status, body = await twilio.text(message_id, text, sender=self.number)
            except (aiohttp.ClientError, ConnectionError):
                await asyncio.sleep(0.02)  # the server is away; a carrier waits too
                continue
            assert status in (200, 503), (status, body)
            if status == 200:
                return body


def model(texts: list[tuple[str, str]]) -> list[tuple[ConsentState, ConsentState]]:
    """The state before and after each text, on a program with double opt-in; told from the documents, not the code."""
    state: ConsentState = "none"
    history = []
    for _, text in texts:
        before = state
        if text in ("STOP", "arrêt", "Stop please!!"):
            state = "unsubscribed"
        elif text == "START" and before != "subscribed":
            state = "pending"
        elif text in ("YES", "oui") and before == "pending":
            state = "subscribed"
        history.append((before, state))
    return history


@pytest.fixture
def kills(pytestconfig: pytest.Config) -> int:
    count: int = pytestconfig.getoption("--kills")
    return count


async def test_nothing_acknowledged_is_lost_doubled_or_swapped(
    tmp_path: Path, kills: int, record_property: Callable[[str, object], None]
) -> None:
    seed = random.randrange(2**32)
    record_property("seed", seed)
    chance = random.Random(seed)
    people = [Person(f"+1415555{i:04d}", random.Random(chance.random())) for i in range(PEOPLE)]
    async with Receiver() as receiver:
        config = write_configuration(tmp_path, crm=receiver.url)
        server = Keyroute(config)
        async with server, aiohttp.ClientSession() as session:
            over = asyncio.Event()
            texting = [asyncio.create_task(person.live(Twilio(server.origin, session), over)) for person in people]
            for _ in range(kills):
                await asyncio.sleep(chance.uniform(0.05, 1.5))
                server.kill()
                server.start()
                await server.ready()
            over.set()
            await asyncio.gather(*texting)
            expected = {message_id for person in people for message_id, _ in person.acknowledged}
            await receiver.until(lambda: len(set(receiver.ids)) >= len(expected), 60.0)
        print(f"{len(expected)} texts acknowledged, {len(receiver.events) - len(set(receiver.ids))} delivered twice")
        _check_deliveries(people, receiver)
    await _check_states(people, config)


def _check_deliveries(people: list[Person], receiver: Receiver) -> None:
    """Once repeats are dropped, each person's texts stand there in order, each with the model's effect."""
    first = dict(zip(reversed(receiver.ids), reversed(receiver.events), strict=True))
    by_person: dict[str, list[dict[str, str]]] = {}
    for event_id in dict.fromkeys(receiver.ids):
        data = first[event_id]["data"]
        by_person.setdefault(data["from"], []).append(data)
    for person in people:
        data = by_person.get(person.number, [])
        assert [(one["message_id"], one["text"]) for one in data] == person.acknowledged
        assert [(one["before"], one["after"]) for one in data] == model(person.acknowledged)


async def _check_states(people: list[Person], config: Path) -> None:
    async with opened(load(config)) as store:
        for person in people:
            found = await People(store).get(person.number)
            history = model(person.acknowledged)
            kept = found.consent["deals"].state if found and "deals" in found.consent else "none"
            assert kept == (history[-1][1] if history else "none")
