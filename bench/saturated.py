"""What a server takes at most: each connection always has a text under way. What is compared takes turns in one run."""

import argparse
import asyncio
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bench import asgi, baselines
from bench.driver import Plan, Sent, drive
from bench.servers import Running, Use, configure, ports, running, warm_up, webhook

Figures = dict[str, Any]

#: Some people write more than others, by the law of Zipf with this exponent: the first of 100,000 0.4 % of all texts.
ZIPF = 0.6
#: The share of texts whose sender was not known before.
FRESH = 0.05


class Round(NamedTuple):
    """Requests a second, and the processor time of each at the server and at the store, in µs."""

    rate: float
    server: float
    store: float = 0.0


def accept(chosen: argparse.Namespace, folder: Path) -> Figures:
    """The throughput of a durable accept beside servers that do next to nothing, by the number of connections."""
    return {f"{count} connections": _accept(chosen, folder / str(count), count) for count in chosen.connection_counts}


def _accept(chosen: argparse.Namespace, folder: Path, connections: int) -> Figures:
    found = _in_turns(
        chosen.rounds,
        folder,
        {name: partial(_baseline, chosen, name, connections) for name in baselines.available()}
        | {"keyroute": partial(_keyroute, chosen, connections)},
    )
    for each in found.values():
        each["ratio to empty"] = round(each["rate"] / found["empty"]["rate"], 3)
    return found


def _in_turns(rounds: int, folder: Path, servers: Mapping[str, Callable[[Path], Round]]) -> Figures:
    """Each server anew in each round, in a folder of its own."""
    taken: dict[str, list[Round]] = {name: [] for name in servers}
    for number in range(rounds):
        for name, take in servers.items():
            place = folder / f"{name}-{number}"
            place.mkdir(parents=True)
            taken[name].append(take(place))
    return {name: summary(each) for name, each in taken.items()}


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
    of = {f"{count} process(es)": partial(_keyroute, chosen, chosen.connections, processes=count) for count in (1, 2)}
    return _in_turns(chosen.rounds, folder, of)


def servers(chosen: argparse.Namespace, folder: Path) -> Figures:
    """The real application: as `keyroute serve` runs it, and as plain ASGI on uvicorn and, if installed, granian."""
    return _in_turns(
        chosen.rounds,
        folder,
        {"keyroute serve": partial(_keyroute, chosen, chosen.connections)}
        | {name: partial(_asgi, chosen, name) for name in asgi.available()},
    )


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


def _keyroute(chosen: argparse.Namespace, connections: int, folder: Path, processes: int = 1) -> Round:
    async def run() -> Round:
        async with running(configure(folder, webhook("hook", 9)), "ingress", processes=processes) as k:
            await asyncio.to_thread(drive, warm_up(k.server.port), folder)
            return await saturate(k, crowd(chosen, k.server.port, connections), folder)

    return asyncio.run(run())


def _asgi(chosen: argparse.Namespace, name: str, folder: Path) -> Round:
    (port,) = ports(1)
    with asgi.serving(name, configure(folder, webhook("hook", 9)), port) as pid:
        return _process(pid, crowd(chosen, port, chosen.connections), folder)


def _baseline(chosen: argparse.Namespace, name: str, connections: int, folder: Path) -> Round:
    (port,) = ports(1)
    with baselines.serving(name, folder, port) as pid:
        # A baseline that waits for the disk each time would take minutes over as many.
        count = chosen.texts // 10 if name == "append" else chosen.texts
        return _process(pid, crowd(chosen, port, connections, count), folder)


def _process(pid: int, plan: Plan, folder: Path) -> Round:
    drive(warm_up(plan.port), folder)
    before = Use.of(pid).processor
    sent = drive(plan, folder)
    _check_statuses(sent)
    return Round(_rate(sent), 1e6 * (Use.of(pid).processor - before) / plan.count)


def _rate(sent: Sent) -> float:
    return len(sent.due) / (max(sent.answered) - min(sent.due))


def _check_statuses(sent: Sent) -> None:
    if set(sent.statuses) != {"200"}:
        raise RuntimeError(f"not every text was accepted: {sent.statuses}. Look at the server's log.")
