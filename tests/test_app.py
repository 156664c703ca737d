"""The real server over real sockets: what good and bad requests get (the design's table of bad input, row by row)."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.commits import until
from tests.running import ALERTS, API_TOKEN, DEALS, KEYROUTE, Keyroute, Twilio, write_configuration
from tests.standins.receiver import Receiver

SILENCE = b"<Response/>"
SENDER = "+14155550101"


@dataclass
class World:
    """A running server, the receiver of its events, and ways to speak to it."""

    server: Keyroute
    receiver: Receiver
    session: aiohttp.ClientSession
    twilio: Twilio
    config: Path

    async def message(self, token: str = API_TOKEN, **body: Any) -> tuple[int, bytes]:
        """`POST /v1/messages`."""
        headers = {"Authorization": f"Bearer {token}"}
        async with self.session.post(f"{self.server.origin}/v1/messages", json=body, headers=headers) as response:
            return response.status, await response.read()

    async def get(self, path: str) -> tuple[int, str]:
        async with self.session.get(self.server.origin + path) as response:
            return response.status, await response.text()

    async def metric(self, name: str) -> float:
        """The value of a metric, 0 if it was never counted."""
        _, text = await self.get("/metrics")
        found = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(name + " ")]
        return float(found[0]) if found else 0.0

    async def run(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        """A `keyroute` command on the same configuration: exit code, output, errors."""
        process = await asyncio.create_subprocess_exec(
            str(KEYROUTE), *arguments, "--config", str(self.config), stdout=-1, stderr=-1, stdin=-1
        )
        out, err = await process.communicate(stdin.encode())
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def dead(self) -> list[dict[str, Any]]:
        """What `keyroute dead list` shows."""
        code, out, err = await self.run("dead", "list")
        assert code == 0, err
        return [json.loads(line) for line in out.splitlines()]

    async def consent(self, number: str = SENDER) -> dict[str, str]:
        """What `keyroute lookup` shows: program → state."""
        code, out, err = await self.run("lookup", number)
        assert code == 0, err
        return {program: consent["state"] for program, consent in json.loads(out)["consent"].items()}

    @property
    def store_pid(self) -> int:
        """The embedded store's process."""
        children = Path(f"/proc/{self.server.process.pid}/task/{self.server.process.pid}/children").read_text()
        return int(children.split()[0])


@asynccontextmanager
async def world(folder: Path, **settings: str) -> AsyncIterator[World]:
    """Everything running."""
    async with Receiver() as receiver, aiohttp.ClientSession() as session:
        config = write_configuration(folder, crm=receiver.url, **settings)
        async with Keyroute(config) as server:
            yield World(server, receiver, session, Twilio(server.origin, session), config)


async def test_a_signed_text_is_answered_stored_and_delivered_and_its_repeat_changes_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        first = await w.twilio.text("SM1", "coupons", sender=SENDER)
        repeat = await w.twilio.text("SM1", "coupons", sender=SENDER)
        await w.twilio.text("SM2", "Stop please!!", sender=SENDER)
        await w.receiver.wait_for(2)

        assert first == repeat
        assert first == (200, b"<Response><Message>Ten percent off &amp; more.</Message></Response>")
        assert [event["data"]["intent"] for event in w.receiver.events] == ["custom", "opt_out"]
        assert [event["data"]["from"] for event in w.receiver.events] == [SENDER] * 2
        assert await w.consent() == {"deals": "unsubscribed"}
        assert await w.metric('keyroute_repeats_total{account="twilio"}') == 1


