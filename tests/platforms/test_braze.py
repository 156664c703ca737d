"""Braze, against a workspace that drops in silence what the real one drops."""

import json
from typing import Any

import pytest
from hypothesis import given
from pydantic import ValidationError
from structlog.testing import capture_logs

from adapters.platforms.braze import Braze, BrazeOptions, BrazeProgramOptions
from router.delivery.http import HttpClient
from router.errors import DeliveryError
from router.ports import Platform, Secret, Warns
from router.types import ConsentState, Event, Intent
from tests.platforms.at_braze import PROGRAMS, braze, crowd, outcomes, refusal
from tests.platforms.events import SENDER, any_event, event
from tests.standins.braze import API_KEY
from tests.standins.braze import Braze as Workspace
from tests.standins.recorder import Recorder


def test_it_is_a_platform() -> None:
    platform: type[Platform] = Braze

    assert (platform.needs_alias, platform.one_per_sender, platform.alias_batch_size) == (True, True, 50)
    assert braze("https://rest.iad-01.braze.com").batch_size == 75


async def test_a_text_becomes_the_documented_custom_event(workspace: Workspace, http: HttpClient) -> None:
    workspace.add_user(SENDER)

    results = await braze(workspace.url).deliver(http, [event("e1", text="COUPONS für MICH")])
    await workspace.wait_for(1)

    assert list(results) == [None]
    assert workspace.events == [
        {
            "user_alias": {"alias_label": "phone", "alias_name": "+14155550123"},
            "_update_existing_only": False,
            "name": "sms_response_Deals_custom",
            "time": "2026-02-03T10:00:00.500Z",
            "properties": {
                "message_body": "coupons für mich",
                "to_number": "20202",
                "from_number": "+14155550123",
                "sms_message_id": "SM-e1",
            },
        }
    ]


async def test_a_long_text_is_cut_to_what_a_property_holds(workspace: Workspace, http: HttpClient) -> None:
    workspace.add_user(SENDER)

    results = await braze(workspace.url).deliver(http, [event(text="İ" * 200)])
    await workspace.wait_for(1)

    assert list(results) == [None]
    assert workspace.events[0]["properties"]["message_body"] == ("İ" * 200).lower()[:255]


EVENT, GROUP, NOTHING = "event", "attributes", None


@pytest.mark.parametrize(
    ("intent", "before", "after", "program", "told"),
    [
        ("custom", "subscribed", "subscribed", "deals", EVENT),
        ("custom", "none", "none", "plain", EVENT),
        ("none", "unsubscribed", "unsubscribed", "deals", EVENT),
        ("confirm", "none", "none", "deals", EVENT),
        ("confirm", "subscribed", "subscribed", "deals", EVENT),
        ("confirm", "pending", "subscribed", "deals", GROUP),
        ("opt_in", "none", "subscribed", "deals", GROUP),
        ("opt_in", "unsubscribed", "subscribed", "deals", GROUP),
        ("opt_in", "none", "pending", "deals", NOTHING),
        ("opt_in", "subscribed", "subscribed", "deals", NOTHING),
        ("opt_in", "none", "subscribed", "plain", NOTHING),
        ("opt_out", "subscribed", "unsubscribed", "deals", GROUP),
        ("opt_out", "unsubscribed", "unsubscribed", "deals", GROUP),
        ("opt_out", "pending", "unsubscribed", "deals", GROUP),
        ("opt_out", "subscribed", "unsubscribed", "plain", NOTHING),
        ("help", "subscribed", "subscribed", "deals", NOTHING),
        ("custom", "none", "none", None, NOTHING),
        ("none", "none", "none", None, NOTHING),
        ("custom", "none", "none", "elsewhere", NOTHING),
        ("opt_out", "subscribed", "unsubscribed", "elsewhere", NOTHING),
        ("opt_out", "none", "unsubscribed", None, GROUP),
    ],
)
async def test_what_braze_is_told_of(
    workspace: Workspace,
    http: HttpClient,
    intent: Intent,
    before: ConsentState,
    after: ConsentState,
    program: str | None,
    told: str | None,
) -> None:
    workspace.add_user(SENDER)
    platform = braze(workspace.url)
    said = event(intent=intent, before=before, after=after, program=program)

    results = await platform.deliver(http, [said])
    await workspace.until(lambda: len(workspace.applied) == bool(told))

    assert list(results) == [None]
    assert platform.wants(said) == bool(told)
    assert [kind for kind, _ in workspace.applied] == ([told] if told else [])
    assert len(workspace.requests) == bool(told)


