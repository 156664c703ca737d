"""What the disk itself takes to keep something, beside what is measured: its stalls are the product's as well."""

import os
import threading
import time
from pathlib import Path
from typing import Any, Self

from bench.latencies import Latencies

_EVERY = 0.1
_BLOCK = bytes(4096)


class Disk:
    """Appends a block to a file of its own and has the disk confirm it, ten times a second, while it is entered."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "disk"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._seconds: list[float] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def figures(self) -> dict[str, Any]:
        """How long that took, as percentiles in ms."""
        return Latencies(self._seconds).figures()

    def _run(self) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            while not self._over.wait(_EVERY):
                began = time.perf_counter()
                os.write(file, _BLOCK)
                os.fdatasync(file)
                self._seconds.append(time.perf_counter() - began)
        finally:
            os.close(file)
