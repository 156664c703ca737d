"""The spill file: texts of carriers that do not offer a text again, kept on local disk while the store is away.

Each line is a CRC and a JSON record, synced before it counts. A process writes a file of its own; a file whose process
is gone is taken over at the next start. Reading the same record twice is harmless: its message id has one effect.
"""

import asyncio
import fcntl
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import IO
from zlib import crc32

import orjson

from router.errors import StoreUnavailable
from router.records import read_request, request_fields
from router.types import RawRequest

#: Takes requests in their order, as many as fit into one call of the store.
Accept = Callable[[Sequence[RawRequest]], Awaitable[None]]
_MOST_AT_ONCE = 256


class Spill:
    """The spilled requests of one process, and those that a dead one left behind."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._file: IO[bytes] | None = None
        self._path = folder
        self._queue: list[tuple[bytes, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing waits: neither in this process's file nor in one left behind."""
        return not (self._file or self._queue or self._writer) and not any(_is_free(path) for path in self._others())

    def append(self, request: RawRequest) -> "asyncio.Future[None]":
        """Puts a request in line; done once it is on disk. Fails with `StoreUnavailable` when there is no room."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((_line(request), done))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        return done

    async def replay(self, accept: Accept) -> int:
        """Hands every request over, oldest first, many at a time, until none is left; how many there were.

        What `accept` raises ends the replay, with nothing removed of the file that was being read.
        """
        count = 0
        for path in sorted(self._others()):
            with _claimed(path) as file:
                if file:
                    count += await _replay_file(file, accept)
        while True:
            if self._writer is not None:
                await asyncio.wait([self._writer])
            if self._file is None:
                return count
            # What is appended from now on goes into the next file. This one stays locked until it is gone.
            with self._file:
                self._file = None
                with self._path.open("rb") as file:
                    count += await _replay_file(file, accept)

    def close(self) -> None:
        """Leaves the file for the next start, if there is one."""
        if self._file:
            self._file.close()
            self._file = None

    async def _write(self) -> None:
        try:
            while self._queue:
                batch, self._queue = self._queue, []
                await self._write_batch(batch)
        finally:
            self._writer = None

    async def _write_batch(self, batch: list[tuple[bytes, asyncio.Future[None]]]) -> None:
        failure: StoreUnavailable | None = None
        try:
            await self._write_data(b"".join(line for line, _ in batch))
        except OSError as error:
            failure = StoreUnavailable(f"the store is away and the text cannot be kept on disk either ({error})")
        for _, done in batch:
            if not done.done():
                done.set_exception(failure) if failure else done.set_result(None)

    async def _write_data(self, data: bytes) -> None:
        if self._bytes_on_disk() + len(data) > self._max_bytes:
            raise OSError(f"store.spill_max_bytes = {self._max_bytes} is reached")
        self._file = self._file or self._create()
        try:
            await asyncio.to_thread(_write_and_sync, self._file, data)
        except OSError:
            # The file may end in half a line: what comes next goes into a new one, and this one is read as it is.
            self.close()
            raise

    def _bytes_on_disk(self) -> int:
        size = 0
        for path in self._folder.glob("*.spill"):
            with suppress(FileNotFoundError):
                size += path.stat().st_size
        return size

    def _create(self) -> IO[bytes]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The name sorts by time, so that files left by several processes are read in order.
        path = self._folder / f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.spill"
        # It gets that name only when it is locked: an unlocked one would be taken for a dead process's.
        nameless = path.with_suffix(".new")
        file = nameless.open("xb", buffering=0)
        fcntl.flock(file, fcntl.LOCK_EX)
        nameless.rename(path)
        _sync_folder(self._folder)
        self._path = path
        return file

    def _others(self) -> list[Path]:
        return [path for path in self._folder.glob("*.spill") if self._file is None or path != self._path]


async def _replay_file(file: IO[bytes], accept: Accept) -> int:
    count = 0
    while lines := list(islice(file, _MOST_AT_ONCE)):
        requests = [request for request in map(_request, lines) if request is not None]
        await accept(requests)
        count += len(requests)
    os.unlink(file.name)
    return count


@contextmanager
def _claimed(path: Path) -> Iterator[IO[bytes] | None]:
    """The file, held, if the process that wrote it is gone and no other has claimed it."""
    with ExitStack() as opened:
        try:
            file = opened.enter_context(path.open("rb"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it before may have read it to the end and removed it.
            claimed = os.fstat(file.fileno()).st_nlink > 0
        except (BlockingIOError, FileNotFoundError):
            claimed = False
        yield file if claimed else None


def _is_free(path: Path) -> bool:
    with _claimed(path) as file:
        return file is not None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_and_sync(file: IO[bytes], data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]
    os.fsync(file.fileno())


def _line(request: RawRequest) -> bytes:
    data = orjson.dumps(request_fields(request))
    return b"%08x %s\n" % (crc32(data), data)


def _request(line: bytes) -> RawRequest | None:
    """None for a line that was cut short by a crash; it was never acknowledged."""
    crc, _, data = line.rstrip(b"\n").partition(b" ")
    return read_request(orjson.loads(data)) if crc == b"%08x" % crc32(data) else None
