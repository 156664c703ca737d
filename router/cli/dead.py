"""`keyroute dead`: deliveries given up on, and requests or texts that nobody could be told of."""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
import orjson

from router.cli.options import config_option
from router.config import load
from router.errors import OutdatedLetter, RequestError
from router.service import Service
from router.store import DeadLetter, DeadLetters
from router.telemetry import set_up_logs

_SHOWN_DIGITS = 2


@click.group("dead")
def command() -> None:
    """Dead letters: list, show, retry or drop them."""


@command.command("list")
@config_option
@click.option("--destination", help="Only deliveries to this destination.")
def list_letters(config: Path, destination: str | None) -> None:
    """One JSON object a line: id, kind, at, destination, event, sender (shortened), reason."""

    async def show() -> None:
        async with _letters(config) as (letters, _):
            async for letter in letters.each():
                if destination in (None, letter.destination):
                    click.echo(orjson.dumps(_summary(letter)).decode())

    asyncio.run(show())


@command.command("show")
@click.argument("letter_id", metavar="ID")
@config_option
def show_letter(letter_id: str, config: Path) -> None:
    """All of one dead letter, as JSON; holds the person's number and text."""

    async def show() -> None:
        async with _letters(config) as (letters, _):
            letter = await letters.get(letter_id)
        click.echo(orjson.dumps(letter, option=orjson.OPT_INDENT_2).decode())

    asyncio.run(show())


@command.command("retry")
@click.argument("letter_ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every dead letter, or every one of --destination.")
@click.option("--destination", help="With --all: only deliveries to this destination.")
@config_option
def retry(letter_ids: tuple[str, ...], every: bool, destination: str | None, config: Path) -> None:
    """Deliver again: a delivery joins the end of the outbox; a request or text is taken as if it came now."""
    _each(letter_ids, every, destination, config, "retried", _retry)


@command.command("drop")
@click.argument("letter_ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every dead letter, or every one of --destination.")
@click.option("--destination", help="With --all: only deliveries to this destination.")
@config_option
def drop(letter_ids: tuple[str, ...], every: bool, destination: str | None, config: Path) -> None:
    """Forget for good."""
    _each(letter_ids, every, destination, config, "dropped", _drop)


Action = Callable[[DeadLetters, Service, DeadLetter], Awaitable[None]]


def _each(
    letter_ids: tuple[str, ...], every: bool, destination: str | None, config: Path, done: str, action: Action
) -> None:
    if every == bool(letter_ids):
        raise click.UsageError("Name dead letters by their id, or give --all. `keyroute dead list` shows the ids.")
    if destination and not every:
        raise click.UsageError("--destination goes with --all.")
    if failed := asyncio.run(_run(letter_ids, destination, config, done, action)):
        click.echo(f"keyroute: {failed} left as they were, for the reasons above.", err=True)
        sys.exit(1)


async def _run(letter_ids: tuple[str, ...], destination: str | None, config: Path, done: str, action: Action) -> int:
    succeeded = failed = 0
    async with _letters(config) as (letters, service):
        if letter_ids:
            chosen = [await letters.get(letter_id) for letter_id in letter_ids]
        else:
            chosen = [letter async for letter in letters.each() if destination in (None, letter.destination)]
        for letter in chosen:
            try:
                await action(letters, service, letter)
            except (RequestError, OutdatedLetter) as error:
                click.echo(f"{letter.id}: {error}", err=True)
                failed += 1
            else:
                succeeded += 1
    click.echo(f"{done} {succeeded}")
    return failed


async def _retry(letters: DeadLetters, service: Service, letter: DeadLetter) -> None:
    if letter.record is None:
        await letters.retry(letter.id)
        return
    await service.pipeline.retry(letter.record)
    await letters.drop(letter.id)


async def _drop(letters: DeadLetters, _: Service, letter: DeadLetter) -> None:
    await letters.drop(letter.id)


@asynccontextmanager
async def _letters(config: Path) -> AsyncIterator[tuple[DeadLetters, Service]]:
    """The dead letters of the configured store, and a service over it that takes texts but serves nobody."""
    set_up_logs(logging.WARNING)
    service = Service(load(config), "ingress", time.time)
    await service.open()
    try:
        yield service.dead, service
    finally:
        await service.stop()


def _summary(letter: DeadLetter) -> dict[str, object]:
    sender = letter.event.message.sender if letter.event else None
    return {
        "id": letter.id,
        "kind": letter.kind,
        "at": datetime.fromtimestamp(letter.at, UTC).isoformat(timespec="milliseconds"),
        "destination": letter.destination,
        "event": letter.event.id if letter.event else None,
        "sender": f"…{sender[-_SHOWN_DIGITS:]}" if sender else None,
        "reason": letter.reason,
    }
