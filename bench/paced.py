"""What becomes of texts that come at a rate of their own, with driver, server, store, worker and platform together.

Latency counts from the moment a text was due, whether it could be sent then or not.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from operator import add
from pathlib import Path
from typing import Any

from bench.delivery import delays, disorder, used
from bench.disk import Disk
from bench.driver import Plan, Sent, drive, start
from bench.latencies import Latencies
from bench.saturated import FRESH, ZIPF, Figures, crowd, saturate
from bench.servers import Running, configure, ports, running, warm_up, webhook
from bench.sinks import Arrived, Receiver

_WHATSAPP = 0.2
#: What a rate is held at: the 99th percentile from due to acknowledged, in ms.
_HELD = 50.0


@dataclass
class Run:
    """What became of the texts of one plan."""

    sent: Sent
    arrived: Arrived
    use: Figures
    disk: Disk

    def figures(self, plan: Plan) -> Figures:
        """Latencies, losses, order."""
        places, acknowledged, due = delays(self.sent, self.arrived, plan.first)
        taken = [b - a for a, b in zip(self.sent.due, self.sent.answered, strict=True) if b]
        return {
            "texts": plan.count,
            "statuses": self.sent.statuses,
            "missing": sum(1 for at in self.sent.answered if at) - len(places),
            "disorder": disorder(self.sent, self.arrived, plan.first),
            "acknowledged": Latencies(taken).figures(),
            "delivered": Latencies(due).figures(),
            "acknowledged to delivered": Latencies(acknowledged).figures(),
            "disk": self.disk.figures(),
            "driver late by (ms)": round(1e3 * self.sent.late, 2),
            "processors": self.use,
        }


@asynccontextmanager
async def _whole(chosen: argparse.Namespace, folder: Path) -> Any:
    """Server, store and worker, and the sink that they deliver to."""
    (port,) = ports(1)
    config = configure(folder, webhook("hook", port, "batch_size = 100"))
    with Receiver(port, folder) as sink:
        async with running(config, chosen.server) as k:
            await asyncio.to_thread(drive, warm_up(k.server.port), folder)
            yield k, sink


def latency(chosen: argparse.Namespace, folder: Path) -> Figures:
    """From due to acknowledged and to delivered at a fixed rate, with everything on this machine."""
    plan, run = asyncio.run(_at_rate(chosen, folder, chosen.rate, chosen.seconds))
    return {"rate": chosen.rate, "seconds": chosen.seconds, **run.figures(plan)}


async def _at_rate(chosen: argparse.Namespace, folder: Path, rate: float, seconds: float) -> tuple[Plan, Run]:
    folder = Path(tempfile.mkdtemp(dir=folder))
    async with _whole(chosen, folder) as (k, sink):
        plan = Plan(k.server.port, rate, seconds, people=chosen.people, zipf=ZIPF, fresh=FRESH,
                    connections=chosen.connections, whatsapp_share=_WHATSAPP)  # fmt: skip
        before = k.use()
        with Disk(folder) as disk:
            sent = await asyncio.to_thread(drive, plan, folder)
        use = used(before, k.use(), seconds)
        await k.drained(60)
    return plan, Run(sent, sink.arrived, use, disk)


def highest(chosen: argparse.Namespace, folder: Path) -> Figures:
    """The highest rate at which all that is accepted is delivered as fast as it comes, then held for the whole time."""
    tried: list[Figures] = []

    async def holds(rate: float, seconds: float = chosen.try_seconds) -> bool:
        plan, run = await _at_rate(chosen, folder, rate, seconds)
        found = run.figures(plan)
        last = max(run.arrived.times) - max(run.sent.due)
        fine = last < 1.0 and not found["missing"] and found["acknowledged"]["p99"] < _HELD
        tried.append({
            "rate": rate, "seconds": seconds, "held": fine, "statuses": found["statuses"], "missing": found["missing"],
            "disorder": found["disorder"], "acknowledged p99 (ms)": found["acknowledged"]["p99"],
            "delivered p99 (ms)": found["delivered"]["p99"], "disk p99 (ms)": found["disk"]["p99"],
            "last event after (s)": round(last, 2),
            "processors": found["processors"],
        })  # fmt: skip
        return fine

    rate = 500.0 * (asyncio.run(search(holds, 2000.0, 20_000.0, 1.08)) // 500)
    while rate > 500 and not asyncio.run(holds(rate, chosen.seconds)):
        rate -= 500
    return {"rate": rate, "tried": tried}


async def search(holds: Callable[[float], Awaitable[bool]], low: float, high: float, grain: float) -> float:
    """The highest rate between two that holds, to within a factor; `low` if none does."""
    while high / low > grain:
        rate = (low * high) ** 0.5
        if await holds(rate):
            low = rate
        else:
            high = rate
    return low


async def held(k: Running, plan: Plan, best: float, folder: Path) -> int:
    """The highest tenth of the best rate at which texts that come whether the server is ready for them or not are
    acknowledged within `_HELD`; each is tried twice, for whatever else this machine does may spoil one. 0 if none is.
    """
    for tenths in (9, 9, 8, 8, 7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1):
        paced = replace(plan, rate=best * tenths / 10)
        sent = await asyncio.to_thread(drive, paced, folder)
        taken = Latencies(b - a for a, b in zip(sent.due, sent.answered, strict=True) if b)
        if set(sent.statuses) == {"200"} and taken.at(99) < _HELD:
            return round(paced.rate)
        plan = replace(plan, first=plan.first + paced.count)
    return 0


def overload(chosen: argparse.Namespace, folder: Path) -> Figures:
    """Three times the rate that the whole product holds, and then half of it."""
    return asyncio.run(_overload(chosen, folder))


async def _overload(chosen: argparse.Namespace, folder: Path) -> Figures:
    async with _whole(chosen, folder) as (k, _):
        usual = crowd(chosen, k.server.port, chosen.connections)
        rounds = []
        for number in range(3):
            rounds.append(await saturate(k, replace(usual, first=(number + 1) * 10**7), folder))
            await k.drained(60)
        best = statistics.median(each.rate for each in rounds)
        rate = await held(k, replace(usual, seconds=chosen.try_seconds, first=9 * 10**7), best, folder)
        if not rate:
            raise RuntimeError(
                "not even a tenth of what is taken at most is held. Look at what else this machine does."
            )
        await k.drained(60)
        plan = replace(usual, rate=3 * rate, seconds=chosen.overload_seconds, first=3 * 10**8,
                       connections=chosen.crowd, then=((rate / 2, 10.0),))  # fmt: skip
        memory: list[tuple[float, float, float]] = []
        before, process = k.use(), start(plan, folder)
        with Disk(folder) as disk:
            while process.poll() is None:
                use = k.use()
                memory.append((time.time(), use["server"].memory, use["store"].memory))
                await asyncio.sleep(1.0)
        processors = used(before, k.use(), chosen.overload_seconds + 10)
    sent = Sent.read(folder / "sent")
    found = _by_second(sent, plan, memory)
    accepted = found["accepted a second (median)"]
    return {
        "taken at most": round(best),
        "held": rate,
        "offered": 3 * rate,
        "accepted of what is held": round(accepted / rate, 3),
        "statuses": sent.statuses,
        "processors": processors,
        "processor of the driver (of a core)": round(sent.processor / (chosen.overload_seconds + 10), 2),
        "disk (ms)": {name: at for name, at in disk.figures().items() if name in ("p50", "p99", "longest")},
        **found,
    }


def _recovered(sent: Sent, over: float) -> float:
    """The end of the last tenth of a second, counted from `over`, of whose texts more than 1 % took longer than they
    may.
    """
    due, slow = Counter[int](), Counter[int]()
    for at, answered in zip(sent.due, sent.answered, strict=True):
        if at >= over:
            tenth = int(10 * (at - over))
            due[tenth] += 1
            slow[tenth] += not answered or answered - at > _HELD / 1e3
    return max((tenth + 1 for tenth in due if slow[tenth] > due[tenth] / 100), default=0) / 10


def _by_second(sent: Sent, plan: Plan, memory: Sequence[tuple[float, float, float]]) -> Figures:
    began = sent.due[0]
    length = int(plan.seconds + 12)
    taken, refused = [0] * (length + 60), [0] * (length + 60)
    for column, counts in ((sent.answered, taken), (sent.refused, refused)):
        for at in column:
            if at and at - began < len(counts):
                counts[int(at - began)] += 1
    over = began + plan.seconds
    seconds = [
        [
            second,
            taken[second],
            refused[second],
            *next((use for at, *use in memory if at >= began + second), memory[-1][1:]),
        ]
        for second in range(length)
    ]
    steady = taken[2 : int(plan.seconds)]
    return {
        "seconds": seconds,
        "accepted a second (median)": statistics.median(steady),
        "answered a second (median)": statistics.median(map(add, steady, refused[2 : int(plan.seconds)])),
        "recovered after (s)": _recovered(sent, over),
        "memory of the server (MB)": [memory[0][1], max(use for _, use, _ in memory)],
        "memory of the store (MB)": [memory[0][2], max(use for _, _, use in memory)],
    }
