"""docs/platforms.md says what the code says: each platform's keys and their defaults; its examples can be used."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from router import registry
from router.config import load
from tests.tables import documented_keys, keys_of, plain
from tests.test_sink import PROGRAM

ROOT = Path(__file__).parent.parent
OURS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["router.platforms"]
HEAD, *PARTS = (ROOT / "docs" / "platforms.md").read_text().split("\n## ")
SECTIONS = {part.partition("\n")[0]: part.partition("\n")[2] for part in PARTS}

each_platform = pytest.mark.parametrize("name", sorted(OURS))


def test_every_platform_has_a_section_and_a_row_in_alphabetical_order() -> None:
    assert re.findall(r"(?m)^\| \[`(\w+)`\]\(#\1\)", HEAD) == sorted(OURS)
    assert list(SECTIONS) == sorted(OURS)


@each_platform
def test_a_section_lists_every_key_and_its_default(name: str) -> None:
    platform = registry.platform(name)
    keys = keys_of(platform.Options, "destinations.NAME")
    keys |= keys_of(platform.ProgramOptions, "programs.ID.destinations.NAME")
    documented = documented_keys(SECTIONS[name])
    stated = {key: plain(default) for key, default in keys.items() if plain(default) is not None}

    assert documented.keys() == keys.keys()
    assert {key: json.loads(documented[key].strip("`")) for key in stated} == stated


@each_platform
def test_an_example_can_be_used(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"(?ms)^```toml\n(.*?)^```$", SECTIONS[name])
    for variable in re.findall(r'"env:(\w+)"', example):
        monkeypatch.setenv(variable, "whsec_BwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiMkJSY=")
    path = tmp_path / "keyroute.toml"
    path.write_text(PROGRAM + example)

    assert list(load(path).destinations) == re.findall(r"(?m)^\[destinations\.(\w+)\]", example)
