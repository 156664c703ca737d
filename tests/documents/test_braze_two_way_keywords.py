"""Braze, two-way keyword messaging: what its documents say of a text that comes in, through the real server.

The steps are those of the pages on opt-in and opt-out keywords, custom keyword handling and unknown phone numbers.
Where keyroute does otherwise, a test says so by name: YES alone never subscribes, and an opt-out is confirmed once.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.running import ALERTS, BRAZE_KEY, Keyroute, Twilio, write_configuration
from tests.standins.braze import Braze

SENDER = "+14155550101"
SILENCE = "<Response/>"


class World:
    """The server, a Braze workspace, and people who text the program Alerts."""

    def __init__(self, braze: Braze, twilio: Twilio) -> None:
        self.braze = braze
        self._twilio = twilio
        self._count = 0

    async def says(self, text: str, sender: str = SENDER) -> str:
        """The answer to a text."""
        self._count += 1
        status, body = await self._twilio.text(f"SM{self._count}", text, sender=sender, to=ALERTS)
        assert status == 200
        return body.decode().removeprefix("<Response><Message>").removesuffix("</Message></Response>")

    async def applied(self, count: int) -> list[tuple[str, dict[str, Any]]]:
        """What took effect in the workspace, once it is as much."""
        await self.braze.until(lambda: len(self.braze.applied) >= count)
        return self.braze.applied

    def state(self, sender: str = SENDER) -> str | None:
        """The state of the group in the person's profile."""
        profile = self.braze.profiles.get(("phone", sender))
        return profile.groups.get("group-alerts") if profile else None


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    """Everything running."""
    async with AsyncExitStack() as running:
        braze = Braze(delay=0.01)
        braze.api_key = BRAZE_KEY
        await running.enter_async_context(braze)
        session = await running.enter_async_context(aiohttp.ClientSession())
        server = await running.enter_async_context(Keyroute(write_configuration(folder, braze=braze.url)))
        yield World(braze, Twilio(server.origin, session))


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as found:
        yield found


async def test_an_opt_in_keyword_subscribes_to_the_group_of_the_number_and_is_answered(w: World) -> None:
    for place, keyword in enumerate(("START", "UNSTOP", "start", "  Start ")):
        sender = f"+1415555020{place}"
        assert await w.says(keyword, sender) == "Welcome to Alerts."
        await w.braze.until(lambda sender=sender: w.state(sender) == "subscribed")  # type: ignore[misc]


async def test_an_opt_out_keyword_unsubscribes_and_is_answered(w: World) -> None:
    for place, keyword in enumerate(("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "quit", "REVOKE")):
        sender = f"+1415555030{place}"
        await w.says("START", sender)
        assert await w.says(keyword, sender) == "You get no more Alerts."
        await w.braze.until(lambda sender=sender: w.state(sender) == "unsubscribed")  # type: ignore[misc]


async def test_help_is_answered_for_everybody_and_changes_nothing(w: World) -> None:
    await w.says("STOP")
    await w.braze.until(lambda: w.state() == "unsubscribed")
    for keyword in ("HELP", "INFO", "info"):
        assert await w.says(keyword) == "Alerts: call 556."
    assert await w.says("HELP", "+14155550777") == "Alerts: call 556."
    assert w.state() == "unsubscribed"


async def test_any_other_text_is_a_custom_event_under_the_phone_alias(w: World) -> None:
    await w.says("START")
    assert await w.says("Where IS my Order?") == SILENCE
    applied = await w.applied(3)
    kinds = [kind for kind, _ in applied]
    event = next(item for kind, item in applied if kind == "event")

    assert kinds.index("alias") < kinds.index("event")
    assert event["user_alias"] == {"alias_label": "phone", "alias_name": SENDER}
    assert event["name"] == "sms_response_Alerts_custom"
    assert event["properties"] == {
        "message_body": "where is my order?",
        "to_number": ALERTS,
        "from_number": SENDER,
        "sms_message_id": "SM2",
    }
    assert w.braze.dropped == []


async def test_a_default_keyword_makes_no_custom_event(w: World) -> None:
    for keyword in ("START", "HELP", "STOP", "START"):
        await w.says(keyword)
    await w.says("hello")
    applied = await w.applied(5)

    assert [item["properties"]["message_body"] for kind, item in applied if kind == "event"] == ["hello"]


async def test_a_long_text_is_cut_to_what_a_property_holds(w: World) -> None:
    await w.says("Ä" * 1600)
    await w.applied(2)
    events = [item for kind, item in w.braze.applied if kind == "event"]

    assert [event["properties"]["message_body"] for event in events] == ["ä" * 255]


async def test_a_custom_keyword_is_answered_unless_the_person_has_opted_out(w: World) -> None:
    assert await w.says("STATUS") == "All is well."
    await w.says("STOP")
    assert await w.says("STATUS") == SILENCE


async def test_an_unknown_number_that_opts_in_becomes_a_profile_with_phone_alias_and_state(w: World) -> None:
    await w.says("START")
    await w.braze.until(lambda: w.state() == "subscribed")

    assert w.braze.profiles["phone", SENDER].phone == SENDER
    assert w.braze.dropped == []


async def test_otherwise_yes_alone_subscribes_nobody(w: World) -> None:
    assert await w.says("YES") == SILENCE
    await w.says("STOP")
    assert await w.says("YES") == SILENCE
    await w.braze.until(lambda: w.state() == "unsubscribed")


async def test_otherwise_an_opt_out_is_confirmed_once(w: World) -> None:
    assert await w.says("STOP") == "You get no more Alerts."
    assert await w.says("STOP") == SILENCE
    assert await w.says("END") == SILENCE


async def test_otherwise_punctuation_courtesy_and_other_languages_count_too(w: World) -> None:
    for text in ("Stop please!!", "S.T.O.P.", "🛑", "please stop texting me"):
        await w.says("START")
        assert await w.says(text) == "You get no more Alerts."
