"""What a reload of 100,000 keywords costs whoever is answered meanwhile. The least of three: others only add to it."""

import asyncio
import gc
import sys
import time
from pathlib import Path

import pytest
import uvloop

from bench.reloads import Step, bytes_per_keyword, configuration, rounds
from router.config import Settings, load
from router.disposal import sharing
from router.reload import Reloader
from router.service import Service
from tests.running import write_configuration

pytestmark = pytest.mark.alone

KEYWORDS = 100_000


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Step]]:
    path = configuration(tmp_path_factory.mktemp("reload"), KEYWORDS, each=100)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(rounds(path, 3))


def test_keywords_compile_in_half_a_second(steps: dict[str, list[Step]]) -> None:
    assert min(step.seconds for step in steps["compile"]) <= 0.5


@pytest.mark.parametrize("name", ["read", "compile", "swap"])
def test_the_event_loop_never_stands_still_for_5_ms(steps: dict[str, list[Step]], name: str) -> None:
    assert min(step.standstill for step in steps[name]) <= 0.005


def test_a_keyword_takes_less_than_in_a_dict() -> None:
    ours, in_a_dict = bytes_per_keyword(KEYWORDS)

    assert ours < 24
    assert ours < in_a_dict / 4


async def test_what_a_reload_replaces_is_freed(tmp_path: Path) -> None:
    path = write_configuration(tmp_path, crm="http://127.0.0.1:9/")
    service = Service(load(path), "all", time.time)
    await service.start()
    reloader = Reloader(service, path)
    for _ in range(3):
        await reloader.reload()
    await service.stop()

    gc.unfreeze()  # else they are not among the objects
    assert sum(isinstance(found, Settings) and found.path == path for found in gc.get_objects()) == 1


def test_what_was_shared_is_set_back_also_when_building_fails() -> None:
    before, frozen = sys.getswitchinterval(), gc.get_freeze_count()
    with pytest.raises(ValueError, match="refused"), sharing():
        raise ValueError("refused")

    assert gc.isenabled()
    assert sys.getswitchinterval() == before
    assert gc.get_freeze_count() == frozen
