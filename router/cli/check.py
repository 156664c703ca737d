"""`keyroute check`: whether a configuration file can be used."""

from collections.abc import Iterator
from pathlib import Path

import click

from router import registry
from router.config import Settings, load
from router.errors import LedgerUnavailable
from router.ledger.segments import Segments
from router.ports import Warns
from router.routing import Routing


@click.command("check")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def command(file: Path) -> None:
    """Check a configuration FILE before it is used.

    Exit code 0, or 2 with every error, its line and what to write instead.

    Warnings are about what works and may not be what was meant.
    """
    settings = load(file)
    routing = Routing(settings)
    for warning in settings.warnings:
        click.echo(f"warning: {warning}", err=True)
    for name in routing.silent_accounts():
        click.echo(
            f"warning: accounts.{name}: people get no replies through it: its carrier takes none in its answers. "
            "Write the keys that sending needs (docs/carriers.md has them).",
            err=True,
        )
    for number, asking in routing.unasked():
        click.echo(
            f"warning: programs.{asking}.opt_in: {number} does not ask whoever texts START for a YES: the carrier or "
            "network answers START there itself. Switch that off at the carrier and write what it still answers in "
            "carrier_answers of the number, or give the program a keyword of its own with "
            'intent = "opt_in", such as JOIN, and advertise that.',
            err=True,
        )
    for program in settings.programs.values():
        if program.opt_in_events and routing.number_for(program.id, "") is None:
            click.echo(
                f"warning: programs.{program.id}.opt_in_events: subscribe nobody: the program has no number that its "
                "question or welcome can be sent from. Write the keys that sending needs (docs/carriers.md has them).",
                err=True,
            )
    for place, doubt in _platform_doubts(settings):
        click.echo(f"warning: {place}: {doubt}", err=True)
    for doubt in _ledger_doubts(settings):
        click.echo(f"warning: ledger.url: {doubt}", err=True)
    click.echo(
        f"{file}: good. {len(settings.accounts)} account(s), {len(settings.numbers)} number(s), "
        f"{len(settings.programs)} program(s), {len(settings.destinations)} destination(s)."
    )


def _platform_doubts(settings: Settings) -> Iterator[tuple[str, str]]:
    """What platforms say of the way they are configured."""
    for name, configured in settings.destinations.items():
        platform = registry.platform(configured.platform)
        if issubclass(platform, Warns):
            for doubt in platform.warnings(configured.options, settings.program_options(name)):
                yield f"destinations.{name}", doubt


def _ledger_doubts(settings: Settings) -> Iterator[str]:
    """What stands in the way of sealing, as far as this machine can tell: it may not be the one that seals."""
    here = str((settings.store.data / "ledger").absolute())
    if settings.store.url != "embedded" and settings.ledger.url == here:
        yield (
            "is not set, so each machine with a worker keeps files of its own, and no other finds them. Write a folder "
            'that all of them share, or a URL such as "s3://BUCKET/FOLDER".'
        )
    try:
        Segments(settings.ledger.url).reach()
    except LedgerUnavailable as error:
        yield str(error)
