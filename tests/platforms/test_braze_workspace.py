"""The stand-in for Braze does to its callers what Braze does: what it says, and above all what it does not say."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from tests.running import free_port
from tests.standins.braze import API_KEY, Braze
from tests.standins.faults import GAVE_UP, LOST_ANSWERS, QUEUED, REFUSALS, TOO_LARGE, UNKNOWN, Faults

ANNA, BEN = "+14155550101", "+14155550102"
TRACK, ALIAS_NEW, EXPORT = "/users/track", "/users/alias/new", "/users/export/ids"
STATUS_SET, STATUS_SET_V1 = "/v2/subscription/status/set", "/subscription/status/set"
RATE_HEADERS = {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}
MODES = (*REFUSALS, *LOST_ANSWERS, *QUEUED, *TOO_LARGE, *GAVE_UP)

Answer = tuple[int, dict[str, Any], set[str]]


def alias(name: str) -> dict[str, str]:
    return {"alias_label": "phone", "alias_name": name}


def text(name: str, message_id: str = "SM1", **more: Any) -> dict[str, Any]:
    """A custom event of somebody."""
    properties = {"message_body": "hello", "sms_message_id": message_id}
    return {
        "user_alias": alias(name),
        "name": "said",
        "time": "2026-02-03T10:00:00Z",
        "properties": properties,
    } | more


def state(group: str, written: str, **who: Any) -> dict[str, Any]:
    return {"subscription_group_id": group, "subscription_state": written, **who}


class Caller:
    """Calls a workspace as anybody would."""

    def __init__(self, workspace: Braze, session: aiohttp.ClientSession) -> None:
        self._workspace = workspace
        self._session = session

    async def ask(self, method: str, path: str, body: bytes = b"", key: str = API_KEY) -> Answer:
        """Status, body and the rate headers of an answer; status 0 if there is none."""
        headers = {"Authorization": f"Bearer {key}"}
        try:
            async with self._session.request(
                method, self._workspace.url + path, data=body, headers=headers, timeout=aiohttp.ClientTimeout(0.3)
            ) as response:
                return response.status, await response.json(), RATE_HEADERS & response.headers.keys()
        except (TimeoutError, aiohttp.ClientError):
            return 0, {}, set()

    async def post(self, path: str, payload: dict[str, Any], key: str = API_KEY) -> Answer:
        return await self.ask("POST", path, orjson.dumps(payload), key)

    async def applied(self, count: int) -> list[str]:
        """The kinds of what was applied, once it is that many."""
        await self._workspace.until(lambda: len(self._workspace.applied) >= count)
        return [kind for kind, _ in self._workspace.applied]


@pytest.fixture
async def caller(workspace: Braze) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as session:
        yield Caller(workspace, session)


@pytest.mark.parametrize(
    ("path", "permission"),
    [
        (TRACK, "users.track"),
        (ALIAS_NEW, "users.alias.new"),
        (EXPORT, "users.export.ids"),
        (STATUS_SET, "subscription.status.set"),
        (STATUS_SET_V1, "subscription.status.set"),
        ("/messages/send", "messages.send"),
    ],
)
async def test_each_path_needs_the_key_and_its_permission_and_every_answer_tells_the_rate(
    workspace: Braze, caller: Caller, path: str, permission: str
) -> None:
    answers = [await caller.post(path, {}, key="other"), await caller.ask("POST", path, b"{")]
    workspace.permissions.remove(permission)
    answers += [await caller.post(path, {}), await caller.ask("PUT", path), await caller.post("/users/tracks", {})]

    assert [status for status, _, _ in answers] == [401, 400, 403, 404, 404]
    assert [answer["message"] for _, answer, _ in answers[::2]] == ["Invalid API Key", "Access Denied", "Not Found"]
    assert all(headers == RATE_HEADERS for _, _, headers in answers)


async def test_each_path_has_a_limit_of_its_own(caller: Caller, workspace: Braze) -> None:
    workspace.rates.of_paths[EXPORT] = (1, 60.0)
    answers = [await caller.post(EXPORT, {"fields_to_export": ["phone"]}) for _ in range(2)]
    answers.append(await caller.post(TRACK, {"events": [text(ANNA)]}))

    assert [status for status, _, _ in answers] == [201, 429, 201]
    assert all(headers == RATE_HEADERS for _, _, headers in answers)


async def test_it_answers_before_it_applies() -> None:
    async with Braze(delay=30) as workspace, aiohttp.ClientSession() as session:
        status, answer, _ = await Caller(workspace, session).post(ALIAS_NEW, {"user_aliases": [alias(ANNA)]})

        assert (status, answer) == (201, {"aliases_processed": 1, "message": "success"})
        assert workspace.profiles == {}


async def test_what_is_for_a_missing_alias_is_dropped_without_a_word(workspace: Braze, caller: Caller) -> None:
    status, answer, _ = await caller.post(
        TRACK,
        {
            "attributes": [{"user_alias": alias(ANNA), "phone": ANNA}],
            "events": [text(ANNA), text(BEN, _update_existing_only=False), text(ANNA, _update_existing_only=True)],
        },
    )
    await caller.applied(1)

    assert (status, answer) == (201, {"message": "success", "attributes_processed": 1, "events_processed": 3})
    assert [kind for kind, _ in workspace.dropped] == ["attributes", "event", "event"]
    assert list(workspace.profiles) == [("phone", BEN)]


async def test_an_unknown_external_id_or_phone_makes_a_user_and_no_alias(workspace: Braze, caller: Caller) -> None:
    attributes = [{"external_id": "u1", "first_name": "A"}, {"phone": ANNA}, {"phone": BEN}]
    attributes[2]["_update_existing_only"] = True  # type: ignore[assignment]
    await caller.post(TRACK, {"attributes": attributes})
    await caller.applied(2)

    assert list(workspace.users.by_external_id) == ["u1"]
    assert list(workspace.users.by_phone) == [ANNA]
    assert workspace.profiles == {}
    assert len(workspace.dropped) == 1


async def test_repeats_are_kept_and_attributes_come_first_wherever_they_stand(workspace: Braze, caller: Caller) -> None:
    body = {"events": [text(ANNA)], "attributes": [{"user_alias": alias(ANNA), "_update_existing_only": False}]}
    began = time.time()
    for _ in range(2):
        await caller.post(TRACK, body)

    assert await caller.applied(4) == ["attributes", "event"] * 2
    assert [(one.message_id, one.sender, one.request) for one in workspace.arrivals] == [
        ("SM1", ANNA, 1),
        ("SM1", ANNA, 2),
    ]
    assert all(began <= one.at <= time.time() for one in workspace.arrivals)
    assert workspace.report()["duplicates"] == {"SM1": 1}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (TRACK, {"events": [text(ANNA)] * 75, "attributes": [{"external_id": "u"}] * 75}, 201),
        (TRACK, {"events": [text(ANNA)] * 76}, 400),
        (TRACK, {"attributes": [{"external_id": "u"}] * 76}, 400),
        (TRACK, {"purchases": [{"external_id": "u"}] * 76}, 400),
        (ALIAS_NEW, {"user_aliases": [alias(ANNA)] * 50}, 201),
        (ALIAS_NEW, {"user_aliases": [alias(ANNA)] * 51}, 400),
        (EXPORT, {"user_aliases": [alias(ANNA)] * 50, "fields_to_export": ["phone"]}, 201),
        (EXPORT, {"user_aliases": [alias(ANNA)] * 51, "fields_to_export": ["phone"]}, 400),
        (EXPORT, {"user_aliases": [alias(ANNA)]}, 400),
        (STATUS_SET, {"subscription_groups": [state("g", "subscribed", phones=[ANNA] * 25)] * 2}, 201),
        (STATUS_SET, {"subscription_groups": [state("g", "subscribed", phones=[ANNA] * 26)] * 2}, 400),
        (STATUS_SET, {"subscription_groups": [state("g", "subscribed", phones=[ANNA], emails=["a@b"])]}, 400),
        (STATUS_SET, {"subscription_groups": [state("g", "gone", phones=[ANNA])]}, 400),
        (STATUS_SET, {}, 400),
        (STATUS_SET_V1, state("g", "subscribed", phone=[ANNA] * 51), 400),
        (STATUS_SET_V1, state("g", "subscribed", phone=ANNA, email="a@b"), 400),
    ],
)
async def test_more_than_a_request_may_hold_is_refused_whole(
    workspace: Braze, caller: Caller, path: str, body: dict[str, Any], status: int
) -> None:
    workspace.add_user(ANNA, phone=ANNA)

    assert (await caller.post(path, body))[0] == status


async def test_a_contract_may_count_all_objects_together() -> None:
    async with Braze(objects_in_all=50) as workspace, aiohttp.ClientSession() as session:
        many = {"events": [text(ANNA)] * 25, "attributes": [{"external_id": "u"}] * 26}

        assert (await Caller(workspace, session).post(TRACK, many))[0] == 400


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"name": ""}, "'name' is required"),
        ({"name": "off"}, "blocked"),
        ({"time": "yesterday"}, "'time' is required"),
        ({"time": "2026-02-03"}, "'time' is required"),
        ({"properties": {"time": 1}}, "not allowed"),
        ({"properties": {"$x": 1}}, "not allowed"),
        ({"properties": {"x": "ä" * 256}}, "longer than 255"),
    ],
)
async def test_a_faulty_object_is_named_and_the_others_are_taken(
    workspace: Braze, caller: Caller, wrong: dict[str, Any], why: str
) -> None:
    workspace.blocked_events.add("off")
    status, answer, _ = await caller.post(TRACK, {"events": [text(ANNA), text(ANNA) | wrong, {"name": "nobody's"}]})
    alone = await caller.post(TRACK, {"events": [text(ANNA) | wrong]})

    assert (status, answer["events_processed"]) == (201, 1)
    assert [(error["input_array"], error["index"]) for error in answer["errors"]] == [("events", 1), ("events", 2)]
    assert why in answer["errors"][0]["type"]
    assert (alone[0], alone[1]["errors"][0]["index"]) == (400, 0)


@pytest.mark.parametrize(
    "written", ["2026-02-03T10:00:00.500Z", "2026-02-03T10:00:00+01:00", "2026-02-03T10:00:00:500Z"]
)
async def test_both_documented_forms_of_a_time_are_taken(caller: Caller, written: str) -> None:
    assert (await caller.post(TRACK, {"events": [text(ANNA, time=written)]}))[0] == 201


async def test_a_state_is_of_all_who_share_the_phone_and_of_nobody_if_none_has_it(
    workspace: Braze, caller: Caller
) -> None:
    anna, other = workspace.add_user(ANNA, phone=ANNA), workspace.add_user("x", external_id="u1", phone=ANNA)
    await caller.post(STATUS_SET, {"subscription_groups": [state("g", "subscribed", phones=[ANNA, BEN])]})
    await caller.post(STATUS_SET_V1, state("h", "unsubscribed", external_id="u1"))
    await caller.applied(2)

    assert anna.groups == other.groups == {"g": "subscribed", "h": "unsubscribed"}
    assert [(kind, item["phones"]) for kind, item in workspace.dropped] == [("state", [BEN])]


async def test_a_number_that_is_known_keeps_its_states_and_who_takes_it_over_inherits_them(
    workspace: Braze, caller: Caller
) -> None:
    anna, ben = workspace.add_user(ANNA, phone=ANNA), workspace.add_user(BEN, phone=BEN)
    workspace.users.set_state([anna], "g", "unsubscribed")
    workspace.users.set_state([ben], "g", "subscribed")
    await caller.post(TRACK, {"attributes": [{"user_alias": alias(BEN), "phone": ANNA}]})
    await caller.applied(1)
    assert ben.groups == {"g": "unsubscribed"}

    await caller.post(TRACK, {"attributes": [{"user_alias": alias(BEN), "phone": "+14155550103"}]})
    await caller.applied(2)
    workspace.users.set_state([anna], "g", "subscribed")
    assert ben.groups == {"g": "unsubscribed"}


async def test_an_alias_that_is_taken_stays_as_it_is_and_the_answer_is_success(
    workspace: Braze, caller: Caller
) -> None:
    anna = workspace.add_user(ANNA, phone=ANNA)
    asked = [alias(ANNA), alias(BEN) | {"external_id": "nobody"}]
    status, answer, _ = await caller.post(ALIAS_NEW, {"user_aliases": asked})
    await caller.applied(2)

    assert (status, answer["aliases_processed"]) == (201, 2)
    assert workspace.profiles == {("phone", ANNA): anna}


async def test_states_are_read_later_than_they_are_set(workspace: Braze, caller: Caller) -> None:
    workspace.add_user(ANNA, phone=ANNA)
    set_ = {"subscription_groups": [state("g", "subscribed", phones=[ANNA])]}
    read = f"/subscription/status/get?subscription_group_id=g&phone=%2B{ANNA[1:]}"
    workspace.users.lag = 60.0
    await caller.post(STATUS_SET, set_)
    await caller.applied(1)
    late = await caller.ask("GET", read)
    workspace.users.lag = 0.0
    await caller.post(STATUS_SET, set_)
    await caller.applied(2)

    assert workspace.state(ANNA, "g") == "subscribed"
    assert late[:2] == (200, {"status": {ANNA: "Unknown"}, "message": "success"})
    assert (await caller.ask("GET", read))[1]["status"] == {ANNA: "Subscribed"}


async def test_whoever_is_not_subscribed_is_sent_nothing_and_the_answer_is_success(
    workspace: Braze, caller: Caller
) -> None:
    anna = workspace.add_user(ANNA, phone=ANNA)
    workspace.add_user(BEN, phone=BEN)
    workspace.users.set_state([anna], "g", "subscribed")
    sms = {"subscription_group_id": "g", "body": "Sale", "app_id": "a"}
    asked = {"user_aliases": [alias(ANNA), alias(BEN), alias("+1")], "messages": {"sms": sms}}

    assert (await caller.post("/messages/send", asked))[1]["message"] == "success"
    assert workspace.sent == [(ANNA, sms)]


async def test_an_export_has_the_fields_asked_for_and_leaves_out_who_is_not_there(
    workspace: Braze, caller: Caller
) -> None:
    workspace.add_user(ANNA, external_id="u1", phone=ANNA)
    workspace.add_user(BEN)
    asked = {"user_aliases": [alias(ANNA), alias(BEN), alias("+1")], "external_ids": ["u1", "u2"]}
    _, answer, _ = await caller.post(EXPORT, asked | {"fields_to_export": ["user_aliases", "phone"]})

    assert answer["users"] == [
        {"user_aliases": [alias(ANNA)], "phone": ANNA[1:]},
        {"user_aliases": [alias(BEN)]},
    ]
    assert answer["invalid_user_ids"] == ["u2"]


async def test_a_user_who_is_removed_takes_aliases_and_number_along(workspace: Braze, caller: Caller) -> None:
    workspace.add_user(ANNA, external_id="u1", phone=ANNA)
    workspace.add_user("x", external_id="u1", alias_label="crm")
    workspace.remove_user(ANNA)

    assert (workspace.profiles, workspace.users.by_phone, workspace.users.by_external_id) == ({}, {}, {})


@pytest.mark.parametrize("mode", MODES)
async def test_every_fault_leaves_what_its_name_says_and_is_counted(
    workspace: Braze, caller: Caller, mode: str
) -> None:
    workspace.random_faults = Faults(1.0, 1, [mode])
    events = [text(ANNA, "SM1", _update_existing_only=False), text(BEN, "SM2", _update_existing_only=False)]
    status, answer, headers = await caller.post(TRACK, {"events": events})
    applies = mode in LOST_ANSWERS or mode in QUEUED
    if applies:
        await caller.applied(2)

    assert status == (0 if mode.startswith(("hang", "cut")) else int(mode.split()[0]))
    assert headers == (RATE_HEADERS if status else set())
    assert answer.get("message") != "success"
    assert len(workspace.arrivals) == 2 * applies
    assert workspace.unknown == ({"SM1": 1, "SM2": 1} if mode in UNKNOWN else {})
    assert workspace.random_faults.counts == {mode: 1}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (TRACK, {"attributes": [{"user_alias": alias(ANNA)}], "events": [text(ANNA)]}),
        (ALIAS_NEW, {"user_aliases": [alias(ANNA)]}),
        (EXPORT, {"user_aliases": [alias(ANNA)], "fields_to_export": ["user_aliases", "phone"]}),
        (STATUS_SET, {"subscription_groups": [state("g", "subscribed", phones=[ANNA])]}),
    ],
)
async def test_a_request_about_one_person_is_never_too_large_by_chance(
    workspace: Braze, caller: Caller, path: str, body: dict[str, Any]
) -> None:
    workspace.random_faults = Faults(1.0, 1, TOO_LARGE)

    assert (await caller.post(path, body))[0] == 201
    assert workspace.random_faults.counts == {}


def test_a_seed_gives_the_same_faults_again_and_all_of_them() -> None:
    async def drawn(seed: int) -> list[str | None]:
        faults = Braze().faults(0.5, seed)
        return [faults.draw() for _ in range(1000)]

    one, again, other = (asyncio.run(drawn(seed)) for seed in (1, 1, 2))

    assert one == again != other
    assert set(one) == {None, *MODES}


async def test_a_caller_who_did_not_wait_for_the_answer_cannot_know(workspace: Braze, caller: Caller) -> None:
    workspace.latency = 0.5  # more than the caller's patience
    status, _, _ = await caller.post(TRACK, {"events": [text(ANNA, _update_existing_only=False)]})
    await workspace.wait_for(1)

    assert status == 0
    assert workspace.unknown == {"SM1": 1}


@pytest.mark.parametrize("recorded", [False, True])
async def test_as_a_process_of_its_own_it_reports_what_came(tmp_path: Path, recorded: bool) -> None:
    file, port = tmp_path / "events.jsonl", free_port()
    options = ["--port", str(port), "--delay", "0", "--faults", "0.5", "--seed", "3"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.standins.braze", *options, *(["--record", str(file)] if recorded else [])),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    try:
        origin = (await process.stdout.readline()).decode().strip()
        workspace = Braze()
        workspace.origin = origin
        async with aiohttp.ClientSession() as session:
            caller = Caller(workspace, session)
            for n in range(20):
                await caller.post(TRACK, {"events": [text(ANNA, f"SM{n % 10}")]})
            _, report, _ = await caller.ask("GET", "/_report")
    finally:
        process.terminate()
        await process.wait()
    lines = [orjson.loads(line) for line in file.read_bytes().splitlines()] if recorded else []
    events = [line for line in lines if "message_id" in line] if recorded else report["events"]
    dropped = [line for line in lines if "dropped" in line] if recorded else report["dropped"]

    assert origin == f"http://127.0.0.1:{port}"
    assert process.returncode == 0
    assert report["requests"] == {TRACK: 20}
    assert sum(report["faults"].values()) > 0
    assert len(events) == len(dropped) == report["counts"]["events"] == report["counts"]["dropped"]
    assert sum(report["duplicates"].values()) == len(events) - len({one["message_id"] for one in events})
    assert ("events" in report) != recorded
