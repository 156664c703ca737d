"""Large changes of what a process holds, made so that whoever answers texts meanwhile is not kept waiting.

Other threads can go on only between two steps of the interpreter. Freeing a hundred thousand objects at once is one
step, of 40 ms; a full run of the garbage collector over them is another, of 100 to 200 ms.
"""

import gc
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

#: Freed in one step.
_AT_ONCE = 200
#: How long a thread goes on before it lets another that waits have its turn, in seconds. Python's own is 0.005.
_TURN = 0.0005


@contextmanager
def sharing() -> Iterator[None]:
    """While much is built in a thread: turns are short, and the collector neither runs nor, unless building fails,
    looks at it ever after. What is built must hold no cycles, or they are never freed; what is left of a stopped
    worker, some hundred objects, is not.
    """
    turn = sys.getswitchinterval()
    sys.setswitchinterval(_TURN)
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
        sys.setswitchinterval(turn)


class Whole(Protocol):
    """Something that is made of very many parts."""

    def parts(self) -> Iterable[object]:
        """What it holds the most of."""
        ...


def dispose(wholes: list[Whole]) -> None:
    """Lets go of what only the list holds any more, a little at a time. To be called in a thread."""
    parts = [part for whole in wholes for part in whole.parts()]
    wholes.clear()
    empty(parts)


def empty(objects: list[Any]) -> None:
    """Empties a list, a little at a time."""
    while objects:
        del objects[-_AT_ONCE:]
