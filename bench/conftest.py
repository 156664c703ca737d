"""The gate of `make bench`: no figure may get worse than its peer by much more than it was when it was recorded.

What is compared are ratios, ours to a peer that does the same in the same run, never times: machines differ. The best
round of each counts, which is what other processes disturb least.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

BASELINE = Path(__file__).with_name("baseline.json")
#: How much worse than recorded a ratio may be.
_ALLOWED = 1.25
#: Ours → the peer that it is measured by, by the names of the benches.
_PEERS = (
    (r"test_fold", "test_strip_casefold"),
    (r"test_normalize\[(.*)\]", r"test_phonenumbers[\1]"),
    (r"test_scan_form", "test_parse_qsl"),
    (r"test_join_form", "test_join_form_with_urllib"),
    (r"test_match\[keyroute-(.*)\]", r"test_match[dict-\1]"),
    (r"test_growth\[keyroute-(.*)\]", r"test_growth[dict-\1]"),
    (r"test_verify_and_parse\[twilio\]", "test_official_validator_of_twilio"),
    (r"test_verify_and_parse\[whatsapp\]", "test_what_meta_tells_to_do"),
    (r"test_signature", "test_signature_with_hmac"),
    (r"test_parse", "test_parse_with_urllib"),
    (r"test_decide", "test_decide_afresh"),
    (r"test_encode", "test_encode_with_json"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-baseline", action="store_true", help="records the ratios of this run as the baseline")
    parser.addoption("--baseline", type=Path, default=BASELINE, help="the file that holds it")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    benches = getattr(session.config, "_benchmarksession", None)
    found = dict(ratios({bench.name: bench.stats.min for bench in benches.benchmarks if bench})) if benches else {}
    path: Path = session.config.getoption("--baseline")
    if not found or session.exitstatus:
        return
    if session.config.getoption("--record-baseline"):
        kept = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(kept | {name: round(ratio, 4) for name, ratio in found.items()}, indent=1) + "\n")
        return
    worse = list(complaints(found, json.loads(path.read_text()) if path.exists() else {}))
    session.config.stash[_WORSE] = worse
    if worse:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for line in config.stash.get(_WORSE, []):
        terminalreporter.write_line(line, red=True)


_WORSE = pytest.StashKey[list[str]]()


def ratios(times: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """Ours to its peer, for each bench that has one in the same run; `times` by the names of the benches."""
    for name, time in times.items():
        for ours, peer in _PEERS:
            if re.fullmatch(ours, name):
                beside = re.sub(ours, peer, name)
                if beside in times:
                    yield name, time / times[beside]


def complaints(now: Mapping[str, float], before: Mapping[str, float]) -> Iterator[str]:
    """A line for each ratio that is too much worse than before."""
    for name, ratio in now.items():
        if name in before and ratio > before[name] * _ALLOWED:
            yield (
                f"{name}: {ratio:.3g} times its peer, and {before[name]:.3g} in bench/baseline.json: "
                f"{ratio / before[name] - 1:.0%} worse, 25 % are allowed. Run it again on a quiet machine; if it stays "
                "so, look at what changed, or record it with `make bench-baseline` and say why in the commit."
            )
