"""Subscription groups on WhatsApp, as Braze's page on them says: no word counts by itself, buttons and preferences do.

Signed webhooks of Meta go through the application and its WhatsApp adapter.
"""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from router.config import load
from router.types import Decision, RawRequest
from tests.asgi import Reply, call, serving
from tests.commits import Clock
from tests.receiving import World

SECRET = "6f1c0b7a9e3d4c52"
PERSON, OTHER = "+16505551234", "+16505551235"
#: A number with a program of either purpose; one whose only program is no marketing; one with words of its own.
MIXED, ORDERS, WORDS = "+15550783881", "+15550783882", "+15550783883"

CONFIGURATION = f"""
[store]
url = "{{url}}"
prefix = "{{prefix}}"
data = "data"
shards = 2
[accounts.meta]
carrier = "whatsapp"
app_secrets = ["file:app.secret"]
[[numbers]]
number = "{MIXED}"
account = "meta"
type = "long_code"
program = ["orders", "offers", "news"]
[[numbers]]
number = "{ORDERS}"
account = "meta"
type = "long_code"
program = "returns"
[[numbers]]
number = "{WORDS}"
account = "meta"
type = "long_code"
program = "club"
[programs.orders]
purpose = "transactional"
[programs.returns]
purpose = "transactional"
[programs.offers]
[programs.news]
[programs.club]
[[programs.club.keywords]]
words = ["JOIN"]
intent = "opt_in"
[[programs.club.keywords]]
words = ["STOP"]
intent = "opt_out"
[destinations.crm]
platform = "webhook"
url = "https://crm.example.com/"
secrets = ["file:webhook.secret"]
"""
PROGRAM = """
[programs.{0}.replies.en]
opt_in = "Welcome to {0}."
opt_out = "No more {0}."
help = "Call 555."
[programs.{0}.destinations.crm]
"""


@dataclass
class Meta(World):
    """The application, and what Meta posts to it."""

    async def send(self, number: str, field: str = "messages", secret: str = SECRET, **value: Any) -> Reply:
        metadata = {"display_phone_number": number.removeprefix("+"), "phone_number_id": f"id-{number[-1]}"}
        change = {"field": field, "value": {"messaging_product": "whatsapp", "metadata": metadata, **value}}
        entry = {"id": "102290129340398", "changes": [change]}
        body = json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        return await call(
            self.app, RawRequest("meta", "POST", b"", {"x-hub-signature-256": f"sha256={signature}"}, body, 0.0)
        )

    async def types(self, text: str, number: str = WORDS) -> Decision:
        """What is decided when the person types that."""
        return await self.says(number, {"type": "text", "text": {"body": text}})

    async def taps(self, title: str, number: str = WORDS, kind: str = "button_reply") -> Decision:
        """What is decided when the person taps that button, or that row of a list."""
        tapped = {"type": kind, kind: {"id": "chosen-1", "title": title}}
        return await self.says(number, {"type": "interactive", "interactive": tapped})

    async def prefers(self, value: str, number: str = MIXED) -> Decision:
        """What is decided when the person stops or resumes marketing in WhatsApp itself."""
        self.clock.now += 1
        preference = {
            "wa_id": PERSON[1:],
            "category": "marketing_messages",
            "value": value,
            "timestamp": self.clock.now,
        }
        assert (await self.send(number, "user_preferences", user_preferences=[preference])).status == 200
        return (await self.entries())[-1].event.decision

    async def subscribes(self, *programs: str) -> None:
        """The person is subscribed to these already, by a tap on START and the name."""
        for program in programs:
            assert (await self.taps(f"START {program}", MIXED)).after == "subscribed"

    async def states(self) -> dict[str, str]:
        """What the person is to each program that they have said something about."""
        person = await self.person(PERSON)
        return {name: consent.state for name, consent in person.consent.items()} if person else {}

    async def says(self, number: str, message: dict[str, Any]) -> Decision:
        self.count += 1
        self.clock.now += 1
        said = {"from": PERSON[1:], "id": f"wamid.{self.count}", "timestamp": str(int(self.clock.now)), **message}
        assert (await self.send(number, messages=[said])).status == 200
        # Texts of one person are in one shard, in order.
        return (await self.entries())[-1].event.decision


Start = Callable[[], AbstractAsyncContextManager[Meta]]


@pytest.fixture
def start(tmp_path: Path, embedded_url: str, prefix: str) -> Start:
    """Starts the application."""
    (tmp_path / "app.secret").write_text(SECRET)
    (tmp_path / "webhook.secret").write_text("whsec_BwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiMkJSY=")
    source = CONFIGURATION.format(url=embedded_url, prefix=prefix)
    for name in ("orders", "returns", "offers", "news", "club"):
        head = f"[programs.{name}]\n"
        source = source.replace(head, f'{head}name = "{name}"\nchannel = "whatsapp"\n') + PROGRAM.format(name)
    config = tmp_path / "keyroute.toml"
    config.write_text(source)

    @asynccontextmanager
    async def started() -> AsyncIterator[Meta]:
        clock = Clock()
        async with serving(load(config), clock) as app:
            yield Meta(app, clock, config)

    return started


