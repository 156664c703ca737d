"""The benches of deliveries run, each for a moment: their figures here say nothing."""

import json
from pathlib import Path

import pytest

from bench.delivery import main


@pytest.mark.parametrize(
    "command",
    [
        ["healthy", "--rate", "100", "--seconds", "2"],
        ["batches", "--rate", "200", "--seconds", "2"],
        ["outage", "--rate", "50", "--before", "1", "--dead-seconds", "2", "--after", "2"],
        ["backlog", "--rate", "300", "--texts", "600", "--people", "50", "--workers", "1"],
    ],
    ids=lambda command: command[0],
)
def test_everything_that_is_sent_arrives_in_order(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(command)
    found = json.loads(capsys.readouterr().out)["found"]

    assert found["statuses"] == {"200": found["texts"]}
    for destination in (found, *(found[name] for name in ("dead", "healthy", "braze") if name in found)):
        assert destination.get("arrived", found["texts"]) == found["texts"]
        assert not destination.get("disorder")
