"""A package of a third party, set up as docs/writing-a-carrier.md says: checked, served, tested with its samples."""

import hmac
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from router import registry
from router.errors import BadPayload, BadSignature
from router.ports import Carrier, Secret
from router.types import Inbound, Media, RawRequest, Receipt
from tests.kit import Case, SendCase, check_hostile, check_inbound, check_send, outgoing
from tests.running import Keyroute
from tests.standins._server import Server
from tests.test_readme import sent

ROOT = Path(__file__).parent.parent
ACME = ROOT / "examples" / "acme-carrier"
PAGE = (ROOT / "docs" / "writing-a-carrier.md").read_text()
#: What stands on the page to be typed, a line for each command.
COMMANDS = [line for block in re.findall(r"(?ms)^```sh\n(.*?)^```", PAGE) for line in re.split(r"(?<!\\)\n", block)]
SECRETS = dict(re.findall(r"(ACME_\w+)=(\S+)", PAGE))
OURS, PERSON = "+14155550123", "+14155550101"
KEYS = ["new-signing-key", "old-signing-key"]
PRIVATE = [*KEYS, "secret-api-key", OURS, PERSON, "Hello there"]


def command(beginning: str) -> str:
    """The one command of the page that begins so."""
    (found,) = [line for line in COMMANDS if line.startswith(beginning)]
    return found


