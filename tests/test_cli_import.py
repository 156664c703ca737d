"""`keyroute import` and `export` as an operator runs them: killed, stopped, gone on with, beside a server."""

import csv
import io
import json
import os
import pty
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from router.cli.store import opened
from router.config import load
from router.embedded import EmbeddedServer
from router.store import Exports, People
from tests.importing import entries, read_report
from tests.running import KEYROUTE, Keyroute, Twilio, write_configuration
from tests.standins.receiver import Receiver
from tests.test_cli import keyroute

ANN, BEN = "+14155550101", "+447400123456"
HEADER = "phone,subscription_group_id,subscription_state\n"
_PEOPLE = 60_000


def write_file(path: Path, *lines: str) -> Path:
    """A file of the three columns."""
    path.write_text(HEADER + "".join(f"{line}\n" for line in lines))
    return path


def write_many(path: Path) -> tuple[dict[str, str], list[int]]:
    """A long file: person → state of the rows that can be taken, and the lines of those that cannot."""
    chance = random.Random(7)
    states, junk, lines = {}, [], []
    for number in range(_PEOPLE):
        sender, state = f"+1415{number:07d}", chance.choice(("subscribed", "unsubscribed"))
        if chance.random() < 0.03:
            junk.append(number + 2)
            lines.append(f"{sender},nope,{state}")
        else:
            states[sender] = state
            lines.append(f"{sender},deals,{state}")
    write_file(path, *lines)
    return states, junk


def begun(file: Path, config: Path, seen: str = "") -> subprocess.Popen[str]:
    """An import that has come further than `seen`, what its progress was."""
    command = [str(KEYROUTE), "import", str(file), "--config", str(config)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while running.poll() is None and progress(file) == seen:
        time.sleep(0.002)  # a file tells nobody that it has changed
    return running


def progress(file: Path) -> str:
    """What is kept beside the file."""
    with suppress(FileNotFoundError):
        return file.with_name(f"{file.name}.progress").read_text()
    return ""


async def check_whole(config: Path, states: dict[str, str], junk: list[int], report: Path) -> None:
    """Every row has its effect; each change is on record once, each refused row in the report once."""
    async with opened(load(config)) as store:
        everybody = Exports(store).people()
        found = {sender: person.consent["deals"].state async for sender, person in everybody}
        told = [row for entry in await entries(store) for row in entry["rows"]]
    assert found == states
    assert sorted((row[0], row[3]) for row in told) == sorted(states.items())
    assert [int(row[0]) for row in read_report(report)[1:]] == junk


async def test_a_killed_import_goes_on_and_does_nothing_twice(tmp_path: Path) -> None:
    config, file = write_configuration(tmp_path), tmp_path / "people.csv"
    states, junk = write_many(file)
    seen = ""
    for _ in range(3):
        running = begun(file, config, seen)
        running.kill()
        running.communicate()
        assert running.returncode == -signal.SIGKILL
        assert progress(file) not in ("", seen)
        seen = progress(file)

    done = keyroute("import", file, "--config", config)

    assert done.returncode == 1
    assert f"going on at line {json.loads(seen)['place']['line']}, after " in done.stderr
    assert f"{len(junk)} refused" in done.stdout
    assert progress(file) == ""
    await check_whole(config, states, junk, tmp_path / "people.refused.csv")


async def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    config, file = write_configuration(tmp_path), tmp_path / "people.csv"
    states, junk = write_many(file)
    running = begun(file, config)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=20)
    done = keyroute("import", file, "--config", config)

    assert running.returncode == 130
    assert said.splitlines() == ["keyroute: stopped. Run the same command again: it goes on where it was."]
    assert "going on at line" in done.stderr
    await check_whole(config, states, junk, tmp_path / "people.refused.csv")


async def test_a_store_that_goes_away_is_said_and_the_import_goes_on_later(tmp_path: Path) -> None:
    config, file = write_configuration(tmp_path), tmp_path / "people.csv"
    states, junk = write_many(file)
    server = EmbeddedServer(tmp_path / "data")
    server.spawn()
    await server.ready()
    running = begun(file, config)
    server.stop()
    _, said = running.communicate(timeout=20)
    done = keyroute("import", file, "--config", config)

    assert running.returncode == 1
    assert "the store does not answer" in said
    assert said.endswith("Run the same command again: it goes on where it was.\n")
    assert "going on at line" in done.stderr
    await check_whole(config, states, junk, tmp_path / "people.refused.csv")


def test_another_file_or_other_options_begin_at_the_beginning(tmp_path: Path) -> None:
    config, file = write_configuration(tmp_path), tmp_path / "people.csv"
    write_many(file)
    running = begun(file, config)
    running.kill()
    running.communicate()
    kept = progress(file)

    tried = keyroute("import", file, "--config", config, "--dry-run")
    file.with_name("other.csv.progress").write_text(kept)
    other = keyroute("import", write_file(tmp_path / "other.csv", f"{ANN},deals,subscribed"), "--config", config)
    dated = keyroute("import", file, "--config", config, "--as-of", "2026-01-01")
    file.with_name("people.csv.progress").write_text(kept)
    corrected = file.read_bytes()[:-13] + b"subscribed  \n"  # further behind than what is looked at, as long as before
    file.write_bytes(corrected)
    again = keyroute("import", file, "--config", config)

    assert (tried.returncode, other.returncode, dated.returncode) == (2, 0, 1)
    assert "An import of this file was cut short. Run it again without --dry-run to finish it" in tried.stderr
    assert "going on" not in other.stderr + dated.stderr + again.stderr
    assert f"{_PEOPLE} rows" in dated.stdout


