"""`keyroute normalize`: phone numbers, one a line, to E.164."""

import os
import select
import stat
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from itertools import repeat
from typing import IO, Any

import click
import orjson

from router._core import REGIONS, normalize
from router.cli.side_by_side import in_order

#: How much of the input is worked on in one go, in bytes. A line that is longer is cut: it is no number.
_BLOCK = 1 << 20


def _region(_: click.Context, __: click.Parameter, given: str | None) -> str | None:
    if given is None or (given.isascii() and given.upper() in REGIONS):
        return given and given.upper()
    raise click.BadParameter(f"{given} is no region. Write the two letters of its country, such as US.")


@click.command("normalize")
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--region", metavar="CC", callback=_region, help="Where numbers without + are from, such as US.")
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=os.cpu_count(),
    show_default="one for each processor",
    help="How many work on a long input side by side.",
)
def command(file: IO[bytes], region: str | None, processes: int) -> None:
    """Phone numbers in FILE or on standard input, to E.164.

    One a line in, one JSON object a line out, in the same order.
    """
    blocks = ((block, region) for block in _blocks(file))
    results = in_order(normalized, blocks, processes, lambda work: len(work[0]) >= _BLOCK // 2)
    with closing(results), _progress(file) as progress:
        for (block, _), written in results:
            sys.stdout.buffer.write(written)
            sys.stdout.buffer.flush()
            if progress:
                progress.update(len(block) + 1)  # and the end of the last line


def _progress(file: IO[bytes]) -> AbstractContextManager[Any]:
    """A bar on the terminal if that is not where the numbers go. click's own: rich would add 80 ms to every start."""
    if not sys.stderr.isatty() or sys.stdout.isatty():
        return nullcontext()
    found = os.fstat(file.fileno())
    if stat.S_ISREG(found.st_mode):
        return click.progressbar(length=found.st_size, label="Normalising", file=sys.stderr)
    # Without an end in sight: how many bytes are done.
    return click.progressbar(repeat(None), label="Normalising", file=sys.stderr, show_pos=True)


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Whole lines, as many as there are by now: of a pipe that is written to slowly, few at a time."""
    read: Any = getattr(file, "read1", file.read)
    block, cutting = b"", False
    while more := read(_BLOCK):
        if cutting:  # the rest of a line of which enough has been seen
            _, end, more = more.partition(b"\n")
            cutting = not end
        block += more
        if len(block) < _BLOCK and (b"\n" not in block or _has_more(file)):
            continue
        lines, end, rest = block.rpartition(b"\n")
        if not end and len(rest) >= _BLOCK:
            lines, rest, cutting = rest, b"", True
        if lines or end:
            yield lines
        block = rest
    if block:
        yield block.removesuffix(b"\n")


def _has_more(file: IO[bytes]) -> bool:
    return bool(select.select([file.fileno()], [], [], 0)[0])


def normalized(work: tuple[bytes, str | None]) -> bytes:
    """One JSON object a line for lines of bytes, without the end of the last one, and their region."""
    block, region = work
    lines = block.decode("utf-8", "replace").split("\n")
    return b"".join(orjson.dumps(_described(line.rstrip("\r"), region)) + b"\n" for line in lines)


def _described(raw: str, region: str | None) -> dict[str, object]:
    try:
        number = normalize(raw, region)
    except ValueError as error:
        return {"input": raw, "e164": None, "valid": False, "possible": False, "region": None, "error": str(error)}
    return {
        "input": raw,
        "e164": number.e164,
        "valid": number.valid,
        "possible": number.possible,
        "region": number.region,
        "error": None,
    }