@pytest.mark.parametrize(
    ("intent", "program", "states"),
    [
        ("opt_out", "deals", {"group-deals": "unsubscribed"}),
        ("opt_out", None, {"group-deals": "unsubscribed", "group-alerts": "unsubscribed"}),
        ("opt_in", "alerts", {"group-alerts": "subscribed"}),
    ],
)
async def test_consent_becomes_the_state_of_the_programs_group(
    workspace: Workspace, http: HttpClient, intent: Intent, program: str | None, states: dict[str, str]
) -> None:
    profile = workspace.add_user(SENDER, phone=SENDER)
    after: ConsentState = "subscribed" if intent == "opt_in" else "unsubscribed"

    await braze(workspace.url).deliver(http, [event(intent=intent, program=program, before="none", after=after)])
    await workspace.until(lambda: len(workspace.applied) == 1)

    assert profile.groups == states


async def test_a_configured_event_name_is_used_as_it_is(workspace: Workspace, http: HttpClient) -> None:
    workspace.add_user(SENDER)

    await braze(workspace.url).deliver(http, [event(program="alerts")])
    await workspace.wait_for(1)

    assert workspace.events[0]["name"] == "alert_text"


async def test_an_event_for_an_alias_not_yet_applied_is_not_dropped(workspace: Workspace, http: HttpClient) -> None:
    results = await braze(workspace.url).deliver(http, [event(new_alias=True)])
    await workspace.wait_for(1)

    assert list(results) == [None]
    assert workspace.dropped == []
    profile = workspace.profiles["phone", SENDER]
    assert (profile.phone, len(profile.events)) == (SENDER, 1)
    assert [kind for kind, _ in workspace.applied] == ["attributes", "event"]


async def test_a_person_without_a_number_is_given_none(workspace: Workspace, http: HttpClient) -> None:
    await braze(workspace.url).deliver(http, [event(sender="US.13491208655302741918", new_alias=True)])
    await workspace.wait_for(1)

    assert workspace.profiles["phone", "US.13491208655302741918"].phone is None


async def test_an_opt_out_is_kept_even_if_the_alias_is_gone_from_braze(workspace: Workspace, http: HttpClient) -> None:
    await braze(workspace.url).deliver(http, [event(intent="opt_out", after="unsubscribed")])
    await workspace.until(lambda: bool(workspace.applied or workspace.dropped))

    assert workspace.state(SENDER, "group-deals") == "unsubscribed"


async def test_an_event_is_kept_even_if_the_alias_is_gone_from_braze(workspace: Workspace, http: HttpClient) -> None:
    workspace.add_user(SENDER)
    workspace.remove_user(SENDER)
    await braze(workspace.url).deliver(http, [event()])
    await workspace.wait_for(1)

    assert workspace.dropped == []


async def test_aliases_are_created_and_repeating_it_is_harmless(workspace: Workspace, http: HttpClient) -> None:
    platform = braze(workspace.url, alias_label="handset")
    people = [f"+1415555{n:04}" for n in range(50)]

    await platform.ensure_aliases(http, people)
    await platform.ensure_aliases(http, people)
    await workspace.until(lambda: len(workspace.applied) == 100)

    assert set(workspace.profiles) == {("handset", name) for name in people}


async def test_more_aliases_than_braze_takes_is_an_error(workspace: Workspace, http: HttpClient) -> None:
    with pytest.raises(DeliveryError, match="max number") as caught:
        await braze(workspace.url).ensure_aliases(http, [str(n) for n in range(51)])

    assert (caught.value.status, caught.value.retryable) == (400, False)


async def test_a_batch_is_one_request(workspace: Workspace, http: HttpClient) -> None:
    results = await braze(workspace.url).deliver(http, crowd(75, new_alias=True))
    await workspace.wait_for(75)

    assert list(results) == [None] * 75
    assert len(workspace.requests) == 1


async def test_a_contract_of_fifty_objects_in_all_is_kept_by_halving(http: HttpClient) -> None:
    async with Workspace(delay=0, objects_in_all=50) as workspace:
        results = await braze(workspace.url).deliver(http, crowd(75, new_alias=True))
        await workspace.wait_for(75)

    assert list(results) == [None] * 75
    assert len(workspace.events) == 75
    assert workspace.dropped == []


