"""`keyroute export`: what people have consented to, as a CSV file."""

import asyncio
import csv
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click

from router import exports
from router.cli.options import config_option
from router.cli.store import opened
from router.config import Settings, load
from router.exports import Exported
from router.groups import Group, groups
from router.store import Exports


@click.command("export")
@config_option
@click.option("--program", metavar="ID", help="Only this program, by its ID or group_id.")
@click.option(
    "--state",
    type=click.Choice(["subscribed", "unsubscribed", "pending"]),
    help="Only people in this state; who was asked to confirm and has not yet is only there if pending is asked for.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where it goes, once it is whole; if not given, to standard output.",
)
def command(config: Path, program: str | None, state: Exported | None, output: Path | None) -> None:
    """Write what people have consented to as CSV, a row for each person and program.

    The columns are those of `keyroute import`, and since. An opt-out that holds for an account or for everything stands
    at each program that it concerns.
    """
    settings = load(config)
    every = list(groups(settings).values())
    wanted = [group for group in every if program in (None, group.program, group.id)]
    if not wanted:
        names = ", ".join(group.id for group in every)
        raise click.BadParameter(f"there is no {program!r}. Write one of: {names}.", param_hint="--program")
    with _output(output) as file:
        written, left_out = asyncio.run(_write(settings, wanted, state, file))
    click.echo(f"exported {written} rows", err=True)
    if left_out and program is None:
        click.echo(
            f"{left_out} people have said something of programs that are not configured, which is not there. Add those "
            "programs to the configuration to export it.",
            err=True,
        )


async def _write(settings: Settings, wanted: list[Group], state: Exported | None, file: TextIO) -> tuple[int, int]:
    """How many rows were written, and how many people have said something that is not in any."""
    written = left_out = 0
    lines = csv.writer(file, lineterminator="\n")
    lines.writerow(exports.COLUMNS)
    now = time.time()
    async with opened(settings) as store:
        async for sender, person in Exports(store).people():
            for row in exports.rows(sender, person, wanted, state, now):
                lines.writerow(row)
                written += 1
            left_out += exports.unknown(person, wanted)
    return written, left_out


@contextmanager
def _output(path: Path | None) -> Iterator[TextIO]:
    """A file that appears when it is whole: half an export looks like one in which people are missing."""
    if path is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    partial = path.with_name(f"{path.name}.partial")
    # Numbers of people stand in it.
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        yield file
    partial.replace(path)