async def test_double_opt_in_asks_then_subscribes_and_an_opted_out_person_hears_nothing_but_help(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as w:

        async def reply(number: int, text: str) -> str:
            status, body = await w.twilio.text(f"SM{number}", text, sender=SENDER)
            assert status == 200
            return body.decode().removeprefix("<Response><Message>").removesuffix("</Message></Response>")

        silence = SILENCE.decode()
        said = [
            "YES",
            "START",
            "YES",
            "arrêt",
            "STOP",
            "COUPONS",
            "what?",
            "HELP",
            "aide",
            "START",
            "STOP",
            "START",
            "oui",
        ]
        heard = [await reply(number, text) for number, text in enumerate(said)]

        assert heard == [
            silence,
            "Reply YES to get Deals.",
            "Welcome to Deals.",
            "Vous êtes désabonné.",
            silence,
            silence,
            silence,
            "Deals: call 555.",
            "Aide : appelez le 555.",
            "Répondez OUI.",
            "Vous êtes désabonné.",
            "Répondez OUI.",
            "Bienvenue.",
        ]
        assert await w.consent() == {"deals": "subscribed"}


@pytest.mark.parametrize("signature", ["", "nonsense", "RSOYDt4T1cUTdK1PDd93/VVr8B8=", "\xe9\xff"])
async def test_a_wrong_or_missing_signature_gets_403_and_nothing_else_happens(tmp_path: Path, signature: str) -> None:
    async with world(tmp_path) as w:
        form = {"MessageSid": "SM1", "From": SENDER, "To": DEALS, "Body": "STOP"}

        assert await w.twilio.post(form, signature) == (403, b"")
        assert await w.metric('keyroute_requests_total{account="twilio",outcome="BadSignature"}') == 1
        assert await w.dead() == []
        assert await w.consent() == {}


async def test_a_body_that_is_too_large_too_long_or_of_the_wrong_type_is_refused_and_counted(tmp_path: Path) -> None:
    async with world(tmp_path, extra="[server]\nmax_body_bytes = 100000\n") as w:
        too_large, _ = await w.twilio.text("SM1", "x" * 100_001)
        fields = {f"Field{i}": "" for i in range(1001)}
        too_long, _ = await w.twilio.text("SM2", "x", **fields)
        headers = {"X-Twilio-Signature": "qqQqBd3PcJr4RfK3pDMnTC4zWJQ=", "Content-Type": "text/plain"}
        url = f"{w.server.origin}/v1/messages"
        async with w.session.post(
            url, data="{}", headers={"Authorization": f"Bearer {API_TOKEN}"} | headers
        ) as response:
            wrong_type = response.status

        assert (too_large, too_long, wrong_type) == (413, 400, 415)
        for account, outcome in [("twilio", "BodyTooLarge"), ("twilio", "TooManyFields"), ("api", "WrongContentType")]:
            assert await w.metric(f'keyroute_requests_total{{account="{account}",outcome="{outcome}"}}') == 1


async def test_an_authentic_request_that_makes_no_sense_is_kept_with_its_body(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        status, body = await w.twilio.text("SM1", "STOP", sender="+1415abc0110")
        (letter,) = await w.dead()
        code, shown, _ = await w.run("dead", "show", letter["id"])

        assert status == 400
        assert b"sender" in body
        assert "sender" in letter["reason"]
        assert code == 0
        assert json.loads(shown)["record"]["request"]["account"] == "twilio"
        code, _, err = await w.run("dead", "retry", letter["id"])
        assert code == 1
        assert "sender" in err
        assert (await w.run("dead", "drop", letter["id"]))[1] == "dropped 1\n"
        assert await w.dead() == []


async def test_a_text_to_a_number_without_program_is_kept_and_its_opt_out_holds_for_the_account(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.twilio.text("SM1", "START", sender=SENDER, to=ALERTS)
        hello = await w.twilio.text("SM2", "hello", sender=SENDER, to="+14155550888")
        stop = await w.twilio.text("SM3", "stop", sender=SENDER, to="+14155550888")
        after = await w.twilio.text("SM4", "status", sender=SENDER, to=ALERTS)
        await w.receiver.wait_for(3)

        assert [hello, stop, after] == [(200, SILENCE)] * 3
        assert ["unrouted" in letter["reason"] for letter in await w.dead()] == [True, True]
        assert await w.metric('keyroute_unrouted_total{account="twilio"}') == 2
        told = [event["data"] for event in w.receiver.events]
        assert [(data["intent"], data["program"], data["before"]) for data in told] == [
            ("opt_in", "alerts", "none"),
            ("opt_out", None, "none"),
            ("custom", "alerts", "unsubscribed"),
        ]


async def test_who_has_opted_out_at_the_carrier_is_shown(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        report = {"MessageStatus": "failed", "ErrorCode": "21610", "From": ALERTS, "To": SENDER}
        assert await w.twilio.text("SM1", "", **report) == (200, SILENCE)
        code, out, err = await w.run("lookup", SENDER)

        assert code == 0, err
        assert json.loads(out)["blocked"][0]["number"] == ALERTS
        assert await w.consent() == {}
        assert await w.metric('keyroute_receipts_total{account="twilio",outcome="opted_out"}') == 1


async def test_an_opt_out_by_api_to_a_number_without_program_holds_too(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.message(id="1", **{"from": SENDER, "to": ALERTS, "text": "START"})
        await w.message(id="2", **{"from": SENDER, "to": "+14155550888", "text": "STOP"})
        _, answer = await w.message(id="3", **{"from": SENDER, "to": ALERTS, "text": "STATUS"})

        assert json.loads(answer)["decision"]["before"] == "unsubscribed"
        assert json.loads(answer)["decision"]["reply"] is None


async def test_an_unrouted_text_that_is_retried_keeps_its_id_and_overrules_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.twilio.text("SM1", "START", sender=SENDER, to="+14155550888")
        await w.twilio.text("SM2", "STOP", sender=SENDER, to=ALERTS)
        number = f'[[numbers]]\nnumber = "{ALERTS}"\naccount = "twilio"\ntype = "long_code"\nprogram = "alerts"\n'
        w.config.write_text(w.config.read_text() + number.replace(ALERTS, "+14155550888"))
        code, out, err = await w.run("dead", "retry", "--all")
        await w.receiver.wait_for(2)

        assert (code, out) == (0, "retried 1\n"), err
        assert await w.consent() == {"alerts": "unsubscribed"}
        assert sorted(event["data"]["message_id"] for event in w.receiver.events) == ["SM1", "SM2"]


async def test_limits_that_are_reloaded_count(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.config.write_text(w.config.read_text().replace("replies_per_hour = 1000000", "replies_per_hour = 1"))
        w.server.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(10):
            while not await w.metric('keyroute_reloads_total{outcome="done"}'):
                await asyncio.sleep(0.01)

        answers = [(await w.twilio.text(f"SM{i}", "HELP", sender=SENDER))[1] for i in range(2)]
        assert [b"call 555" in answer for answer in answers] == [True, False]


async def test_a_reload_in_the_first_moment_leaves_the_server_ready(tmp_path: Path) -> None:
    async with Receiver() as receiver:
        server = Keyroute(write_configuration(tmp_path, crm=receiver.url))
        server.start()
        await server.listening()
        server.process.send_signal(signal.SIGHUP)
        await server.ready()
        await asyncio.sleep(0.3)  # past the moment in which delivery would have begun
        await server.ready()
        server.stop()


async def test_a_reload_before_anybody_listens_for_it_ends_nothing_and_is_done_later(tmp_path: Path) -> None:
    server = Keyroute(write_configuration(tmp_path))
    server.start()

    async def blocked() -> bool:
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigBlk"))
        return bool(int(mask, 16) & 1 << signal.SIGHUP - 1)

    await until(blocked)
    server.process.send_signal(signal.SIGHUP)
    await server.ready()

    async def reloaded() -> bool:
        return "configuration reloaded" in server.log

    await until(reloaded)
    assert server.stop() == 0


async def test_texts_are_taken_while_a_long_spill_is_taken_in(tmp_path: Path) -> None:
    async with world(tmp_path, store="timeout_seconds = 0.3") as w:
        os.kill(w.store_pid, signal.SIGSTOP)
        people = [f"+1415556{i:04d}" for i in range(1000)]
        for sender in people:
            assert (await w.twilio.text("SM1", "START", sender=sender))[0] == 200
        w.server.kill()
        w.server.start()
        await w.server.listening()
        assert (await w.twilio.text("SM2", "YES", sender=people[-1]))[0] == 200
        await w.server.ready()
        await w.receiver.wait_for(1001, 20)

        assert await w.consent(people[-1]) == {"deals": "subscribed"}


@pytest.mark.parametrize("sender", ["38438", "BRAND"])
async def test_a_sender_that_is_no_phone_number_is_recorded_and_never_answered(tmp_path: Path, sender: str) -> None:
    async with world(tmp_path) as w:
        answers = [await w.twilio.text(f"SM{i}", text, sender=sender) for i, text in enumerate(["HELP", "STOP"])]
        await w.receiver.wait_for(2)

        assert answers == [(200, SILENCE)] * 2
        assert [event["data"]["from"] for event in w.receiver.events] == [sender] * 2
        assert [event["data"]["after"] for event in w.receiver.events] == ["none", "none"]


async def test_a_wrong_configuration_stops_the_start_with_every_error_at_once(tmp_path: Path) -> None:
    config = write_configuration(tmp_path, extra='[server]\nport = "x"\nhots = "y"\n')
    server = Keyroute(config)
    server.start()

    assert await asyncio.to_thread(server.process.wait, 20) == 2
    assert "server.port" in server.log
    assert "server.hots" in server.log
    assert "Traceback" not in server.log


async def test_a_wrong_reload_is_refused_and_a_good_one_is_used(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        written = w.config.read_text()

        async def reload(text: str, outcome: str) -> bytes:
            before = await w.metric(f'keyroute_reloads_total{{outcome="{outcome}"}}')
            w.config.write_text(text)
            w.server.process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(10):
                while await w.metric(f'keyroute_reloads_total{{outcome="{outcome}"}}') == before:
                    await asyncio.sleep(0.01)
            return (await w.twilio.text(f"SM{outcome}{len(text)}", "COUPONS", sender=SENDER))[1]

        assert b"Twenty" in await reload(written.replace("Ten percent", "Twenty"), "done")
        assert b"Twenty" in await reload(written.replace('words = ["COUPONS"]', 'words = ["STOP"]'), "refused")
        assert b"Twenty" in await reload(written + "\n[server]\nport = 9\n", "refused")
        await w.receiver.wait_for(3)


async def test_while_the_store_is_away_texts_wait_on_disk_and_go_first_when_it_is_back(tmp_path: Path) -> None:
    async with world(tmp_path, store="timeout_seconds = 0.3") as w:
        await w.twilio.text("SM0", "START", sender=SENDER)
        os.kill(w.store_pid, signal.SIGSTOP)
        away = [await w.twilio.text(f"SM{i}", text, sender=SENDER) for i, text in enumerate(["YES", "STOP"], 1)]
        status, problem = await w.message(id="1", **{"from": SENDER, "to": DEALS, "text": "HELP"})
        ready = await w.get("/readyz")
        os.kill(w.store_pid, signal.SIGCONT)
        await w.server.ready()
        repeat = await w.twilio.text("SM2", "STOP", sender=SENDER)
        await w.receiver.wait_for(3)

        assert away == [(200, SILENCE)] * 2
        assert status == 503
        assert json.loads(problem)["error"] == "StoreUnavailable"
        assert ready[0] == 503
        assert repeat == (200, SILENCE)
        assert [event["data"]["message_id"] for event in w.receiver.events] == ["SM0", "SM1", "SM2"]
        assert await w.consent() == {"deals": "unsubscribed"}


async def test_the_same_server_works_on_a_store_of_somebody_else(tmp_path: Path, redis_url: str, prefix: str) -> None:
    (tmp_path / "store.secret").write_text("secret")
    url = redis_url.replace(":secret@", "")
    settings = f'url = "{url}"\npassword = "file:store.secret"\nprefix = "{prefix}"'
    async with world(tmp_path, store=settings) as w:
        first = await w.twilio.text("SM1", "START", sender=SENDER)
        assert first == await w.twilio.text("SM1", "START", sender=SENDER)
        await w.receiver.wait_for(1)

        assert await w.consent() == {"deals": "pending"}


async def test_a_server_started_while_its_store_is_away_keeps_texts_and_says_what_is_wrong(tmp_path: Path) -> None:
    config = write_configuration(tmp_path, store='url = "redis://127.0.0.1:1/0"')
    server = Keyroute(config)
    server.start()
    async with aiohttp.ClientSession() as session:
        await server.listening()
        answer = await Twilio(server.origin, session).text("SM1", "STOP", sender=SENDER)
        async with session.get(f"{server.origin}/readyz") as response:
            ready = response.status
    server.stop()

    assert answer == (200, SILENCE)
    assert ready == 503
    assert "Start it, or correct store.url" in server.log
    assert [path.stat().st_size > 0 for path in (tmp_path / "data" / "spill").iterdir()] == [True]


async def test_a_store_that_is_not_what_the_configuration_says_stops_the_start_in_words(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    async with Keyroute(config):
        pass
    config.write_text(config.read_text().replace("shards = 4", "shards = 5"))
    server = Keyroute(config)
    server.start()

    assert await asyncio.to_thread(server.process.wait, 20) == 1
    assert "Set store.shards = 4" in server.log
    assert "Traceback" not in server.log


async def test_an_embedded_store_that_dies_is_started_again(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.twilio.text("SM0", "START", sender=SENDER)
        os.kill(w.store_pid, signal.SIGKILL)
        assert (await w.twilio.text("SM1", "YES", sender=SENDER))[0] == 200
        await w.server.ready()
        await w.receiver.wait_for(2)

        assert await w.consent() == {"deals": "subscribed"}


async def test_what_was_spilled_survives_the_process(tmp_path: Path) -> None:
    async with world(tmp_path, store="timeout_seconds = 0.3") as w:
        os.kill(w.store_pid, signal.SIGSTOP)
        assert await w.twilio.text("SM1", "STOP", sender=SENDER) == (200, SILENCE)
        w.server.kill()
        w.server.start()
        await w.server.ready()

        assert await w.consent() == {"deals": "unsubscribed"}


async def test_a_carrier_that_comes_again_is_asked_to(tmp_path: Path) -> None:
    async with world(tmp_path, store="timeout_seconds = 0.3", account="retries = true") as w:
        os.kill(w.store_pid, signal.SIGSTOP)
        assert (await w.twilio.text("SM1", "STOP", sender=SENDER))[0] == 503
        os.kill(w.store_pid, signal.SIGCONT)
        await w.server.ready()

        assert (await w.twilio.text("SM1", "STOP", sender=SENDER))[0] == 200


async def test_a_neighbour_service_gets_the_decision(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        body = {"id": "1", "from": SENDER, "to": ALERTS, "text": "status 12345"}
        status, answer = await w.message(**body)
        repeat = await w.message(**body)

        assert status == 200
        assert repeat == (status, answer)
        assert json.loads(answer)["decision"] == {
            "intent": "custom",
            "keyword": "STATUS",
            "argument": "12345",
            "program": "alerts",
            "language": None,
            "rule": "custom:alerts/STATUS",
            "before": "none",
            "after": "none",
            "reply": "All is well.",
            "changes": [],
        }


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"token": "wrong"}, 401, "Authorization"),
        ({"from": "not a number at all"}, 400, "sender"),
        ({"to": "?"}, 400, "recipient"),
        ({"id": ""}, 400, "id"),
        ({"surprise": 1}, 400, "surprise"),
        ({"text": 5}, 400, "text"),
        ({"channel": "pigeon"}, 400, "channel"),
    ],
)
async def test_a_bad_call_of_the_api_is_told_why_and_changes_nothing(
    tmp_path: Path, changes: dict[str, Any], status: int, says: str
) -> None:
    async with world(tmp_path) as w:
        body = {"id": "1", "from": SENDER, "to": DEALS, "text": "STOP"} | changes
        got, answer = await w.message(**body)

        assert got == status
        assert says in json.loads(answer)["message"]
        assert await w.consent() == {}
        assert len(await w.dead()) == (status == 400)


async def test_no_log_line_holds_a_number_a_text_or_a_secret(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.receiver.fail(500, 2)
        await w.twilio.text("SM1", "my secret words", sender=SENDER)
        await w.twilio.text("SM2", "x", sender="+1415abc0110")
        await w.receiver.wait_for(1, 10)
        log = w.server.log

    assert "delivery will be retried" in log
    assert not [word for word in (SENDER[1:], "secret words", API_TOKEN, "0123456789abcdef") if word in log]
