"""What a reload costs whoever is answered meanwhile: how long the event loop stood still, how long it all took.

`python -m bench.reloads [--keywords 100000] [--each 100] [--rounds 5]` writes a configuration of that many keywords in
200 programs, `--each` of them to a reply, does again and again what a SIGHUP does, and prints for each step seconds and
the longest stand-still of the loop in ms. The least of several rounds is the figure: other processes only add to it.
The last line has the bytes that a keyword takes in the matcher, and in a `dict` from its text to a number.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from bench.workload import PROGRAMS, words
from router._core import KeywordMatcher
from router.config import load
from router.disposal import Whole, dispose, sharing
from router.routing import Routing

#: Looks at the clock, in seconds.
_BETWEEN = 0.001
T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """What a step took, in seconds, and the longest that the loop stood still meanwhile."""

    seconds: float
    standstill: float


def configuration(folder: Path, keywords: int, each: int) -> Path:
    """A file with that many keywords, `each` of them to a reply."""
    (folder / "token").write_text("0123456789abcdef0123456789abcdef")
    parts = ['[accounts.twilio]\ncarrier = "twilio"\nauth_tokens = ["file:token"]\n']
    listed = words(keywords)
    for number in range(PROGRAMS):
        parts.append(
            f'[[numbers]]\nnumber = "+1415555{number:04d}"\naccount = "twilio"\ntype = "long_code"\n'
            f'program = "p{number}"\n[programs.p{number}]\nname = "P{number}"\n[programs.p{number}.replies.en]\n'
            'opt_in = "Welcome."\nopt_out = "You are out."\nhelp = "Call 555."\n'
        )
        own = listed[number::PROGRAMS]
        for start in range(0, len(own), each):
            written = ", ".join(f'"{word}"' for word in own[start : start + each])
            parts.append(
                f"[[programs.p{number}.keywords]]\nwords = [{written}]\n"
                f'replies = {{ en = "A reply of the usual length to {own[start]}." }}\n'
            )
    path = folder / "keyroute.toml"
    path.write_text("".join(parts))
    return path


class Watch:
    """Looks at the clock at each turn of the event loop."""

    def __init__(self) -> None:
        self._worst = 0.0
        self._looked = asyncio.Event()
        self._task = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(_BETWEEN)  # what is later than that is what is measured
            self._worst = max(self._worst, time.perf_counter() - before - _BETWEEN)
            self._looked.set()

    async def step(self, run: Callable[..., T], *arguments: Any) -> tuple[T, Step]:
        """Runs in a thread, as the server does."""
        self._worst, began = 0.0, time.perf_counter()
        result = await asyncio.to_thread(run, *arguments)
        seconds = time.perf_counter() - began
        self._looked.clear()
        await self._looked.wait()  # the last stand-still is seen at the next look
        return result, Step(seconds, self._worst)

    def close(self) -> None:
        """Looks no more."""
        self._task.cancel()


async def rounds(path: Path, count: int) -> dict[str, list[Step]]:
    """The steps of reloads of a file: reading it, compiling its keywords, putting the new in the place of the old."""
    watch = Watch()
    steps: dict[str, list[Step]] = {"read": [], "compile": [], "swap": []}
    settings = load(path)
    routing = Routing(settings)
    for _ in range(count):
        with sharing():
            new_settings, step = await watch.step(load, path)
            steps["read"].append(step)
            new_routing, step = await watch.step(Routing, new_settings)
            steps["compile"].append(step)
            replaced: list[Whole] = [settings, routing]
            settings, routing = new_settings, new_routing
            _, step = await watch.step(dispose, replaced)
            steps["swap"].append(step)
    watch.close()
    return steps


def bytes_per_keyword(keywords: int) -> tuple[float, float]:
    """What a keyword takes in a matcher, and in a dict from folded text to rule; the texts count for both."""
    listed = [word.casefold() for word in words(keywords)]
    matcher = KeywordMatcher((word, number % PROGRAMS, number, True) for number, word in enumerate(listed))
    as_dict = {word: number for number, word in enumerate(listed)}
    whole = sys.getsizeof(as_dict) + sum(sys.getsizeof(word) + sys.getsizeof(n) for word, n in as_dict.items())
    return sys.getsizeof(matcher) / keywords, whole / keywords


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keywords", type=int, default=100_000)
    parser.add_argument("--each", type=int, default=100, help="keywords to a reply")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        path = configuration(Path(folder), chosen.keywords, chosen.each)
        print(f"{chosen.keywords} keywords, {path.stat().st_size / 1e6:.1f} MB")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            steps = runner.run(rounds(path, chosen.rounds))
    for name, found in steps.items():
        seconds, standstill = min(step.seconds for step in found), min(step.standstill for step in found)
        print(f"{name:8}{seconds:6.3f} s  stand-still {1000 * standstill:5.1f} ms")
    ours, dicts = bytes_per_keyword(chosen.keywords)
    print(f"a keyword takes {ours:.1f} bytes, in a dict {dicts:.1f}")


if __name__ == "__main__":
    main()
