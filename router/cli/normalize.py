"""`keyroute normalize`: phone numbers, one a line, to E.164."""

import os
import stat
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import IO, Any

import click
import orjson

from router._core import REGIONS, normalize

#: How much of the input is worked on in one go, in bytes.
_BLOCK = 1 << 20
#: How many blocks each process may have waiting.
_AHEAD = 2


def _region(_: click.Context, __: click.Parameter, given: str | None) -> str | None:
    if given is None or given.upper() in REGIONS:
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
    with _progress(file) as progress:
        for block, written in _in_order(_blocks(file), region, processes):
            sys.stdout.buffer.write(written)
            sys.stdout.buffer.flush()
            if progress:
                progress.update(block)


def _progress(file: IO[bytes]) -> AbstractContextManager[Any]:
    """A bar on the terminal if that is not where the numbers go. click's own: rich would add 80 ms to every start."""
    if not sys.stderr.isatty() or sys.stdout.isatty():
        return nullcontext()
    found = os.fstat(file.fileno())
    size = found.st_size if stat.S_ISREG(found.st_mode) else None
    return click.progressbar(length=size, label="Normalising", file=sys.stderr, show_pos=size is None)


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Whole lines, as many as there are by now; of a pipe that is written to slowly, few at a time."""
    read: Any = getattr(file, "read1", file.read)
    while block := read(_BLOCK):
        yield block + file.readline() if not block.endswith(b"\n") else block


def _in_order(blocks: Iterable[bytes], region: str | None, processes: int) -> Iterator[tuple[int, bytes]]:
    """The size of each block and what is to be written for it. Long inputs are worked on by several processes."""
    waiting: deque[tuple[int, Future[bytes]]] = deque()
    with ProcessPoolExecutor(processes) as pool:  # starts no process before it is given something
        for block in blocks:
            if processes > 1 and len(block) >= _BLOCK:
                waiting.append((len(block), pool.submit(normalized, block, region)))
                if len(waiting) > processes * _AHEAD:
                    yield _taken(waiting)
                continue
            while waiting:
                yield _taken(waiting)
            yield len(block), normalized(block, region)
        while waiting:
            yield _taken(waiting)


def _taken(waiting: "deque[tuple[int, Future[bytes]]]") -> tuple[int, bytes]:
    size, future = waiting.popleft()
    return size, future.result()


def normalized(block: bytes, region: str | None) -> bytes:
    """One JSON object a line for a block of lines."""
    lines = block.decode("utf-8", "replace").removesuffix("\n").split("\n")
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