async def test_a_request_too_large_is_halved(workspace: Workspace, http: HttpClient) -> None:
    for person in (people := crowd(10)):
        workspace.add_user(person.message.sender)
    workspace.too_large_over = 3

    results = await braze(workspace.url).deliver(http, people)
    await workspace.wait_for(10)

    assert list(results) == [None] * 10
    assert [item["properties"]["sms_message_id"] for item in workspace.events] == [f"SM-e{n}" for n in range(10)]


async def test_a_single_event_too_large_is_refused_for_good(workspace: Workspace, http: HttpClient) -> None:
    workspace.too_large_over = 0

    error = await refusal(braze(workspace.url), http, [event()])
    parts = await braze(workspace.url).deliver(http, crowd(2))

    assert (error.status, error.retryable) == (413, False)
    assert outcomes(parts) == [(413, False)] * 2


async def test_of_a_batch_only_the_faulty_event_fails(workspace: Workspace, http: HttpClient) -> None:
    workspace.add_user(SENDER)
    workspace.blocked_events.add("sms_response_Plain_custom")

    results = await braze(workspace.url).deliver(
        http, [event("e1"), event("e2", sender="+14155550124", program="plain"), event("e3", sender="+14155550125")]
    )

    assert outcomes(results) == [None, (201, False), None]
    assert results[1] is not None
    assert "sms_response_Plain_custom is blocked" in results[1].reason


async def test_a_batch_of_which_all_is_faulty_fails_event_by_event(workspace: Workspace, http: HttpClient) -> None:
    workspace.blocked_events.add("sms_response_Deals_custom")

    results = await braze(workspace.url).deliver(http, crowd(3))

    assert outcomes(results) == [(400, False)] * 3
    assert len(workspace.requests) == 1


async def test_the_good_of_a_request_refused_whole_is_sent_again_without_the_faulty(
    workspace: Workspace, http: HttpClient
) -> None:
    workspace.all_or_nothing = True
    workspace.blocked_events.add("sms_response_Plain_custom")

    results = await braze(workspace.url).deliver(
        http, [event("e1", new_alias=True), event("e2", sender="+14155550124", program="plain")]
    )
    await workspace.wait_for(1)

    assert outcomes(results) == [None, (400, False)]
    assert [len(payload["events"]) for _, payload in workspace.requests] == [2, 1]


async def test_in_a_request_refused_without_a_word_halving_finds_the_faulty(http: HttpClient) -> None:
    async with Workspace(delay=0) as workspace:
        workspace.all_or_nothing = True
        workspace.names_errors = False
        workspace.blocked_events.add("sms_response_Plain_custom")
        faulty = event("bad", sender="+14155559999", program="plain")

        results = await braze(workspace.url).deliver(http, [*crowd(7, new_alias=True), faulty])
        await workspace.wait_for(7)

    assert outcomes(results) == [None] * 7 + [(400, False)]


async def test_what_braze_remarks_without_naming_an_event_is_logged_and_all_is_delivered(
    workspace: Workspace, http: HttpClient
) -> None:
    workspace.add_user(SENDER)
    workspace.remarks = ["Number +14155550123 said coupons", {"type": "odd"}, {"input_array": "events", "index": 9}, 7]

    with capture_logs() as logs:
        results = await braze(workspace.url).deliver(http, [event(text="coupons")])

    assert list(results) == [None]
    assert [entry["notice"] for entry in logs] == ["Number …23 said …", "odd", "None", "7"]


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'{"errors":null}', b'{"errors":"x"}', b"\xff", b"{"])
async def test_any_2xx_is_accepted_whatever_stands_in_it(body: bytes) -> None:
    results = await braze("https://rest.iad-01.braze.com").deliver(Recorder(200, body), [event()])

    assert list(results) == [None]


async def test_a_queued_answer_is_accepted(workspace: Workspace, http: HttpClient) -> None:
    workspace.queueing = True

    results = await braze(workspace.url).deliver(http, [event(new_alias=True)])
    await workspace.wait_for(1)

    assert list(results) == [None]


