"""`keyroute lookup`: what is known of a person."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path

import click
import orjson

from router.cli.options import config_option, person_argument
from router.cli.store import opened
from router.config import load
from router.routing import Routing
from router.store import Block, Consent, People


@click.command("lookup")
@person_argument()
@config_option
def command(sender: str, config: Path) -> None:
    """Show a person's consent and aliases, and who sends them nothing, as JSON.

    `programs` has the state that holds for each; `consent` what was said, of programs, of an account (`@NAME`) or of
    everything (`@all`), and when: the latest that bears on a program holds.
    """
    asyncio.run(_show(sender, config))


async def _show(sender: str, config: Path) -> None:
    settings = load(config)
    async with opened(settings) as store:
        person = await People(store).get(sender)
    routing = Routing(settings)
    found = {
        "number": sender,
        "known": person is not None,
        "programs": {name: person.state(routing.bearing_on(name), time.time()) for name in routing.programs}
        if person
        else {},
        "consent": {program: _described(consent) for program, consent in person.consent.items()} if person else {},
        "aliases": person.aliases if person else (),
        "language": person.language if person else None,
        "blocked": [_blocked(block) for block in person.blocks] if person else [],
    }
    click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())


def _described(consent: Consent) -> dict[str, object]:
    described: dict[str, object] = {"state": consent.state, "since": _time(consent.since)}
    if consent.until is not None:
        described |= {"until": _time(consent.until), "then": consent.then}
    return described


def _blocked(block: Block) -> dict[str, object]:
    return {
        "account": block.account,
        "number": block.number,
        "since": _time(block.since),
        "hint": "The carrier or the network sends them nothing. Only they can lift that: by texting START or UNSTOP.",
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
