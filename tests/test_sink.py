"""`keyroute sink` as a process of its own, with the webhook platform sending to it."""

import asyncio
import io
import json
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from adapters.platforms.webhook import Webhook, WebhookOptions
from router.delivery.http import HttpClient
from router.ports import Secret
from router.types import Event
from tests.platforms.events import SENDER, event
from tests.standins.receiver import SECRET

COMMAND = (sys.executable, "-c", "from router.cli import main; main()", "sink")
OTHER_SECRET = "whsec_YW4gb2xkZXIgc2VjcmV0LCAyNCsgYnl0ZXMgbG9uZw=="

PROGRAM = """
[programs.deals]
name = "Deals"

[programs.deals.replies.en]
opt_in = "Welcome."
opt_out = "Bye."
help = "Write to us."
"""

WEBHOOK = """
[destinations.{name}]
platform = "webhook"
url = "{url}"
secrets = ["file:secret"]
allow_private = true
"""

BRAZE = """
[destinations.braze]
platform = "braze"
url = "https://rest.iad-01.braze.com"
api_key = "file:secret"
"""


@pytest.fixture
def url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/events"


def write(folder: Path, *tables: str) -> Path:
    (folder / "secret").write_text(SECRET)
    file = folder / "keyroute.toml"
    file.write_text(PROGRAM + "".join(tables))
    return file


@asynccontextmanager
async def sink(file: Path, *arguments: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "--config", str(file), *arguments, stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def said(process: Process) -> str:
    assert process.stderr
    return (await asyncio.wait_for(process.stderr.readline(), 10)).decode()


async def send(url: str, *events: Event, secret: str = SECRET, batch_size: int = 1) -> list[int | None]:
    platform = Webhook("crm", WebhookOptions(url=url, secrets=(Secret(secret),), batch_size=batch_size), {})
    async with HttpClient(5.0, True) as http:
        return [error.status if error else None for error in await platform.deliver(http, events)]


async def test_it_prints_each_event_once_and_stops_after_the_count(tmp_path: Path, url: str) -> None:
    async with sink(write(tmp_path, WEBHOOK.format(name="crm", url=url)), "--count", "2") as process:
        started = await said(process), await said(process)
        first = await send(url, event("e1", text="grüße"))
        again = await send(url, event("e1"))
        forged = await send(url, event("e2"), secret=OTHER_SECRET)
        last = await send(url, event("e3"))
        printed, complaints = await asyncio.wait_for(process.communicate(), 10)

    assert f"Listening on {url} for the destination crm" in started[0]
    assert "keyroute serve" in started[1]
    assert [first, again, forged, last] == [[None], [None], [403], [None]]
    assert [json.loads(line)["data"]["message_id"] for line in printed.splitlines()] == ["SM-e1", "SM-e3"]
    assert "grüße".encode() in printed
    repeat, refused = complaints.decode().splitlines()
    assert repeat == "repeat of e1, not printed again"
    assert refused.startswith("refused: No signature")
    assert SENDER not in refused
    assert process.returncode == 0


async def test_it_prints_each_event_of_a_batch_once(tmp_path: Path, url: str) -> None:
    async with sink(write(tmp_path, WEBHOOK.format(name="crm", url=url)), "--count", "3") as process:
        await said(process), await said(process)
        first = await send(url, event("e1"), event("e2"), batch_size=10)
        again = await send(url, event("e2"), event("e3"), batch_size=10)
        printed, complaints = await asyncio.wait_for(process.communicate(), 10)

    assert first + again == [None] * 4
    assert [json.loads(line)["data"]["message_id"] for line in printed.splitlines()] == ["SM-e1", "SM-e2", "SM-e3"]
    assert complaints.decode().splitlines() == ["repeat of e2, not printed again"]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
async def test_it_stops_cleanly_when_asked(tmp_path: Path, url: str, stop: signal.Signals) -> None:
    async with sink(write(tmp_path, WEBHOOK.format(name="crm", url=url))) as process:
        await said(process)
        await said(process)
        await send(url, event())
        process.send_signal(stop)
        _, complaints = await asyncio.wait_for(process.communicate(), 10)

    assert b"Traceback" not in complaints
    assert process.returncode in (0, -stop)


async def test_it_answers_nothing_but_posts_to_its_path(tmp_path: Path, url: str) -> None:
    async with sink(write(tmp_path, WEBHOOK.format(name="crm", url=url))) as process, HttpClient(5.0, True) as http:
        await said(process)
        await said(process)
        elsewhere = await http.request("POST", url + "x", headers={}, body=b"")
        fetched = await http.request("GET", url, headers={}, body=b"")
        async with aiohttp.ClientSession() as session, session.post(url, data=io.BytesIO(bytes(5_000_000))) as huge:
            pass
        unsigned = await http.request("POST", url, headers={}, body=b"{}")

    assert [answer.status for answer in (elsewhere, fetched, huge, unsigned)] == [404, 405, 413, 403]


async def test_the_destination_can_be_chosen(tmp_path: Path, url: str) -> None:
    tables = WEBHOOK.format(name="crm", url="http://127.0.0.1:1/"), WEBHOOK.format(name="other", url=url), BRAZE
    async with sink(write(tmp_path, *tables), "--destination", "other") as process:
        assert "for the destination other" in await said(process)


@pytest.mark.parametrize(
    ("tables", "arguments", "complaint"),
    [
        ([BRAZE], [], "No destination signs"),
        ([BRAZE, WEBHOOK], ["--destination", "braze"], "Choose with --destination among: crm"),
        ([BRAZE, WEBHOOK], ["--destination", "crn"], "Choose with --destination among: crm"),
        ([WEBHOOK, WEBHOOK.replace("{name}", "second")], [], "Several destinations sign"),
        ([WEBHOOK.replace("{url}", "https://crm.example.com/")], [], "plain HTTP"),
        ([WEBHOOK.replace("{url}", "http://192.0.2.1:8090/")], [], "cannot listen on http://192.0.2.1:8090"),
        ([], [], "No destination signs"),
        (["[destinations"], [], "this is not TOML"),
    ],
)
async def test_what_keeps_it_from_listening_is_said(
    tmp_path: Path, url: str, tables: list[str], arguments: list[str], complaint: str
) -> None:
    written = [table.replace("{name}", "crm").replace("{url}", url) for table in tables]
    async with sink(write(tmp_path, *written), *arguments) as process:
        _, complaints = await asyncio.wait_for(process.communicate(), 10)

    assert complaint in complaints.decode()
    assert b"Traceback" not in complaints
    assert process.returncode in (1, 2)
