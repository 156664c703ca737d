"""What every call of the API has in common: keys and permissions, limits and their headers, and errors in JSON."""

import asyncio
import signal
from pathlib import Path

import aiohttp
import orjson
import pytest

from router.bearer import digest
from router.platform_api.operations import OPERATIONS, Operation
from tests.asgi import counted
from tests.calling import ANNA, KEY, Caller, calling
from tests.commits import until
from tests.receiving import OURS, SENDER
from tests.running import Keyroute, write_configuration

SET = "/subscription/status/set"
BODY = orjson.dumps({"subscription_group_id": "alerts", "subscription_state": "subscribed", "phone": ANNA})
LIMITS = {
    "/users/track": (3_000, 3),
    "/users/alias/new": (20_000, 60),
    "/users/alias/update": (20_000, 60),
    "/subscription/status/set": (5_000, 60),
    "/v2/subscription/status/set": (5_000, 60),
    "/subscription/status/get": (250_000, 3_600),
    "/subscription/user/status": (250_000, 3_600),
}
#: One that has no permission of the operation, with which to be refused.
OTHER_KEY = "a-key-that-may-do-little"

each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.path)


@pytest.mark.parametrize("key", [None, "", "nonsense", f'"{KEY}"', f"'{KEY}'", KEY.upper(), KEY + "x"])
@each_operation
async def test_without_a_key_that_is_known_nobody_gets_in(api: Caller, operation: Operation, key: str | None) -> None:
    reply = await api.send(operation.method, operation.path, BODY, key=key)

    assert (reply.status, reply.body) == (401, b'{"message":"Invalid API Key"}')
    assert reply.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("authorization", ["", "Bearer", "Basic eDp5", f"Token {KEY}", KEY, "Bearer \xff", "Bearer  "])
async def test_other_ways_to_say_who_calls_do_not_count(api: Caller, authorization: str) -> None:
    assert (await api.send("POST", SET, BODY, authorization=authorization)).status == 401


async def test_a_token_of_the_other_api_is_no_key_and_a_key_no_token(api: Caller) -> None:
    text = orjson.dumps({"id": "1", "from": SENDER, "to": OURS, "text": "hello"})

    assert (await api.send("POST", SET, BODY, key="a-token-for-the-tests")).status == 401
    assert (await api.send("POST", "/v1/messages", text, key=KEY)).status == 401
    assert (await api.send("POST", "/v1/messages", text, key="a-token-for-the-tests")).status == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_read_in_any_case(api: Caller, scheme: str) -> None:
    assert (await api.send("POST", SET, BODY, authorization=f"{scheme} {KEY}")).status == 201


@each_operation
async def test_a_key_without_the_permission_is_denied_and_one_of_the_permissions_is_enough(
    carriers: Path, embedded_url: str, prefix: str, operation: Operation
) -> None:
    others = [name for each in OPERATIONS for name in each.permissions if name not in operation.permissions]
    lines = key_lines("other", OTHER_KEY, others)
    for number, permission in enumerate(operation.permissions):
        lines += key_lines(f"one{number}", f"key-{number}", [permission])
    async with calling(carriers, embedded_url, prefix, api=lines) as api:
        denied = await api.send(operation.method, operation.path, BODY, key=OTHER_KEY)
        allowed = [
            await api.send(operation.method, operation.path, b"[]", key=f"key-{number}")
            for number in range(len(operation.permissions))
        ]

    assert (denied.status, denied.body) == (403, b'{"message":"Access Denied"}')
    assert {reply.status for reply in allowed} == {400}


def key_lines(name: str, key: str, permissions: list[str]) -> str:
    return f'[api.keys.{name}]\nsha256 = "{digest(key)}"\npermissions = {orjson.dumps(permissions).decode()}\n'


