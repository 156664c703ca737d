"""Receivers of events that take next to nothing: what arrived when, and nothing else.

`python -m bench.sinks PORT OUT [--latency SECONDS]` answers signed webhooks, single or in batches, and the endpoints of
Braze, after that latency, and writes each event that arrived to OUT when it is told to stop (SIGTERM). A request to
`/dead` closes it for what is posted from then on (503), one to `/alive` opens it again.
"""

import argparse
import asyncio
import signal
import subprocess
import sys
import time
from array import array
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import aiohttp
import orjson
import uvloop

from bench.exchange import Messages
from bench.requests import number_of

_TAKEN = (
    b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 21\r\n\r\n" + b'{"message":"success"}'
)
_DEAD = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Arrived:
    """The number of each text that arrived, when, in unix seconds, and in which request, in order of arrival."""

    numbers: "array[int]" = field(default_factory=lambda: array("q"))
    times: "array[float]" = field(default_factory=lambda: array("d"))
    requests: "array[int]" = field(default_factory=lambda: array("q"))

    def write(self, path: Path) -> None:
        """Keeps it in a file."""
        with path.open("wb") as file:
            for column in (self.numbers, self.times, self.requests):
                column.tofile(file)

    @classmethod
    def read(cls, path: Path) -> "Arrived":
        """What was kept."""
        found = cls()
        count = path.stat().st_size // 24
        with path.open("rb") as file:
            for column in (found.numbers, found.times, found.requests):
                column.fromfile(file, count)
        return found


class Sink(asyncio.Protocol):
    """One connection."""

    latency = 0.0
    arrived = Arrived()
    dead = False
    count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A sender is there."""
        self._transport = cast("asyncio.Transport", transport)
        self._messages = Messages(self._take)

    def data_received(self, data: bytes) -> None:
        """Part of a request."""
        self._messages.feed(data)

    def _take(self, head: bytes, body: bytes) -> None:
        path = head.split(b" ", 2)[1]
        if path in (b"/dead", b"/alive"):
            Sink.dead = path == b"/dead"
        elif Sink.dead:
            self._transport.write(_DEAD)
            return
        else:
            now = time.time()
            Sink.count += 1
            for number in _numbers(orjson.loads(body)):
                Sink.arrived.numbers.append(number)
                Sink.arrived.times.append(now)
                Sink.arrived.requests.append(Sink.count)
        if Sink.latency:
            asyncio.get_running_loop().call_later(Sink.latency, self._transport.write, _TAKEN)
        else:
            self._transport.write(_TAKEN)


def _numbers(body: dict[str, Any]) -> list[int]:
    """The numbers of the texts in a request of either kind."""
    if "events" in body or "attributes" in body or "user_aliases" in body:
        return [number_of(event["properties"]["sms_message_id"]) for event in body.get("events", ())]
    events = body["data"]["events"] if body["type"] == "events.batch" else [body]
    return [number_of(event["data"]["message_id"]) for event in events]


@dataclass
class Receiver:
    """A sink in a process of its own, while in its `with` block; then `arrived` has what came."""

    port: int
    folder: Path
    latency: float = 0.0
    arrived: Arrived = field(default_factory=Arrived)

    def __enter__(self) -> "Receiver":
        self._out = self.folder / f"arrived-{self.port}"
        command = [sys.executable, "-m", "bench.sinks", str(self.port), str(self._out), "--latency", str(self.latency)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent)
        assert self.process.stdout
        self.process.stdout.readline()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        if self.process.stdout:
            self.process.stdout.close()
        self.arrived = Arrived.read(self._out)

    async def be(self, state: str) -> None:
        """`dead` or `alive` from now on."""
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self.port}/{state}"):
            pass


async def serve(port: int, out: Path) -> None:
    """Receives until SIGTERM."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    server = await loop.create_server(Sink, "127.0.0.1", port)
    print("ready", flush=True)
    with closing(server):
        await over.wait()
    Sink.arrived.write(out)


def main() -> None:
    """Serves one sink."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("--latency", type=float, default=0.0)
    chosen = parser.parse_args()
    Sink.latency = chosen.latency
    uvloop.run(serve(chosen.port, chosen.out))


if __name__ == "__main__":
    main()
