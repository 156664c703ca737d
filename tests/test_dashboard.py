"""The dashboard and the alerts speak of metrics that there are, with labels and buckets that these have."""

import asyncio
import json
import re
from pathlib import Path

import aiohttp

from router.telemetry import PARTS
from tests.running import Keyroute, Twilio, write_configuration
from tests.standins.receiver import Receiver

DOCS = Path(__file__).parent.parent / "docs"
DASHBOARD = json.loads((DOCS / "grafana.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
ALERTS = re.findall(r"(?m)^        expr: (?:\|\n((?: {10}.*\n)+)|(.*)$)", (DOCS / "alerts.yml").read_text())


async def test_every_metric_with_its_labels_is_among_those_of_a_server_that_has_delivered(tmp_path: Path) -> None:
    async with (
        Receiver() as receiver,
        aiohttp.ClientSession() as session,
        Keyroute(write_configuration(tmp_path, crm=receiver.url)) as server,
    ):
        await Twilio(server.origin, session).text("SM1", "hello")
        await receiver.wait_for(1)
        async with session.get(f"{server.origin}/metrics") as response:
            metrics = await response.text()
    names = set(re.findall(r"(?m)^# TYPE (\w+) ", metrics))
    names |= {f"{name}_{part}" for name in names for part in ("bucket", "count")}
    used = EXPRESSIONS + ["".join(alert) for alert in ALERTS]

    assert len(ALERTS) == 12
    for expression in used:
        assert set(re.findall(r"keyroute_\w+", expression)) <= names, expression
        for bound in re.findall(r'le="([^"]+)"', expression):
            assert f'le="{bound}"' in metrics, expression
        for number in re.findall(r'number="([^"]+)"', expression):
            assert f'number="{number}"' in metrics, expression


async def test_what_alerts_look_for_is_counted_from_nothing_on(tmp_path: Path) -> None:
    """Prometheus sees no increase in a series that begins at 1, and so would not tell of the first."""
    config = write_configuration(tmp_path, crm="http://127.0.0.1:1")
    async with aiohttp.ClientSession() as session, Keyroute(config) as server, asyncio.timeout(10):
        metrics = ""
        while 'outcome="dead"' not in metrics:  # the worker starts a moment after the server
            async with session.get(f"{server.origin}/metrics") as response:
                metrics = await response.text()

    assert 'keyroute_deliveries_total{destination="crm",outcome="dead"} 0.0' in metrics
    assert 'keyroute_ledger_segments_total{outcome="failed"} 0.0' in metrics
    assert 'keyroute_reloads_total{outcome="refused"} 0.0' in metrics
    for part in PARTS:
        assert f'keyroute_failures_total{{part="{part}"}} 0.0' in metrics


def test_every_part_that_can_fail_is_counted_from_nothing_on() -> None:
    source = "\n".join(path.read_text() for path in (DOCS.parent / "router").rglob("*.py"))
    counted = set(re.findall(r'failures\.labels\("([^"]+)"\)', source))
    counted |= set(re.findall(r'\("([a-z ]+)", (?:self\._(?:hold_leases|watch)|\w+\.run)\)', source))

    assert counted == set(PARTS)


def test_every_panel_says_what_it_shows_and_none_lies_over_another() -> None:
    places: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert panel["title"]
        assert panel["description"]
        assert not places & cells
        assert max(x for x, _ in cells) < 24
        places |= cells
