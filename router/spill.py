"""The spill file: texts of carriers that do not offer a text again, kept on local disk while the store is away.

Each line is a CRC and a JSON record, synced before it counts. A process writes a file of its own; a file whose process
is gone is taken over at the next start. Reading the same record twice is harmless: its message id has one effect.
"""

import asyncio
import fcntl
import os
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO
from zlib import crc32

import orjson

from router.errors import StoreUnavailable
from router.records import read_request, request_fields
from router.types import RawRequest


class Spill:
    """The spilled requests of one process, and those that a dead one left behind."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._file: IO[bytes] | None = None
        self._size = 0
        self._queue: list[tuple[bytes, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing waits: neither in this process's file nor in one left behind."""
        busy = self._file is not None or self._queue or self._writer is not None
        return not busy and not any(_free(path) for path in self._others())

    async def append(self, request: RawRequest) -> None:
        """Returns once the request is on disk. Raises `StoreUnavailable` when the disk is full or the limit reached."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((_line(request), done))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        await done

    async def replay(self, accept: Callable[[RawRequest], Awaitable[None]]) -> int:
        """Hands every request over, oldest first, until none is left; how many there were.

        What `accept` raises ends the replay, with nothing removed of the file that was being read.
        """
        count = 0
        for path in sorted(self._others()):
            if _free(path):
                count += await self._replay_file(path, accept)
        while True:
            if self._writer is not None:
                await asyncio.wait([self._writer])
            if self._file is None:
                return count
            with self._file as file:
                self._file, self._size = None, 0
                count += await self._replay_file(Path(file.name), accept)

    def close(self) -> None:
        """Leaves the file for the next start, if there is one."""
        if self._file:
            self._file.close()
        self._file, self._size = None, 0

    async def _write(self) -> None:
        try:
            while self._queue:
                batch, self._queue = self._queue, []
                await self._write_batch(batch)
        finally:
            self._writer = None

    async def _write_batch(self, batch: list[tuple[bytes, asyncio.Future[None]]]) -> None:
        data = b"".join(line for line, _ in batch)
        failure: StoreUnavailable | None = None
        try:
            if self._size + len(data) > self._max_bytes:
                raise OSError(f"store.spill_max_bytes = {self._max_bytes} is reached")
            self._file = self._file or self._create()
            await asyncio.to_thread(_write_and_sync, self._file, data)
            self._size += len(data)
        except OSError as error:
            failure = StoreUnavailable(f"the store is away and the text cannot be kept on disk either ({error})")
            # The file may end in half a line: what comes next goes into a new one, and this one is read as it is.
            self.close()
        for _, done in batch:
            if not done.done():
                done.set_exception(failure) if failure else done.set_result(None)

    def _create(self) -> IO[bytes]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The name sorts by time, so that files left by several processes are read in order.
        path = self._folder / f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.spill"
        file = path.open("xb", buffering=0)
        fcntl.flock(file, fcntl.LOCK_EX)
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return file

    def _others(self) -> list[Path]:
        own = Path(self._file.name) if self._file else None
        return [path for path in self._folder.glob("*.spill") if path != own]

    async def _replay_file(self, path: Path, accept: Callable[[RawRequest], Awaitable[None]]) -> int:
        count = 0
        with path.open("rb") as file:
            for line in file:
                request = _request(line)
                if request is not None:
                    await accept(request)
                    count += 1
        os.unlink(path)
        return count


def _free(path: Path) -> bool:
    """Whether the process that wrote the file is gone."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, FileNotFoundError):
        return False
    return True


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
