"""Several processes that serve one address: started together, replaced should one end, ended together."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import structlog

from router.embedded import EmbeddedServer
from router.errors import StoreUnavailable

_log = structlog.get_logger("router.processes")

_PR_SET_PDEATHSIG = 1
#: How often it is looked whether all still run, in seconds.
_LOOK = 0.25
#: A process that gives up so soon after the first start of all cannot start at all, in seconds.
_STARTING = 10.0
#: How long what has ended is waited with, and how long one that shall end may take, in seconds.
_PAUSE, _PATIENCE = 1.0, 20.0
_HEARD = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}


class Processes:
    """Runs several processes, and the embedded store beside them, so that it outlives each of them."""

    def __init__(
        self, command: Callable[[int], Sequence[str]], count: int, inherited: int, store: EmbeddedServer | None
    ) -> None:
        """`command` makes the command of each, by its number from 0. `inherited` is the file descriptor of the
        listener, which all of them share.
        """
        self._command = command
        self._numbers = range(count)
        self._inherited = inherited
        self._store = store
        self._process = os.getpid()
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._began = time.monotonic()
        self._ending: float | None = None
        self._replace_at = self._store_at = 0.0
        self._code = 0

    def run(self) -> int:
        """Returns the exit code once all have ended: at SIGTERM or SIGINT, or because they cannot start. SIGHUP goes to
        each of them. Raises `StoreUnavailable` if the embedded store cannot be started at first.
        """
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
        try:
            if self._store:
                self._store.spawn()
            while self._running or self._ending is None:
                self._look()
                heard = signal.sigtimedwait(_HEARD, _LOOK)
                if heard and heard.si_signo in (signal.SIGTERM, signal.SIGINT):
                    self._end()
                elif heard and heard.si_signo == signal.SIGHUP:
                    self._tell(signal.SIGHUP)
        finally:
            for process in self._running.values():
                process.kill()
            if self._store:
                self._store.stop()
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        return self._code

    def _look(self) -> None:
        self._keep_store_running()
        for number, process in list(self._running.items()):
            if process.poll() is not None:
                del self._running[number]
                if self._ending is None:
                    self._ended(process)
        now = time.monotonic()
        if self._ending is None and now >= self._replace_at:
            self._running |= {number: self._start(number) for number in self._numbers if number not in self._running}
        elif self._ending is not None and now - self._ending > _PATIENCE:
            self._tell(signal.SIGKILL)

    def _keep_store_running(self) -> None:
        now = time.monotonic()
        if self._store is None or self._store.running or now < self._store_at:
            return
        try:
            self._store.spawn()
        except StoreUnavailable as error:  # the others keep what comes meanwhile on disk, or ask for it again
            _log.error("the embedded store cannot be started", error=str(error))
            self._store_at = now + _PAUSE

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        now = time.monotonic()
        if process.returncode > 0 and now - self._began < _STARTING:
            # What it said stands above; the others would end the same way.
            self._code = process.returncode
            self._end()
            return
        _log.error("a process ended and is replaced", code=process.returncode, pid=process.pid)
        self._replace_at = now + _PAUSE

    def _end(self) -> None:
        if self._ending is None:
            self._ending = time.monotonic()
        self._tell(signal.SIGTERM)

    def _tell(self, number: signal.Signals) -> None:
        for process in self._running.values():
            process.send_signal(number)

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 (our own command)
            self._command(number), pass_fds=(self._inherited,), preexec_fn=self._prepare
        )

    def _prepare(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        if sys.platform == "linux":
            # None of them may go on alone: nobody would look after it.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != self._process:  # it is gone already
                os._exit(1)
