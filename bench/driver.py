"""An open-loop driver: signed texts of Twilio at a fixed rate, whatever the server does about them.

`python -m bench.driver PLAN.json OUT` reads a `Plan` and writes `Sent` to OUT. Each text has its time before the run
begins, and latency counts from that time: a server that is slow for a moment is charged for all that had to wait. A
person's texts go over one connection, one after another, so that they are accepted in order.
"""

import asyncio
import hashlib
import hmac
import json
import random
import subprocess
import sys
import time
from array import array
from base64 import b64encode
from collections import Counter, deque
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from pathlib import Path
from urllib.parse import urlencode

import uvloop

from bench.exchange import Client

ROOT = Path(__file__).parent.parent
_TICK = 0.001


@dataclass(frozen=True)
class Plan:
    """What is to be sent: `rate` texts a second for `seconds`, of `people` known ones with a skew (`zipf`; 0 for none).

    A `fresh` share is of people who never texted before. Message ids are `SM` and the number of the text, from `first`.
    `token` signs for `url`; `texts` are sent in turns to `to`. Answers are waited for as long as `patience` behind the
    last text, in seconds.
    """

    port: int
    rate: float
    seconds: float
    people: int = 5000
    zipf: float = 0.0
    fresh: float = 0.0
    first: int = 0
    seed: int = 1
    connections: int = 128
    patience: float = 30.0
    to: str = "+14155550199"
    texts: tuple[str, ...] = ("COUPONS",)
    url: str = "https://sms.example.com/in/twilio"
    token: str = "0123456789abcdef0123456789abcdef"  # noqa: S105 (of a bench)

    @property
    def count(self) -> int:
        """How many texts there are."""
        return int(self.rate * self.seconds)


@dataclass
class Sent:
    """What became of each text: when it was to leave and when it was answered (0: never), in unix seconds; `senders` by
    number. `statuses` counts the answers (0: none came). `processor`: seconds that the driver itself took.
    """

    due: "array[float]" = field(default_factory=lambda: array("d"))
    answered: "array[float]" = field(default_factory=lambda: array("d"))
    senders: "array[int]" = field(default_factory=lambda: array("q"))
    statuses: dict[str, int] = field(default_factory=dict)
    processor: float = 0.0
    late: float = 0.0

    def write(self, path: Path) -> None:
        """Keeps it in a file."""
        with path.open("wb") as file:
            head = {"count": len(self.due), "statuses": self.statuses, "processor": self.processor, "late": self.late}
            file.write(json.dumps(head).encode() + b"\n")
            for column in (self.due, self.answered, self.senders):
                column.tofile(file)

    @classmethod
    def read(cls, path: Path) -> "Sent":
        """What was kept."""
        with path.open("rb") as file:
            head = json.loads(file.readline())
            found = cls(statuses=head["statuses"], processor=head["processor"], late=head["late"])
            for column in (found.due, found.answered, found.senders):
                column.fromfile(file, head["count"])
        return found


def number_of(sender: int) -> str:
    """The phone number of a person; those from 1,000,000 on text for the first time."""
    return f"+1{2_120_000_000 + sender}"


def senders(plan: Plan) -> "array[int]":
    """Who sends each text."""
    chance = random.Random(plan.seed)
    weights = list(accumulate(1 / (rank + 1) ** plan.zipf for rank in range(plan.people)))
    known = chance.choices(range(plan.people), cum_weights=weights, k=plan.count)
    fresh = 1_000_000 + plan.first
    return array("q", (fresh + i if chance.random() < plan.fresh else who for i, who in enumerate(known)))


def request(plan: Plan, number: int, sender: int) -> bytes:
    """A text as Twilio posts it, with its signature."""
    form = {
        "Body": plan.texts[number % len(plan.texts)],
        "From": number_of(sender),
        "MessageSid": f"SM{number:032d}",
        "NumMedia": "0",
        "To": plan.to,
    }
    signed = plan.url + "".join(f"{name}{value}" for name, value in form.items())
    signature = b64encode(hmac.digest(plan.token.encode(), signed.encode(), hashlib.sha1)).decode()
    body = urlencode(form)
    return (
        f"POST /in/twilio HTTP/1.1\r\nHost: 127.0.0.1:{plan.port}\r\nX-Twilio-Signature: {signature}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


class Driver:
    """Sends a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.sent = Sent(senders=senders(plan), answered=array("d", bytes(8 * plan.count)))
        self._requests = [request(plan, plan.first + i, who) for i, who in enumerate(self.sent.senders)]
        self._queues: list[deque[int]] = [deque() for _ in range(plan.connections)]
        self._under_way = [0] * plan.connections
        self._clients: list[Client] = []
        self._places: dict[Client, int] = {}
        self._connecting: set[asyncio.Future[None]] = set()
        self._statuses: Counter[int] = Counter()
        self._left = plan.count
        self._all_answered = asyncio.Event()

    async def run(self) -> None:
        """Sends all texts, each at its time, and waits for the answers."""
        self._clients = [await self._connect(place) for place in range(self._plan.connections)]
        began = time.time() + 0.05
        self.sent.due = array("d", (began + i / self._plan.rate for i in range(self._plan.count)))
        following = 0
        while following < self._plan.count:
            now = time.time()
            while following < self._plan.count and self.sent.due[following] <= now:
                self.sent.late = max(self.sent.late, now - self.sent.due[following])
                place = self.sent.senders[following] % self._plan.connections
                self._queues[place].append(following)
                self._next(place)
                following += 1
            await asyncio.sleep(_TICK)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._all_answered.wait(), self._plan.patience)
        self.sent.statuses = {str(status): count for status, count in sorted(self._statuses.items())}
        if self._left:
            self.sent.statuses["0"] = self.sent.statuses.get("0", 0) + self._left
        self.sent.processor = time.process_time()
        for client in self._clients:
            client.close()

    async def _connect(self, place: int) -> Client:
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(lambda: Client(self._answered), "127.0.0.1", self._plan.port)
        self._places[client] = place
        return client

    async def _connect_again(self, place: int) -> None:
        """The server has closed the connection, as it may: what it had not answered is sent once more."""
        self._clients[place] = await self._connect(place)
        self._clients[place].send(self._requests[self._under_way[place]])

    def _next(self, place: int) -> None:
        client, queue = self._clients[place], self._queues[place]
        if queue and not client.busy:
            self._under_way[place] = queue.popleft()
            client.send(self._requests[self._under_way[place]])

    def _answered(self, client: Client, status: int) -> None:
        place = self._places[client]
        if not status:
            self._connecting.add(asyncio.ensure_future(self._connect_again(place)))
            return
        if status == 200:
            self.sent.answered[self._under_way[place]] = time.time()
        self._statuses[status] += 1
        self._left -= 1
        if not self._left:
            self._all_answered.set()
        self._next(place)


def drive(plan: Plan, folder: Path) -> Sent:
    """Runs the driver in a process of its own."""
    with start(plan, folder) as process:
        process.wait()
    return Sent.read(folder / "sent")


def start(plan: Plan, folder: Path) -> subprocess.Popen[bytes]:
    """Starts the driver; what it writes is `sent` in the folder."""
    (folder / "plan.json").write_text(json.dumps(asdict(plan)))
    return subprocess.Popen([sys.executable, "-m", "bench.driver", folder / "plan.json", folder / "sent"], cwd=ROOT)


def main() -> None:
    """Sends the plan in a file."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    driver = Driver(Plan(**plan | {"texts": tuple(plan["texts"])}))
    uvloop.run(driver.run())
    driver.sent.write(Path(sys.argv[2]))


if __name__ == "__main__":
    main()
