"""Deliveries under load: `python -m bench.delivery healthy|batches|outage|backlog [--help]`.

Real processes on loopback: a driver that sends signed texts at a fixed rate, keyroute with its embedded store synced
before every answer, and sinks that note when each event arrived. Times are those of the machine's clock; a delivery is
timed from the acknowledgement of the text to the arrival of its event, and from the moment the text was due.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.charts import chart, page
from bench.driver import Plan, Sent, drive, start
from bench.results import commit, machine
from bench.servers import Running, Use, braze, configure, ports, running, warm_up, webhook
from bench.sinks import Arrived, Receiver

_KNOWN = 5000
_FRESH_FROM = 1_000_000

Figures = dict[str, Any]


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """In milliseconds."""
    found = sorted(seconds)
    if not found:
        return {}
    at = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
    return {name: round(1e3 * found[min(len(found) - 1, int(share * len(found)))], 2) for name, share in at.items()}


def delays(sent: Sent, arrived: Arrived, first: int = 0) -> tuple[list[int], list[float], list[float]]:
    """Of each text that arrived: its place in the plan, and how long after its acknowledgement and its due time."""
    seen: dict[int, float] = {}
    for number, at in zip(arrived.numbers, arrived.times, strict=True):
        seen.setdefault(number - first, at)
    places = [place for place in range(len(sent.due)) if place in seen and sent.answered[place]]
    return (
        places,
        [max(0.0, seen[place] - sent.answered[place]) for place in places],
        [seen[place] - sent.due[place] for place in places],
    )


def disorder(sent: Sent, arrived: Arrived, first: int = 0) -> int:
    """How many first arrivals came after a later text of the same person."""
    newest: dict[int, int] = defaultdict(lambda: -1)
    wrong = 0
    for place in dict.fromkeys(number - first for number in arrived.numbers):
        if 0 <= place < len(sent.senders):
            who = sent.senders[place]
            wrong += place < newest[who]
            newest[who] = max(newest[who], place)
    return wrong


async def healthy(chosen: argparse.Namespace, folder: Path) -> Figures:
    """Known and unknown people at a rate, and a platform that answers after `latency`."""
    (port,) = ports(1)
    config = configure(folder, braze("braze", port, "requests_at_once = 16"))
    with Receiver(port, folder, chosen.latency) as sink:
        async with running(config) as k:
            await k.make_known("braze", _KNOWN)
            drive(warm_up(k.server.port), folder)
            before = k.use()
            plan = Plan(k.server.port, chosen.rate, chosen.seconds, people=_KNOWN, fresh=chosen.fresh)
            sent = await asyncio.to_thread(drive, plan, folder)
            await k.drained(30)
            use = used(before, k.use(), plan.seconds)
    places, acknowledged, due = delays(sent, sink.arrived)
    known = [at for at, place in enumerate(places) if sent.senders[place] < _FRESH_FROM]
    fresh = [at for at, place in enumerate(places) if sent.senders[place] >= _FRESH_FROM]
    return {
        "texts": plan.count,
        "statuses": sent.statuses,
        "arrived": len(places),
        "disorder": disorder(sent, sink.arrived),
        "answered after (ms)": quantiles([b - a for a, b in zip(sent.due, sent.answered, strict=True) if b]),
        "known: acknowledged to request (ms)": quantiles([acknowledged[at] for at in known]),
        "known: due to request (ms)": quantiles([due[at] for at in known]),
        "unknown: acknowledged to request (ms)": quantiles([acknowledged[at] for at in fresh]),
        "unknown: due to request (ms)": quantiles([due[at] for at in fresh]),
        "events a request": round(len(places) / max(1, len(set(sink.arrived.requests))), 2),
        "processors": use,
    }


async def batches(chosen: argparse.Namespace, folder: Path) -> Figures:
    """How many requests many events take at a platform that takes `latency`, and how soon a lone one leaves."""
    (port,) = ports(1)
    config = configure(folder, braze("braze", port))
    with Receiver(port, folder, chosen.latency) as sink:
        async with running(config) as k:
            await k.make_known("braze", _KNOWN)
            drive(warm_up(k.server.port), folder)
            plan = Plan(k.server.port, chosen.rate, chosen.seconds, people=_KNOWN)
            sent = await asyncio.to_thread(drive, plan, folder)
            await k.drained(30)
            alone = replace(plan, rate=4.0, seconds=12.5, first=5 * 10**8, connections=1)
            lone = await asyncio.to_thread(drive, alone, folder)
            await k.drained(30)
    crowd = Arrived()
    for number, at, request in zip(sink.arrived.numbers, sink.arrived.times, sink.arrived.requests, strict=True):
        if number < plan.count:
            crowd.numbers.append(number)
            crowd.times.append(at)
            crowd.requests.append(request)
    places, acknowledged, _ = delays(sent, crowd)
    _, left_after, _ = delays(lone, sink.arrived, alone.first)
    return {
        "texts": plan.count,
        "statuses": sent.statuses,
        "missing": [n for n in range(plan.count) if n not in places][:5],
        "arrived": len(places),
        "disorder": disorder(sent, crowd),
        "requests": len(set(crowd.requests)),
        "requests for each event": round(len(set(crowd.requests)) / max(1, len(places)), 4),
        "acknowledged to request (ms)": quantiles(acknowledged),
        "lone events": len(left_after),
        "a lone event leaves after (ms, median)": round(1e3 * statistics.median(left_after), 2),
    }


async def outage(chosen: argparse.Namespace, folder: Path) -> Figures:
    """One of three destinations dead for a while: what the others notice, and how its backlog leaves."""
    names = ("dead", "healthy", "braze")
    dead, beside, platform_ = ports(3)
    config = configure(
        folder,
        webhook("dead", dead, "batch_size = 100"),
        webhook("healthy", beside),
        braze("braze", platform_),
    )
    total = chosen.before + chosen.dead_seconds + chosen.after
    with (
        Receiver(dead, folder) as down,
        Receiver(beside, folder) as up,
        Receiver(platform_, folder, 0.01) as other,
    ):
        async with running(config) as k:
            await k.make_known("braze", _KNOWN)
            drive(warm_up(k.server.port), folder)
            plan = Plan(k.server.port, chosen.rate, total, people=_KNOWN)
            with start(plan, folder) as driver:
                await _until_sending(k, driver)
                began = time.time()
                waiting: list[tuple[float, int]] = []
                await _sample(k, waiting, began, chosen.before)
                await down.be("dead")
                went = time.time()
                await _sample(k, waiting, began, chosen.before + chosen.dead_seconds)
                await down.be("alive")
                back = time.time()
                while driver.poll() is None:
                    await _sample(k, waiting, began, time.time() - began + 0.5)
            sent = Sent.read(folder / "sent")
            drained = await k.drained(120)
    sinks = {"dead": down.arrived, "healthy": up.arrived, "braze": other.arrived}
    figures: Figures = {"texts": plan.count, "statuses": sent.statuses, "drained": drained}
    lines: dict[str, dict[str, list[tuple[float, float]]]] = {"latency": {}, "waiting": {}}
    for name in names:
        places, acknowledged, due = delays(sent, sinks[name])
        at = [sent.answered[place] for place in places]
        phases = {
            "before": [d for d, t in zip(acknowledged, at, strict=True) if t < went],
            "during": [d for d, t in zip(acknowledged, at, strict=True) if went <= t < back],
            "after": [d for d, t in zip(acknowledged, at, strict=True) if t >= back],
        }
        figures[name] = {phase: quantiles(found) for phase, found in phases.items()} | {
            "arrived": len(places),
            "disorder": disorder(sent, sinks[name]),
        }
        if name != "dead":
            lines["latency"][f"{name} p50"] = _by_second(at, due, began, 0.5)
            lines["latency"][f"{name} p99"] = _by_second(at, due, began, 0.99)
    figures["drain"] = _drain_rate(down.arrived, back, chosen.rate)
    lines["waiting"]["events that wait"] = [(at, float(count)) for at, count in waiting]
    shaded = (went - began, back - began, "one destination dead")
    title = "From due to delivered, by second"
    figures["page"] = page(
        "One destination dead, the others as before",
        chart(title, lines["latency"], x="seconds", y="ms", log_y=True, shaded=shaded),
        chart("Waiting for the slowest destination", lines["waiting"], x="seconds", y="events", shaded=shaded),
        f"<pre>{json.dumps(figures, indent=2)}</pre>",
    )
    return figures


async def backlog(chosen: argparse.Namespace, folder: Path) -> Figures:
    """A long backlog and workers that come late: their memory, and how fast it leaves."""
    (port,) = ports(1)
    crm = webhook("crm", port, "batch_size = 100\nconnections = 4")
    config = configure(folder, crm, limits="waiting_deliveries = 10000000")
    with Receiver(port, folder) as sink:
        async with running(config, "ingress") as k:
            server_port = k.server.port
            k.server.stop()
            ingress = type(k.server)(config, "--role", "ingress")
            async with ingress:
                plan = Plan(
                    ingress.port,
                    chosen.rate,
                    chosen.texts / chosen.rate,
                    people=chosen.people,
                    texts=("hi",),
                    patience=900,
                )
                filling = time.time()
                sent = await asyncio.to_thread(drive, plan, folder)
                filled_in = time.time() - filling
                held = await k.waiting()
                memory: list[float] = []
                workers = [type(k.server)(config, "--role", "worker") for _ in range(chosen.workers)]
                began = time.time()
                for worker in workers:
                    worker.start()
                for worker in workers:
                    await worker.ready(60)
                ready = [Use.of(worker.process.pid).memory for worker in workers]
                while await k.waiting():
                    memory.append(max(Use.of(worker.process.pid).memory for worker in workers))
                    await asyncio.sleep(0.5)
                took = time.time() - began
                for worker in workers:
                    worker.stop()
        assert server_port
    third = max(1, len(memory) // 3)
    return {
        "texts": plan.count,
        "statuses": sent.statuses,
        "filled at (texts/s)": round(plan.count / filled_in),
        "backlog": held,
        "arrived": len(set(sink.arrived.numbers)),
        "disorder": disorder(sent, sink.arrived),
        "drained in (s)": round(took, 1),
        "drained at (events/s)": round(held / took),
        "workers": chosen.workers,
        "memory of a worker when ready (MB)": round(max(ready), 1),
        "memory, first third (MB, peak)": round(max(memory[:third]), 1),
        "memory, last third (MB, peak)": round(max(memory[-third:]), 1),
    }


async def _until_sending(k: Running, driver: "subprocess.Popen[bytes]") -> None:
    """Returns when the driver has made its requests and sends."""
    before = (await k.store.redis.info("commandstats")).get("cmdstat_evalsha", {}).get("calls", 0)
    while driver.poll() is None:
        await asyncio.sleep(0.05)
        if (await k.store.redis.info("commandstats"))["cmdstat_evalsha"]["calls"] > before + 20:
            return


async def _sample(k: Running, waiting: list[tuple[float, int]], began: float, until: float) -> None:
    while time.time() - began < until:
        waiting.append((time.time() - began, await k.waiting()))
        await asyncio.sleep(0.5)


def _by_second(at: Sequence[float], seconds: Sequence[float], began: float, share: float) -> list[tuple[float, float]]:
    found: dict[int, list[float]] = defaultdict(list)
    for moment, delay in zip(at, seconds, strict=True):
        found[int(moment - began)].append(delay)
    return [(second, 1e3 * sorted(ms)[int(share * len(ms))]) for second, ms in sorted(found.items()) if second >= 0]


def _drain_rate(arrived: Arrived, back: float, rate: float) -> Figures:
    """How fast the backlog left once the destination was back."""
    late = sorted(at for at in arrived.times if at >= back)
    if not late:
        return {}
    by_tenth: dict[int, int] = defaultdict(int)
    for at in late:
        by_tenth[int((at - late[0]) * 2)] += 1
    # Until it comes at about the rate of arrival again.
    halves = [count for _, count in sorted(by_tenth.items())]
    busy = next((place for place, count in enumerate(halves) if count / 0.5 < 1.5 * rate), len(halves)) or 1
    drained = sum(halves[:busy]) / (busy * 0.5)
    return {
        "first arrival after (s)": round(late[0] - back, 2),
        "events/s": round(drained),
        "times the arrival rate": round(drained / rate, 1),
        "seconds": busy * 0.5,
    }


def used(before: dict[str, Use], after: dict[str, Use], seconds: float) -> dict[str, str]:
    """Share of a processor that each process took, and its memory."""
    return {
        name: f"{(after[name].processor - before[name].processor) / seconds:.0%}, {after[name].memory:.0f} MB"
        for name in before
    }


_COMMANDS: dict[str, Callable[[argparse.Namespace, Path], Any]] = {
    "healthy": healthy,
    "batches": batches,
    "outage": outage,
    "backlog": backlog,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    defaults: dict[str, dict[str, float]] = {
        "healthy": {"rate": 1000, "seconds": 30, "latency": 0.005, "fresh": 0.05},
        "batches": {"rate": 2000, "seconds": 30, "latency": 0.05},
        "outage": {"rate": 300, "before": 30, "dead-seconds": 600, "after": 60},
        "backlog": {"rate": 2500, "texts": 1_000_000, "people": 200_000, "workers": 2},
    }
    for name, options in defaults.items():
        command = commands.add_parser(name, help=_COMMANDS[name].__doc__)
        for option, default in options.items():
            command.add_argument(f"--{option}", type=type(default), default=default)
        if name == "outage":
            command.add_argument("--page", default="outage.html")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(_COMMANDS[chosen.command](chosen, Path(folder)))
    if "page" in figures:
        Path(chosen.page).write_text(figures.pop("page"))
    json.dump(
        {"machine": machine() | {"commit": commit()}, "asked": vars(chosen), "found": figures}, sys.stdout, indent=2
    )
    print()


if __name__ == "__main__":
    main()