@each_operation
async def test_every_answer_has_the_documented_limits_in_its_headers(api: Caller, operation: Operation) -> None:
    limit, seconds = LIMITS[operation.path]
    reset = (int(api.clock.now) // seconds + 1) * seconds
    for key, taken in [("nonsense", 0), (KEY, 1), (KEY, 2), ("nonsense", 2)]:
        reply = await api.send(operation.method, operation.path, b"", key=key)
        assert reply.headers["x-ratelimit-limit"] == str(limit)
        assert reply.headers["x-ratelimit-remaining"] == str(limit - taken)
        assert reply.headers["x-ratelimit-reset"] == str(reset)


async def test_a_call_too_many_is_refused_until_the_window_ends(carriers: Path, embedded_url: str, prefix: str) -> None:
    async with calling(carriers, embedded_url, prefix, api="rate_limit_factor = 0.0004") as api:
        api.clock.now = 1_800_000_010.0
        statuses = [(await api.send("POST", SET, BODY)).status for _ in range(2)]
        refused = await api.send("POST", f"/v2{SET}", BODY)
        other = await api.send("POST", "/users/alias/new", BODY)
        api.clock.now += int(refused.headers["retry-after"])
        after = await api.send("POST", SET, BODY)

    assert statuses == [201, 201]
    assert (refused.status, refused.body) == (429, b'{"message":"Rate Limited"}')
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert refused.headers["retry-after"] == "50"
    assert other.status == 400
    assert (after.status, after.headers["x-ratelimit-remaining"]) == (201, "1")


async def test_all_processes_count_together(carriers: Path, embedded_url: str, prefix: str) -> None:
    async with (
        calling(carriers, embedded_url, prefix, api="rate_limit_factor = 0.004") as one,
        calling(carriers, embedded_url, prefix, api="rate_limit_factor = 0.004") as other,
    ):
        replies = await asyncio.gather(*(each.send("POST", SET, BODY) for each in (one, other) for _ in range(20)))
        last = await one.send("POST", SET, BODY)

    assert sorted(reply.status for reply in replies) == [201] * 20 + [429] * 20
    assert last.headers["x-ratelimit-remaining"] == "0"


async def test_limits_can_be_turned_off(carriers: Path, embedded_url: str, prefix: str) -> None:
    async with calling(carriers, embedded_url, prefix, api="rate_limit_factor = 0") as api:
        reply = await api.send("POST", SET, BODY)

    assert reply.status == 201
    assert [name for name in reply.headers if name.startswith("x-ratelimit")] == []


async def test_a_body_that_is_too_large_is_refused(api: Caller) -> None:
    reply = await api.send("POST", SET, b"x" * 200_001)

    assert reply.status == 413
    assert "server.max_body_bytes" in orjson.loads(reply.body)["message"]


@each_operation
async def test_a_wrong_method_is_refused_in_json(api: Caller, operation: Operation) -> None:
    reply = await api.send("DELETE", operation.path, b"")

    assert reply.status == 405
    assert operation.method in reply.headers["allow"]
    assert orjson.loads(reply.body)["message"].startswith("Method Not Allowed")


async def test_a_path_that_does_not_exist_is_said_in_json_and_to_carriers_in_words(api: Caller) -> None:
    unknown, carrier = await api.send("POST", "/users/identify", b"{}"), await api.send("POST", "/in/acme/x", b"{}")

    assert (unknown.status, orjson.loads(unknown.body)["message"][:9]) == (404, "Not Found")
    assert (carrier.status, carrier.body) == (404, b"Not Found")


async def test_while_the_store_is_away_callers_are_told_to_come_again(
    carriers: Path, embedded_url: str, prefix: str
) -> None:
    async with calling(carriers, "redis://127.0.0.1:1/0", prefix) as api:
        reply = await api.send("POST", SET, BODY)

    assert reply.status == 503
    assert reply.headers["retry-after"] == "1"
    assert "Send it again" in orjson.loads(reply.body)["message"]


async def test_no_answer_holds_a_key(api: Caller) -> None:
    bodies = [b"{", b"{}", BODY, orjson.dumps({"api_key": KEY}), orjson.dumps({"user_aliases": [{"x": KEY}]})]
    replies = [
        await api.send(operation.method, operation.path, body, key=key, query=f"api_key={KEY}")
        for operation in OPERATIONS
        for body in bodies
        for key in (KEY, "wrong" + KEY)
    ]

    assert [reply.body for reply in replies if KEY.encode() in reply.body] == []


async def test_requests_are_counted_by_outcome(api: Caller) -> None:
    await api.send("POST", SET, BODY)
    await api.send("POST", SET, b"{}")
    await api.send("POST", SET, BODY, key="nonsense")

    assert await counted(api.app, "keyroute_requests_total", "outcome", account="api") == {
        "accepted": 1,
        "CallRefused": 1,
        "BadToken": 1,
    }


def test_the_limits_are_those_of_every_operation_and_no_other() -> None:
    assert {operation.path for operation in OPERATIONS} == set(LIMITS)


async def test_a_reload_lets_new_keys_in_and_those_that_are_gone_no_more(tmp_path: Path) -> None:
    old, new = (key_lines(name, f"a-key-called-{name}", ["subscription.groups.get"]) for name in ("old", "new"))
    config = write_configuration(tmp_path, extra=old)
    async with Keyroute(config) as server, aiohttp.ClientSession() as session:

        async def status(name: str) -> int:
            headers = {"Authorization": f"Bearer a-key-called-{name}"}
            async with session.get(
                f"{server.origin}/subscription/user/status?phone={ANNA}", headers=headers
            ) as response:
                return response.status

        before = [await status("old"), await status("new")]
        config.write_text(config.read_text().replace(old, new))
        server.process.send_signal(signal.SIGHUP)

        async def gone() -> bool:
            return await status("old") == 401

        await until(gone)
        assert before == [200, 401]
        assert await status("new") == 200
