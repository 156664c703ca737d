"""Ending tasks for sure."""

import asyncio
from collections.abc import Iterable

_PATIENCE = 0.5


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
