"""Replies that have to be sent, end to end: a real process, a store, and a carrier that texts go to."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from standardwebhooks import Webhook

from tests.running import Keyroute, write_configuration
from tests.standins.receiver import SECRET, Receiver
from tests.test_cli import keyroute

ACME = """
[accounts.acme]
carrier = "standard_webhooks"
secrets = ["file:acme.secret"]
url = "{url}"
allow_private = true
[[numbers]]
number = "+14155550177"
account = "acme"
type = "long_code"
program = "deals"
"""
OURS, PERSON = "+14155550177", "+14155550123"


def configuration(folder: Path, carrier: Receiver) -> Path:
    (folder / "acme.secret").write_text(SECRET)
    return write_configuration(folder, extra=ACME.format(url=carrier.url))


async def text(session: aiohttp.ClientSession, server: Keyroute, message_id: str, words: str) -> int:
    """Sends a signed text; the status of the answer."""
    data = {"id": message_id, "from": PERSON, "to": OURS, "text": words, "channel": "sms", "media": []}
    body = json.dumps({"type": "message.received", "timestamp": "2026-02-03T10:00:00Z", "data": data})
    now = int(time.time())
    signature = Webhook(SECRET).sign(message_id, datetime.fromtimestamp(now, UTC), body)
    headers = {"webhook-id": message_id, "webhook-timestamp": str(now), "webhook-signature": signature}
    async with session.post(f"{server.origin}/in/acme", data=body, headers=headers) as response:
        assert await response.read() == b""
        return response.status


def said(carrier: Receiver) -> list[Any]:
    return [event["data"]["text"] for event in carrier.events]


async def test_what_is_not_answered_in_place_is_sent_once_in_order_and_the_opt_out_confirmed(tmp_path: Path) -> None:
    before = (("1", "START"), ("1", "START"), ("2", "YES"), ("3", "COUPONS"), ("4", "HELP"))
    behind = (("5", "Stop please!!"), ("6", "COUPONS"), ("7", "STOP"), ("8", "HELP"))
    async with (
        Receiver() as carrier,
        aiohttp.ClientSession() as session,
        Keyroute(configuration(tmp_path, carrier)) as server,
    ):
        statuses = [await text(session, server, *written) for written in before]
        await carrier.wait_for(4)
        statuses += [await text(session, server, *written) for written in behind]
        await carrier.wait_for(6)

    assert set(statuses) == {200}
    assert said(carrier) == [
        "Reply YES to get Deals.",
        "Welcome to Deals.",
        "Ten percent off & more.",
        "Deals: call 555.",
        "You get no more Deals.",
        "Deals: call 555.",
    ]
    assert {(event["type"], event["data"]["from"], event["data"]["to"]) for event in carrier.events} == {
        ("message.send", OURS, PERSON)
    }


async def test_replies_wait_for_a_carrier_that_is_away_and_for_a_process_that_was_killed(tmp_path: Path) -> None:
    async with Receiver() as carrier, aiohttp.ClientSession() as session:
        carrier.failing = 503
        server = Keyroute(configuration(tmp_path, carrier))
        async with server:
            await text(session, server, "1", "COUPONS")
            await carrier.until(lambda: bool(carrier.attempts), 10)
            server.kill()
            carrier.failing = None
            server.start()
            await carrier.wait_for(1, 20)

    assert said(carrier) == ["Ten percent off & more."]


@pytest.mark.parametrize(("url", "warned"), [(True, False), (False, True)])
def test_check_warns_of_an_account_that_cannot_answer(tmp_path: Path, url: bool, warned: bool) -> None:
    (tmp_path / "acme.secret").write_text(SECRET)
    keys = ACME.format(url="https://texts.example.com/send")
    config = write_configuration(tmp_path, extra=keys if url else keys.replace('url = "https', '#url = "https'))
    ran = keyroute("check", config)

    assert ran.returncode == 0
    assert ("accounts.acme: people get no replies" in ran.stderr) == warned
