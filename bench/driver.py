"""An open-loop driver: signed texts of Twilio and Meta at a fixed rate, whatever the server does about them.

`python -m bench.driver PLAN.json OUT` reads a `Plan` and writes `Sent` to OUT. Each text has its time before the run
begins, and latency counts from that time: a server that is slow for a moment is charged for all that had to wait.
"""

import json
import random
import select
import socket
import subprocess
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from pathlib import Path

from bench.exchange import body_length
from bench.requests import meta, twilio

ROOT = Path(__file__).parent.parent
#: Waits shorter than this are none, and shorter than that sleep, in seconds.
_SHORTEST, _GRAIN = 0.00005, 0.001
#: At higher rates all that is due in a millisecond leaves together: to wake for each text would take two thirds of a
#: core, which the server then could not have.
_SINGLY = 10_000


@dataclass(frozen=True)
class Plan:
    """What is to be sent: `rate` texts a second for `seconds`, of `people` known ones with a skew (`zipf`; 0 for none);
    `then` other rates, each for so many seconds: what still waits for a connection when one begins is given up.

    A `fresh` share is of people who never texted before. Texts are numbered from `first`. `texts` are sent in turns to
    `to` by Twilio, and a share to `whatsapp` by Meta. `ordered`: a person's texts go over one connection, one after
    another, so that they are accepted in order; else each goes over whichever connection is free. Answers are waited
    for as long as `patience` behind the last text, in seconds.
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
    to: tuple[str, ...] = ("+14155550199",)
    texts: tuple[str, ...] = ("COUPONS",)
    whatsapp: str = "+14155550188"
    whatsapp_share: float = 0.0
    then: tuple[tuple[float, float], ...] = ()
    ordered: bool = True

    @property
    def count(self) -> int:
        """How many texts there are."""
        return sum(int(rate * seconds) for rate, seconds in self.phases)

    @property
    def phases(self) -> tuple[tuple[float, float], ...]:
        """Rates, each with its seconds."""
        return ((self.rate, self.seconds), *self.then)

    def due(self) -> Iterator[float]:
        """When each text is to leave, in seconds from the first."""
        began = 0.0
        for rate, seconds in self.phases:
            yield from (began + place / rate for place in range(int(rate * seconds)))
            began += seconds


@dataclass
class Sent:
    """What became of each text: when it was to leave and when it was taken, or refused (0: neither), in unix seconds;
    `senders` by number. `statuses` counts the answers (0: none came), and what was given up. `processor`: seconds that
    the driver itself took; `late`: how long after its time a text has left at worst.
    """

    due: "array[float]" = field(default_factory=lambda: array("d"))
    answered: "array[float]" = field(default_factory=lambda: array("d"))
    refused: "array[float]" = field(default_factory=lambda: array("d"))
    senders: "array[int]" = field(default_factory=lambda: array("q"))
    statuses: dict[str, int] = field(default_factory=dict)
    processor: float = 0.0
    late: float = 0.0

    def write(self, path: Path) -> None:
        """Keeps it in a file."""
        with path.open("wb") as file:
            head = {"count": len(self.due), "statuses": self.statuses, "processor": self.processor, "late": self.late}
            file.write(json.dumps(head).encode() + b"\n")
            for column in (self.due, self.answered, self.refused, self.senders):
                column.tofile(file)

    @classmethod
    def read(cls, path: Path) -> "Sent":
        """What was kept."""
        with path.open("rb") as file:
            head = json.loads(file.readline())
            found = cls(statuses=head["statuses"], processor=head["processor"], late=head["late"])
            for column in (found.due, found.answered, found.refused, found.senders):
                column.fromfile(file, head["count"])
        return found


def phone_number(sender: int) -> str:
    """The phone number of a person; those from 1,000,000 on text for the first time."""
    return f"+1{2_120_000_000 + sender}"


def senders(plan: Plan) -> "array[int]":
    """Who sends each text."""
    chance = random.Random(plan.seed)
    weights = list(accumulate(1 / (rank + 1) ** plan.zipf for rank in range(plan.people)))
    known = chance.choices(range(plan.people), cum_weights=weights, k=plan.count)
    fresh = 1_000_000 + plan.first
    return array("q", (fresh + i if chance.random() < plan.fresh else who for i, who in enumerate(known)))


def written(plan: Plan, who: Iterable[int]) -> Iterator[bytes]:
    """The request of each text, signed."""
    for place, sender in enumerate(who):
        # A person writes to one of our numbers, and by one channel.
        text = plan.texts[place % len(plan.texts)]
        if plan.whatsapp_share and random.Random(sender).random() < plan.whatsapp_share:
            yield meta(plan.first + place, phone_number(sender), plan.whatsapp, text)
        else:
            yield twilio(plan.first + place, phone_number(sender), plan.to[sender % len(plan.to)], text)


class Driver:
    """Sends a plan. Plain sockets and one loop: whatever the driver takes is missing to the server."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        nothing = bytes(8 * plan.count)
        self.sent = Sent(senders=senders(plan), answered=array("d", nothing), refused=array("d", nothing))
        self._requests = list(written(plan, self.sent.senders))
        shared: deque[int] = deque()
        self._queues: list[deque[int]] = [deque() if plan.ordered else shared for _ in range(plan.connections)]
        self._under_way: list[int | None] = [None] * plan.connections
        self._free = deque(range(plan.connections))
        self._partial: dict[int, bytes] = {}
        self._sockets: list[socket.socket] = []
        self._places: dict[int, int] = {}
        self._ready = select.epoll()
        self._statuses: Counter[int] = Counter()
        self._left = plan.count
        self._given_up = 0

    def run(self) -> None:
        """Sends all texts, each at its time, and waits for the answers."""
        self._sockets = [self._connect(place) for place in range(self._plan.connections)]
        busy = time.process_time()
        began = time.time() + 0.05
        due = self.sent.due = array("d", (began + after for after in self._plan.due()))
        last = (due[-1] if due else began) + self._plan.patience
        following = 0
        # The first text of each further rate.
        further = deque(accumulate(int(rate * seconds) for rate, seconds in self._plan.phases))
        while self._left and (now := time.time()) < last:
            first = following
            while following < self._plan.count and due[following] <= now:
                if following == further[0]:
                    further.popleft()
                    self._give_up()
                place = self._place(following)
                if self._under_way[place] is None:
                    self._send(place, following)
                else:
                    self._queues[place].append(following)
                following += 1
            if following > first:
                self.sent.late = max(self.sent.late, now - due[first])
            self._receive(due[following] - time.time() if following < self._plan.count else 1.0)
        self.sent.statuses = {str(status): count for status, count in sorted(self._statuses.items())}
        if self._left:
            self.sent.statuses["0"] = self._left
        if self._given_up:
            self.sent.statuses["given up"] = self._given_up
        self.sent.processor = time.process_time() - busy
        for connection in self._sockets:
            connection.close()

    def _give_up(self) -> None:
        """What waits for a connection does not leave any more."""
        for queue in self._queues:
            self._given_up += len(queue)
            self._left -= len(queue)
            queue.clear()

    def _place(self, text: int) -> int:
        """The connection that a text has to go over, or one that is free, if any is."""
        if self._plan.ordered:
            return self.sent.senders[text] % self._plan.connections
        return self._free.popleft() if self._free else 0

    def _connect(self, place: int) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._plan.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ready.register(connection, select.EPOLLIN)
        self._places[connection.fileno()] = place
        return connection

    def _receive(self, seconds: float) -> None:
        """Takes what is there, and waits for it no longer than until the next text is due."""
        if 0 < seconds < _GRAIN and self._plan.rate > _SINGLY:
            time.sleep(_GRAIN)
        elif _SHORTEST < seconds < _GRAIN:
            time.sleep(seconds)  # epoll knows whole milliseconds only
        for fd, _ in self._ready.poll(max(0.0, min(seconds - _GRAIN, 0.1)) if seconds >= _GRAIN else 0):
            self._read(self._places[fd])

    def _read(self, place: int) -> None:
        connection = self._sockets[place]
        try:
            data = connection.recv(65_536)
        except OSError:
            data = b""
        if not data:
            self._connect_again(place)
            return
        if place in self._partial:
            data = self._partial.pop(place) + data
        end = data.find(b"\r\n\r\n")
        if end < 0 or len(data) < end + 4 + body_length(data[: end + 2]):
            self._partial[place] = data
            return
        self._answered(place, int(data[9:12]))

    def _answered(self, place: int, status: int) -> None:
        under_way, self._under_way[place] = self._under_way[place], None
        if under_way is not None:
            (self.sent.answered if status == 200 else self.sent.refused)[under_way] = time.time()
            self._statuses[status] += 1
            self._left -= 1
        if self._queues[place]:
            self._send(place, self._queues[place].popleft())
        elif under_way is not None and not self._plan.ordered:
            self._free.append(place)

    def _send(self, place: int, text: int) -> None:
        self._under_way[place] = text
        try:
            self._sockets[place].sendall(self._requests[text])
        except OSError:
            self._connect_again(place)

    def _connect_again(self, place: int) -> None:
        """The server has closed the connection, as it may: what it had not answered is sent once more."""
        self._partial.pop(place, None)
        self._places.pop(self._sockets[place].fileno(), None)
        self._sockets[place].close()
        under_way = self._under_way[place]
        try:
            self._sockets[place] = self._connect(place)
            if under_way is not None:
                self._sockets[place].sendall(self._requests[under_way])
        except OSError:  # it is gone for good
            self._answered(place, 0)


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
    listed = {name: tuple(plan[name]) for name in ("texts", "to")}
    driver = Driver(Plan(**plan | listed | {"then": tuple(map(tuple, plan["then"]))}))
    driver.run()
    driver.sent.write(Path(sys.argv[2]))


if __name__ == "__main__":
    main()
