"""The whole product under load: `python -m bench.load [SECTION ...] [--help]`.

Real processes on loopback: a driver that sends signed texts of Twilio and Meta at fixed rates, keyroute with its
embedded store synced before every answer, a worker, and a sink that notes when each event arrived. Latency counts from
the moment a text was due, whether it could be sent then or not. What is compared takes turns in one run.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

from bench import asgi, baselines, results
from bench.delivery import delays, disorder, used
from bench.driver import Plan, Sent, drive, start
from bench.load_page import load_page
from bench.servers import Running, Use, configure, number_of_program, ports, programs, running, warm_up, webhook
from bench.sinks import Arrived, Receiver

Figures = dict[str, Any]

#: Latencies are kept in µs, up to a minute, to three figures.
_LONGEST, _DIGITS = 60_000_000, 3
#: What a rate is held at: the 99th percentile from due to acknowledged, in ms.
_HELD = 50.0
#: Some people write more than others, by the law of Zipf with this exponent: the first of 100,000 0.4 % of all texts.
_ZIPF = 0.6
_FRESH = 0.05
_WHATSAPP = 0.2


class Latencies:
    """The distribution of latencies."""

    def __init__(self, seconds: Iterable[float]) -> None:
        self._histogram = HdrHistogram(1, _LONGEST, _DIGITS)
        for each in seconds:
            self._histogram.record_value(min(_LONGEST, max(1, int(each * 1e6))))

    def at(self, percent: float) -> float:
        """A percentile in ms."""
        return float(self._histogram.get_value_at_percentile(percent)) / 1e3

    def figures(self) -> Figures:
        """Percentiles in ms, the curve, and the histogram itself, to be merged with others."""
        shares = (0.0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999, 1.0)
        return {
            "p50": self.at(50),
            "p99": self.at(99),
            "p99.9": self.at(99.9),
            "longest": self.at(100),
            "curve": [[share, self.at(100 * share)] for share in shares],
            "hdr": self._histogram.encode().decode(),
        }


def accept(chosen: argparse.Namespace, folder: Path) -> Figures:
    """The throughput of a durable accept beside servers that do next to nothing, in turns."""
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in (*baselines.available(), "keyroute")}
    stores: list[float] = []
    for number in range(chosen.rounds):
        for name, taken in rounds.items():
            place = folder / f"{name}-{number}"
            place.mkdir()
            if name == "keyroute":
                rate, server, store = asyncio.run(_saturated(chosen, place))
                taken.append((rate, server))
                stores.append(store)
            else:
                taken.append(_saturated_baseline(chosen, name, place))
    empty = statistics.median(rate for rate, _ in rounds["empty"])
    return {
        name: {
            "rates": [round(rate) for rate, _ in taken],
            "rate": round(statistics.median(rate for rate, _ in taken)),
            "ratio to empty": round(statistics.median(rate for rate, _ in taken) / empty, 3),
            "processor of the server (µs a request)": round(statistics.median(server for _, server in taken), 1),
        }
        for name, taken in rounds.items()
    } | {"processor of the store (µs a request)": round(statistics.median(stores), 1)}


def _crowd(chosen: argparse.Namespace, port: int, count: int, first: int = 0) -> Plan:
    """More texts of Twilio than anything takes: each connection always has one under way."""
    rate = 1e6
    return Plan(port, rate, count / rate, people=chosen.people, zipf=_ZIPF, fresh=_FRESH, first=first,
                connections=chosen.connections)  # fmt: skip


def _rate(sent: Sent) -> float:
    return len(sent.due) / (max(sent.answered) - min(sent.due))


def _saturated_baseline(chosen: argparse.Namespace, name: str, folder: Path) -> tuple[float, float]:
    (port,) = ports(1)
    with baselines.serving(name, folder, port) as pid:
        # A baseline that waits for the disk each time would take minutes over as many.
        count = chosen.texts // 10 if name == "append" else chosen.texts
        return _saturated_process(chosen, pid, port, folder, count)


def _saturated_process(
    chosen: argparse.Namespace, pid: int, port: int, folder: Path, count: int
) -> tuple[float, float]:
    drive(warm_up(port), folder)
    before = Use.of(pid).processor
    sent = drive(_crowd(chosen, port, count), folder)
    _check_statuses(sent)
    return _rate(sent), 1e6 * (Use.of(pid).processor - before) / count


async def _saturated(chosen: argparse.Namespace, folder: Path, processes: int = 1) -> tuple[float, float, float]:
    async with running(configure(folder, webhook("hook", 9)), "ingress", processes=processes) as k:
        await asyncio.to_thread(drive, warm_up(k.server.port), folder)
        before = k.use()
        sent = await asyncio.to_thread(drive, _crowd(chosen, k.server.port, chosen.texts), folder)
        after = k.use()
    _check_statuses(sent)
    server, store = (
        1e6 * (after[name].processor - before[name].processor) / chosen.texts for name in ("server", "store")
    )
    return _rate(sent), server, store


def cores(chosen: argparse.Namespace, folder: Path) -> Figures:
    """What more processes on this machine bring, in turns: accepts a second, and processor time of each."""
    rounds: dict[int, list[tuple[float, float, float]]] = {1: [], 2: []}
    for number in range(chosen.rounds):
        for processes, taken in rounds.items():
            place = folder / f"{processes}-{number}"
            place.mkdir()
            taken.append(asyncio.run(_saturated(chosen, place, processes)))
    return {
        f"{processes} process(es)": {
            "rates": [round(rate) for rate, _, _ in taken],
            "rate": round(statistics.median(rate for rate, _, _ in taken)),
            "processor of the server (µs a request)": round(statistics.median(server for _, server, _ in taken), 1),
            "processor of the store (µs a request)": round(statistics.median(store for _, _, store in taken), 1),
        }
        for processes, taken in rounds.items()
    }


def servers(chosen: argparse.Namespace, folder: Path) -> Figures:
    """The real application: as `keyroute serve` runs it, and as plain ASGI on uvicorn and, if installed, granian."""
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in ("keyroute serve", *asgi.available())}
    for number in range(chosen.rounds):
        for name, taken in rounds.items():
            place = folder / f"{name}-{number}"
            place.mkdir()
            if name == "keyroute serve":
                taken.append(asyncio.run(_saturated(chosen, place))[:2])
            else:
                (port,) = ports(1)
                with asgi.serving(name, configure(place, webhook("hook", 9)), port) as pid:
                    taken.append(_saturated_process(chosen, pid, port, place, chosen.texts))
    return {
        name: {
            "rates": [round(rate) for rate, _ in taken],
            "rate": round(statistics.median(rate for rate, _ in taken)),
            "processor of the server (µs a request)": round(statistics.median(server for _, server in taken), 1),
        }
        for name, taken in rounds.items()
    }


def _check_statuses(sent: Sent) -> None:
    if set(sent.statuses) != {"200"}:
        raise RuntimeError(f"not every text was accepted: {sent.statuses}. Look at the server's log.")


@dataclass
class Run:
    """What became of the texts of one plan."""

    sent: Sent
    arrived: Arrived
    drained: bool
    use: Figures

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
        plan = Plan(k.server.port, rate, seconds, people=chosen.people, zipf=_ZIPF, fresh=_FRESH,
                    connections=chosen.connections, whatsapp_share=_WHATSAPP)  # fmt: skip
        before = k.use()
        sent = await asyncio.to_thread(drive, plan, folder)
        use = used(before, k.use(), seconds)
        drained = await k.drained(60)
    return plan, Run(sent, sink.arrived, drained, use)


def highest(chosen: argparse.Namespace, folder: Path) -> Figures:
    """The highest rate at which all that is accepted is delivered as fast as it comes, then held for the whole time."""
    tried: list[Figures] = []

    async def holds(rate: float, seconds: float = chosen.try_seconds) -> bool:
        plan, run = await _at_rate(chosen, folder, rate, seconds)
        found = run.figures(plan)
        last = max(run.arrived.times) - max(run.sent.due)
        held = last < 1.0 and not found["missing"] and found["acknowledged"]["p99"] < _HELD
        tried.append({
            "rate": rate, "seconds": seconds, "held": held, "statuses": found["statuses"], "missing": found["missing"],
            "disorder": found["disorder"], "acknowledged p99 (ms)": found["acknowledged"]["p99"],
            "delivered p99 (ms)": found["delivered"]["p99"], "last event after (s)": round(last, 2),
            "processors": found["processors"],
        })  # fmt: skip
        return held

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


def growth(chosen: argparse.Namespace, folder: Path) -> Figures:
    """The rate held, by how many programs are configured and how many senders the store knows."""
    found: Figures = {"programs": [], "senders": []}
    for count in chosen.program_counts:
        place = Path(tempfile.mkdtemp(dir=folder))
        found["programs"].append([count, asyncio.run(_held_with_programs(chosen, place, count))])
    for count in chosen.sender_counts:
        place = Path(tempfile.mkdtemp(dir=folder))
        found["senders"].append([count, *asyncio.run(_held_with_senders(chosen, place, count))])
    return found


async def _held_with_programs(chosen: argparse.Namespace, folder: Path, count: int) -> float:
    config = configure(folder, webhook("hook", 9), *programs(count))
    # 1,000 of them at most are texted in the run, as far apart as they are.
    to = tuple(number_of_program(place) for place in range(0, count, max(1, count // 1000)))
    async with running(config, "ingress", patience=300) as k:
        return await _held(k, chosen, folder, to=to)


async def _held_with_senders(chosen: argparse.Namespace, folder: Path, count: int) -> tuple[float, float]:
    async with running(configure(folder, webhook("hook", 9)), "ingress") as k:
        before = (await k.store.redis.info("memory"))["used_memory"]
        await k.make_subscribed(count)
        each = ((await k.store.redis.info("memory"))["used_memory"] - before) / count
        return await _held(k, chosen, folder, people=count), round(each, 1)


async def _held(k: Running, chosen: argparse.Namespace, folder: Path, **more: Any) -> float:
    """The highest of several rates of whole rounds at which the server keeps up with texts as they come."""
    first = 10**7

    async def held(rate: float) -> bool:
        nonlocal first
        plan = Plan(k.server.port, rate, chosen.try_seconds, **{"people": chosen.people, **more}, first=first,
                    connections=chosen.connections)  # fmt: skip
        first += plan.count
        sent = await asyncio.to_thread(drive, plan, folder)
        taken = [b - a for a, b in zip(sent.due, sent.answered, strict=True) if b]
        return set(sent.statuses) == {"200"} and Latencies(taken).at(99) < _HELD

    async def twice(rate: float) -> bool:
        """Whatever else this machine does may spoil one of two."""
        return await held(rate) or await held(rate)

    await held(2000.0)
    return round(await search(twice, 2000.0, 40_000.0, 1.06))


def overload(chosen: argparse.Namespace, folder: Path) -> Figures:
    """Three times what is held, and then half of it again."""
    return asyncio.run(_overload(chosen, folder))


async def _overload(chosen: argparse.Namespace, folder: Path) -> Figures:
    async with running(configure(folder, webhook("hook", 9)), "ingress") as k:
        held = await _held(k, chosen, folder)
        crowd = _crowd(chosen, k.server.port, int(held * 10))
        best = _rate(await asyncio.to_thread(drive, replace(crowd, first=2 * 10**8), folder))
        plan = Plan(k.server.port, 3 * held, chosen.overload_seconds, people=chosen.people, first=3 * 10**8,
                    connections=chosen.crowd, then=((held / 2, 10.0),))  # fmt: skip
        memory: list[tuple[float, float, float]] = []
        process = start(plan, folder)
        while process.poll() is None:
            use = k.use()
            memory.append((time.time(), use["server"].memory, use["store"].memory))
            await asyncio.sleep(1.0)
    sent = Sent.read(folder / "sent")
    return {
        "held": held,
        "best": round(best),
        "offered": 3 * held,
        "statuses": sent.statuses,
        **_by_second(sent, plan, memory),
    }


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
    slow = [
        due
        for due, at in zip(sent.due, sent.answered, strict=True)
        if due >= over and (not at or at - due > _HELD / 1e3)
    ]
    return {
        "seconds": seconds,
        "accepted a second (median)": statistics.median(steady),
        "recovered after (s)": round(max(slow) - over, 2) if slow else 0.0,
        "memory of the server (MB)": [memory[0][1], max(use for _, use, _ in memory)],
        "memory of the store (MB)": [memory[0][2], max(use for _, _, use in memory)],
    }


SECTIONS: dict[str, Callable[[argparse.Namespace, Path], Figures]] = {
    "accept": accept,
    "servers": servers,
    "cores": cores,
    "latency": latency,
    "highest": highest,
    "growth": growth,
    "overload": overload,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the sections that are named, or all, prints their figures and writes them and a page."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all if none is named"
    )
    options.add_argument("--out", type=Path, default=Path("bench/results/load.json"), help="where the figures go")
    options.add_argument(
        "--server", choices=["all", "apart"], default="apart", help="one process, or a worker beside it"
    )
    options.add_argument("--keep", action="store_true", help="sections of the file that are not run stay in it")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--texts", type=int, default=100_000, help="of a round of accept")
    options.add_argument("--people", type=int, default=100_000)
    options.add_argument("--connections", type=int, default=512)
    options.add_argument("--crowd", type=int, default=4096, help="connections of overload")
    options.add_argument("--rate", type=float, default=2000, help="of latency")
    options.add_argument("--seconds", type=float, default=60, help="of latency, and of the highest rate")
    options.add_argument("--try-seconds", type=float, default=8, help="of each rate that is tried")
    options.add_argument("--overload-seconds", type=float, default=60)
    options.add_argument("--program-counts", type=int, nargs="*", default=[10, 1000, 100_000])
    options.add_argument("--sender-counts", type=int, nargs="*", default=[1000, 100_000, 10_000_000])
    chosen = options.parse_args(arguments)
    unknown = [name for name in chosen.sections if name not in SECTIONS]
    if unknown:
        options.error(f"there is no section {', '.join(unknown)}. Name some of {', '.join(SECTIONS)}, or none for all.")
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as name:
        for section in chosen.sections or SECTIONS:
            place = Path(name) / section
            place.mkdir()
            figures[section] = SECTIONS[section](chosen, place)
            print(section, json.dumps(_short(figures[section]), indent=1, ensure_ascii=False), flush=True)
    command = ["python", "-m", "bench.load", *(sys.argv[1:] if arguments is None else arguments)]
    kept = results.read(chosen.out)["figures"] if chosen.keep and chosen.out.exists() else {}
    result = results.write(chosen.out, kept | figures, command)
    chosen.out.with_suffix(".html").write_text(load_page(result))
    print(f"{chosen.out} has the figures, {chosen.out.with_suffix('.html')} their page.")


def _short(found: Any) -> Any:
    """The same without what is for plots alone."""
    if isinstance(found, dict):
        return {name: _short(each) for name, each in found.items() if name not in ("hdr", "curve", "seconds", "tried")}
    return found


if __name__ == "__main__":
    main()
