"""The report of refused rows: their cells as they were, with line and reason before them."""

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TextIO, cast

from router.imports.columns import REFUSED, Columns


class Refusal(NamedTuple):
    """A row that was not taken, and why, with what to do."""

    line: int
    reason: str
    cells: Sequence[str]


class Report:
    """Written as rows are refused; there is no file if none is. It can be corrected and imported as it is."""

    def __init__(self, path: Path, header: Sequence[str], columns: Columns, kept: int = 0) -> None:
        """`kept`: the bytes of an earlier run that are gone on with."""
        self.path = path
        self._header = header
        self._noted = columns.noted
        self._kept = kept
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        """A report of another run is removed: what it lists is not of this one."""
        if self._kept:
            self._file = _opened(self.path, "r+")
            self._file.seek(self._kept)
            self._file.truncate()
        else:
            self.path.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file:
            self._file.close()

    def write(self, refused: Iterable[Refusal]) -> int:
        """Adds rows; the size of the file then, all of it handed to the system."""
        for refusal in refused:
            file = self._file or self._begin()
            own = refusal.cells[self._noted :] if len(refusal.cells) > self._noted else refusal.cells
            csv.writer(file).writerow((refusal.line, refusal.reason, *own))
        if not self._file:
            return 0
        self._file.flush()
        return os.fstat(self._file.fileno()).st_size

    def _begin(self) -> TextIO:
        self._file = _opened(self.path, "w")
        csv.writer(self._file).writerow((*REFUSED, *self._header[self._noted :]))
        return self._file


def is_report(path: Path) -> bool:
    """Whether there is a report that may be written anew, or nothing yet."""
    begins = ",".join(REFUSED).encode()
    try:
        with path.open("rb") as file:
            return file.read(len(begins)) in (begins, b"")
    except FileNotFoundError:
        return True


def _opened(path: Path, mode: str) -> TextIO:
    # Numbers of people stand in it. What is not UTF-8 is written back as it was.
    flags = os.O_RDWR if mode == "r+" else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    opened = os.fdopen(os.open(path, flags, 0o600), mode, encoding="utf-8", errors="surrogateescape", newline="")
    return cast("TextIO", opened)
