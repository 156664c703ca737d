"""`keyroute check`: whether a configuration file can be used."""

from pathlib import Path

import click

from router.config import load
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
    for program in settings.programs.values():
        if program.opt_in_events and routing.number_for(program.id, "") is None:
            click.echo(
                f"warning: programs.{program.id}.opt_in_events: subscribe nobody: the program has no number that its "
                "question or welcome can be sent from. Write the keys that sending needs (docs/carriers.md has them).",
                err=True,
            )
    click.echo(
        f"{file}: good. {len(settings.accounts)} account(s), {len(settings.numbers)} number(s), "
        f"{len(settings.programs)} program(s), {len(settings.destinations)} destination(s)."
    )
