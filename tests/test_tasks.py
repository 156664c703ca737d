"""Work in a thread that does not keep the process from ending."""

import asyncio
import subprocess
import sys
import threading

import pytest

from router.tasks import in_thread


async def test_it_returns_what_the_work_returns_and_raises_what_it_raises() -> None:
    def fail() -> None:
        raise KeyError("x")

    assert await in_thread(divmod, 7, 2) == (3, 1)
    with pytest.raises(KeyError):
        await in_thread(fail)


async def test_the_loop_goes_on_meanwhile_and_who_gives_up_is_not_held() -> None:
    release = threading.Event()
    working = asyncio.create_task(in_thread(release.wait))
    await asyncio.sleep(0)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    release.set()


def test_a_process_ends_while_the_work_goes_on() -> None:
    program = (
        "import asyncio, threading\n"
        "from router.tasks import in_thread\n"
        "async def main():\n"
        "    working = asyncio.create_task(in_thread(threading.Event().wait))\n"
        "    await asyncio.sleep(0)\n"
        "asyncio.run(main())\n"
    )

    assert subprocess.run([sys.executable, "-c", program], timeout=20, check=False).returncode == 0
