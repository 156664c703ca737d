"""From the webhook to the platforms, over real sockets: order, faults, dead letters, several workers."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.running import BRAZE_KEY, KEYROUTE, Keyroute, Twilio, write_configuration
from tests.standins.braze import Braze
from tests.standins.receiver import Receiver

SENDER = "+14155550101"


class World:
    """A running server with a webhook destination and a Braze workspace."""

    def __init__(self, server: Keyroute, receiver: Receiver, braze: Braze, twilio: Twilio) -> None:
        self.server = server
        self.receiver = receiver
        self.braze = braze
        self.twilio = twilio

    async def texts(self, *texts: str, sender: str = SENDER, first: int = 1) -> None:
        """Sends one after another, each as soon as the one before is answered."""
        for number, text in enumerate(texts, first):
            status, body = await self.twilio.text(f"SM{sender}{number}", text, sender=sender)
            assert status == 200, body

    def told(self, sender: str = SENDER) -> list[tuple[str, str]]:
        """(intent, state after) of the sender's events at the webhook, repeats left out."""
        first = dict(zip(reversed(self.receiver.ids), reversed(self.receiver.events), strict=True))
        data = [first[event_id]["data"] for event_id in dict.fromkeys(self.receiver.ids)]
        return [(one["intent"], one["after"]) for one in data if one["from"] == sender]

    def states(self, sender: str = SENDER) -> list[str]:
        """The subscription states that Braze was told of the sender, in the order in which they took effect."""
        return [
            group["subscription_state"]
            for kind, item in self.braze.applied
            if kind == "attributes" and item["user_alias"]["alias_name"] == sender
            for group in item.get("subscription_groups", ())
        ]

    async def dead(self) -> list[dict[str, Any]]:
        process = await asyncio.create_subprocess_exec(
            str(KEYROUTE), "dead", "list", "--config", str(self.server.config), stdout=-1
        )
        out, _ = await process.communicate()
        return [json.loads(line) for line in out.splitlines()]


@asynccontextmanager
async def world(folder: Path, delay: float = 0.01) -> AsyncIterator[World]:
    """`delay`: how long Braze takes to apply what it has accepted, in seconds."""
    async with AsyncExitStack() as running:
        receiver = await running.enter_async_context(Receiver())
        braze = Braze(delay=delay)
        braze.api_key = BRAZE_KEY
        await running.enter_async_context(braze)
        session = await running.enter_async_context(aiohttp.ClientSession())
        config = write_configuration(folder, crm=receiver.url, braze=braze.url)
        server = await running.enter_async_context(Keyroute(config))
        yield World(server, receiver, braze, Twilio(server.origin, session))


ROUND = ("START", "YES", "STOP", "START", "YES", "STOP")
TOLD = [
    ("opt_in", "pending"),
    ("confirm", "subscribed"),
    ("opt_out", "unsubscribed"),
    ("opt_in", "pending"),
    ("confirm", "subscribed"),
    ("opt_out", "unsubscribed"),
]


@pytest.mark.parametrize("known", [True, False])
async def test_stop_start_stop_arrive_in_that_order_also_when_the_alias_takes_a_second(
    tmp_path: Path, known: bool
) -> None:
    async with world(tmp_path, delay=1.0) as w:
        if known:
            await w.texts("hello")
            await w.braze.wait_for(1)
        await w.texts(*ROUND, first=10)
        await w.braze.until(lambda: len(w.states()) >= 4, 20)

        assert w.told()[-6:] == TOLD
        assert w.states()[-4:] == ["subscribed", "unsubscribed", "subscribed", "unsubscribed"]
        assert w.braze.dropped == []


