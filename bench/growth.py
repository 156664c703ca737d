"""What a server takes that holds more and more: programs in its configuration, senders in its store."""

import argparse
import asyncio
import statistics
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from bench.driver import Plan, drive
from bench.paced import held
from bench.saturated import Figures, Round, crowd, saturate, summary
from bench.servers import Running, configure, number_of_program, programs, running, warm_up, webhook


class _Sized(NamedTuple):
    """A server that holds so much, what it is sent, and the bytes of the store for each of what it holds."""

    running: Running
    crowd: Plan
    bytes_each: float | None = None


def growth(chosen: argparse.Namespace, folder: Path) -> Figures:
    """What is taken, by how many programs are configured and how many senders the store knows."""
    return {
        "programs": asyncio.run(_growth(chosen, folder / "programs", chosen.program_counts, _with_programs)),
        "senders": asyncio.run(_growth(chosen, folder / "senders", chosen.sender_counts, _with_senders)),
    }


async def _growth(
    chosen: argparse.Namespace, folder: Path, counts: Sequence[int], start: Callable[..., Awaitable[_Sized]]
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
                plan = replace(each.crowd, first=(number + 1) * 10**7)
                rounds[count].append(await saturate(each.running, plan, folder / str(count)))
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
                **({"bytes of the store for each": each.bytes_each} if each.bytes_each else {}),
            }
            for count, each in sized.items()
        ]


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
