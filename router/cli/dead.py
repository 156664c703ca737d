"""`keyroute dead`: deliveries given up on, and requests or texts that nobody could be told of."""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import click
import orjson

from router.cli.options import config_option
from router.cli.store import opened
from router.config import load
from router.errors import NoSuchLetter, NowhereToGo, OutdatedLetter, RequestError
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
        async with _letters(config) as letters:
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
        async with _letters(config) as letters:
            letter = await letters.get(letter_id)
        click.echo(orjson.dumps(letter, option=orjson.OPT_INDENT_2).decode())

    asyncio.run(show())


@command.command("retry")
@click.argument("letter_ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every dead letter, or every one of --destination.")
@click.option("--destination", help="With --all: only deliveries to this destination.")
@config_option
def retry(letter_ids: tuple[str, ...], every: bool, destination: str | None, config: Path) -> None:
    """Deliver again, in the order of acceptance.

    A delivery joins the end of the outbox, behind what the person has texted since; a request or text is taken as if it
    came now.
    """
    _each(letter_ids, every, destination, "retried", _retrying(config))


@command.command("drop")
@click.argument("letter_ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every dead letter, or every one of --destination.")
@click.option("--destination", help="With --all: only deliveries to this destination.")
@config_option
def drop(letter_ids: tuple[str, ...], every: bool, destination: str | None, config: Path) -> None:
    """Forget for good."""
    _each(letter_ids, every, destination, "dropped", _dropping(config))


#: What is done to one dead letter. Raises `RequestError`, `OutdatedLetter`, `NowhereToGo` or `NoSuchLetter` if that
#: cannot be.
Action = Callable[[DeadLetter], Awaitable[None]]


def _each(
    letter_ids: tuple[str, ...],
    every: bool,
    destination: str | None,
    done: str,
    actions: AbstractAsyncContextManager[tuple[DeadLetters, Action]],
) -> None:
    if every == bool(letter_ids):
        raise click.UsageError("Name dead letters by their id, or give --all. `keyroute dead list` shows the ids.")
    if destination and not every:
        raise click.UsageError("--destination goes with --all.")
    if failed := asyncio.run(_run(letter_ids, destination, done, actions)):
        click.echo(f"keyroute: {failed} were left alone, for the reasons above.", err=True)
        sys.exit(1)


async def _run(
    letter_ids: tuple[str, ...],
    destination: str | None,
    done: str,
    actions: AbstractAsyncContextManager[tuple[DeadLetters, Action]],
) -> int:
    succeeded = failed = 0
    async with actions as (letters, act):
        if letter_ids:
            chosen = [_place(await letters.get(letter_id)) for letter_id in dict.fromkeys(letter_ids)]
        else:
            chosen = [_place(letter) async for letter in letters.each() if destination in (None, letter.destination)]
        try:
            for *_, letter_id in sorted(chosen):
                try:
                    await act(await letters.get(letter_id))
                except (RequestError, OutdatedLetter, NowhereToGo, NoSuchLetter) as error:
                    click.echo(f"{letter_id}: {error}", err=True)
                    failed += 1
                else:
                    succeeded += 1
        finally:  # also of what was cut short
            click.echo(f"{done} {succeeded}")
    return failed


@asynccontextmanager
async def _letters(config: Path) -> AsyncIterator[DeadLetters]:
    settings = load(config)
    async with opened(settings) as store:
        yield DeadLetters(store, settings.store.unhandled_kept)


@asynccontextmanager
async def _dropping(config: Path) -> AsyncIterator[tuple[DeadLetters, Action]]:
    async with _letters(config) as letters:

        async def drop(letter: DeadLetter) -> None:
            await letters.drop(letter.id)

        yield letters, drop


@asynccontextmanager
async def _retrying(config: Path) -> AsyncIterator[tuple[DeadLetters, Action]]:
    """Over a service that takes texts but serves nobody: what never became an event is taken as if it came now."""
    set_up_logs(logging.WARNING)
    service = Service(load(config), "ingress", time.time)

    async def retry(letter: DeadLetter) -> None:
        if letter.record is not None:
            await service.pipeline.retry(letter.record)
            with suppress(NoSuchLetter):  # it was the oldest, and had to make room meanwhile
                await service.dead.drop(letter.id)
        elif letter.destination in service.pipeline.routing.lanes:
            await service.dead.retry(letter.id, time.time())
        else:
            raise NowhereToGo(
                f"the destination {letter.destination!r} is not configured. Configure it again, then retry; or drop it."
            )

    await service.open()
    try:
        yield service.dead, retry
    finally:
        await service.stop()


def _place(letter: DeadLetter) -> tuple[float, int, int, str]:
    """Where a letter stands in the order of acceptance, and its id. Those of one moment are in the order of their
    ends, which for one person's is the same.
    """
    ms, _, seq = letter.id.partition("-")[2].partition("-")
    return (letter.event.at if letter.event else letter.at, int(ms), int(seq), letter.id)


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
