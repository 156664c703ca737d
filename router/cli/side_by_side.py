"""A long piece of work, part by part, on all processors, with the results in the order of the parts."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

from router.errors import WorkerLost

_LOST = "a process that worked on the input was killed. Free some memory, or try with fewer --processes."

Part = TypeVar("Part")
Result = TypeVar("Result")


def in_order(
    work: Callable[[Part], Result], parts: Iterable[Part], processes: int, is_large: Callable[[Part], bool]
) -> Generator[tuple[Part, Result], None, None]:
    """Each part with what `work` makes of it. Large parts go to other processes, small ones are done here and now.

    Raises `WorkerLost` if one of the processes is killed.
    """
    workers: deque[_Worker[Part, Result]] = deque()  # the next to be heard first
    try:
        for part in parts:
            if processes > 1 and is_large(part):
                if len(workers) == processes:
                    workers.rotate(-1)
                    yield from workers[-1].results()
                else:
                    workers.append(_Worker(work))
                workers[-1].begin(part)
                continue
            for worker in workers:
                yield from worker.results()
            yield part, work(part)
        for worker in workers:
            yield from worker.results()
    finally:
        for worker in workers:
            worker.end()


class _Worker(Generic[Part, Result]):
    """A process that has at most one part at a time, and ends when this one does, however that happens."""

    def __init__(self, work: Callable[[Part], Result]) -> None:
        # Spawned: it inherits no end of the pipes of the others, and so sees the end of its own.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(target=_serve, args=(theirs, work), daemon=True)
        self._process.start()
        theirs.close()
        self.part: Part | None = None

    def begin(self, part: Part) -> None:
        """Hands over a part."""
        self.part = part
        try:
            self._connection.send(part)
        except OSError:
            raise WorkerLost(_LOST) from None

    def results(self) -> Iterator[tuple[Part, Result]]:
        """The part, if it has one, and what came of it, once that is there."""
        if self.part is None:
            return
        part, self.part = self.part, None
        try:
            result: Result = self._connection.recv()
        except (EOFError, OSError):  # also in the middle of a message
            raise WorkerLost(_LOST) from None
        yield part, result

    def end(self) -> None:
        self._connection.close()
        self._process.terminate()
        self._process.join()


def _serve(connection: Connection, work: Callable[[Part], Result]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    while True:
        try:
            connection.send(work(connection.recv()))
        except (EOFError, OSError):
            return