@pytest.mark.parametrize(
    ("key", "permissions", "path", "status", "remedy"),
    [
        ("other", {"users.track"}, "", 401, "Check api_key"),
        (API_KEY, {"users.alias.new"}, "", 403, "permission users.track"),
        (API_KEY, {"users.track"}, "/v9", 404, "Check url"),
    ],
)
async def test_a_wrong_configuration_loses_nothing_and_says_what_to_mend(
    workspace: Workspace, http: HttpClient, key: str, permissions: set[str], path: str, status: int, remedy: str
) -> None:
    workspace.permissions = permissions
    settings = BrazeOptions.model_construct(
        url=workspace.url + path, api_key=Secret(key), batch_size=75, alias_label="phone"
    )

    error = await refusal(Braze("crm", settings, PROGRAMS), http, [event()])

    assert (error.status, error.retryable, error.retry_after) == (status, True, 60.0)
    assert remedy in error.reason
    assert key not in error.reason


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_failure_of_braze_is_retried(workspace: Workspace, http: HttpClient, status: int) -> None:
    workspace.fail(status)
    platform = braze(workspace.url)

    error = await refusal(platform, http, [event(new_alias=True)])
    results = await platform.deliver(http, [event(new_alias=True)])
    await workspace.wait_for(1)

    assert (error.status, error.retryable) == (status, True)
    assert list(results) == [None]
    assert len(workspace.events) == 1


@given(any_event)
async def test_any_event_that_is_wanted_becomes_objects_that_braze_takes(said: Event) -> None:
    http = Recorder()
    platform = braze("https://rest.iad-01.braze.com")

    await platform.deliver(http, [said])

    assert len(http.requests) == platform.wants(said)
    for _, body in http.requests:
        payload = json.loads(body)
        assert {len(payload["attributes"]), len(payload["events"])} <= {0, 1}
        assert all(len(value) <= 255 for item in payload["events"] for value in item["properties"].values())


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"url": "https://rest.iad-01.braze.com/users/track"}, "url"),
        ({"url": "https://rest.iad-01.braze.com?x"}, "url"),
        ({"url": "rest.iad-01.braze.com"}, "url"),
        ({"api_key": Secret('"quoted"')}, "api_key"),
        ({"api_key": Secret("two words")}, "api_key"),
        ({"api_key": Secret("schlüssel")}, "api_key"),
        ({"batch_size": 76}, "batch_size"),
        ({"batch_size": 0}, "batch_size"),
        ({"alias_label": ""}, "alias_label"),
        ({"api_token": "x"}, "api_token"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, object], place: str) -> None:
    with pytest.raises(ValidationError) as caught:
        BrazeOptions.model_validate({"url": "https://rest.iad-01.braze.com", "api_key": Secret(API_KEY)} | options)

    assert [error["loc"] for error in caught.value.errors()] == [(place,)]


def test_a_slash_behind_the_url_does_no_harm() -> None:
    assert BrazeOptions(url="https://rest.iad-01.braze.com/", api_key=Secret(API_KEY)).url[-1] == "m"


@pytest.mark.parametrize(
    ("options", "groups", "words"),
    [
        ({}, ("group-deals", "group-alerts"), []),
        ({}, ("group-deals", None), ["is not told who opts in or out of alerts"]),
        ({"create": "with_event"}, (None, None), ["is not told who opts in or out of alerts, deals"]),
        ({}, ("group-deals", "group-deals"), ["alerts, deals have the same subscription_group_id"]),
        ({"consent": "status_set"}, ("group-deals", "group-alerts"), ["may take a minute"]),
        ({"look_up": True, "create": "with_event"}, ("group-deals", "group-alerts"), ["look_up is of no use"]),
        ({"look_up": True}, ("group-deals", "group-alerts"), []),
    ],
)
def test_what_works_and_may_not_be_meant_is_warned_of(
    options: dict[str, Any], groups: tuple[str | None, str | None], words: list[str]
) -> None:
    settings = BrazeOptions(url="https://rest.iad-01.braze.com", api_key=Secret(API_KEY), **options)
    programs = {
        name: (name.title(), BrazeProgramOptions(subscription_group_id=group))
        for name, group in zip(("deals", "alerts"), groups, strict=True)
    }
    warnings = Braze.warnings(settings, programs)

    assert issubclass(Braze, Warns)
    assert len(warnings) == len(words)
    assert all(word in warning for word, warning in zip(words, warnings, strict=True))
