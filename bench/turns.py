"""What takes turns meets the same noise: medians of rounds in which each is run once."""

import statistics
import time
from collections.abc import Callable, Mapping

#: Runs its batch once; the nanoseconds that it took, if it measures them itself.
Run = Callable[[], float | None]


def medians(runs: Mapping[str, Run], rounds: int) -> dict[str, float]:
    """Nanoseconds that each run takes."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter_ns()
            measured = run()
            taken[name].append(time.perf_counter_ns() - began if measured is None else measured)
    return {name: statistics.median(found) for name, found in taken.items()}
