"""The progress of a long job on a terminal. click's own bar: rich would add 4 MB to every process that logs."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import click

from router.imports.progress import Place


@contextmanager
def shown(size: int, start: Place) -> Iterator[Callable[[Place], object]]:
    """A bar for a file of so many bytes; to be told each place that is reached."""
    began = monotonic()

    def told(place: Place | None) -> str:
        if place is None:
            return ""
        per_second = (place.rows - start.rows) / max(monotonic() - began, 1e-3)
        return f"{place.rows:,} rows, {per_second:,.0f}/s, {place.refused:,} refused"

    with click.progressbar(length=size, item_show_func=told, file=sys.stderr) as bar:
        bar.update(start.offset, start)

        def show(place: Place) -> None:
            bar.update(place.offset - bar.pos, place)

        yield show
