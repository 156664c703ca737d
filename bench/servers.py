"""Servers for benches: keyroute with its embedded store in a folder of its own, and what its processes use."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from bench.driver import Plan, phone_number
from router.cli.store import opened
from router.config import load
from router.store import Outbox, Store
from tests.running import TOKEN, WEBHOOK_SECRET, Keyroute, free_port

_CONFIGURATION = """
[store]
data = "data"
{store}
[limits]
replies_per_hour = 1000000
{limits}
[accounts.twilio]
carrier = "twilio"
public_url = "https://sms.example.com/in/twilio"
auth_tokens = ["file:token.secret"]
retries = true
[accounts.meta]
carrier = "whatsapp"
app_secrets = ["file:token.secret"]
[[numbers]]
number = "+14155550199"
account = "twilio"
type = "long_code"
program = "alerts"
carrier_answers = []
[[numbers]]
number = "+14155550188"
account = "meta"
type = "long_code"
program = "chat"
[programs.chat]
name = "Chat"
channel = "whatsapp"
[programs.chat.replies.en]
opt_in = "Welcome to Chat."
opt_out = "You get no more of Chat."
help = "Chat: call 556."
[[programs.chat.keywords]]
words = ["COUPONS"]
[programs.alerts]
name = "Alerts"
[programs.alerts.replies.en]
opt_in = "Welcome to Alerts."
opt_out = "You get no more Alerts."
help = "Alerts: call 556."
[[programs.alerts.keywords]]
words = ["COUPONS"]
replies = {{ en = "Ten percent off." }}
"""
_WEBHOOK = """
[programs.alerts.destinations.{name}]
[programs.chat.destinations.{name}]
[destinations.{name}]
platform = "webhook"
url = "http://127.0.0.1:{port}/events"
secrets = ["file:webhook.secret"]
allow_private = true
{more}
"""
_BRAZE = """
[programs.alerts.destinations.{name}]
subscription_group_id = "group"
[programs.chat.destinations.{name}]
subscription_group_id = "chat"
[destinations.{name}]
platform = "braze"
url = "http://127.0.0.1:{port}"
api_key = "file:token.secret"
allow_private = true
{more}
"""
_PROGRAM = """
[[numbers]]
number = "{number}"
account = "twilio"
type = "long_code"
program = "p{place}"
carrier_answers = []
[programs.p{place}]
name = "Program {place}"
destinations = {{ hook = {{}} }}
replies.en = {{ opt_in = "Welcome to {place}.", opt_out = "No more of {place}.", help = "Call 555 for {place}." }}
keywords = [
  {{ words = ["COUPONS"], replies = {{ en = "Ten percent off at {place}." }} }},
  {{ words = ["W{place}"], replies = {{ en = "You are at {place}." }} }},
]
"""
_SECONDS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def webhook(name: str, port: int, more: str = "") -> str:
    """A destination for `configure`."""
    return _WEBHOOK.format(name=name, port=port, more=more)


def braze(name: str, port: int, more: str = "") -> str:
    """The same in the shape of Braze."""
    return _BRAZE.format(name=name, port=port, more=more)


def configure(folder: Path, *others: str, store: str = "", limits: str = "") -> Path:
    """Writes a configuration with a program on SMS, one on WhatsApp, and others: destinations, programs."""
    (folder / "token.secret").write_text(TOKEN)
    (folder / "webhook.secret").write_text(WEBHOOK_SECRET)
    path = folder / "keyroute.toml"
    path.write_text(_CONFIGURATION.format(store=store, limits=limits) + "".join(others))
    return path


@dataclass(frozen=True)
class Use:
    """What a process uses: memory in MB, and seconds of processor time so far."""

    memory: float
    processor: float

    @classmethod
    def of(cls, pid: int) -> "Use":
        """By the kernel's books."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return cls(resident * _PAGE / 1e6, (int(fields[11]) + int(fields[12])) / _SECONDS)


@dataclass
class Running:
    """A server that takes texts, workers beside it if there are any, and their store."""

    server: Keyroute
    workers: Sequence[Keyroute]
    store: Store
    store_pid: int

    def use(self) -> dict[str, Use]:
        """What each process uses."""
        found = {"server": self._server(), "store": Use.of(self.store_pid)}
        return found | {f"worker {n}": Use.of(one.process.pid) for n, one in enumerate(self.workers, 1)}

    def _server(self) -> Use:
        """All processes of the server together."""
        pid = self.server.process.pid
        children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        each = [Use.of(pid), *(Use.of(child) for child in children if child != self.store_pid)]
        return Use(sum(use.memory for use in each), sum(use.processor for use in each))

    async def waiting(self) -> int:
        """How many entries no destination or not every one has settled."""
        return (await Outbox(self.store, ["ledger"]).waiting()).entries

    async def drained(self, within: float) -> bool:
        """Returns when nothing waits; whether that was in time."""
        for _ in range(int(within / 0.1)):
            if not await self.waiting():
                return True
            await asyncio.sleep(0.1)
        return False

    async def make_subscribed(self, people: int) -> None:
        """People of a plan are subscribed to the program, and known at a destination, as if they had long been."""
        each = self.store.redis.register_script(
            "for _, key in ipairs(KEYS) do redis.call('HSET', key, 'consent:alerts', ARGV[1], 'alias:hook', '1') end"
        )
        state = f"subscribed {int(time.time() * 1e6)}"
        for first in range(0, people, 5000):
            some = range(first, min(first + 5000, people))
            await each([self.store.keys.person(phone_number(who)) for who in some], [state])

    async def make_known(self, destination: str, people: int) -> None:
        """People of a plan are known at a destination."""
        for first in range(0, people, 5000):
            pipeline = self.store.redis.pipeline(transaction=False)
            for who in range(first, min(first + 5000, people)):
                pipeline.hset(self.store.keys.person(phone_number(who)), f"alias:{destination}", "1")
            await pipeline.execute()


@asynccontextmanager
async def running(
    config: Path, server: Literal["all", "ingress", "apart"] = "all", *, processes: int = 1, patience: float = 15.0
) -> AsyncIterator[Running]:
    """Runs keyroute: in `processes` that do all, or that take texts, or that and a worker beside them.

    `patience`: how long it may take to start, in seconds.
    """
    async with AsyncExitStack() as stack:
        how = [*([] if server == "all" else ["--role", "ingress"]), "--processes", str(processes)]
        first = await stack.enter_async_context(Keyroute(config, *how, patience=patience))
        store = await stack.enter_async_context(opened(load(config)))
        info = cast("Mapping[str, int]", await store.redis.info("server"))
        beside = [Keyroute(config, "--role", "worker")] if server == "apart" else []
        for worker in beside:
            await stack.enter_async_context(worker)
        yield Running(first, beside, store, info["process_id"])


def programs(count: int) -> Iterator[str]:
    """So many more programs for `configure`, each with a number of its own and two keywords."""
    for place in range(count):
        yield _PROGRAM.format(place=place, number=number_of_program(place))


def number_of_program(place: int) -> str:
    """The number of one of `programs`."""
    return f"+1{2_010_000_000 + place}"


def ports(count: int) -> list[int]:
    """Free ports."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return sorted(found)


def warm_up(port: int) -> Plan:
    """What makes connections, caches and pools ready, before anything is measured."""
    return Plan(port=port, rate=300, seconds=2, first=10**9, people=500, seed=7)
