"""An import from its first row to its last: one part of the file is read while the store takes the one before."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice

from router.errors import StoreUnavailable
from router.imports.progress import Place
from router.imports.records import Record, Records
from router.imports.report import Refusal, Report
from router.imports.rows import Rows
from router.store import Directory, Imports, Stated, Stays

#: How many rows are read before progress is kept.
_PART = 8192
#: How many are read before what the store has answered is heard.
_SLICE = 128


@dataclass(slots=True)
class _Part:
    """Rows that stand one behind the other; `offset` and `line` are where the next part begins.

    `named`: line → external id, where a row has one. `cells`: line → the row as it was, should it be refused.
    """

    stated: list[Stated] = field(default_factory=list)
    named: dict[int, str] = field(default_factory=dict)
    cells: dict[int, list[str]] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    offset: int = 0
    line: int = 0


class Import:
    """One run over the rows of a file. `place`: how far it has come."""

    def __init__(
        self,
        records: Records,
        rows: Rows,
        imports: Imports,
        directory: Directory,
        report: Report,
        place: Place,
        *,
        as_of: float | None,
        dry_run: bool,
        known_at: Sequence[str],
        came_to: Callable[[Place], object],
    ) -> None:
        """`came_to` is told each place up to which all rows are in the store and all refused ones in the report.

        `known_at`: the destinations where the people of all rows are known, whatever becomes of the rows.
        """
        self.place = place
        self._records = records
        self._rows = rows
        self._imports = imports
        self._directory = directory
        self._report = report
        self._as_of = as_of
        self._dry_run = dry_run
        self._known_at = known_at
        self._came_to = came_to

    async def run(self) -> None:
        """Raises `StoreUnavailable`. What was under way then is in the store or not, and can be taken again."""
        taking: asyncio.Task[Place] | None = None
        try:
            async for part in self._parts():
                if taking:
                    self._note(await asyncio.shield(taking))
                taking = asyncio.create_task(self._take(part))
            if taking:
                self._note(await asyncio.shield(taking))
        finally:
            if taking and not taking.done():  # Ctrl-C: a part takes a moment, and need not be taken twice
                with suppress(StoreUnavailable):
                    self._note(await taking)

    def _note(self, place: Place) -> None:
        self.place = place
        self._came_to(place)

    async def _parts(self) -> AsyncIterator[_Part]:
        records = self._records.read(self._rows.width)
        while True:
            part = _Part()
            for _ in range(0, _PART, _SLICE):
                self._read(part, islice(records, _SLICE))
                await asyncio.sleep(0)  # the store has answered meanwhile: it gets the next rows of the part before
            if not part.cells and not part.refused:
                return
            part.offset, part.line = self._records.offset, self._records.line
            yield part

    def _read(self, part: _Part, records: Iterator[Record]) -> None:
        for line, cells, problem in records:
            said = problem or self._rows.read(cells)
            if isinstance(said, str):
                part.refused.append(Refusal(line, said, cells))
                continue
            sender, external_id, target, language = said
            part.cells[line] = cells
            part.stated.append(Stated(line, sender, target, language))
            if external_id:
                part.named[line] = external_id

    async def _take(self, part: _Part) -> Place:
        if part.named:
            await self._find_senders(part)
        applied = await self._imports.apply(part.stated)
        for stays in applied.stays:
            part.refused.append(Refusal(stays.line, self._reason(stays), part.cells[stays.line]))
        refused = {refusal.line for refusal in part.refused}
        if part.named and not self._dry_run:
            taken = (stated for stated in part.stated if stated.line in part.named and stated.line not in refused)
            await self._directory.learn({part.named[stated.line]: stated.sender for stated in taken})
        for destination in () if self._dry_run else self._known_at:
            await self._directory.know(destination, (stated.sender for stated in part.stated))
        before = self.place
        return replace(
            before,
            offset=part.offset,
            line=part.line,
            rows=before.rows + applied.changed + applied.unchanged + len(refused),
            changed=before.changed + applied.changed,
            unchanged=before.unchanged + applied.unchanged,
            refused=before.refused + len(refused),
            new=before.new + applied.new,
            report_bytes=self._report.write(sorted(part.refused)),
        )

    async def _find_senders(self, part: _Part) -> None:
        """Who is meant where a row has no phone."""
        wanted = [part.named[stated.line] for stated in part.stated if not stated.sender]
        if not wanted:
            return
        found = await self._directory.find(wanted)
        stated, part.stated = part.stated, []
        for one in stated:
            sender = one.sender or found.get(part.named[one.line])
            if sender:
                part.stated.append(one if one.sender else one._replace(sender=sender))
            else:
                reason = "nobody is known by its external_id. Write the person's phone too."
                part.refused.append(Refusal(one.line, reason, part.cells[one.line]))

    def _reason(self, stays: Stays) -> str:
        what = {"subscribed": "subscribed", "pending": "was asked to confirm"}.get(stays.state, "opted out")
        on = f"the person {what} on {_date(stays.since)}"
        if what == "opted out" and stays.since >= self.place.began:
            return f"{on}, after this import began or by another row of it. Leave the row out."
        override = "--override-opt-outs" if what == "opted out" else ""
        if self._as_of is None:
            return (
                f"{on}, which counts as later than a file without a date. Leave the row out; or give the date of the "
                f"file with --as-of, or {override} if you know that it is wrong."
            )
        remedy = f"Leave the row out, or give {override} if you know that it is wrong." if override else "Leave it out."
        return f"{on}, later than {_date(self._as_of)}, of which the file is. {remedy}"


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
