"""Braze, collecting opt-ins, all three ways of its documents, from the first word to the text that leaves and the
platform.

A real server; a carrier that takes the texts to people; a Braze workspace behind it. The program Club puts the
question of a double opt-in, the program Alerts subscribes at once.
"""

import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from standardwebhooks import Webhook

from router.bearer import digest
from tests.running import BRAZE_KEY, Keyroute, write_configuration
from tests.standins.braze import Braze
from tests.standins.receiver import SECRET, Receiver

PERSON = "+14155550123"
CLUB, NOTES = "+14155550177", "+14155550178"
KEY = "a-key-of-the-form-on-our-site"
EXTRA = """
[api.keys.site]
sha256 = "{digest}"
permissions = ["users.track", "subscription.status.set", "subscription.groups.get"]
[accounts.acme]
carrier = "standard_webhooks"
secrets = ["file:acme.secret"]
url = "{url}"
allow_private = true
[[numbers]]
number = "+14155550177"
account = "acme"
type = "long_code"
program = "club"
[[numbers]]
number = "+14155550178"
account = "acme"
type = "long_code"
program = "notes"
[programs.club]
name = "Club"
group_id = "group-club"
opt_in = "double"
opt_in_events = ["phone_number_captured"]
[programs.club.replies.en]
prompt = "Club: reply YES to join. STOP to cancel."
opt_in = "Club: you are in."
opt_out = "Club: you are out."
help = "Club: call 555."
[programs.club.destinations.braze]
subscription_group_id = "group-club"
[programs.notes]
name = "Notes"
opt_in_events = ["notes_number_captured"]
[programs.notes.replies.en]
opt_in = "Notes: you are in. STOP to cancel."
opt_out = "Notes: you are out."
help = "Notes: call 556."
[programs.notes.destinations.braze]
subscription_group_id = "group-notes"
"""


