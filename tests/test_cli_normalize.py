"""`keyroute normalize` and `keyroute --version`, as an operator runs them."""

import json
import os
import pty
import random
import subprocess
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
    unknown = "this is not a phone number: it has no known country code; write it with + and the country code"
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
    assert len(normalized(f"+14155550101\n+14155550102{ending}".encode(), None).splitlines()) == 2


def test_bytes_that_are_no_text_are_no_number() -> None:
    found = json.loads(normalized(b"\xff\n", None))

    assert found["error"].startswith("this is not a phone number")


def test_a_region_that_is_none_is_refused_with_what_to_write() -> None:
    ran = keyroute("normalize", "--region", "UK", stdin="")

    assert ran.returncode == 2
    assert "UK is no region. Write the two letters of its country, such as US." in ran.stderr
    assert keyroute("normalize", "--region", "gb", stdin="020 7946 0018\n").returncode == 0


def test_progress_shows_on_a_terminal_and_nowhere_else(tmp_path: Path) -> None:
    many(tmp_path / "numbers.txt", 100_000)
    ours, terminal = pty.openpty()
    with (tmp_path / "out").open("wb") as out:
        command = [str(KEYROUTE), "normalize", str(tmp_path / "numbers.txt")]
        subprocess.run(command, stdout=out, stderr=terminal, check=True, env={**os.environ, "TERM": "xterm"})
    os.close(terminal)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)

    assert "Normalising" in shown
    assert "100%" in shown
    assert keyroute("normalize", str(tmp_path / "numbers.txt")).stderr == ""


def test_the_version_names_the_numbering_plans() -> None:
    ran = keyroute("--version")

    assert ran.returncode == 0
    assert ran.stdout.endswith(f", numbering plans of phonenumbers {phonenumbers.__version__}\n")
    assert ran.stderr == ""
