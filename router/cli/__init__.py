"""The `keyroute` command. Each subcommand stands in a file of its own, loaded when it is called."""

import importlib
import keyword
import os
import sys
from importlib.metadata import version

import click

from router._core import METADATA_VERSION
from router._version import VERSION
from router.errors import ConfigurationError, RouterError

#: The files of this folder that hold a command; the object in it is always called `command`.
_COMMANDS = (
    *("serve", "check", "match", "normalize", "lookup", "ledger", "import", "export", "erase", "dead", "key", "sink"),
)


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        file = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        command: click.Command = importlib.import_module(f"router.cli.{file}").command
        return command


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    click.echo(f"keyroute {VERSION}, numbering plans of phonenumbers {METADATA_VERSION}")
    installed = version("phonenumbers")
    if installed != METADATA_VERSION:
        click.echo(
            f"phonenumbers {installed} is installed, so numbers with extensions or letters may be read differently. "
            f"Run: pip install phonenumbers=={METADATA_VERSION}",
            err=True,
        )
    context.exit()


@click.group(cls=_Commands)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version, and that of the numbering plans.",
)
def group() -> None:
    """Routes the texts that people send to a brand: verified, understood, recorded, answered, handed on."""


def main() -> None:
    """The console script. Exit code 2: the command line or the configuration is wrong; 1: it could not be done."""
    try:
        group()
    except ConfigurationError as error:
        click.echo(error, err=True)
        sys.exit(2)
    except RouterError as error:
        click.echo(f"keyroute: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        _write_no_more()
        sys.exit(1)
    except OSError as error:
        _write_no_more()
        click.echo(
            f"keyroute: {error.strerror or error}. See that the files and disks it works with are usable.", err=True
        )
        sys.exit(1)


def _write_no_more() -> None:
    """What could not be written would be tried again at the end of the process, and fail with another exit code."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
