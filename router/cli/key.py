"""`keyroute key`: a new key for the platform-shaped API."""

import re
import secrets

import click

from router.bearer import digest
from router.config import PERMISSIONS

_BYTES = 32
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


def _checked(_: click.Context, __: click.Parameter, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise click.BadParameter(f"{name!r} is no name for a key. Use 1 to 32 of a-z, 0-9, _ and -.")
    return name


@click.command("key")
@click.argument("name", default="app", callback=_checked)
@click.option(
    "--permission",
    "permissions",
    type=click.Choice(PERMISSIONS),
    multiple=True,
    help="What the key may be used for; may be given again and again. All of it, if not given.",
)
def command(name: str, permissions: tuple[str, ...]) -> None:
    """Make a new key for the API and print it, this once.

    The lines for the configuration file go to standard output, the key itself to standard error: keyroute keeps only
    its hash, so `keyroute key app >> keyroute.toml` is safe.
    """
    key = secrets.token_urlsafe(_BYTES)
    listed = ", ".join(f'"{permission}"' for permission in permissions or PERMISSIONS)
    click.echo(f'[api.keys.{name}]\nsha256 = "{digest(key)}"\npermissions = [{listed}]')
    click.echo(f"The key, which is not shown again: {key}\nCallers send it as: Authorization: Bearer KEY", err=True)
