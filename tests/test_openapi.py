"""The OpenAPI document says what the API does: read as a person would, and tried out by schemathesis."""

import asyncio
import random
import re
import sys
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from router._version import VERSION
from router.bearer import digest
from router.config import PERMISSIONS
from router.platform_api.operations import OPERATIONS
from tests.calling import KEY, Caller
from tests.running import API_TOKEN, Keyroute, write_configuration

ROOT = Path(__file__).parent.parent
SCHEMATHESIS = Path(sys.executable).with_name("st")
KEYS = f'[api.keys.all]\nsha256 = "{digest(KEY)}"\npermissions = {list(PERMISSIONS)}\n'
#: What no schema can tell, such as a group that is not configured, is refused with 400.
SETTINGS = """
hooks = "{hooks}"
[headers]
Authorization = "Bearer {key}"
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "400"]
[[operations]]
include-path = "/v1/messages"
[operations.headers]
Authorization = "Bearer {token}"
"""
#: Half of what fits the schemas names a group and a number that there are, so that it gets past the first checks.
HOOKS = """
import schemathesis

KNOWN = {"subscription_group_id": "deals", "phone": "+14155550101", "phones": ["+14155550101"],
         "alias_label": "phone", "alias_name": "+14155550101", "old_alias_name": "+14155550101",
         "new_alias_name": "+14155550102", "time": "2026-02-03T10:00:00Z", "from": "+14155550101", "to": "20202"}

GOOD = {"phone": "+14155550101", "subscription_groups": [{"subscription_group_id": "deals",
        "subscription_state": "subscribed"}]}


def known(value):
    if isinstance(value, dict):
        return {name: KNOWN[name] if isinstance(each, str) and name in KNOWN else known(each)
                for name, each in value.items()}
    return [known(each) for each in value] if isinstance(value, list) else value


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is not None and case.meta.generation.mode.is_positive and len(repr(case.body)) % 2:
        case.body = known(case.body)
        case.query = known(case.query)
        if case.operation.path == "/users/track":
            case.body["attributes"] = [*(case.body.get("attributes") or [])[:70], GOOD]
"""


async def document(api: Caller) -> dict[str, Any]:
    reply = await api.send("GET", "/openapi.json", b"", key=None)
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    found: dict[str, Any] = orjson.loads(reply.body)
    return found


async def test_the_document_has_every_operation_with_its_codes_and_whoever_may_call_it(api: Caller) -> None:
    found = await document(api)

    assert found["openapi"] == "3.1.0"
    assert found["info"]["version"] == VERSION
    assert found["servers"] == [{"url": "https://sms.example.com"}]
    assert set(found["paths"]) == {operation.path for operation in OPERATIONS} | {"/v1/messages"}
    for operation in OPERATIONS:
        described = found["paths"][operation.path][operation.method.lower()]
        refusals = {"400", "401", "403", "413", "429", "503"}
        assert set(described["responses"]) == {str(operation.status)} | refusals
        assert all(f"`{permission}`" in described["description"] for permission in operation.permissions)
        assert described["security"] == [{"key": []}]


def test_the_readme_and_the_page_on_the_api_list_every_operation_with_its_permissions() -> None:
    rows = re.findall(r"(?m)^\| `([A-Z]+) (/\S+)` \| ([^|]+) \| ([0-9,]+)", (ROOT / "README.md").read_text())
    listed = {(method, path): (tuple(re.findall("`(.+?)`", may)), limit) for method, path, may, limit in rows}
    page = (ROOT / "docs" / "api.md").read_text()

    assert listed == {(each.method, each.path): (each.permissions, f"{each.limit.requests:,}") for each in OPERATIONS}
    assert all(f"| `{permission}` | " in page for permission in PERMISSIONS)


async def test_every_reference_in_the_document_leads_somewhere(api: Caller) -> None:
    found = await document(api)
    references: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            references.update(text for name, text in value.items() if name == "$ref")
            for each in value.values():
                walk(each)
        elif isinstance(value, list):
            for each in value:
                walk(each)

    walk(found)
    schemas = {f"#/components/schemas/{name}" for name in found["components"]["schemas"]}
    assert references == schemas


async def test_schemathesis_finds_nothing_that_the_document_does_not_say(
    tmp_path: Path, request: pytest.FixtureRequest, record_property: Any
) -> None:
    seed = request.config.getoption("seed") or random.randrange(2**32)
    record_property("seed", seed)
    hooks = tmp_path / "hooks.py"
    hooks.write_text(HOOKS)
    settings = tmp_path / "schemathesis.toml"
    settings.write_text(SETTINGS.format(hooks=hooks, key=KEY, token=API_TOKEN))
    async with Keyroute(write_configuration(tmp_path, extra=KEYS)) as server:
        process = await asyncio.create_subprocess_exec(
            *(str(SCHEMATHESIS), "--config-file", str(settings), "run", f"{server.origin}/openapi.json"),
            *("--url", server.origin, "--checks", "all", "--mode", "all", "--max-examples", "25"),
            *("--phases", "examples,coverage,fuzzing", "--seed", str(seed), "--workers", "1", "--no-color"),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        async with aiohttp.ClientSession() as session, session.get(f"{server.origin}/metrics") as response:
            accepted = re.search(r'requests_total{account="api",outcome="accepted"} (\d+)', await response.text())

    assert process.returncode == 0, output.decode()
    # Not everything was turned away at the door.
    assert accepted
    assert int(accepted[1]) > 50
    assert "Traceback" not in server.log
