"""`keyroute normalize` and `keyroute --version`, as an operator runs them."""

import json
import os
import pty
import random
import select
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import phonenumbers
import pytest

from router.cli.normalize import normalized
from tests.running import KEYROUTE
from tests.test_cli import keyroute, lines


def many(path: Path, count: int) -> list[str]:
    """A file of numbers, and the numbers."""
    chance = random.Random(1)
    numbers = [f"+1415{chance.randrange(10**7):07}" for _ in range(count)]
    path.write_text("\n".join(numbers) + "\n")
    return numbers


def test_normalize_answers_every_line() -> None:
    ran = keyroute("normalize", "--region", "US", stdin="(415) 555-0101\n+44 20 7946 0018\nhello\n\n+999 12\n")

    none = "this is not a phone number: it has no digits of one; write + and 7 to 15 digits"
    unknown = "this is not a phone number: it has no known country code; write + and the country code first"
    assert lines(ran) == [
        _number("(415) 555-0101", "+14155550101", "US"),
        _number("+44 20 7946 0018", "+442079460018", "GB"),
        _no_number("hello", none),
        _no_number("", none),
        _no_number("+999 12", unknown),
    ]


def _no_number(raw: str, error: str) -> dict[str, Any]:
    return {"input": raw, "e164": None, "valid": False, "possible": False, "region": None, "error": error}


def _number(raw: str, e164: str, region: str) -> dict[str, Any]:
    return {"input": raw, "e164": e164, "valid": True, "possible": True, "region": region, "error": None}


def test_a_line_is_answered_before_the_next_is_there() -> None:
    with subprocess.Popen([KEYROUTE, "normalize"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdin
        assert running.stdout
        for number in ("+14155550101", "+442079460018"):
            print(number, file=running.stdin, flush=True)
            assert json.loads(running.stdout.readline())["e164"] == number
        running.stdin.close()


def test_a_long_file_is_answered_in_its_order(tmp_path: Path) -> None:
    numbers = many(tmp_path / "numbers.txt", 400_000)
    found = lines(keyroute("normalize", "--processes", "2", str(tmp_path / "numbers.txt")))

    assert [line["e164"] for line in found] == numbers


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_the_last_line_may_end_in_any_way(ending: str) -> None:
    found = lines(keyroute("normalize", stdin=f"+14155550101\n\n+14155550102{ending}"))

    assert [line["e164"] for line in found] == ["+14155550101", None, "+14155550102"]


def test_bytes_that_are_no_text_are_no_number() -> None:
    found = json.loads(normalized((b"\xff", None)))

    assert found["error"].startswith("this is not a phone number")


def test_a_line_without_an_end_is_cut_and_the_next_one_read(tmp_path: Path) -> None:
    (tmp_path / "numbers.txt").write_text("1" * 5_000_000 + "\n+14155550101\n")
    found = lines(keyroute("normalize", str(tmp_path / "numbers.txt")))

    assert [line["e164"] for line in found] == [None, "+14155550101"]
    assert len(found[0]["input"]) < 3_000_000


def test_a_region_that_is_none_is_refused_with_what_to_write() -> None:
    ran = keyroute("normalize", "--region", "UK", stdin="")

    assert ran.returncode == 2
    assert "UK is no region. Write the two letters of its country, such as US." in ran.stderr
    assert keyroute("normalize", "--region", "gb", stdin="020 7946 0018\n").returncode == 0


def on_a_terminal(stdin: int | None, *arguments: str | Path, out: Path) -> str:
    """What the command shows on a terminal while its output goes into a file."""
    ours, terminal = pty.openpty()
    with out.open("wb") as written:
        command = [str(KEYROUTE), "normalize", *map(str, arguments)]
        environment = {**os.environ, "TERM": "xterm"}
        with subprocess.Popen(command, stdin=stdin, stdout=written, stderr=terminal, env=environment) as running:
            os.close(terminal)
            shown = _all_of(ours)
    assert running.returncode == 0
    return shown


def _all_of(terminal: int) -> str:
    shown = b""
    with suppress(OSError):  # Linux's way to say that nobody writes to it any more
        while more := os.read(terminal, 65536):
            shown += more
    os.close(terminal)
    return shown.decode()


def test_progress_shows_on_a_terminal_and_nowhere_else(tmp_path: Path) -> None:
    many(tmp_path / "numbers.txt", 100_000)
    shown = on_a_terminal(None, tmp_path / "numbers.txt", out=tmp_path / "out")

    assert "Normalising" in shown
    assert "100%" in shown
    assert keyroute("normalize", str(tmp_path / "numbers.txt")).stderr == ""


def test_progress_of_what_has_no_end_in_sight(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, b"+14155550101\n" * 1000)
    os.close(write)
    shown = on_a_terminal(read, out=tmp_path / "out")
    os.close(read)

    assert "13000" in shown
    assert len((tmp_path / "out").read_text().splitlines()) == 1000


def processes_below(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


#: Of a hundred thousand lines, and the lines read until it works on large blocks for sure; it is far from the end then.
_TIMES, _READ = 20, 120_000


def busy(path: Path) -> "subprocess.Popen[str]":
    """The command at work on a long pipe with two processes; it waits until it is read from."""
    numbers = many(path, 100_000)
    path.write_text(("\n".join(numbers) + "\n") * _TIMES)
    source = subprocess.Popen(["/bin/cat", path], stdout=subprocess.PIPE)
    running = subprocess.Popen(
        [str(KEYROUTE), "normalize", "--processes", "2"],
        stdin=source.stdout,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert source.stdout
    source.stdout.close()
    threading.Thread(target=source.wait, daemon=True).start()
    assert running.stdout
    for _ in range(_READ):
        running.stdout.readline()
    return running


def test_a_long_pipe_is_worked_on_by_several_processes(tmp_path: Path) -> None:
    with busy(tmp_path / "numbers.txt") as running:
        children = processes_below(running.pid)
        assert running.stdout
        rest = running.stdout.readlines()

    assert len(children) >= 2
    assert len(rest) == 100_000 * _TIMES - _READ


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_nothing_is_left_behind_when_it_is_stopped(tmp_path: Path, name: str) -> None:
    with busy(tmp_path / "numbers.txt") as running:
        children = processes_below(running.pid)
        running.send_signal(signal.Signals[name])
        _, shown = running.communicate(timeout=10)
    for child in children:
        gone(child)

    assert running.returncode != 0
    assert "Traceback" not in shown


def gone(pid: int) -> None:
    """Returns when a process that is not our child has ended."""
    with suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        assert select.select([descriptor], [], [], 10)[0], f"process {pid} goes on"
        os.close(descriptor)


def test_a_process_that_is_killed_is_told_in_words(tmp_path: Path) -> None:
    with busy(tmp_path / "numbers.txt") as running:
        workers = [pid for pid in processes_below(running.pid) if b"spawn_main" in _command_of(pid)]
        os.kill(workers[0], signal.SIGKILL)
        _, shown = running.communicate(timeout=20)

    assert running.returncode == 1
    assert "was killed. Free some memory" in shown
    assert "Traceback" not in shown


def _command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_full_disk_is_told_in_words() -> None:
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run([KEYROUTE, "normalize"], input=b"1\n", stdout=full, stderr=subprocess.PIPE, check=False)

    assert ran.returncode == 1
    assert ran.stderr.startswith(b"keyroute: No space left on device.")


def test_the_version_names_the_numbering_plans() -> None:
    ran = keyroute("--version")

    assert ran.returncode == 0
    assert ran.stdout.endswith(f", numbering plans of phonenumbers {phonenumbers.__version__}\n")
    assert ran.stderr == ""
