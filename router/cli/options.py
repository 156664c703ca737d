"""Options that several commands share."""

from pathlib import Path

import click

config_option = click.option(
    "--config",
    "config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=Path("keyroute.toml"),
    show_default=True,
    help="The configuration file.",
)
