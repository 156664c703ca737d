"""Consent told to Braze by the endpoint for states: grouped, before the event, and refused number by number."""

import time

import pytest
from structlog.testing import capture_logs

from adapters._braze_states import Newcomers
from router.delivery.http import HttpClient
from router.types import Event
from tests.platforms.at_braze import braze, outcomes
from tests.platforms.events import SENDER, event
from tests.standins.braze import Braze as Workspace

STATUS_SET, TRACK = "/v2/subscription/status/set", "/users/track"
PEOPLE = [f"+1415555{n:04}" for n in range(60)]


@pytest.fixture
def peopled(workspace: Workspace) -> Workspace:
    """The workspace, which knows all people, with their numbers."""
    for number in (*PEOPLE, SENDER):
        workspace.add_user(number, phone=number)
    return workspace


def leaving(number: str, program: str | None = "deals") -> Event:
    return event(number, sender=number, intent="opt_out", after="unsubscribed", program=program)


def both(number: str = SENDER) -> Event:
    """An event that changes a state and is a text for campaigns too."""
    return event(number, sender=number, intent="custom", before="none", after="subscribed")


def states(workspace: Workspace, group: str = "group-deals") -> list[str | None]:
    return [workspace.state(number, group) for number in PEOPLE]


async def test_states_go_by_their_own_endpoint_grouped_for_those_who_have_their_number_there(
    workspace: Workspace, http: HttpClient
) -> None:
    people = [f"+1415555{n:04}" for n in range(3)]
    for number in people:
        workspace.add_user(number, phone=number)
    changes = [
        event("a", sender=people[0], intent="opt_in", before="none", after="subscribed"),
        event("b", sender=people[1], intent="opt_out", after="unsubscribed"),
        event("c", sender=people[2], intent="opt_out", after="unsubscribed"),
        event("d", sender="+14155550999", intent="opt_in", before="none", after="subscribed", new_alias=True),
        event("e", sender="US.1349", intent="opt_out", after="unsubscribed"),
    ]
    results = await braze(workspace.url, consent="status_set").deliver(http, changes)
    await workspace.until(lambda: len(workspace.applied) >= 4)

    assert list(results) == [None] * 5
    assert workspace.requests[0] == (
        "/v2/subscription/status/set",
        {
            "subscription_groups": [
                {"subscription_group_id": "group-deals", "subscription_state": "subscribed", "phones": people[:1]},
                {"subscription_group_id": "group-deals", "subscription_state": "unsubscribed", "phones": people[1:]},
            ]
        },
    )
    assert [item["user_alias"]["alias_name"] for item in workspace.requests[1][1]["attributes"]] == [
        "+14155550999",
        "US.1349",
    ]
    assert workspace.dropped == []


async def test_a_state_takes_effect_before_the_event_of_the_same_text(peopled: Workspace, http: HttpClient) -> None:
    results = await braze(peopled.url, consent="status_set").deliver(http, [both()])
    await peopled.wait_for(1)

    assert list(results) == [None]
    assert [path for path, _ in peopled.requests] == [STATUS_SET, TRACK]
    assert [kind for kind, _ in peopled.applied] == ["state", "event"]


async def test_an_event_is_not_sent_before_the_state_of_its_person(workspace: Workspace, http: HttpClient) -> None:
    workspace.add_user(SENDER, phone=SENDER)
    workspace.fail(503)
    both = event(intent="custom", before="none", after="subscribed")
    results = await braze(workspace.url, consent="status_set").deliver(http, [both])

    assert outcomes(results) == [(503, True)]
    assert [path for path, _ in workspace.requests] == ["/v2/subscription/status/set"]


async def test_whoever_shares_the_number_shares_the_state(workspace: Workspace, http: HttpClient) -> None:
    workspace.add_user(SENDER, phone=SENDER)
    other = workspace.add_user("other", alias_label="crm", phone=SENDER)

    await braze(workspace.url, consent="status_set").deliver(http, [leaving(SENDER)])
    await workspace.until(lambda: bool(workspace.applied))

    assert other.groups == {"group-deals": "unsubscribed"}


