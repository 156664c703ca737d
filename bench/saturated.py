"""What a server takes at most: each connection always has a text under way. What is compared takes turns in one run."""

import argparse
import asyncio
import statistics
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from bench import asgi, baselines
from bench.driver import Plan, Sent, drive
from bench.latencies import Latencies
from bench.servers import Running, Use, configure, number_of_program, ports, programs, running, warm_up, webhook

Figures = dict[str, Any]

#: Some people write more than others, by the law of Zipf with this exponent: the first of 100,000 0.4 % of all texts.
ZIPF = 0.6
#: The share of texts whose sender was not known before.
FRESH = 0.05
#: What a rate is held at: the 99th percentile from due to acknowledged, in ms.
HELD = 50.0


class Round(NamedTuple):
    """Requests a second, and the processor time of each at the server and at the store, in µs."""

    rate: float
    server: float
    store: float = 0.0


def accept(chosen: argparse.Namespace, folder: Path) -> Figures:
    """The throughput of a durable accept beside servers that do next to nothing, by the number of connections."""
    return {f"{count} connections": _accept(chosen, folder / str(count), count) for count in chosen.connection_counts}


def _accept(chosen: argparse.Namespace, folder: Path, connections: int) -> Figures:
    rounds: dict[str, list[Round]] = {name: [] for name in (*baselines.available(), "keyroute")}
    for number in range(chosen.rounds):
        for name, taken in rounds.items():
            place = folder / f"{name}-{number}"
            place.mkdir(parents=True)
            if name == "keyroute":
                taken.append(asyncio.run(_keyroute(chosen, place, connections)))
            else:
                taken.append(_baseline(chosen, name, place, connections))
    found = {name: summary(taken) for name, taken in rounds.items()}
    for each in found.values():
        each["ratio to empty"] = round(each["rate"] / found["empty"]["rate"], 3)
    return found


def summary(rounds: Sequence[Round]) -> Figures:
    """Medians of rounds, and the rate of each."""
    found: Figures = {
        "rates": [round(each.rate) for each in rounds],
        "rate": round(statistics.median(each.rate for each in rounds)),
        "processor of the server (µs a request)": round(statistics.median(each.server for each in rounds), 1),
    }
    if any(each.store for each in rounds):
        store = statistics.median(each.store for each in rounds)
        found["processor of the store (µs a request)"] = round(store, 1)
    return found


def cores(chosen: argparse.Namespace, folder: Path) -> Figures:
    """What more processes on this machine bring."""
    rounds: dict[int, list[Round]] = {1: [], 2: []}
    for number in range(chosen.rounds):
        for processes, taken in rounds.items():
            place = folder / f"{processes}-{number}"
            place.mkdir()
            taken.append(asyncio.run(_keyroute(chosen, place, chosen.connections, processes)))
    return {f"{processes} process(es)": summary(taken) for processes, taken in rounds.items()}


def servers(chosen: argparse.Namespace, folder: Path) -> Figures:
    """The real application: as `keyroute serve` runs it, and as plain ASGI on uvicorn and, if installed, granian."""
    rounds: dict[str, list[Round]] = {name: [] for name in ("keyroute serve", *asgi.available())}
    for number in range(chosen.rounds):
        for name, taken in rounds.items():
            place = folder / f"{name}-{number}"
            place.mkdir()
            if name == "keyroute serve":
                taken.append(asyncio.run(_keyroute(chosen, place, chosen.connections)))
            else:
                (port,) = ports(1)
                with asgi.serving(name, configure(place, webhook("hook", 9)), port) as pid:
                    taken.append(_process(chosen, pid, port, place, chosen.connections, chosen.texts))
    return {name: summary(taken) for name, taken in rounds.items()}


def growth(chosen: argparse.Namespace, folder: Path) -> Figures:
    """What is taken, by how many programs are configured and how many senders the store knows."""
    return {
        "programs": asyncio.run(_growth(chosen, folder / "programs", chosen.program_counts, _with_programs)),
        "senders": asyncio.run(_growth(chosen, folder / "senders", chosen.sender_counts, _with_senders)),
    }


class _Sized(NamedTuple):
    """A server that holds so much, what it is sent, and the bytes of the store for each of what it holds."""

    running: Running
    crowd: Plan
    bytes_each: float | None = None