async def test_a_text_without_keyword_becomes_brazes_custom_event(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.texts("Where is my PARCEL?")
        await w.braze.wait_for(1)

        (event,) = w.braze.events
        assert event["name"] == "sms_response_Deals_custom"
        assert event["user_alias"] == {"alias_label": "phone", "alias_name": SENDER}
        assert event["properties"] == {
            "message_body": "where is my parcel?",
            "to_number": "20202",
            "from_number": SENDER,
            "sms_message_id": f"SM{SENDER}1",
        }


@pytest.mark.parametrize("fault", ["500", "429", "nothing"])
async def test_a_destination_in_trouble_delays_only_its_own_deliveries(tmp_path: Path, fault: str) -> None:
    async with world(tmp_path) as w:
        await w.texts("hello")
        await w.braze.wait_for(1)
        match fault:
            case "500":
                w.braze.fail(500, 4)
            case "429":
                w.braze.refuse_for_rate(2)
            case "nothing":
                w.braze.hang(1)
        began = time.monotonic()
        await w.texts("one", "two", "three", first=2)
        await w.receiver.wait_for(4)
        webhook_took = time.monotonic() - began
        await w.braze.wait_for(4, 20)
        braze_took = time.monotonic() - began

        assert webhook_took < 1.0
        assert braze_took > webhook_took
        assert braze_took > (1.0 if fault == "429" else 0.2)
        assert [event["properties"]["message_body"] for event in w.braze.events] == ["hello", "one", "two", "three"]


async def test_a_refused_event_is_a_dead_letter_that_can_be_retried_and_the_rest_is_delivered(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.braze.blocked_events.add("sms_response_Deals_custom")
        await w.texts("hello")
        await w.texts("STOP", first=2)
        await w.braze.until(lambda: w.states() == ["unsubscribed"], 10)
        await w.receiver.wait_for(2)
        (letter,) = await w.dead()
        assert letter["destination"] == "braze"
        assert letter["sender"] == "…01"

        w.braze.blocked_events.clear()
        retried = await asyncio.create_subprocess_exec(
            str(KEYROUTE), "dead", "retry", "--all", "--config", str(w.server.config), stdout=-1
        )
        assert (await retried.communicate())[0] == b"retried 1\n"
        await w.braze.wait_for(1, 10)
        assert await w.dead() == []
        assert len(w.receiver.events) == 2


async def test_dead_letters_show_what_was_asked_and_answered_and_are_retried_in_order(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.braze.blocked_events.add("sms_response_Deals_custom")
        said = ["one", "two", "three", "four"]
        await w.texts(*said)
        await w.receiver.wait_for(4)
        async with asyncio.timeout(10):
            while len(letters := await w.dead()) < 4:
                await asyncio.sleep(0.02)
        shown = await asyncio.create_subprocess_exec(
            str(KEYROUTE), "dead", "show", letters[0]["id"], "--config", str(w.server.config), stdout=-1
        )
        letter = json.loads((await shown.communicate())[0])
        assert letter["request"] == "POST 127.0.0.1/users/track"
        assert "sms_response_Deals_custom is blocked" in letter["answer"]

        w.braze.blocked_events.clear()
        ids = [letter["id"] for letter in reversed(letters)]
        retried = await asyncio.create_subprocess_exec(
            str(KEYROUTE), "dead", "retry", *ids, "--config", str(w.server.config), stdout=-1
        )
        assert (await retried.communicate())[0] == b"retried 4\n"
        await w.braze.wait_for(4, 10)
        assert [event["properties"]["message_body"] for event in w.braze.events] == said


async def test_many_unknown_people_at_once_take_few_requests(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        senders = [f"+1415555{i:04d}" for i in range(200)]
        await asyncio.gather(*(w.texts("hello", "STOP", sender=sender) for sender in senders))
        await w.braze.until(lambda: all(w.states(sender) for sender in senders), 30)

        assert len(w.braze.events) == 200
        assert w.braze.dropped == []
        assert sum(path == "/users/alias/new" for path, _ in w.braze.requests) <= 60


async def test_two_workers_share_the_shards_and_one_takes_over_when_the_other_is_gone(tmp_path: Path) -> None:
    async with world(tmp_path) as w, Keyroute(w.server.config, "--role", "worker") as second:

        async def held(server: Keyroute) -> float:
            async with aiohttp.ClientSession() as session, session.get(f"{server.origin}/metrics") as response:
                lines = (await response.text()).splitlines()
            return float(next(line.split()[1] for line in lines if line.startswith("keyroute_shards_held ")))

        async with asyncio.timeout(10):
            while (await held(w.server), await held(second)) != (2.0, 2.0):
                await asyncio.sleep(0.02)
        senders = [f"+1415555{i:04d}" for i in range(20)]
        await asyncio.gather(*(w.texts("START", "YES", sender=sender) for sender in senders))
        await w.receiver.wait_for(40)
        second.process.send_signal(signal.SIGKILL)
        second.process.wait()
        await asyncio.gather(*(w.texts("STOP", sender=sender, first=3) for sender in senders))
        await w.receiver.until(lambda: len(set(w.receiver.ids)) >= 60, 10)

        for sender in senders:
            assert w.told(sender)[:3] == TOLD[:3]


async def test_events_of_a_destination_that_was_removed_become_dead_letters(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.braze.fail(500, 1000)
        await w.texts("hello")
        await w.receiver.wait_for(1)
        write_configuration(tmp_path, crm=w.receiver.url)
        w.server.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(15):
            while not (letters := await w.dead()):
                await asyncio.sleep(0.02)

        assert [letter["destination"] for letter in letters] == ["braze"]
        assert "not configured any more" in letters[0]["reason"]
