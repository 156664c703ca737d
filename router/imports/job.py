"""One import as it is asked for: its file, its report and its progress, opened, gone through and closed."""

import os
import time
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from router.errors import UnusableFile
from router.groups import Group
from router.imports.columns import Columns, read_header
from router.imports.progress import Place, Progress, identity
from router.imports.records import Records
from router.imports.report import Report, is_report
from router.imports.rows import Rows
from router.imports.run import Import
from router.records import write_import
from router.store import Directory, Imports, Store
from router.types import Proof


@dataclass(frozen=True, slots=True)
class Options:
    """What decides what becomes of a file's rows. `as_of`: the date of the states in unix seconds, if it is known;
    `refused`: where the report goes; `known_at`: the destinations where its people are known.
    """

    file: Path
    refused: Path
    proof: Proof
    as_of: float | None = None
    override_opt_outs: bool = False
    dry_run: bool = False
    known_at: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """A finished run from `start` to `end`. `grown`: the bytes that the store has more; `shared`: others use it too."""

    start: Place
    end: Place
    seconds: float
    grown: int
    shared: bool


class Job:
    """An import. `start` is where it begins, or goes on; `columns` what the header says."""

    def __init__(self, options: Options, groups: Mapping[str, Group], store_name: str) -> None:
        """Raises `UnusableFile`. `store_name` tells the store from others: progress counts for one only."""
        self.options = options
        told = {
            "as_of": options.as_of,
            "override_opt_outs": options.override_opt_outs,
            "proof": options.proof,
            "refused": _readable(str(options.refused.absolute())),
            "store": store_name,
            "known_at": options.known_at,
        }
        self.progress = Progress(options.file.with_name(f"{options.file.name}.progress"), identity(options.file, told))
        self._groups = groups
        if not is_report(options.refused):
            raise UnusableFile(
                f"the report of its refused rows would take the place of {options.refused}, which is none. Name "
                "another file with --refused."
            )
        with options.file.open("rb") as file:
            self._header, self.columns, first = _read_header(file)
        self.start = (None if options.dry_run else self.progress.load(options.refused)) or first

    async def run(self, store: Store, clock: Callable[[], float], run_id: str, show: Callable[[Place], object]) -> Done:
        """Takes the rows; `show` is told how far it has come. Raises `StoreUnavailable`, `OSError`."""
        options = self.options
        # Kept over a run that was cut short: what people say meanwhile is later than the file.
        start = self.start if self.start.began else replace(self.start, began=clock())
        imports = Imports(
            store,
            self._entries(clock, run_id),
            clock,
            as_of=options.as_of,
            override_before=start.began if options.override_opt_outs else None,
            dry_run=options.dry_run,
        )
        shared, size, began = await imports.is_shared(), await imports.size(), time.monotonic()

        def came_to(place: Place) -> None:
            if not options.dry_run:
                self.progress.save(place)
            show(place)

        with (
            options.file.open("rb") as file,
            Report(options.refused, self._header, self.columns, start.report_bytes) as report,
        ):
            run = Import(
                Records(file, start.offset, start.line),
                Rows(self.columns, self._groups.values()),
                imports,
                Directory(store),
                report,
                start,
                as_of=options.as_of,
                dry_run=options.dry_run,
                known_at=options.known_at,
                came_to=came_to,
            )
            await run.run()
        seconds = time.monotonic() - began
        if not options.dry_run:
            self.progress.clear()
        return Done(start, run.place, seconds, await imports.size() - size, shared)

    def _entries(self, clock: Callable[[], float], run_id: str) -> Callable[[], tuple[bytes, bytes]]:
        count = 0

        def entry() -> tuple[bytes, bytes]:
            nonlocal count
            count += 1
            return write_import(f"imp_{run_id}_{count}", clock(), _readable(self.options.file.name), self.options.proof)

        return entry


def _readable(name: str) -> str:
    """The name of a file, which need not be text."""
    return os.fsencode(name).decode(errors="replace")


def _read_header(file: BinaryIO) -> tuple[list[str], Columns, Place]:
    """The header as it stands, what it means, and where the rows begin. Raises `UnusableFile`."""
    begin = file.read(len(BOM_UTF8))
    if begin.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        raise UnusableFile("it is UTF-16. Save it in the encoding UTF-8.")
    records = Records(file, len(BOM_UTF8) if begin == BOM_UTF8 else 0)
    header = next(records.read(), None)
    if header is None:
        raise UnusableFile("it is empty. Write a header and a row for each person and program.")
    if header.problem:
        raise UnusableFile(f"its header cannot be read: {header.problem}")
    return header.cells, read_header(header.cells), Place(records.offset, records.line)