@pytest.mark.parametrize(
    "text", ["STOP", "stop", "START", "HELP", "Stop please!!", "unsubscribe", "take me off this list"]
)
async def test_no_typed_word_counts_unless_it_is_configured(start: Start, text: str) -> None:
    async with start() as meta:
        await meta.subscribes("offers")
        found = await meta.types(text, MIXED)
        states = await meta.states()

    assert (found.intent, found.before, found.after, found.reply) == ("none", "subscribed", "subscribed", None)
    assert states == {"offers": "subscribed"}


@pytest.mark.parametrize("text", ["STOP", "stop", " Stop! "])
async def test_a_keyword_of_the_program_opts_out_whatever_its_case(start: Start, text: str) -> None:
    async with start() as meta:
        joined = await meta.types("join")
        left = await meta.types(text)

    assert (joined.after, joined.reply) == ("subscribed", "Welcome to club.")
    assert (left.intent, left.rule) == ("opt_out", "custom:club/STOP")
    assert (left.before, left.after, left.reply) == ("subscribed", "unsubscribed", "No more club.")


@pytest.mark.parametrize("text", ["please stop", "never stop sending", "stop sending", "join us for dinner"])
async def test_a_keyword_that_changes_consent_must_be_all_that_is_typed(start: Start, text: str) -> None:
    async with start() as meta:
        await meta.types("join")
        found = await meta.types(text)

    assert (found.intent, found.after) == ("none", "subscribed")


@pytest.mark.parametrize("kind", ["button_reply", "list_reply"])
async def test_the_button_that_marketing_templates_have_opts_out(start: Start, kind: str) -> None:
    async with start() as meta:
        await meta.types("join")
        found = await meta.taps("STOP PROMOTIONS", kind=kind)

    assert (found.intent, found.before, found.after) == ("opt_out", "subscribed", "unsubscribed")
    assert found.reply == "No more club."


async def test_a_button_of_a_template_counts_by_its_payload_too(start: Start) -> None:
    async with start() as meta:
        await meta.types("join")
        found = await meta.says(WORDS, {"type": "button", "button": {"text": "No, thanks", "payload": "STOP"}})

    assert (found.intent, found.after) == ("opt_out", "unsubscribed")


async def test_a_button_of_a_number_with_several_programs_may_name_one(start: Start) -> None:
    async with start() as meta:
        await meta.subscribes("offers", "news")
        await meta.taps("STOP NEWS", MIXED)
        states = await meta.states()

    assert states == {"offers": "subscribed", "news": "unsubscribed"}


async def test_stopping_marketing_ends_the_marketing_programs_of_the_number_and_is_not_answered(start: Start) -> None:
    async with start() as meta:
        await meta.subscribes("orders", "offers", "news")
        found = await meta.prefers("stop")
        states = await meta.states()

    assert (found.intent, found.rule, found.reply) == ("opt_out", "preference:STOP", None)
    assert {(change.program, change.after) for change in found.changes} == {
        ("offers", "unsubscribed"),
        ("news", "unsubscribed"),
    }
    assert states == {"orders": "subscribed", "offers": "unsubscribed", "news": "unsubscribed"}


@pytest.mark.parametrize("value", ["resume", "signup"])
async def test_resuming_marketing_brings_back_no_transactional_program(start: Start, value: str) -> None:
    async with start() as meta:
        await meta.subscribes("orders", "offers")
        await meta.prefers("stop")
        await meta.taps("STOP ORDERS", MIXED)
        found = await meta.prefers(value)
        states = await meta.states()

    assert (found.intent, found.after, found.reply) == ("opt_in", "subscribed", None)
    assert states["orders"] == "unsubscribed"
    assert states["offers"] == "subscribed"


@pytest.mark.parametrize("value", ["stop", "resume"])
async def test_a_word_about_marketing_changes_nothing_where_no_program_is_marketing(start: Start, value: str) -> None:
    async with start() as meta:
        await meta.taps("START", ORDERS)
        found = await meta.prefers(value, ORDERS)
        states = await meta.states()

    assert (found.intent, found.rule) == ("none", "preference:STOP" if value == "stop" else "preference:START")
    assert states == {"returns": "subscribed"}


async def test_the_same_preference_delivered_again_counts_once(start: Start) -> None:
    preference = {"wa_id": PERSON[1:], "category": "marketing_messages", "value": "stop", "timestamp": 1}
    async with start() as meta:
        for _ in range(2):
            assert (await meta.send(MIXED, "user_preferences", user_preferences=[preference])).status == 200
        entries = await meta.entries()

    assert len(entries) == 1


async def test_what_another_app_signed_counts_for_nothing(start: Start) -> None:
    message = {"from": OTHER[1:], "id": "wamid.x", "timestamp": "1", "type": "text", "text": {"body": "STOP"}}
    async with start() as meta:
        reply = await meta.send(WORDS, secret="0b7a9e3d4c526f1c", messages=[message])

        assert reply.status == 403
        assert await meta.entries() == []