async def test_no_call_has_more_than_fifty_states(peopled: Workspace, http: HttpClient) -> None:
    """An opt-out of everything changes two groups here, so sixty people are 120 states."""
    results = await braze(peopled.url, consent="status_set").deliver(http, [leaving(n, None) for n in PEOPLE])
    await peopled.until(lambda: states(peopled)[-1] is not None and states(peopled, "group-alerts")[-1] is not None)

    assert list(results) == [None] * 60
    assert {*states(peopled), *states(peopled, "group-alerts")} == {"unsubscribed"}
    sizes = [sum(len(group["phones"]) for group in payload["subscription_groups"]) for _, payload in peopled.requests]
    assert sizes == [50, 50, 20]


@pytest.mark.parametrize(("all_or_nothing", "names_errors"), [(False, True), (True, True), (True, False)])
async def test_of_many_states_only_that_of_the_number_at_fault_fails(
    peopled: Workspace, http: HttpClient, all_or_nothing: bool, names_errors: bool
) -> None:
    peopled.all_or_nothing, peopled.names_errors = all_or_nothing, names_errors
    peopled.blocked.add(PEOPLE[7])
    joining = event("start", intent="opt_in", before="none", after="subscribed")

    results = await braze(peopled.url, consent="status_set").deliver(http, [joining, *map(leaving, PEOPLE[:20])])
    await peopled.until(lambda: states(peopled)[19] is not None and states(peopled)[6] is not None)
    await peopled.until(lambda: peopled.state(SENDER, "group-deals") == "subscribed")

    assert [place for place, error in enumerate(results) if error] == [8]
    assert results[8]
    assert not results[8].retryable
    assert PEOPLE[7][1:] not in results[8].reason
    assert [state for n, state in enumerate(states(peopled)[:20]) if n != 7] == ["unsubscribed"] * 19


async def test_an_event_whose_state_is_refused_for_good_is_not_sent(peopled: Workspace, http: HttpClient) -> None:
    peopled.blocked.add(SENDER)

    results = await braze(peopled.url, consent="status_set").deliver(http, [both(), both(PEOPLE[0])])
    await peopled.wait_for(1)

    assert outcomes(results) == [(400, False), None]
    assert [item["user_alias"]["alias_name"] for item in peopled.events] == [PEOPLE[0]]


async def test_of_two_states_of_a_person_the_failure_that_can_be_retried_counts(
    peopled: Workspace, http: HttpClient
) -> None:
    """The first is refused for good, the second by a server that is away: what can still be set is not given up."""
    peopled.fail(400, 2)
    peopled.fail(503)

    results = await braze(peopled.url, consent="status_set").deliver(http, [leaving(SENDER, None)])

    assert outcomes(results) == [(503, True)]


async def test_what_is_remarked_on_states_is_logged_without_numbers(peopled: Workspace, http: HttpClient) -> None:
    peopled.remarks = [f"{SENDER} is odd", {"input_array": "subscription_groups", "index": 9, "type": "far"}]

    with capture_logs() as logs:
        results = await braze(peopled.url, consent="status_set").deliver(http, [leaving(SENDER)])

    assert list(results) == [None]
    assert [entry["notice"] for entry in logs] == ["… is odd", "far"]


async def test_a_state_soon_after_its_person_was_created_is_not_lost_because_the_number_is_not_there_yet(
    http: HttpClient,
) -> None:
    """Within a minute it goes by attributes too, where nothing is lost; later by the endpoint for states."""
    now = time.time()
    clock = [now]
    async with Workspace(delay=0.0) as workspace:
        workspace.delays[TRACK] = 0.2
        platform = braze(workspace.url, clock=lambda: clock[0], consent="status_set")
        joining = event(intent="opt_in", before="none", after="subscribed", new_alias=True)
        for said in (joining, leaving(SENDER)):
            await platform.deliver(http, [said])
        await workspace.until(lambda: workspace.state(SENDER, "group-deals") == "unsubscribed")
        clock[0] = now + 61
        await platform.deliver(http, [leaving(SENDER)])

    assert workspace.dropped == []
    assert [path for path, _ in workspace.requests] == [TRACK, TRACK, STATUS_SET]


def test_newcomers_are_forgotten_after_a_minute() -> None:
    newcomers = Newcomers()
    newcomers.add(PEOPLE[:2], 1000.0)
    newcomers.add(PEOPLE[1:3], 1030.0)

    assert [newcomers.has(sender, 1059.9) for sender in PEOPLE[:4]] == [True, True, True, False]
    assert [newcomers.has(sender, 1060.0) for sender in PEOPLE[:4]] == [False, True, True, False]
    newcomers.add([], 1060.0)
    assert list(newcomers._since) == PEOPLE[1:3]
