"""Ending tasks for sure, and work that must not keep the process from ending."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

_PATIENCE = 0.5

P = ParamSpec("P")
T = TypeVar("T")


async def cancelled(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancels tasks and returns when they have ended; what they raise is not looked at.

    Once is not enough: up to Python 3.11 a cancellation that meets the end of a call guarded by `asyncio.wait_for`, as
    the store's are, is swallowed.
    """
    waiting = {task for task in tasks if not task.done()}
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=_PATIENCE)


class Background:
    """Tasks that nobody waits for."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()  # the loop alone would not keep them

    def start(self, work: Coroutine[None, None, None], failed: Callable[[BaseException | None], object]) -> None:
        """Starts one; `failed` is told what it raised that nobody foresaw, or None if it was cancelled."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._ended(task, failed))

    def _ended(self, task: asyncio.Task[None], failed: Callable[[BaseException | None], object]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            failed(None)
        elif error := task.exception():
            failed(error)


async def in_thread(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """What `work` returns or raises. Unlike a thread of `asyncio.to_thread`, this one is not waited for at the end."""
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            done.set_result(work(*arguments, **named))
        except BaseException as error:  # noqa: BLE001 (it is raised where it is waited for)
            done.set_exception(error)

    threading.Thread(target=run, name="keyroute", daemon=True).start()
    return await asyncio.wrap_future(done)