def test_exit_codes_and_what_is_said(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    good = write_file(tmp_path / "good.csv", f"{ANN},deals,subscribed")
    bad = write_file(tmp_path / "bad.csv", f"{ANN},deals,subscribed", f"{ANN},x,subscribed")
    named = tmp_path / "named.csv"
    named.write_text(f"First Name,Language,{HEADER}")
    unusable = tmp_path / "unusable.csv"
    unusable.write_text("phone\n")

    taken = keyroute("import", good, "--config", config)
    partly = keyroute("import", bad, "--config", config, "--refused", tmp_path / "why.csv")
    header = keyroute("import", named, "--config", config)
    useless = keyroute("import", unusable, "--config", config)

    assert (taken.returncode, taken.stderr) == (0, "")
    assert taken.stdout.startswith("imported 1 rows in 0.")
    assert taken.stdout.endswith(": 1 changed, 0 unchanged, 0 refused\n")
    assert partly.returncode == 1
    assert "0 changed, 1 unchanged, 1 refused" in partly.stdout
    assert f"1 rows were refused: see {tmp_path / 'why.csv'}. Correct them there" in partly.stderr
    assert header.returncode == 0
    assert "keeps nothing of: 'First Name', 'Language' (write it as language if that is meant)" in header.stderr
    assert useless.returncode == 2
    assert "cannot be imported: it says nothing of anybody's consent. Add the columns" in useless.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--as-of", "2999-01-01"], "in the future"),
        (["--as-of", "1900-01-01"], "too long ago"),
        (["--as-of", "yesterday"], "Write it like 2026-11-01"),
        (["--refused", "people.csv"], "cannot be the file itself"),
        (["--config", "none.toml"], "does not exist"),
    ],
)
def test_wrong_options_are_refused(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_configuration(tmp_path)
    write_file(tmp_path / "people.csv", f"{ANN},deals,subscribed")
    monkeypatch.chdir(tmp_path)

    ran = keyroute("import", "people.csv", *arguments)

    assert ran.returncode == 2
    assert said in ran.stderr


def test_a_report_takes_the_place_of_no_other_file(tmp_path: Path) -> None:
    config, file, other = write_configuration(tmp_path), tmp_path / "people.csv", tmp_path / "other.csv"
    write_file(file, f"{ANN},deals,subscribed")
    write_file(other, f"{ANN},deals,unsubscribed")
    done = keyroute("import", file, "--config", config, "--refused", other)

    assert done.returncode == 2
    assert f"would take the place of {other}, which is none. Name another file with --refused." in done.stderr
    assert other.read_text().endswith("unsubscribed\n")


def test_a_dry_run_leaves_the_report_of_an_import_alone(tmp_path: Path) -> None:
    config, file = write_configuration(tmp_path), tmp_path / "people.csv"
    write_file(file, "x,deals,subscribed")
    keyroute("import", file, "--config", config)
    kept = read_report(tmp_path / "people.refused.csv")
    write_file(file, f"{ANN},nope,subscribed")
    tried = keyroute("import", file, "--config", config, "--dry-run")

    assert "see " + str(tmp_path / "people.dry-run.csv") in tried.stderr
    assert read_report(tmp_path / "people.refused.csv") == kept


async def test_a_name_that_is_not_utf_8_is_on_record_as_far_as_it_can_be_read(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/K\xfcndigungen.csv"))
    write_file(file, f"{ANN},deals,subscribed")
    done = keyroute("import", file, "--config", config)
    words = keyroute("import", file, "--config", config, "--consent-text", os.fsdecode(b"J\xe4"))
    async with opened(load(config)) as store:
        (entry,) = await entries(store)

    assert done.returncode == 0, done.stderr
    assert entry["source"] == "K\ufffdndigungen.csv"
    assert (words.returncode, "it is not UTF-8. Set your terminal" in words.stderr) == (2, True)


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    ran = keyroute("import", "/dev/stdin", "--config", write_configuration(tmp_path), stdin=HEADER)

    assert ran.returncode == 2
    assert "is not a file on disk" in ran.stderr


def test_the_bytes_of_the_store_for_each_person_are_measured(tmp_path: Path) -> None:
    config, file = write_configuration(tmp_path), tmp_path / "people.csv"
    states, _ = write_many(file)

    said = keyroute("import", file, "--config", config).stdout

    _, measured = said.split("; ")
    new, rest = measured.split(" new people, ")
    assert int(new) == len(states)
    assert 60 < int(rest.partition(" ")[0]) <= 250
    assert "others used the store" not in said


def test_progress_shows_on_a_terminal(tmp_path: Path) -> None:
    config, file = write_configuration(tmp_path), tmp_path / "people.csv"
    write_many(file)
    ours, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    command = [str(KEYROUTE), "import", str(file), "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=terminal, env=environment) as running:
        os.close(terminal)
        shown = b""
        with suppress(OSError):  # Linux's way to say that nobody writes to it any more
            while more := os.read(ours, 65536):
                shown += more
        os.close(ours)

    assert running.returncode == 1
    assert b"100%" in shown
    assert f"{_PEOPLE:,} rows".encode() in shown


async def test_beside_a_server_its_texts_go_on_and_what_is_imported_counts(tmp_path: Path) -> None:
    async with Receiver() as receiver:
        config = write_configuration(tmp_path, crm=receiver.url)
        file = write_file(tmp_path / "people.csv", f"{ANN},deals,subscribed", f"{BEN},alerts,unsubscribed")
        async with Keyroute(config) as server, aiohttp.ClientSession() as session:
            twilio = Twilio(server.origin, session)
            await twilio.text("SM1", "COUPONS", sender=ANN)
            done = keyroute("import", file, "--config", config)
            _, answer = await twilio.text("SM2", "STOP", sender=ANN)
            await receiver.until(lambda: len(receiver.ids) == 2)
            again = keyroute("import", file, "--config", config)
        log = server.log

    assert (done.returncode, again.returncode) == (0, 1)
    assert b"You get no more Deals." in answer
    assert [(event["data"]["text"], event["data"]["before"]) for event in receiver.events] == [
        ("COUPONS", "none"),
        ("STOP", "subscribed"),
    ]
    assert "the person opted out on" in read_report(tmp_path / "people.refused.csv")[1][1]
    assert "Traceback" not in log


def exported(*arguments: str | Path) -> list[list[str]]:
    """The rows of an export to standard output, its header first, less their dates."""
    ran = keyroute("export", *arguments)
    assert ran.returncode == 0, ran.stderr
    found = [row[:4] for row in csv.reader(io.StringIO(ran.stdout))]
    return [found[0], *sorted(found[1:])]


def test_importing_an_export_changes_nothing(tmp_path: Path) -> None:
    config, file = write_configuration(tmp_path), tmp_path / "people.csv"
    write_many(file)
    keyroute("import", file, "--config", config, "--as-of", "2026-01-02T03:04:05.678901")
    said = keyroute("export", "--config", config, "--output", tmp_path / "all.csv")
    back = keyroute("import", tmp_path / "all.csv", "--config", config)
    rows = read_report(tmp_path / "all.csv")

    assert said.stderr == f"exported {len(rows) - 1} rows\n"
    assert rows[0] == ["phone", "subscription_group_id", "subscription_state", "language", "since"]
    assert {row[4] for row in rows[1:]} == {"2026-01-02T03:04:05.678901+00:00"}
    assert (back.returncode, back.stderr) == (0, "")
    assert f"0 changed, {len(rows) - 1} unchanged, 0 refused" in back.stdout
    assert (tmp_path / "all.csv").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "all.csv.partial").exists()


def test_an_export_can_be_of_one_program_or_state(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    config.write_text(config.read_text().replace('name = "Deals"', 'name = "Deals"\ngroup_id = "g-1"'))
    people = [f"{ANN},deals,subscribed", f"{ANN},alerts,unsubscribed", f"{BEN},g-1,unsubscribed"]
    keyroute("import", write_file(tmp_path / "people.csv", *people), "--config", config)
    header = ["phone", "subscription_group_id", "subscription_state", "language"]
    ann, also, ben = (
        [ANN, "g-1", "subscribed", ""],
        [ANN, "alerts", "unsubscribed", ""],
        [BEN, "g-1", "unsubscribed", ""],
    )

    wrong = keyroute("export", "--config", config, "--program", "nope")

    assert exported("--config", config) == [header, also, ann, ben]
    assert exported("--config", config, "--program", "g-1") == exported("--config", config, "--program", "deals")
    assert exported("--config", config, "--program", "deals", "--state", "unsubscribed") == [header, ben]
    assert wrong.returncode == 2
    assert "there is no 'nope'. Write one of: g-1, alerts." in wrong.stderr


async def test_the_people_of_a_file_can_be_said_to_be_known_at_a_destination(tmp_path: Path) -> None:
    config = write_configuration(tmp_path, crm="http://127.0.0.1:1/", braze="http://127.0.0.1:1/")
    file = write_file(tmp_path / "people.csv", f"{ANN},deals,subscribed", f"{BEN},nope,subscribed")
    ran = keyroute("import", file, "--config", config, "--known-at", "braze")
    assert ran.returncode == 1, ran.stderr  # Ben's row is refused
    async with opened(load(config)) as store:
        assert await People(store).known("braze", [ANN, BEN]) == {ANN}

    for wrong in ("crm", "elsewhere"):
        ran = keyroute("import", file, "--config", config, "--known-at", wrong)
        assert ran.returncode == 2
        assert "Those are: braze." in ran.stderr
