"""Where a command listens: bound before anything else starts, so that a taken address costs nobody anything."""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from router.errors import AddressUnusable

#: How many connections may wait to be accepted.
BACKLOG = 2048


@contextmanager
def tcp(host: str, port: int, remedy: str) -> Iterator[tuple[socket.socket, str]]:
    """A listening socket and its URL, with the real port where 0 was asked for.

    Raises `AddressUnusable`; `remedy` is what its message says to do.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise AddressUnusable(f"cannot listen on {_url(host, port)}: {_reason(error)}. {remedy}") from None
    with closing(listener):
        yield listener, _url(host, listener.getsockname()[1])


@contextmanager
def unix(path: Path, remedy: str) -> Iterator[tuple[socket.socket, str]]:
    """A listening Unix socket and its name; one that a killed process left behind is replaced.

    Raises `AddressUnusable` like `tcp`.
    """
    listener = socket.socket(socket.AF_UNIX)
    with closing(listener):
        try:
            if _left_behind(path):
                path.unlink()
            listener.bind(str(path))
            path.chmod(0o666)  # as on TCP, anybody may connect: what counts is the signature or the token
            listener.listen(BACKLOG)
        except OSError as error:
            raise AddressUnusable(f"cannot listen on {path}: {_reason(error)}. {remedy}") from None
        ours = path.stat().st_ino
        try:
            yield listener, f"unix:{path}"
        finally:
            with suppress(FileNotFoundError):
                if path.stat().st_ino == ours:
                    path.unlink()


@contextmanager
def inherited(fd: int) -> Iterator[tuple[socket.socket, str]]:
    """The listener that another process has bound, and its name."""
    with socket.socket(fileno=fd) as listener:
        name = listener.getsockname()
        yield listener, f"unix:{name}" if isinstance(name, str) else _url(*name[:2])


def _left_behind(path: Path) -> bool:
    """Whether a socket stands there that nobody listens on."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return False
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == errno.ECONNREFUSED


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)
