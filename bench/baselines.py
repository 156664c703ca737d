"""What an accept is measured against: servers that take the same requests and do next to nothing with them.

`python -m bench.baselines empty|append PORT FILE` serves a Starlette route that reads its body and answers nothing, on
uvicorn with uvloop and httptools, as anybody would run it. `append` writes each body to a file and has the
disk confirm it before it answers, one after the other, as an unbatched design would.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.driver import ROOT

_NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  keepalive_requests 100000000;
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 ""; }} }}
}}
"""


async def _read(request: Request) -> Response:
    await request.body()
    return Response()


def _append(path: Path) -> Starlette:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def append(request: Request) -> Response:
        os.write(file, await request.body())
        os.fsync(file)
        return Response()

    return _application(append)


def _application(endpoint: object) -> Starlette:
    return Starlette(routes=[Route("/in/{account}", endpoint, methods=["POST"])])  # type: ignore[arg-type]


@contextmanager
def serving(name: str, folder: Path, port: int) -> Iterator[int]:
    """Runs one of `available` and gives the id of the process that does the work."""
    command = [sys.executable, "-m", "bench.baselines", name, str(port), str(folder / "appended")]
    if name == "nginx":
        (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, port=port))
        command = [shutil.which("nginx") or "nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)]
    with started(command, port) as pid:
        yield _worker_of(pid) if name == "nginx" else pid


@contextmanager
def started(command: Sequence[str], port: int, environment: Mapping[str, str] | None = None) -> Iterator[int]:
    """Runs a server that listens on a port, and gives its process id; `environment` is ours if not given."""
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        _wait_for(port, process)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def available() -> list[str]:
    """The baselines that can be run here."""
    return ["empty", "append", *(["nginx"] if shutil.which("nginx") else [])]


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Returns once a server listens."""
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.01)  # a server that is starting tells nobody
    raise RuntimeError(f"a baseline ended at its start with {process.returncode}. Its message stands above.")


def _worker_of(master: int) -> int:
    """The process of nginx that does the work."""
    while not (found := Path(f"/proc/{master}/task/{master}/children").read_text().split()):
        time.sleep(0.01)  # it is forked a moment after the master listens
    return int(found[0])


def main() -> None:
    """Serves one of them."""
    name, port, path = sys.argv[1:]
    app = _append(Path(path)) if name == "append" else _application(_read)
    uvicorn.run(
        app,
        port=int(port),
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
    )


if __name__ == "__main__":
    main()
