"""The load benches run, each for a moment: their figures here say nothing."""

import json
from pathlib import Path

import pytest

from bench.load import main
from bench.results import read

_SHORT = {
    "accept": "--rounds 1 --texts 500 --connection-counts 16",
    "servers": "--rounds 1 --texts 500",
    "cores": "--rounds 1 --texts 500",
    "latency": "--rate 200 --seconds 2",
    "growth": "--rounds 1 --texts 500 --try-seconds 0.2 --program-counts 10 30 --sender-counts 100 200",
    "overload": "--texts 500 --overload-seconds 3 --crowd 200",
}


@pytest.mark.parametrize("section", _SHORT)
def test_a_section_runs_and_leaves_its_figures_and_their_page(section: str, tmp_path: Path) -> None:
    out = tmp_path / "load.json"
    main([section, *_SHORT[section].split(), "--people", "500", "--connections", "32", "--out", str(out)])
    found = read(out)["figures"][section]

    assert json.dumps(found)
    assert "keyroute under load" in out.with_suffix(".html").read_text()
    if section == "latency":
        assert found["statuses"] == {"200": 400}
        assert (found["missing"], found["disorder"]) == (0, 0)
