"""Reading the configuration file again while the server runs."""

import asyncio
import signal
from pathlib import Path

import structlog

from router.config import load
from router.disposal import dispose, sharing
from router.errors import ConfigurationError, RouterError
from router.service import Service
from router.tasks import cancelled

_log = structlog.get_logger("router.reload")


class Reloader:
    """Reads the configuration file again on SIGHUP: takes it into use, or says what is wrong and keeps the old one."""

    def __init__(self, service: Service, path: Path) -> None:
        self._service = service
        self._path = path
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def listen(self) -> None:
        """Begins to listen for the signal."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._asked.set)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Lets a reload that is under way finish."""
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        if self._task:
            await cancelled([self._task])

    async def _run(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            await asyncio.shield(self.reload())

    async def reload(self) -> None:
        """Reads the file once; says what is wrong with it in the log."""
        outcome = "done"
        try:
            with sharing():
                replaced = await self._service.reload(await asyncio.to_thread(load, self._path))
                await asyncio.to_thread(dispose, replaced)
        except RouterError as error:
            outcome = "refused"
            # A problem's remedy may repeat a number that is written wrongly; `keyroute check` shows it.
            problems = error.problems if isinstance(error, ConfigurationError) else ()
            said = [f"line {problem.line}: {problem.key}: {problem.message}" for problem in problems] or [str(error)]
            _log.error("reload refused, the old configuration stays in use", problems=said)
        else:
            _log.info("configuration reloaded", path=str(self._path))
        self._service.metrics.reloads.labels(outcome).inc()
