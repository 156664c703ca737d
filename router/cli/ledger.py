"""`keyroute ledger`: a person's history of consent; whether the whole of it is as it was written; sealing."""

import asyncio
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import orjson

from router.cli.history import described
from router.cli.options import config_option, person_argument
from router.cli.store import opened
from router.config import Settings, load
from router.delivery.asking import Asking
from router.delivery.ledger import recording
from router.errors import DamagedLedger
from router.ledger.reading import walk
from router.ledger.rows import Row
from router.ledger.segments import Segments
from router.ledger.verification import Verification
from router.routing import Routing
from router.store import Ledger, Outbox
from router.telemetry import set_up_logs


@click.command("ledger")
@person_argument(required=False)
@click.option("--json", "as_json", is_flag=True, help="One row a line, as it is kept.")
@click.option("--verify", is_flag=True, help="Check every row of everybody, in the store and in files.")
@click.option("--seal", is_flag=True, help="Put all rows up to now into files.")
@config_option
def command(sender: str | None, as_json: bool, verify: bool, seal: bool, config: Path) -> None:
    """Show a person's history of consent, oldest first; or check or seal the ledger.

    Exit code 1: something is not as it was written. Each fault is named with its shard, segment and row.
    """
    if (sender is not None) + verify + seal != 1:
        raise click.UsageError("Give a NUMBER, --verify or --seal.")
    if as_json and sender is None:
        raise click.UsageError("--json goes with a NUMBER.")
    set_up_logs(logging.WARNING)
    settings = load(config)
    if sender is not None:
        asyncio.run(_show(sender, settings, as_json=as_json))
    elif verify:
        asyncio.run(_verify(settings))
    else:
        asyncio.run(_seal(settings))


async def _show(sender: str, settings: Settings, *, as_json: bool) -> None:
    rows: list[Row] = []
    damage = None
    async with opened(settings) as store:
        ledger, segments = Ledger(store), Segments(settings.ledger.url)
        head = (await ledger.heads([sender]))[sender]
        try:
            async for _, found in walk(ledger, segments, ledger.shard_of(sender), head):
                rows += found
        except DamagedLedger as error:
            damage = error
    names = {program.id: program.name for program in settings.programs.values()}
    for row in reversed(rows):
        click.echo(orjson.dumps(row).decode() if as_json else described(row, names))
    if damage:
        raise damage
    if rows and rows[-1].previous_segment:
        click.echo(f"What came before was removed: it is kept for {settings.ledger.keep_years:g} years.", err=True)
    if not rows:
        click.echo(f"Nothing is on record of {sender}.", err=True)


async def _verify(settings: Settings) -> None:
    faults = 0
    async with opened(settings) as store:
        ledger = Ledger(store)
        verification = Verification(ledger, Segments(settings.ledger.url))
        with _progress(await verification.steps()) as advance:
            verification.progress = advance
            async for fault in verification.faults():
                click.echo(str(fault), err=True)
                faults += 1
    checked = f"{verification.rows} row(s), {verification.segments} file(s), {ledger.shards} shard(s)"
    if faults:
        click.echo(f"keyroute: {faults} fault(s) in {checked}: named above.", err=True)
        sys.exit(1)
    click.echo(f"good: {checked}. Every row is as it was written, none is missing, and each follows the one before it.")


async def _seal(settings: Settings) -> None:
    async with opened(settings) as store:
        routing = Routing(settings)
        ledger = Ledger(store)
        asking = Asking(Outbox(store, routing.lanes), ledger, recording(settings, routing))
        rows = sum([await asking.seal(shard) for shard in range(ledger.shards)])
    click.echo(f"sealed {rows} row(s)")


@contextmanager
def _progress(steps: int) -> Iterator[Any]:
    """A bar on the terminal; what is called for each step."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    with click.progressbar(length=steps, label="Verifying", file=sys.stderr) as bar:
        yield lambda: bar.update(1)
