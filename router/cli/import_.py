"""`keyroute import`: what people have consented to, from a CSV file."""

import asyncio
import getpass
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import click

from router import registry
from router.cli.options import config_option
from router.cli.store import opened
from router.config import Settings, load
from router.errors import RouterError, UnusableFile
from router.groups import groups
from router.imports.columns import misspelled
from router.imports.job import Done, Job, Options
from router.imports.progress import Place
from router.types import Proof

#: For fewer people than this, what else the store does outweighs what they take in it.
_FEWEST_MEASURED = 1000
_INTERRUPTED = 130


def _as_of(_: click.Context, __: click.Parameter, given: str | None) -> float | None:
    if given is None:
        return None
    try:
        date = datetime.fromisoformat(given)
    except ValueError:
        raise click.BadParameter(f"{given!r} is no date. Write it like 2026-11-01 or 2026-11-01T12:00:00Z.") from None
    seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    if not 0 < seconds <= time.time():
        when = "too long ago" if seconds <= 0 else "in the future"
        raise click.BadParameter(f"{given} is {when}. Write the date on which the states of the file were true.")
    return seconds


def _words(_: click.Context, __: click.Parameter, given: str | None) -> str | None:
    if given is not None and not given.isascii() and given.encode(errors="replace").decode() != given:
        raise click.BadParameter("it is not UTF-8. Set your terminal to UTF-8, and write it again.")
    return given


@click.command("import")
@click.argument("file", metavar="FILE.csv", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@config_option
@click.option(
    "--as-of",
    metavar="DATE",
    callback=_as_of,
    help="When the states of the file were true: what people have said since then stays. Without a zone: UTC.",
)
@click.option("--override-opt-outs", is_flag=True, help="Subscribe people even if they have opted out later.")
@click.option("--source-url", metavar="URL", callback=_words, help="Where the consent was given; for the record.")
@click.option(
    "--consent-text",
    metavar="TEXT",
    callback=_words,
    help="The words to which it was given; for the record.",
)
@click.option(
    "--refused",
    type=click.Path(dir_okay=False, path_type=Path),
    show_default="FILE.refused.csv",
    help="Where the rows go that are not taken, each with its line and the reason.",
)
@click.option(
    "--known-at",
    metavar="DESTINATION",
    multiple=True,
    help="The people of the file are known there: no alias is created for them. Can be given several times.",
)
@click.option("--dry-run", is_flag=True, help="Check every row and say what would change, and change nothing.")
def command(
    file: Path,
    config: Path,
    as_of: float | None,
    override_opt_outs: bool,
    source_url: str | None,
    consent_text: str | None,
    refused: Path | None,
    known_at: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Take what people have consented to from a CSV file.

    Its columns are phone (E.164), subscription_group_id (what the configuration calls group_id, or the ID of a program)
    and subscription_state (subscribed or unsubscribed); external_id and language too, if it has them. A row never
    overrides a later opt-out unless --override-opt-outs says so. What was cut short goes on where it was.
    """
    # What is only tried must not take away the report of an import, in which somebody may be correcting rows.
    kind = "dry-run" if dry_run else "refused"
    report = refused or file.with_name(f"{file.name.removesuffix('.csv')}.{kind}.csv")
    proof = Proof(source_url, consent_text, _operator())
    options = Options(file, report, proof, as_of, override_opt_outs, dry_run, known_at)
    if not file.is_file():
        raise click.UsageError(f"{file} is not a file on disk, in which an import could go on. Save it as one first.")
    if report.absolute() == file.absolute():
        raise click.UsageError("The report of refused rows cannot be the file itself. Give it another name.")
    settings = load(config)
    _check_known_at(known_at, settings)
    try:
        job = Job(options, groups(settings), _store_name(settings))
    except UnusableFile as error:
        click.echo(f"keyroute: {file} cannot be imported: {error}", err=True)
        sys.exit(2)
    if dry_run and job.progress.path.exists():
        remedy = f"Run it again without --dry-run to finish it, or remove {job.progress.path}."
        raise click.UsageError(f"An import of this file was cut short. {remedy}")
    _conclude(job, _done(job, settings))


def _check_known_at(known_at: tuple[str, ...], settings: Settings) -> None:
    """That nobody is known where that makes no difference is said before anything is taken."""
    learning = [
        name
        for name, destination in settings.destinations.items()
        if registry.learns_people(registry.platform(destination.platform))
    ]
    for name in known_at:
        if name not in learning:
            names = ", ".join(learning) or "none is configured"
            raise click.BadParameter(
                f"{name!r} is no destination that people have to be known at. Those are: {names}.",
                param_hint="--known-at",
            )


def _done(job: Job, settings: Settings) -> Done:
    """The finished import; the process ends here if it is cut short."""
    if job.columns.ignored:
        click.echo(f"keyroute keeps nothing of: {', '.join(map(_with_hint, job.columns.ignored))}", err=True)
    if job.start.rows:
        click.echo(f"going on at line {job.start.line}, after {job.start.rows} rows", err=True)
    try:
        return asyncio.run(_run(job, settings))
    except KeyboardInterrupt:
        _cut_short(job, "stopped.", _INTERRUPTED)
    except RouterError as error:
        _cut_short(job, f"{str(error).removesuffix('.')}.", 1)
    except OSError as error:
        _cut_short(job, f"{error.strerror or error}. See that the files and disks it works with are usable.", 1)


async def _run(job: Job, settings: Settings) -> Done:
    async with opened(settings) as store:
        with _shown(job) as show:
            return await job.run(store, time.time, uuid.uuid4().hex, show)


def _shown(job: Job) -> AbstractContextManager[Callable[[Place], object]]:
    if not sys.stderr.isatty():
        return nullcontext(lambda _: None)
    # Here, since nobody needs it without a terminal.
    from router.cli.bar import shown  # noqa: PLC0415

    return shown(job.options.file.stat().st_size, job.start)


def _store_name(settings: Settings) -> str:
    store = settings.store
    return f"{store.url} {store.data.absolute()} {store.prefix} {store.shards}"


def _operator() -> str | None:
    """Who runs the command."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name
        return None


def _with_hint(ignored: str) -> str:
    meant = misspelled(ignored)
    return f"{ignored!r} (write it as {meant} if that is meant)" if meant else repr(ignored)


def _cut_short(job: Job, reason: str, code: int) -> NoReturn:
    on = " Run the same command again: it goes on where it was." if job.progress.path.exists() else ""
    click.echo(f"keyroute: {reason}{on}", err=True)
    sys.exit(code)


def _conclude(job: Job, done: Done) -> None:
    end, rows = done.end, done.end.rows - done.start.rows
    what = "checked" if job.options.dry_run else "imported"
    click.echo(
        f"{what} {rows} rows in {done.seconds:.1f} s ({rows / max(done.seconds, 1e-3):.0f} rows/s): "
        f"{end.changed} changed, {end.unchanged} unchanged, {end.refused} refused{_bytes_each(job, done)}"
    )
    if end.refused:
        remedy = "Correct them there and import that file."
        click.echo(f"keyroute: {end.refused} rows were refused: see {job.options.refused}. {remedy}", err=True)
        sys.exit(1)


def _bytes_each(job: Job, done: Done) -> str:
    new = done.end.new - done.start.new
    if job.options.dry_run or new < _FEWEST_MEASURED:
        return ""
    shared = " (others used the store meanwhile)" if done.shared else ""
    return f"; {new} new people, {done.grown / new:.0f} bytes of the store for each{shared}"
