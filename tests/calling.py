"""The application with keys for its API, and callers of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson

from router.bearer import digest
from router.config import PERMISSIONS, load
from router.types import RawRequest
from tests.asgi import Reply, call, serving
from tests.commits import Clock
from tests.receiving import World

#: May do everything.
KEY = "a-key-that-may-do-everything"
ANNA, BERT, CARL = "+14155550101", "+14155550102", "+14155550103"

CONFIGURATION = """
[store]
url = "{url}"
prefix = "{prefix}"
data = "{prefix}"
shards = 2
[server]
max_body_bytes = 200_000
public_url = "https://sms.example.com"
[api]
tokens = ["file:api.secret"]
{api}
[api.keys.all]
sha256 = "{digest}"
permissions = {permissions}
[accounts.acme]
carrier = "post"
[accounts.out]
carrier = "clickatell"
unauthenticated = true
api_key = "file:api.secret"
[[numbers]]
number = "+14155550188"
account = "out"
type = "long_code"
program = "deals"
[[numbers]]
number = "+14155550177"
account = "out"
type = "long_code"
program = "alerts"
[[numbers]]
number = "20202"
account = "acme"
type = "short_code"
program = "deals"
[[numbers]]
number = "+14155550199"
account = "acme"
type = "long_code"
program = "alerts"
[programs.deals]
name = "Deals"
opt_in = "double"
languages = ["en", "fr"]
opt_in_events = ["deals_number_captured"]
[programs.deals.replies.en]
prompt = "Reply YES."
opt_in = "Welcome to Deals."
opt_out = "Goodbye."
help = "Call 555."
[programs.deals.replies.fr]
prompt = "Répondez OUI."
[programs.deals.destinations.crm]
[programs.news]
name = "News"
opt_in = "double"
opt_in_events = ["news_number_captured"]
[programs.news.replies.en]
prompt = "Reply YES."
opt_in = "Welcome to News."
opt_out = "Goodbye."
help = "Call 557."
[programs.alerts]
name = "Alerts"
group_id = "group-alerts"
opt_in_events = ["phone_number_captured"]
[programs.alerts.replies.en]
opt_in = "Welcome to Alerts."
opt_out = "Goodbye."
help = "Call 556."
[programs.alerts.destinations.crm]
[destinations.crm]
platform = "webhook"
url = "https://crm.example.com/"
secrets = ["file:webhook.secret"]
"""


@dataclass
class Caller(World):
    """The application, and whoever has a key for its API."""

    async def send(
        self, method: str, path: str, body: bytes, *, query: str = "", key: str | None = KEY, **headers: str
    ) -> Reply:
        """A request as it is. Names of headers are written with _ here."""
        named = {"content-type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
        if key is not None:
            named.setdefault("authorization", f"Bearer {key}")
        return await call(self.app, RawRequest("", method, query.encode(), named, body, 0.0, path))

    async def post_json(self, path: str, body: Any, key: str | None = KEY) -> tuple[int, dict[str, Any]]:
        """Status and answer of a POST."""
        reply = await self.send("POST", path, orjson.dumps(body), key=key)
        return reply.status, orjson.loads(reply.body)

    async def get(self, path: str, **query: str | list[str] | int) -> tuple[int, dict[str, Any]]:
        """Status and answer of a GET; `ids` is `external_id[]`."""
        named = {"external_id[]" if name == "ids" else name: value for name, value in query.items()}
        reply = await self.send("GET", path, b"", query=urlencode(named, doseq=True))
        return reply.status, orjson.loads(reply.body)

    async def set(
        self, state: str, *phones: str, group: str = "group-alerts", **more: Any
    ) -> tuple[int, dict[str, Any]]:
        """`/subscription/status/set`."""
        body = {"subscription_group_id": group, "subscription_state": state, "phone": list(phones)}
        return await self.post_json("/subscription/status/set", body | more)

    async def track(self, **arrays: Any) -> tuple[int, dict[str, Any]]:
        """`/users/track`."""
        return await self.post_json("/users/track", arrays)

    async def says(self, text: str, sender: str = ANNA, to: str = "+14155550199") -> None:
        """A person texts."""
        reply = await self.post(self.text(text, sender=sender, recipient=to))
        assert reply.status == 200

    async def is_blocked(self, sender: str) -> None:
        """The carrier says that it sends a person nothing."""
        receipt = {"message_id": "r", "failure": "opted_out", "recipient": sender, "sender": "+14155550199"}
        assert (await self.post({"receipt": receipt})).status == 200

    async def state(self, sender: str = ANNA, program: str = "alerts") -> str:
        """A person's state in a program."""
        person = await self.person(sender)
        return person.state((program, "@acme", "@out", "@all"), self.clock()) if person else "none"

    async def decided(self, sender: str = ANNA) -> list[tuple[str | None, str | None, str, str, str | None]]:
        """What was decided of a person: program, rule, states before and after, and reply, in order."""
        found = [entry.event for entry in await self.entries() if entry.event.message.sender == sender]
        decisions = [event.decision for event in found]
        return [(each.program, each.rule, each.before, each.after, each.reply) for each in decisions]


@asynccontextmanager
async def calling(folder: Path, store_url: str, prefix: str, api: str = "") -> AsyncIterator[Caller]:
    """An application on a store, with more lines for `[api]` in its configuration."""
    (folder / "api.secret").write_text("a-token-for-the-tests")
    config = folder / f"{prefix}.toml"
    permissions = orjson.dumps(PERMISSIONS).decode()
    config.write_text(
        CONFIGURATION.format(url=store_url, prefix=prefix, api=api, digest=digest(KEY), permissions=permissions)
    )
    clock = Clock()
    async with serving(load(config), clock) as app:
        yield Caller(app, clock, config)
