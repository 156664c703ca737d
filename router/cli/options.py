"""Options and arguments that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from router._core import classify_address

Command = TypeVar("Command", bound=Callable[..., Any])

config_option = click.option(
    "--config",
    "config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=Path("keyroute.toml"),
    show_default=True,
    help="The configuration file.",
)


def person_argument(*, required: bool = True) -> Callable[[Command], Command]:
    """A person's number or user id, as `sender`, in the form that the store knows."""
    return click.argument("sender", metavar="NUMBER", required=required, callback=_person)


def _person(_: click.Context, __: click.Parameter, given: str | None) -> str | None:
    if given is None:
        return None
    kind, sender = classify_address(given)
    if kind == "malformed":
        raise click.BadParameter(f"{given!r} is no phone number. Write it as +14155550101.")
    return sender
