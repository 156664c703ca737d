"""The embedded server: one at a time on a folder, whoever starts it, and gone when its owner is."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis

from router.embedded import EmbeddedServer
from router.errors import StoreUnavailable
from tests.commits import until


async def written(server: EmbeddedServer) -> bytes | str | None:
    """What stands under `x` in the server's store."""
    async with Redis.from_url(server.url) as redis:
        return await redis.get("x")


async def write(server: EmbeddedServer, value: str) -> None:
    async with Redis.from_url(server.url) as redis:
        await redis.set("x", value)


async def test_a_second_process_uses_the_server_of_the_first_and_takes_over_when_that_is_gone(tmp_path: Path) -> None:
    first, second = EmbeddedServer(tmp_path), EmbeddedServer(tmp_path)
    first.spawn()
    second.spawn()
    await first.ready()
    await second.ready()
    assert (first.running, second.running) == (True, False)
    await write(first, "kept")
    first.stop()

    second.spawn()
    await second.ready()
    assert second.running
    assert await written(second) == b"kept"
    second.stop()


async def test_the_server_of_a_killed_owner_is_replaced_and_nothing_is_lost(tmp_path: Path) -> None:
    owner = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import sys, time; from pathlib import Path; from router.embedded import EmbeddedServer\n"
        "server = EmbeddedServer(Path(sys.argv[1])); server.spawn(); print('spawned', flush=True); time.sleep(60)",
        str(tmp_path),
        stdout=subprocess.PIPE,
    )
    assert owner.stdout
    await owner.stdout.readline()
    guest = EmbeddedServer(tmp_path)
    await guest.ready()
    await write(guest, "kept")
    owner.kill()
    await owner.wait()

    heir = EmbeddedServer(tmp_path)
    heir.spawn()
    await heir.ready()
    assert await written(heir) == b"kept"
    assert heir.running
    heir.stop()


async def test_a_server_that_ends_is_started_again_by_the_next_call(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    server.spawn()
    await server.ready()
    async with Redis.from_url(server.url) as redis:
        pid = (await redis.info("server"))["process_id"]
    os.kill(pid, signal.SIGKILL)

    async def ended() -> bool:
        return not server.running

    await until(ended)
    server.spawn()
    await server.ready()
    assert server.running
    server.stop()


async def test_a_folder_with_a_long_path_does(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 60) / ("y" * 60)
    server = EmbeddedServer(deep)
    server.spawn()
    await server.ready()
    await write(server, "deep")
    server.stop()

    assert (deep / "appendonlydir").is_dir()


def test_a_folder_that_cannot_be_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")

    with pytest.raises(StoreUnavailable, match=r"Correct store\.data"):
        EmbeddedServer(tmp_path / "taken").spawn()


async def test_nobody_but_its_user_can_reach_it(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "data")
    server.spawn()
    await server.ready()

    assert (tmp_path / "data").stat().st_mode & 0o077 == 0
    assert (tmp_path / "data" / "store.sock").stat().st_mode & 0o077 == 0
    server.stop()
