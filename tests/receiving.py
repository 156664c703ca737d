"""The application with a carrier that says in plain JSON what is in a request, and what is in its store."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from starlette.applications import Starlette

from router.config import load
from router.ports import Http
from router.service import open_store
from router.store import DeadLetter, DeadLetters, Entry, Outbox, People, Person, Store
from router.types import RawRequest
from tests.adapter_package import write_package
from tests.asgi import Reply, call, serving
from tests.commits import Clock
from tests.standins.post import ENTRY_POINTS, PACKAGE, PROOF

SENDER, OURS, SHORT = "+14155550101", "+14155550199", "20202"

CONFIGURATION = """
[store]
url = "{url}"
prefix = "{prefix}"
data = "{data}"
shards = 2
[limits]
join_seconds = 30
[accounts.acme]
carrier = "{carrier}"
{account}
[[numbers]]
number = "20202"
account = "acme"
type = "short_code"
program = "deals"
reference = "channel-2"
[[numbers]]
number = "+14155550199"
account = "acme"
type = "long_code"
program = "deals"
reference = "channel-1"
[programs.deals]
name = "Deals"
[programs.deals.replies.en]
opt_in = "Welcome."
opt_out = "Goodbye."
help = "Call 555."
none = "What?"
[programs.deals.destinations.crm]
[destinations.crm]
platform = "webhook"
url = "https://crm.example.com/"
secrets = ["file:webhook.secret"]
"""


@dataclass
class World:
    """The application, a clock that stands, and what is in its store."""

    app: Starlette
    clock: Clock
    config: Path
    count: int = 0

    async def post(self, *entries: dict[str, Any], headers: dict[str, str] = PROOF, path: str = "") -> Reply:
        """A carrier's request."""
        return await call(self.app, self.request(*entries, headers=headers, path=path))

    def request(self, *entries: dict[str, Any], headers: dict[str, str] = PROOF, path: str = "") -> RawRequest:
        """The same before it is sent."""
        return RawRequest("acme", "POST", b"", headers, orjson.dumps(entries), self.clock(), path)

    async def replies(self, *entries: dict[str, Any]) -> list[dict[str, Any]]:
        """The replies in the answer to an accepted request."""
        reply = await self.post(*entries)
        assert reply.status == 200
        replies: list[dict[str, Any]] = orjson.loads(reply.body)["replies"]
        return replies

    def text(self, text: str = "", message_id: str | None = None, **more: Any) -> dict[str, Any]:
        """A text with an id of its own to the short code."""
        self.count += 1
        said = {"message_id": message_id or f"m{self.count}", "sender": SENDER, "recipient": SHORT, "text": text}
        return {"text": said | more}

    async def entries(self) -> list[Entry]:
        """What has been decided, for destinations, in order."""
        async with self.store() as store:
            return [entry for shard in range(2) for entry in await Outbox(store, []).read(shard, "0-0", 100)]

    async def letters(self) -> list[DeadLetter]:
        """What nobody could be told of."""
        async with self.store() as store:
            return [letter async for letter in DeadLetters(store, 100).each()]

    async def person(self, sender: str = SENDER) -> Person | None:
        """What is known of somebody."""
        async with self.store() as store:
            return await People(store).get(sender)

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        store, _ = open_store(load(self.config))
        yield store
        await store.close()


Start = Callable[..., AbstractAsyncContextManager[World]]


def write_carriers(folder: Path) -> None:
    """What a configuration in the folder needs; the folder has to be on `sys.path`."""
    (folder / "webhook.secret").write_text("whsec_BwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiMkJSY=")
    write_package(folder, "posts", PACKAGE, ENTRY_POINTS)


def starter(folder: Path, store_url: str, prefix: str) -> Start:
    """Starts applications on one store."""

    @asynccontextmanager
    async def start(
        carrier: str = "post",
        account: str = "",
        http: Http | None = None,
        url: str = store_url,
        configuration: str = CONFIGURATION,
    ) -> AsyncIterator[World]:
        config = folder / f"{prefix}.toml"
        config.write_text(configuration.format(url=url, prefix=prefix, data=prefix, carrier=carrier, account=account))
        clock = Clock()
        async with serving(load(config), clock, http) as app:
            yield World(app, clock, config)

    return start
