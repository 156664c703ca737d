"""libphonenumber as people use it, for bench/numbers.py.

Imports nothing of ours: the binding of Google's own library has the name of the port, and runs in a process of its own.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import phonenumbers

#: A text, and the region that it is from.
Number = tuple[str, str | None]


def run(batch: Sequence[Number]) -> None:
    """Parses, validates and formats each number."""
    parse, valid, write = phonenumbers.parse, phonenumbers.is_valid_number, phonenumbers.format_number
    e164 = phonenumbers.PhoneNumberFormat.E164
    for raw, region in batch:
        number = parse(raw, region)
        valid(number)
        write(number, e164)


@contextmanager
def elsewhere(folder: Path) -> Iterator[Callable[[Sequence[Number]], float]]:
    """Runs batches with the `phonenumbers` that is in a folder; the nanoseconds that one takes."""
    command = [sys.executable, "-m", __name__]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        written, read = process.stdin, process.stdout
        if folder.resolve() not in Path(read.readline().strip()).resolve().parents:
            raise SystemExit(
                f"{folder} holds no libphonenumber. Fill it: pip install --target {folder} closeio-phonenumbers"
            )

        def timed(batch: Sequence[Number]) -> float:
            print(json.dumps(batch), file=written, flush=True)
            return float(read.readline())

        yield timed


def _serve() -> None:
    print(phonenumbers.__file__, flush=True)
    for line in sys.stdin:
        batch = json.loads(line)
        began = time.perf_counter_ns()
        run(batch)
        print(time.perf_counter_ns() - began, flush=True)


if __name__ == "__main__":
    _serve()
