"""The records of a CSV file, each with the line on which it begins. A record that cannot be read spoils no other."""

import csv
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

#: The longest line, in bytes, which is the longest cell of `csv` too; of a longer one only so much is kept.
LONGEST_LINE = 1 << 17


class Record(NamedTuple):
    """A record. `problem` says what keeps its cells from being read; then there is one, with the line as it stands."""

    line: int
    cells: list[str]
    problem: str | None = None


class _Line(NamedTuple):
    """A line, and how many bytes of the file it takes: more than are kept if it is too long."""

    raw: bytes
    size: int


class Records:
    """Reads a file from a line on. `offset` and `line` are where the next record begins."""

    def __init__(self, file: BinaryIO, offset: int = 0, line: int = 1) -> None:
        file.seek(offset)
        self.offset = offset
        self.line = line
        self._file = file
        self._again: deque[_Line] = deque()  # to be read once more
        self._taken: list[_Line] = []  # what the record is made of
        self._problem: str | None = None

    def read(self, width: int | None = None) -> Iterator[Record]:
        """The records; blank lines are none. `width`: how many cells a record of several lines must have.

        Where a quote opens that is not closed, only its line is lost: what was taken for the rest of it is read again.
        """
        reader = csv.reader(self._lines(), strict=True)
        while True:
            self._taken, self._problem = [], None
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                cells, self._problem = [], self._problem or _not_csv(error)
                reader = csv.reader(self._lines(), strict=True)  # the one before may have met the end of the file
            if len(self._taken) > 1 and (self._problem or len(cells) != width):
                self._leave_all_but_one()
            line = self.line
            self.line += len(self._taken)
            for _, size in self._taken:
                self.offset += size
            if self._problem:
                yield Record(line, [_text(self._taken[0].raw).rstrip("\r\n")], self._problem)
            elif cells:
                yield Record(line, cells)

    def _leave_all_but_one(self) -> None:
        self._again.extendleft(reversed(self._taken[1:]))
        del self._taken[1:]
        self._problem = "a quote opens and does not close. Close it, or double it if it is part of the cell."

    def _lines(self) -> Iterator[str]:
        while line := self._again.popleft() if self._again else self._next():
            self._taken.append(line)
            if line.size > len(line.raw):
                self._problem = f"it is longer than {LONGEST_LINE} bytes. See that each row ends with its line."
            try:
                yield line.raw.decode()
            except UnicodeDecodeError:
                self._problem = "it is not UTF-8. Save the file in the encoding UTF-8."
                yield _text(line.raw)

    def _next(self) -> _Line | None:
        raw = self._file.readline(LONGEST_LINE)
        size = len(raw)
        if size == LONGEST_LINE and not raw.endswith(b"\n"):
            while more := self._file.readline(LONGEST_LINE):
                size += len(more)
                if more.endswith(b"\n"):
                    break
        return _Line(raw, size) if raw else None


def _not_csv(error: csv.Error) -> str:
    if "new-line" in str(error):
        return "a carriage return stands in it. See that each row ends with its line, and quote cells of several lines."
    return f"it is not CSV ({error}). Double each quote that is part of a cell."


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