class World:
    """The server, the carrier that its texts go to, and the workspace."""

    def __init__(self, server: Keyroute, carrier: Receiver, braze: Braze, session: aiohttp.ClientSession) -> None:
        self.carrier = carrier
        self._server = server
        self._braze = braze
        self._session = session
        self._count = 0

    async def texts(self, words: str, to: str = CLUB) -> None:
        """The person texts one of our numbers."""
        self._count += 1
        data: dict[str, Any] = {
            "id": f"m{self._count}",
            "from": PERSON,
            "to": to,
            "text": words,
            "channel": "sms",
            "media": [],
        }
        body = json.dumps({"type": "message.received", "timestamp": "2026-02-03T10:00:00Z", "data": data})
        now = int(time.time())
        signature = Webhook(SECRET).sign(data["id"], datetime.fromtimestamp(now, UTC), body)
        headers = {"webhook-id": data["id"], "webhook-timestamp": str(now), "webhook-signature": signature}
        async with self._session.post(f"{self._server.origin}/in/acme", data=body, headers=headers) as response:
            assert response.status == 200

    async def calls(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Somebody's server calls the API."""
        headers = {"Authorization": f"Bearer {KEY}"}
        async with self._session.post(f"{self._server.origin}{path}", json=body, headers=headers) as response:
            answer: dict[str, Any] = await response.json()
            assert response.status == 201, answer
            return answer

    async def was_texted(self, *words: str) -> None:
        """The texts that have left to the person are these."""
        await self.carrier.wait_for(len(words))
        assert [event["data"]["text"] for event in self.carrier.events] == list(words)
        assert {event["data"]["to"] for event in self.carrier.events} == {PERSON}

    async def is_in_braze(self, group: str, state: str) -> None:
        """Returns when the workspace has the person in that state, under the phone alias."""

        def holds() -> bool:
            profile = self._braze.profiles.get(("phone", PERSON))
            return profile is not None and profile.groups.get(group) == state

        await self._braze.until(holds)
        assert self._braze.dropped == []

    def braze_was_told_nothing(self) -> bool:
        """Whether nothing has reached the workspace yet."""
        return self._braze.requests == []


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as running:
        carrier = await running.enter_async_context(Receiver())
        braze = Braze(delay=0.01)
        braze.api_key = BRAZE_KEY
        await running.enter_async_context(braze)
        session = await running.enter_async_context(aiohttp.ClientSession())
        (tmp_path / "acme.secret").write_text(SECRET)
        extra = EXTRA.format(digest=digest(KEY), url=carrier.url)
        server = await running.enter_async_context(
            Keyroute(write_configuration(tmp_path, braze=braze.url, extra=extra))
        )
        yield World(server, carrier, braze, session)


async def test_first_way_a_keyword_is_texted_and_the_answer_confirms_it(w: World) -> None:
    await w.texts("START")
    await w.was_texted("Club: reply YES to join. STOP to cancel.")
    assert w.braze_was_told_nothing()

    await w.texts("YES")
    await w.was_texted("Club: reply YES to join. STOP to cancel.", "Club: you are in.")
    await w.is_in_braze("group-club", "subscribed")


async def test_second_way_a_custom_event_captures_the_number_and_a_text_asks_to_confirm(w: World) -> None:
    event = {
        "external_id": "customer-7",
        "name": "phone_number_captured",
        "time": datetime.now(UTC).isoformat(),
        "properties": {"phone_number": PERSON},
    }
    answer = await w.calls("/users/track", {"events": [event]})

    assert answer == {"message": "success", "events_processed": 1}
    await w.was_texted("Club: reply YES to join. STOP to cancel.")
    await w.texts("yes please")
    await w.was_texted("Club: reply YES to join. STOP to cancel.", "Club: you are in.")
    await w.is_in_braze("group-club", "subscribed")


async def test_second_way_where_one_word_is_enough_the_event_subscribes_and_a_text_says_so(w: World) -> None:
    event = {
        "user_alias": {"alias_label": "phone", "alias_name": PERSON},
        "_update_existing_only": False,
        "name": "notes_number_captured",
        "time": datetime.now(UTC).isoformat(),
    }
    await w.calls("/users/track", {"events": [event]})

    await w.was_texted("Notes: you are in. STOP to cancel.")
    await w.is_in_braze("group-notes", "subscribed")


async def test_third_way_a_form_on_our_site_sets_the_state_by_external_id_and_phone(w: World) -> None:
    form = {
        "subscription_group_id": "group-club",
        "subscription_state": "subscribed",
        "external_id": ["customer-7"],
        "phone": [PERSON],
    }
    assert await w.calls("/subscription/status/set", form) == {"message": "success"}

    await w.is_in_braze("group-club", "subscribed")
    by_id = {key: value for key, value in form.items() if key != "phone"} | {"subscription_state": "unsubscribed"}
    await w.calls("/subscription/status/set", by_id)
    await w.is_in_braze("group-club", "unsubscribed")
    assert w.carrier.events == []


async def test_third_way_with_use_double_opt_in_logic_the_person_is_asked_first(w: World) -> None:
    form = {
        "subscription_group_id": "group-club",
        "subscription_state": "subscribed",
        "phone": PERSON,
        "use_double_opt_in_logic": True,
    }
    await w.calls("/subscription/status/set", form)

    await w.was_texted("Club: reply YES to join. STOP to cancel.")
    assert w.braze_was_told_nothing()
    await w.texts("OK YES")
    await w.is_in_braze("group-club", "subscribed")


async def test_whoever_came_in_by_a_form_gets_out_by_a_text(w: World) -> None:
    form = {"subscription_group_id": "notes", "subscription_state": "subscribed", "phone": PERSON}
    await w.calls("/subscription/status/set", form)
    await w.texts("Stop please!!", to=NOTES)

    await w.was_texted("Notes: you are out.")
    await w.is_in_braze("group-notes", "unsubscribed")
