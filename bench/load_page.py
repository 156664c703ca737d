"""The page of `make bench-load`: its figures as plots and tables."""

import json
from collections.abc import Callable, Iterator
from html import escape
from statistics import median
from typing import Any

from bench.charts import bars, chart, page, table

Figures = dict[str, Any]

_EMPTY = "empty"
_NAMES = {
    "keyroute": "keyroute: durable accept",
    "empty": "empty Starlette route",
    "append": "the same + an fsynced append",
    "nginx": "nginx: empty answer",
}
_SPAN: dict[str, Callable[[list[float]], float]] = {"median of the rounds": median, "lowest": min, "highest": max}
_NOTES = {
    "accept": "Texts of Twilio as fast as they are taken, each connection with one under way; each server in its turn, "
    "so many rounds. keyroute verifies, normalises, matches, decides, writes outbox and consent and has the disk "
    "confirm it before it answers; the empty route reads the body on uvicorn. The line at each bar is the span of its "
    "rounds.",
    "latency": "From the moment a text was due to its acknowledgement and to the request that the platform gets, with "
    "driver, server, store, worker and platform on this machine. Open loop: a pause of the server counts against all "
    "texts that were due in it. The disk: a block appended to a file of its own and confirmed, ten times a second "
    "meanwhile.",
    "highest": "Each point is a run at one rate. A rate is held if everything that was accepted is delivered within a "
    "second of the last text, and 99 % of the acknowledgements come within 50 ms.",
    "growth": "What is taken at most, by what the configuration and the store hold: servers of all sizes run at the "
    "same time and take turns. 1,000 programs at most are texted. The rate held is the highest tenth of it at which "
    "99 % of texts that come at that rate, open loop, are acknowledged within 50 ms.",
    "overload": "Three times the rate that the whole product holds (99 % acknowledged within 50 ms), over thousands of "
    "connections, then half of it.",
}


def load_page(result: Figures) -> str:
    """The whole page, of what `bench.results` read."""
    figures = result["figures"]
    parts = [part for name, draw in _SECTIONS.items() if name in figures for part in draw(figures[name])]
    foot = {**result["machine"], **result["versions"], "commit": result["commit"], "taken at": result["taken_at"]}
    parts.append("<h2>Where and of what</h2>" + table([("", ""), *foot.items()]))
    return page("keyroute under load", *parts)


def _note(name: str) -> str:
    return f"<p>{escape(_NOTES[name])}</p>"


def _details(found: Any) -> str:
    written = escape(json.dumps(found, indent=1, ensure_ascii=False))
    return f"<details><summary>The figures</summary><pre>{written}</pre></details>"


def _accept(found: Figures) -> Iterator[str]:
    head = ("", "requests a second", "ratio to the empty route", "µs of processor a request")
    for connections, servers in found.items():
        yield bars(
            f"Requests a second over {connections}",
            {
                _NAMES.get(name, name): (each["rate"], min(each["rates"]), max(each["rates"]))
                for name, each in servers.items()
            },
        )
        rows = [
            (
                _NAMES.get(name, name),
                f"{each['rate']:,}",
                each["ratio to empty"],
                each["processor of the server (µs a request)"],
            )
            for name, each in servers.items()
        ]
        yield table([head, *rows])
    yield _note("accept")


def _latency(found: Figures) -> Iterator[str]:
    lines = {
        name: [(1 / (1 - share), ms) for share, ms in found[name]["curve"] if share < 1]
        for name in ("acknowledged", "delivered")
    }
    yield chart(
        f"Latency at {found['rate']:,.0f} texts a second for {found['seconds']:.0f} s",
        lines,
        x="of so many texts the slowest (10: 90 %, 100: 99 %, 1,000: 99.9 %)",
        y="ms",
        log_x=True,
    )
    yield _note("latency")
    head = ("", "p50 (ms)", "p99", "p99.9", "longest")
    names = ("acknowledged", "delivered", "acknowledged to delivered", "disk")
    yield table([head, *((name, *(found[name][at] for at in ("p50", "p99", "p99.9", "longest"))) for name in names)])
    yield table([("process", "share of a core, memory"), *found["processors"].items()])


def _highest(found: Figures) -> Iterator[str]:
    tried = sorted(found["tried"], key=lambda each: each["rate"])
    yield chart(
        f"The highest rate that is delivered: {found['rate']:,.0f} a second",
        {name: [(each["rate"], each[f"{name} p99 (ms)"]) for each in tried] for name in ("acknowledged", "delivered")},
        x="texts a second",
        y="p99 (ms)",
        log_y=True,
    )
    yield _note("highest") + _details(found["tried"])


def _growth(found: Figures) -> Iterator[str]:
    for what, sizes in found.items():
        if not sizes:  # nobody asked for them
            continue
        yield chart(
            f"Texts a second, by {what}",
            {name: [(each["count"], of(each["rates"])) for each in sizes] for name, of in _SPAN.items()},
            x=what,
            y="texts a second",
            log_x=True,
        )
        columns = [name for name in sizes[0] if name not in ("count", "rates")]
        yield table([(what, *columns), *((each["count"], *(each[name] for name in columns)) for each in sizes)])
    yield _note("growth")


def _overload(found: Figures) -> Iterator[str]:
    seconds = found["seconds"]
    lines = {
        "accepted": [(at, taken) for at, taken, *_ in seconds],
        "asked to come later": [(at, shed) for at, _, shed, *_ in seconds],
    }
    yield chart(
        f"{found['offered']:,.0f} texts a second where {found['held']:,.0f} are held",
        lines,
        x="seconds",
        y="a second",
    )
    memory = {
        "server": [(at, use[0]) for at, _, _, *use in seconds],
        "store": [(at, use[1]) for at, _, _, *use in seconds],
    }
    yield chart("Memory", memory, x="seconds", y="MB")
    yield _note("overload") + _details({name: each for name, each in found.items() if name != "seconds"})


_SECTIONS: dict[str, Callable[[Figures], Iterator[str]]] = {
    "accept": _accept,
    "latency": _latency,
    "highest": _highest,
    "growth": _growth,
    "overload": _overload,
}
