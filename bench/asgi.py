"""The real application as an ASGI server runs it, without the short way for webhooks.

`python -m bench.asgi PORT` serves the configuration that the environment names, in the role ingress, on uvicorn.
Granian must be installed by hand (`pip install granian`): keyroute does not need it.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from bench.baselines import started
from router.app import create_app
from router.config import load

_CONFIG = "KEYROUTE_BENCH_CONFIG"


def available() -> list[str]:
    """The servers that can be run here."""
    return ["uvicorn", *(["granian"] if find_spec("granian") else [])]


def application() -> Starlette:
    """What they serve."""
    return create_app(load(Path(os.environ[_CONFIG])), role="ingress")


@contextmanager
def serving(name: str, config: Path, port: int) -> Iterator[int]:
    """Runs one of `available` and gives the id of the process that does the work."""
    environment = os.environ | {_CONFIG: str(config)}
    if name == "granian":
        how = ["granian", "--interface", "asgi", "--http", "1", "--loop", "uvloop", "--no-ws", "--log-level", "warning"]
        command = [*how, "--factory", "--port", str(port), "bench.asgi:application"]
    else:
        command = ["bench.asgi", str(port)]
    with started([sys.executable, "-m", *command], port, environment) as pid:
        yield _worker_of(pid) if name == "granian" else pid


def _worker_of(pid: int) -> int:
    """Granian's own process looks after one that serves."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    raise RuntimeError("granian has started no process that serves. Its message stands above.")


def main() -> None:
    """Serves the application on uvicorn."""
    port = int(sys.argv[1])
    uvicorn.run(
        application(), port=port, loop="uvloop", http="httptools", ws="none", access_log=False, log_level="warning"
    )


if __name__ == "__main__":
    main()
