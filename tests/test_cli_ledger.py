"""`keyroute ledger` and `keyroute erase` as an operator runs them, beside a server and without one."""

import asyncio
import gzip
import os
import pty
import subprocess
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from router._version import VERSION
from router.cli.history import described
from router.cli.store import opened
from router.config import load
from router.ledger.rows import read_row
from router.store import LEDGER, Commits, Directory, Outbox
from tests.commits import Clock, until
from tests.ledgers import on_record
from tests.running import KEYROUTE, Keyroute, write_configuration

ANNE, BEN = "+14155550101", "+14155550102"


async def keyroute(config: Path, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """Exit code and what was written to standard output and standard error."""
    command = [str(KEYROUTE), *arguments, "--config", str(config)]
    ran = await asyncio.to_thread(
        subprocess.run, command, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in ran.stderr
    return ran.returncode, ran.stdout, ran.stderr


@asynccontextmanager
async def commits(config: Path) -> AsyncIterator[Commits]:
    """What takes texts into the store of a configuration."""
    async with opened(load(config)) as store:
        yield Commits(store, unhandled_kept=8, clock=Clock(), on_failure=lambda: None)


async def accept(config: Path, *texts: tuple[str, str]) -> None:
    """Texts that go on record: who, and what they said."""
    async with commits(config) as taken:
        for sender, said in texts:
            text = on_record(uuid.uuid4().hex, sender, said=said, reply="You get no more Deals.")
            of_twilio = text.message.replace(b'"account":"acme"', b'"account":"twilio"')
            await taken.commit(replace(text, message=of_twilio))


async def on_the_record(config: Path) -> None:
    """Returns when the worker has made rows of all that was accepted."""
    async with opened(load(config)) as store:
        outbox = Outbox(store, [LEDGER])

        async def empty() -> bool:
            positions = [(await outbox.position(shard, LEDGER))[0] for shard in range(4)]
            newest = [await outbox.newest(shard) for shard in range(4)]
            return all(last in ("0-0", position) for last, position in zip(newest, positions, strict=True))

        await until(empty)


def files(config: Path) -> Sequence[Path]:
    return sorted(config.parent.glob("data/ledger/*/*.jsonl.gz"))


async def test_a_history_is_printed_as_a_person_would_read_it(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    async with Keyroute(config):
        await accept(config, (ANNE, "Stop please!!"), (BEN, "quit\x1b[2J"), (ANNE, "stop\nit"))
        await on_the_record(config)
        code, shown, _ = await keyroute(config, "ledger", ANNE)
        _, bens, _ = await keyroute(config, "ledger", "(415) 555-0102", "--json")

    assert code == 0
    events = [block.splitlines() for block in shown.split("\n1970-")]
    assert len(events) == 2
    assert events[0][0] == "1970-01-01 00:00:01 UTC  Deals: opted out (none → unsubscribed), by a keyword"
    assert events[0][1:4] == [
        "    texted “Stop please!!” to 2020 by SMS",
        f"    understood by keyword:en/STOP, en (keyroute {VERSION})",
        "    answered “You get no more Deals.”",
    ]
    assert "texted “stop it” to" in shown
    assert bens == ""


async def test_rows_are_printed_as_they_are_kept(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    async with Keyroute(config):
        await accept(config, (ANNE, "Stop"), (ANNE, "quit\x1b[2J"))
        await on_the_record(config)
        _, shown, _ = await keyroute(config, "ledger", ANNE, "--json")
    rows = [orjson.loads(line) for line in shown.splitlines()]

    assert [row["private"]["text"] for row in rows] == ["Stop", "quit\x1b[2J"]
    assert rows[1]["previous"] == rows[0]["hash"]
    assert "\x1b" not in described(read_row(_kept(rows[1])), {})


def _kept(row: dict[str, object]) -> bytes:
    order = (
        "hash",
        "v",
        "shard",
        "seq",
        "segment",
        "previous",
        "previous_segment",
        "private_hash",
        "public",
        "private",
    )
    return orjson.dumps({name: (row | {"v": 1})[name] for name in order})


async def test_who_is_not_on_record_is_said_to_have_nothing_there(tmp_path: Path) -> None:
    code, shown, said = await keyroute(write_configuration(tmp_path), "ledger", ANNE)

    assert (code, shown, said) == (0, "", f"Nothing is on record of {ANNE}.\n")


async def test_sealing_and_verifying_beside_a_server_and_without_one(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    async with Keyroute(config):
        await accept(config, (ANNE, "a"), (BEN, "b"))
        sealed = await keyroute(config, "ledger", "--seal")
    await accept(config, (ANNE, "c"), (BEN, "d"), (ANNE, "e"))
    alone = await keyroute(config, "ledger", "--seal")
    verified = await keyroute(config, "ledger", "--verify")
    history = await keyroute(config, "ledger", ANNE, "--json")

    assert sealed[:2] == (0, "sealed 2 row(s)\n"), sealed
    assert alone[:2] == (0, "sealed 3 row(s)\n"), alone
    assert verified[0] == 0
    assert verified[1].startswith(f"good: 5 row(s), {len(files(config))} file(s), 4 shard(s). Every row is as it was")
    assert [orjson.loads(line)["private"]["text"] for line in history[1].splitlines()] == ["a", "c", "e"]


async def test_tampering_is_named_and_the_exit_code_is_1(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    await accept(config, (ANNE, "Stop"), (ANNE, "Stop"), (ANNE, "Stop"))
    await keyroute(config, "ledger", "--seal")
    (path,) = files(config)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b'"Stop"', b'"Stay"', 1)))
    verified = await keyroute(config, "ledger", "--verify")
    shown = await keyroute(config, "ledger", ANNE)
    shard = path.parent.name

    assert verified[:2] == (1, "")
    assert f"shard {shard}, segment 1, row 1: was changed where it says" in verified[2]
    assert "keyroute: 1 fault(s) in 3 row(s), 1 file(s), 4 shard(s): named above." in verified[2]
    assert shown[0] == 1
    assert f"shard {shard}, segment 1: a row of this person was changed" in shown[2]


@pytest.mark.parametrize("beside_a_server", [True, False])
async def test_a_person_is_erased_and_their_opt_out_is_kept(tmp_path: Path, beside_a_server: bool) -> None:
    config = write_configuration(tmp_path)
    await accept(config, (ANNE, "secret one"), (BEN, "b"))
    await keyroute(config, "ledger", "--seal")
    await accept(config, (ANNE, "secret two"))

    async def erase() -> tuple[int, str, str]:
        return await keyroute(config, "erase", ANNE, "--yes")

    if beside_a_server:
        async with Keyroute(config):
            erased = await erase()
    else:
        erased = await erase()
    history = await keyroute(config, "ledger", ANNE)
    known = orjson.loads((await keyroute(config, "lookup", ANNE))[1])
    verified = await keyroute(config, "ledger", "--verify")

    assert erased == (0, f"erased {ANNE}\n", "")
    assert "secret" not in history[1]
    assert "erased on request, asked for by an operator" in history[1]
    assert history[1].count("who it was and what they said was erased") == 2
    assert {name: consent["state"] for name, consent in known["consent"].items()} == {"deals": "unsubscribed"}
    assert verified[0] == 0, verified
    assert all(b"secret" not in gzip.decompress(path.read_bytes()) for path in files(config))


async def test_who_is_not_known_is_not_said_to_be_erased(tmp_path: Path) -> None:
    code, shown, said = await keyroute(write_configuration(tmp_path), "erase", ANNE, "--yes")

    assert (code, shown, said) == (0, "", f"Nothing is known of {ANNE}.\n")


async def test_verification_shows_on_a_terminal_how_far_it_is(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    await accept(config, (ANNE, "a"))
    await keyroute(config, "ledger", "--seal")
    terminal, end = pty.openpty()
    command = [str(KEYROUTE), "ledger", "--verify", "--config", str(config)]
    ran = await asyncio.to_thread(subprocess.run, command, stdout=subprocess.PIPE, stderr=end, timeout=60, check=False)
    os.close(end)
    shown = os.read(terminal, 65_536).decode()
    os.close(terminal)

    assert ran.returncode == 0
    assert ran.stdout.startswith(b"good: 1 row(s), 1 file(s)")
    assert "Verifying" in shown
    assert "100%" in shown


async def test_an_erasure_is_asked_about_first(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    await accept(config, (ANNE, "a"))
    code, _, said = await keyroute(config, "erase", ANNE, stdin="n\n")
    history = await keyroute(config, "ledger", "--seal")

    assert code == 1
    assert "cannot be undone" in said
    assert history[1] == "sealed 1 row(s)\n"


async def test_files_that_cannot_be_written_are_told_in_words_and_lose_nothing(tmp_path: Path) -> None:
    config = write_configuration(tmp_path, extra='[ledger]\nurl = "proof"')
    await accept(config, (ANNE, "a"))
    (tmp_path / "proof").write_text("in the way")
    code, _, said = await keyroute(config, "ledger", "--seal")
    (tmp_path / "proof").unlink()
    history = await keyroute(config, "ledger", ANNE, "--json")
    again = await keyroute(config, "ledger", "--seal")

    assert code == 1
    assert "Correct ledger.url" in said
    assert len(history[1].splitlines()) == 1
    assert again[1] == "sealed 1 row(s)\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Give a NUMBER, --verify or --seal."),
        ((ANNE, "--verify"), "Give a NUMBER, --verify or --seal."),
        (("--verify", "--json"), "--json goes with a NUMBER."),
        (("nobody at all?",), "Write it as +14155550101."),
    ],
)
async def test_what_is_wrong_with_its_options_is_said(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    code, _, said = await keyroute(write_configuration(tmp_path), "ledger", *arguments)

    assert code == 2
    assert says in said


async def test_check_warns_of_a_ledger_that_cannot_be_sealed_or_found_by_others(tmp_path: Path) -> None:
    def check(config: Path) -> str:
        return subprocess.run([KEYROUTE, "check", config], capture_output=True, text=True, check=True).stderr

    own = check(write_configuration(tmp_path))
    shared = check(write_configuration(tmp_path, store='url = "redis://store.example.com/0"'))
    strange = check(write_configuration(tmp_path, extra='[ledger]\nurl = "nosuch://x/y"'))

    assert own == ""
    assert "Write a folder that all of them share" in shared
    assert "Correct ledger.url" in strange


async def test_who_is_known_by_an_external_id_alone_is_erased_with_it(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    async with opened(load(config)) as store:
        await Directory(store).learn({"anne": ANNE, "ben": BEN})
    erased = await keyroute(config, "erase", ANNE, "--yes")
    async with opened(load(config)) as store:
        found = await Directory(store).find(["anne", "ben"])

    assert erased == (0, f"erased {ANNE}\n", "")
    assert found == {"ben": BEN}
