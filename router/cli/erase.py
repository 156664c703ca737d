"""`keyroute erase`: a person's right to be forgotten, less what keeps them from being texted again."""

import asyncio
import logging
from pathlib import Path

import click

from router.cli.options import config_option, person_argument
from router.cli.store import opened
from router.config import Settings, load
from router.delivery.asking import Asking
from router.delivery.ledger import recording
from router.routing import Routing
from router.store import Directory, Ledger, Outbox, People
from router.telemetry import set_up_logs


@click.command("erase")
@person_argument()
@click.option("--yes", is_flag=True, help="Do not ask whether that is meant.")
@config_option
def command(sender: str, yes: bool, config: Path) -> None:
    """Erase who a person is and what they said from the ledger, and all else that is known of them.

    What remains: opt-outs and carriers' blocks under their number, so that nobody texts them again, and of each row
    of the ledger what was decided and when, without number or words. If there is no opt-out, their number is gone, and
    with it the external ids that led to it.

    Not reached: dead letters (`keyroute dead`), texts and replies that still wait to be delivered, what platforms and
    carriers know, and backups.
    """
    set_up_logs(logging.WARNING)
    settings = load(config)
    if not yes:
        click.confirm(f"Erase what is known of {sender}? This cannot be undone", abort=True, err=True)
    known = asyncio.run(_erase(sender, settings))
    click.echo(f"erased {sender}" if known else f"Nothing is known of {sender}.", err=not known)


async def _erase(sender: str, settings: Settings) -> bool:
    """Whether there was anything to erase."""
    async with opened(settings) as store:
        # First: were it cut short behind the rest, the person would not be known any more.
        named = await Directory(store).forget(sender)
        if await People(store).get(sender) is None:
            return named > 0
        routing = Routing(settings)
        await Asking(Outbox(store, routing.lanes), Ledger(store), recording(settings, routing)).erase(sender)
    return True
