"""A large import: `python -m bench.imports [--rows 1000000] [--small 100000] [--programs 5]`.

Writes CSV files of that many rows, over several programs and about numbers of all regions, one row in twenty junk;
imports each into an embedded store of its own, synced before every answer; prints seconds, rows a second, processor
seconds of the importer and of the store, the importer's peak memory (which must not grow with the file), bytes of the
store for each person, and seconds and rows of an export.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from redis import Redis

from router.embedded import EmbeddedServer
from tests.number_inputs import examples

KEYROUTE = Path(sys.executable).with_name("keyroute")
_JUNK = ("", "call me", "4155550101", "+1", "1.41556E+10", "+00000000000000000", "12345")
_STATES = ("subscribed",) * 9 + ("unsubscribed",)


def configuration(folder: Path, programs: int) -> Path:
    """A file with so many programs, of two accounts."""
    (folder / "token").write_text("0123456789abcdef0123456789abcdef")
    parts = [f'[accounts.a{n}]\ncarrier = "twilio"\nauth_tokens = ["file:token"]\n' for n in range(2)]
    for number in range(programs):
        parts.append(
            f'[[numbers]]\nnumber = "+1415555{number:04d}"\naccount = "a{number % 2}"\ntype = "long_code"\n'
            f'program = "p{number}"\n[programs.p{number}]\nname = "P{number}"\ngroup_id = "{group_id(number)}"\n'
            f'[programs.p{number}.replies.en]\nopt_in = "Welcome."\nopt_out = "You are out."\nhelp = "Call 555."\n'
        )
    path = folder / "keyroute.toml"
    path.write_text("".join(parts))
    return path


def group_id(number: int) -> str:
    """What a platform calls a group."""
    return f"4f1c9d2e-0000-4000-8000-{number:012d}"


def write_file(path: Path, rows: int, programs: int) -> None:
    """The same rows for the same figures."""
    chance = random.Random(1)
    shapes = [f"+{plan.country_code}{number}" for plan, number in examples() if len(number) > 7]
    groups = [group_id(number) for number in range(programs)]
    with path.open("w") as file:
        file.write("phone,subscription_group_id,subscription_state,language,first_name\n")
        for _ in range(rows):
            shape = chance.choice(shapes)
            phone = f"{shape[:-6]}{chance.randrange(1_000_000):06d}" if chance.random() > 0.05 else chance.choice(_JUNK)
            language = chance.choice(("en", "fr", "", ""))
            file.write(f'{phone},{chance.choice(groups)},{chance.choice(_STATES)},{language},"Ann ""A"" O"\n')


@dataclass(frozen=True)
class Ran:
    """What a command took: seconds by the clock and of its processor, and its peak memory in MB; what it printed."""

    seconds: float
    processor: float
    peak: float
    printed: str


def run(*arguments: str | Path) -> Ran:
    """Runs a command of keyroute."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as printed:
        process = subprocess.Popen([KEYROUTE, *arguments], stdout=printed, stderr=printed)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - began
        printed.seek(0)
        text = printed.read().strip()
    assert process.returncode in (0, 1), text
    # Kilobytes on Linux, bytes on macOS.
    peak = used.ru_maxrss / (1e3 if sys.platform == "linux" else 1e6)
    return Ran(seconds, used.ru_utime + used.ru_stime, peak, text)


def measure(rows: int, programs: int) -> None:
    """Imports a file and exports it again, and prints what that took."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config, file = configuration(folder, programs), folder / "people.csv"
        write_file(file, rows, programs)
        server = EmbeddedServer(folder / "data")
        server.spawn()
        try:
            # The first command waits for the store.
            run("export", "--config", config, "--output", folder / "nobody.csv")
            done = run("import", file, "--config", config)
            with Redis.from_url(server.url) as store:
                info = cast("dict[str, float]", store.info())
            exported = run("export", "--config", config, "--output", folder / "everybody.csv")
            again = run("import", folder / "everybody.csv", "--config", config)
        finally:
            server.stop()
        print(f"{rows} rows, {file.stat().st_size / 1e6:.0f} MB")
        print(f"  import     {done.seconds:6.1f} s  {rows / done.seconds:8.0f} rows/s  peak {done.peak:4.0f} MB")
        store_seconds = info["used_cpu_user"] + info["used_cpu_sys"]
        print(f"             processor: importer {done.processor:.1f} s, store {store_seconds:.1f} s")
        print(f"             {done.printed}")
        print(f"  export     {exported.seconds:6.1f} s  peak {exported.peak:4.0f} MB  {exported.printed}")
        print(f"  and back   {again.seconds:6.1f} s  {again.printed}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--small", type=int, default=100_000)
    parser.add_argument("--programs", type=int, default=5)
    chosen = parser.parse_args(arguments)
    for rows in (chosen.small, chosen.rows):
        measure(rows, chosen.programs)


if __name__ == "__main__":
    main()
