"""Where the server listens: a free port, a Unix socket, one left behind, one that is taken."""

import asyncio
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.running import KEYROUTE, write_configuration


@contextmanager
def serving(config: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server and the place that it says it serves."""
    command: list[str | Path] = [KEYROUTE, "serve", "--config", config, *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            found = next(found for line in process.stderr if (found := re.search(r"serves (\S+)$", line)))
            yield process, found[1]
        finally:
            process.terminate()


def refused(config: Path, *arguments: str) -> str:
    """What a server says that cannot listen; nothing of it may have been started."""
    command: list[str | Path] = [KEYROUTE, "serve", "--config", config, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert not (config.parent / "data").exists()
    return ran.stderr


async def status(connector: aiohttp.BaseConnector | None, url: str) -> int:
    async with aiohttp.ClientSession(connector=connector) as session, session.get(url) as response:
        return response.status


async def test_port_0_takes_a_free_port_and_says_which(tmp_path: Path) -> None:
    with serving(write_configuration(tmp_path), "--port", "0") as (_, url):
        assert not url.endswith(":0")
        assert await status(None, f"{url}/readyz") == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_taken_port_is_refused_before_anything_starts(tmp_path: Path, host: str) -> None:
    family = socket.AF_INET6 if host == "::1" else socket.AF_INET
    with socket.create_server(("127.0.0.1" if host == "localhost" else host, 0), family=family) as taken:
        port = taken.getsockname()[1]
        said = refused(write_configuration(tmp_path), "--host", host, "--port", str(port))

    assert f"cannot listen on http://{f'[{host}]' if ':' in host else host}:{port}: Address already in use" in said
    assert "choose another place with --host and --port" in said


def test_a_host_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    assert "choose another place with --host and --port" in refused(
        write_configuration(tmp_path), "--host", "203.0.113.9"
    )
    assert "choose another place with --host and --port" in refused(
        write_configuration(tmp_path), "--host", "no such host"
    )


async def test_a_unix_socket_that_a_killed_server_left_is_taken_over(tmp_path: Path) -> None:
    config, path = write_configuration(tmp_path), tmp_path / "http.sock"
    config.write_text(config.read_text() + f'[server]\nuds = "{path}"\n')
    with serving(config) as (killed, place):
        assert place == f"unix:{path}"
        killed.kill()
        await asyncio.to_thread(killed.wait)
    assert path.exists()
    with serving(config) as (_, place):
        assert place == f"unix:{path}"
        assert await status(aiohttp.UnixConnector(str(path)), "http://keyroute/readyz") == 200
    assert not path.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_asked_to_stop_ends_without_an_error(tmp_path: Path, number: signal.Signals) -> None:
    with serving(write_configuration(tmp_path), "--port", "0") as (process, _):
        process.send_signal(number)
        assert process.wait(timeout=15) == 0
        assert process.stderr
        assert "Abort" not in process.stderr.read()


async def test_a_unix_socket_in_use_stays_with_its_server(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with serving(write_configuration(tmp_path), "--uds", str(path)):
        other = tmp_path / "other"
        other.mkdir()
        assert "Stop what listens there, or choose" in refused(write_configuration(other), "--uds", str(path))
        assert await status(aiohttp.UnixConnector(str(path)), "http://keyroute/healthz") == 200


@pytest.mark.parametrize("name", ["no-folder/http.sock", "a-file", "x" * 200])
def test_a_path_that_cannot_be_a_socket_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "a-file").write_text("kept")

    assert "with --uds or server.uds" in refused(write_configuration(tmp_path), "--uds", str(tmp_path / name))
    assert (tmp_path / "a-file").read_text() == "kept"