async def _growth(
    chosen: argparse.Namespace, folder: Path, counts: Sequence[int], start: Callable[..., Awaitable["_Sized"]]
) -> list[Figures]:
    """All sizes run at the same time and take turns, so that what the machine does meanwhile hits each alike."""
    async with AsyncExitStack() as stack:
        sized = {}
        for count in counts:
            place = folder / str(count)
            place.mkdir(parents=True)
            sized[count] = await start(chosen, place, count, stack)
        rounds: dict[int, list[Round]] = {count: [] for count in counts}
        for number in range(chosen.rounds):
            for count, each in sized.items():
                crowd = replace(each.crowd, first=(number + 1) * 10**7)
                rounds[count].append(await saturate(each.running, crowd, folder / str(count)))
        return [
            {
                "count": count,
                **summary(rounds[count]),
                "rate held": await held(
                    each.running,
                    replace(each.crowd, seconds=chosen.try_seconds, first=9 * 10**7),
                    statistics.median(one.rate for one in rounds[count]),
                    folder / str(count),
                ),
                "bytes of the store for each": each.bytes_each,
            }
            for count, each in sized.items()
        ]


async def held(k: Running, plan: Plan, best: float, folder: Path) -> int:
    """The highest tenth of the best rate at which texts that come whether the server is ready for them or not are
    acknowledged within `HELD`; tried twice, for whatever else this machine does may spoil one. 0 if none is.
    """
    for tenths in (9, 8, 7, 6, 5, 4, 3, 2, 1):
        paced = replace(plan, rate=best * tenths / 10)
        for _ in range(2):
            sent = await asyncio.to_thread(drive, paced, folder)
            paced = replace(paced, first=paced.first + paced.count)
            taken = Latencies(b - a for a, b in zip(sent.due, sent.answered, strict=True) if b)
            if set(sent.statuses) == {"200"} and taken.at(99) < HELD:
                return round(paced.rate)
        plan = replace(plan, first=paced.first)
    return 0


async def _with_programs(chosen: argparse.Namespace, folder: Path, count: int, stack: AsyncExitStack) -> _Sized:
    config = configure(folder, webhook("hook", 9), *programs(count))
    k = await stack.enter_async_context(running(config, "ingress", patience=300))
    # 1,000 of them at most are texted in the run, as far apart as they are.
    to = tuple(number_of_program(place) for place in range(0, count, max(1, count // 1000)))
    await asyncio.to_thread(drive, warm_up(k.server.port), folder)
    return _Sized(k, replace(crowd(chosen, k.server.port, chosen.connections), to=to))


async def _with_senders(chosen: argparse.Namespace, folder: Path, count: int, stack: AsyncExitStack) -> _Sized:
    k = await stack.enter_async_context(running(configure(folder, webhook("hook", 9)), "ingress"))
    await asyncio.to_thread(drive, warm_up(k.server.port), folder)
    before = (await k.store.redis.info("memory"))["used_memory"]
    await k.make_subscribed(count)
    each = ((await k.store.redis.info("memory"))["used_memory"] - before) / count
    return _Sized(k, replace(crowd(chosen, k.server.port, chosen.connections), people=count), round(each, 1))


def crowd(chosen: argparse.Namespace, port: int, connections: int, count: int | None = None) -> Plan:
    """More texts of Twilio than anything takes. Did a person's wait for each other, the last texts would be those of a
    few, with most connections idle.
    """
    rate = 1e6
    return Plan(port, rate, (count or chosen.texts) / rate, people=chosen.people, zipf=ZIPF, fresh=FRESH,
                connections=connections, ordered=False)  # fmt: skip


async def saturate(k: Running, plan: Plan, folder: Path) -> Round:
    """One round of a crowd."""
    before = k.use()
    sent = await asyncio.to_thread(drive, plan, folder)
    after = k.use()
    _check_statuses(sent)
    server, store = (
        1e6 * (after[name].processor - before[name].processor) / plan.count for name in ("server", "store")
    )
    return Round(_rate(sent), server, store)


async def _keyroute(chosen: argparse.Namespace, folder: Path, connections: int, processes: int = 1) -> Round:
    async with running(configure(folder, webhook("hook", 9)), "ingress", processes=processes) as k:
        await asyncio.to_thread(drive, warm_up(k.server.port), folder)
        return await saturate(k, crowd(chosen, k.server.port, connections), folder)


def _baseline(chosen: argparse.Namespace, name: str, folder: Path, connections: int) -> Round:
    (port,) = ports(1)
    with baselines.serving(name, folder, port) as pid:
        # A baseline that waits for the disk each time would take minutes over as many.
        count = chosen.texts // 10 if name == "append" else chosen.texts
        return _process(chosen, pid, port, folder, connections, count)


def _process(chosen: argparse.Namespace, pid: int, port: int, folder: Path, connections: int, count: int) -> Round:
    drive(warm_up(port), folder)
    before = Use.of(pid).processor
    sent = drive(crowd(chosen, port, connections, count), folder)
    _check_statuses(sent)
    return Round(_rate(sent), 1e6 * (Use.of(pid).processor - before) / count)


def _rate(sent: Sent) -> float:
    return len(sent.due) / (max(sent.answered) - min(sent.due))


def _check_statuses(sent: Sent) -> None:
    if set(sent.statuses) != {"200"}:
        raise RuntimeError(f"not every text was accepted: {sent.statuses}. Look at the server's log.")