def ran(line: str, environment: dict[str, str], *more: str) -> subprocess.CompletedProcess[str]:
    """What came of a command of the page."""
    program, *arguments = shlex.split(line)
    path = Path(sys.executable).with_name(Path(program).name)
    return subprocess.run(
        [path, *arguments, *more], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the package is installed in."""
    folder = tmp_path_factory.mktemp("third-party")
    # What a build leaves behind stays out of the checkout.
    shutil.copytree(ACME, folder / "acme-carrier")
    line = command(".venv/bin/python -m pip").replace("./examples", str(folder))
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    installed = ran(line, dict(os.environ), *offline, "--target", str(folder / "installed"))
    assert installed.returncode == 0, installed.stderr
    return folder / "installed"


@pytest.fixture
def environment(target: Path) -> dict[str, str]:
    """The environment of a process that finds the package, and its secrets."""
    path = os.pathsep.join(filter(None, [str(target), os.environ.get("PYTHONPATH")]))
    return {**os.environ, **SECRETS, "PYTHONPATH": path}


@pytest.fixture
def acme(target: Path, monkeypatch: pytest.MonkeyPatch) -> Carrier:
    """The carrier itself."""
    monkeypatch.syspath_prepend(str(target))
    carrier: Any = registry.carrier("acme")
    keys = tuple(map(Secret, KEYS))
    made: Carrier = carrier("acme", carrier.Options(signing_keys=keys, api_key=Secret("secret-api-key")), None)
    return made


class Api(Server):
    """Acme's API. `sent` holds each text that it was sent, with the headers."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[dict[str, str], dict[str, Any]]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Takes any text."""
        assert (request.method, request.path) == ("POST", "/texts")
        self.sent.append((dict(request.headers), await request.json()))
        self.changed()
        return web.json_response({"id": f"out-{len(self.sent)}"}, status=201)


def test_its_configuration_is_good(environment: dict[str, str]) -> None:
    checked = ran(command(".venv/bin/keyroute check"), environment)

    assert (checked.returncode, checked.stderr) == (0, "")
    assert "good. 1 account(s)" in checked.stdout


async def test_a_signed_text_is_answered_by_its_api(environment: dict[str, str], tmp_path: Path) -> None:
    config = tmp_path / "keyroute.toml"
    written = (ACME / "keyroute.toml").read_text()
    async with Api() as api, aiohttp.ClientSession() as session:
        config.write_text(
            written.replace("[[numbers]]", f'api_url = "{api.origin}"\nallow_private = true\n\n[[numbers]]')
        )
        async with Keyroute(config, environment=environment) as server:
            answer = await sent(session, command("curl"), server.origin)
            await api.until(lambda: bool(api.sent))
            looked_up = ran(command(".venv/bin/keyroute lookup"), environment, "--config", str(config))
    ((headers, text),) = api.sent

    assert answer == ""
    assert text == {"from": OURS, "to": PERSON, "text": "You get no more Deals."}
    assert headers["Authorization"] == f"Bearer {SECRETS['ACME_API_KEY']}"
    assert headers["Idempotency-Key"].startswith("evt_")
    assert json.loads(looked_up.stdout)["consent"]["deals"]["state"] == "unsubscribed"


def test_its_samples_run_through_the_real_server(environment: dict[str, str]) -> None:
    samples = ran(command(".venv/bin/python -m pytest"), environment, "-p", "no:cacheprovider")
    names = [path.stem for path in sorted((ACME / "samples").glob("*.json"))]

    assert samples.returncode == 0, samples.stdout
    assert re.findall(r"(?m)^passed  (\S+): \w+$", samples.stdout) == names


def sign(request: RawRequest) -> RawRequest:
    signature = hmac.new(KEYS[1].encode(), request.body, "sha256").hexdigest()
    return replace(request, headers={**request.headers, "x-acme-signature": signature})


def body(**lists: Any) -> bytes:
    return json.dumps(lists).encode()


MESSAGE = {"id": "1", "from": PERSON, "to": OURS, "text": "Hello there"}
REPORT = {"id": "out-1", "from": OURS, "to": PERSON, "result": "delivered"}
TEXT = Inbound("1", PERSON, OURS, "Hello there")
PICTURE = "https://media.acme.example/1.jpg"

CASES = [
    Case("text", [TEXT], body(messages=[MESSAGE])),
    Case(
        "picture",
        [replace(TEXT, text="", channel="mms", media=(Media(PICTURE),))],
        body(messages=[{**MESSAGE, "text": "", "picture": PICTURE}]),
    ),
    Case("nothing in it", [], body(messages=[{**MESSAGE, "text": ""}])),
    Case("delivered", [Receipt("out-1", OURS, PERSON, None)], body(reports=[REPORT])),
    Case(
        "opted out",
        [Receipt("out-1", OURS, PERSON, "opted_out", "opted_out")],
        body(reports=[{**REPORT, "result": "opted_out"}]),
    ),
    Case("under way", [], body(reports=[{**REPORT, "result": "queued"}])),
    Case("not JSON", BadPayload, b"messages=1"),
    Case("no object", BadPayload, b"[]"),
    Case("no list", BadPayload, body(messages={})),
    Case("not signed", BadSignature, body(messages=[MESSAGE]), sign=False),
]

SENDS = [
    SendCase("sent", "out-1", 201, b'{"id":"out-1"}'),
    SendCase("opted out", "opted_out", 422, b'{"error":"opted_out"}'),
    SendCase("no such number", "invalid_number", 422, b'{"error":"no_such_number"}'),
    SendCase("wrong key", "auth", 401, b"{}"),
    SendCase("too many", "throttled", 429, b"", {"retry-after": "7"}),
    SendCase("away", "temporary", 503, b"<html>"),
    SendCase("unheard of", "permanent", 422, b'{"error":"Hello there"}'),
    SendCase("no id", "permanent", 200, b"[]"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_it_does_what_every_carrier_must(acme: Carrier, case: Case) -> None:
    check_inbound(acme, case, sign, PRIVATE)


@pytest.mark.parametrize("broken", [{**MESSAGE, "from": ""}, {**MESSAGE, "id": 1}, "1"])
def test_an_entry_that_makes_no_sense_does_not_lose_its_neighbours(acme: Carrier, broken: object) -> None:
    request = sign(Case("batch", [], body(messages=[MESSAGE, broken, {**MESSAGE, "id": "2"}])).request())
    first, second, third = acme.parse(request)

    assert (first, third) == (TEXT, replace(TEXT, message_id="2"))
    assert isinstance(second, BadPayload)


def test_whatever_arrives_raises_nothing_else_than_it_may(acme: Carrier) -> None:
    check_hostile(acme, [case for case in CASES if case.sign], sign)


@pytest.mark.parametrize("case", SENDS, ids=lambda case: case.label)
async def test_a_text_is_sent_or_it_is_said_why_not(acme: Carrier, case: SendCase) -> None:
    http = await check_send(acme, case, outgoing("Hello there"), PRIVATE, fails=case.label != "sent")

    assert http.urls == [("POST", "https://api.acme.example/texts")]
