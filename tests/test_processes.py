"""Several processes on one address: real ones, with real texts."""

import asyncio
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from router.siblings import Siblings, merged
from tests.commits import until
from tests.running import Keyroute, Twilio, write_configuration

ACCEPTED = "keyroute_requests_total{"


def children(pid: int) -> dict[int, str]:
    """The processes that a process has started, with their commands."""
    found = {}
    for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(FileNotFoundError):
            found[int(each)] = Path(f"/proc/{each}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def serving(pid: int) -> set[int]:
    """Those of them that serve."""
    return {child for child, command in children(pid).items() if "--one-of-several" in command}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_configuration(tmp_path)


async def test_processes_share_an_address_and_a_store(config: Path) -> None:
    async with Keyroute(config, "--processes", "2") as server:
        pid = server.process.pid
        assert len(serving(pid)) == 2
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
            twilio = Twilio(server.origin, session)
            answers = await asyncio.gather(
                *(twilio.text(f"SM{i}", "COUPONS", sender=f"+1415555{i:04}") for i in range(40))
            )
            again = await twilio.text("SM0", "COUPONS", sender="+14155550000")
            async with session.get(f"{server.origin}/metrics") as response:
                lines = (await response.text()).splitlines()
        counted = {
            line.partition("{")[2]: float(line.rpartition(" ")[2]) for line in lines if line.startswith(ACCEPTED)
        }
        assert sum(counted.values()) == 41
        assert all(line.count('process="') == 1 for line in lines if not line.startswith("#"))
        assert lines.count("# TYPE keyroute_requests_total counter") == 1
        assert {status for status, _ in answers} == {200}
        assert again == answers[0]
        served = children(pid)
        assert server.stop() == 0
    assert not any(Path(f"/proc/{child}").exists() for child in served)


async def test_one_that_is_killed_is_replaced_and_nothing_is_lost(config: Path) -> None:
    async with Keyroute(config, "--processes", "2") as server, aiohttp.ClientSession() as session:
        twilio = Twilio(server.origin, session)
        (killed, other) = sorted(serving(server.process.pid))
        taken = {f"SM{i}": await twilio.text(f"SM{i}", "COUPONS") for i in range(5)}
        os.kill(killed, signal.SIGKILL)

        async def replaced() -> bool:
            return killed not in serving(server.process.pid) and len(serving(server.process.pid)) == 2

        await until(replaced)
        assert other in serving(server.process.pid)
        await server.ready()
        for name, answer in taken.items():
            with suppress(aiohttp.ClientError):  # a connection of the one that was killed
                assert await twilio.text(name, "COUPONS") == answer
        assert server.log.count("a process ended and is replaced") == 1


async def test_a_store_that_cannot_be_started_again_is_tried_until_it_can(config: Path) -> None:
    log = config.parent / "data" / "store.log"
    async with Keyroute(config, "--processes", "2") as server:
        pid = server.process.pid
        (store,) = children(pid).keys() - serving(pid)
        log.unlink()
        log.mkdir()
        os.kill(store, signal.SIGKILL)

        async def tried() -> bool:
            return "the embedded store cannot be started" in server.log

        await until(tried)
        log.rmdir()
        await server.ready()


async def test_modules_in_the_folder_where_it_is_started_are_none_of_ours(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "click.py").write_text("raise SystemExit('this is not click')")
    monkeypatch.chdir(tmp_path)
    async with Keyroute(config, "--processes", "2") as server:
        assert "this is not click" not in server.log


#: Runs a command as the first process of a container would run.
ALONE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")


@pytest.mark.skipif(
    shutil.which(ALONE[0]) is None or subprocess.run([*ALONE, "true"], capture_output=True).returncode != 0,
    reason="this machine gives nobody process numbers of their own",
)
async def test_they_run_as_well_where_the_first_of_them_has_number_one(config: Path) -> None:
    async with Keyroute(config, "--processes", "2", within=ALONE) as server:
        server.kill()


async def test_a_reload_reaches_each_of_them(config: Path) -> None:
    async with Keyroute(config, "--processes", "2") as server:
        os.kill(server.process.pid, signal.SIGHUP)

        async def reloaded() -> bool:
            return server.log.count("configuration reloaded") == 2

        await until(reloaded)


async def test_what_cannot_start_ends_all_and_says_why(config: Path) -> None:
    async with Keyroute(config, "--processes", "2"):
        pass
    config.write_text(config.read_text().replace("shards = 4", "shards = 8"))
    server = Keyroute(config, "--processes", "2")
    server.start()
    assert await asyncio.to_thread(server.process.wait, 20) > 0
    assert "Set store.shards = 4" in server.log


async def test_a_folder_for_their_sockets_that_cannot_be_used_ends_all_and_is_said(
    config: Path, tmp_path: Path
) -> None:
    folder = tmp_path / ("x" * 80)  # longer than the path of a socket may be
    folder.mkdir()
    server = Keyroute(config, "--processes", "2", environment=os.environ | {"TMPDIR": str(folder)})
    server.start()
    try:
        assert await asyncio.to_thread(server.process.wait, 20) > 0
    finally:
        server.kill()
    assert "Set TMPDIR" in server.log
    assert not list(folder.iterdir())


def test_the_counts_of_several_are_told_as_one_text() -> None:
    first = (
        b'# HELP a_total Some.\n# TYPE a_total counter\na_total{b="c d"} 1.0\n# HELP e Else.\n# TYPE e gauge\ne 2.0\n'
    )
    other = b'# HELP a_total Some.\n# TYPE a_total counter\na_total{b="c d"} 3.0\n'

    assert merged({"0": first, "1": other, "2": b""}).decode().splitlines() == [
        "# HELP a_total Some.",
        "# TYPE a_total counter",
        'a_total{process="0",b="c d"} 1.0',
        'a_total{process="1",b="c d"} 3.0',
        "# HELP e Else.",
        "# TYPE e gauge",
        'e{process="0"} 2.0',
    ]


async def test_what_one_that_ends_has_half_told_is_left_out(tmp_path: Path) -> None:
    async def half(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"# TYPE a counter\na 1.0\nb{c=")
        writer.close()

    ours = Siblings(tmp_path, 0)
    await ours.open(lambda: b"# TYPE a counter\na 2.0\n")
    other = await asyncio.start_unix_server(half, tmp_path / "1.sock")
    try:
        assert await ours.counted() == b'# TYPE a counter\na{process="0"} 2.0\na{process="1"} 1.0\n'
    finally:
        other.close()
        await ours.close()
