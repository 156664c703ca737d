"""How long something takes."""

import time
from collections.abc import Callable


def processor_seconds(call: Callable[[], object]) -> float:
    """The least time of three that a call keeps the processor busy, after one that is not counted.

    What is worked out once in a process, such as how characters fold, falls to that one.
    """
    call()
    taken = []
    for _ in range(3):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return min(taken)
