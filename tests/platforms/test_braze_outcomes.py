"""Requests to Braze that went wrong: only of an event that may be there already is the outcome unknown."""

import asyncio

import pytest

from router.delivery.http import HttpClient
from router.types import HttpResponse
from tests.platforms.at_braze import braze, crowd, outcomes, refusal
from tests.platforms.events import SENDER, event
from tests.standins.braze import Braze as Workspace
from tests.standins.recorder import Recorder

URL = "https://rest.iad-01.braze.com"


@pytest.mark.parametrize("applies", [False, True])
async def test_a_request_without_an_answer_has_an_unknown_outcome(workspace: Workspace, applies: bool) -> None:
    workspace.hang(applies=applies)
    async with HttpClient(0.3, True) as impatient:
        error = await refusal(braze(workspace.url), impatient, [event(new_alias=True)])

    assert (error.retryable, error.outcome_unknown) == (True, True)
    assert len(workspace.events) == applies


@pytest.mark.parametrize("applies", [False, True])
async def test_when_a_gateway_gave_up_waiting_the_outcome_is_unknown(
    workspace: Workspace, http: HttpClient, applies: bool
) -> None:
    workspace.fail(504, applies=applies)

    error = await refusal(braze(workspace.url), http, [event()])

    assert (error.status, error.retryable, error.outcome_unknown) == (504, True, True)


@pytest.mark.parametrize("status", [400, 413, 429, 500, 502, 503])
async def test_a_refusal_leaves_nothing_unknown(workspace: Workspace, http: HttpClient, status: int) -> None:
    workspace.fail(status)

    error = await refusal(braze(workspace.url), http, [event()])

    assert (error.status, error.outcome_unknown) == (status, False)


@pytest.mark.parametrize("consent", ["attributes", "status_set"])
async def test_a_state_that_may_be_set_already_is_no_unknown_outcome(
    workspace: Workspace, http: HttpClient, consent: str
) -> None:
    """Setting it again does no harm, so an opt-out is never given up on for it, whatever the destination says."""
    workspace.add_user(SENDER, phone=SENDER)
    platform = braze(workspace.url, consent=consent)
    opt_out = event(intent="opt_out", after="unsubscribed")
    workspace.fail(504, applies=True)

    (error,) = await platform.deliver(http, [opt_out])
    again = await platform.deliver(http, [opt_out])

    assert error
    assert (error.status, error.retryable, error.outcome_unknown) == (504, True, False)
    assert list(again) == [None]


async def test_in_a_request_with_states_and_texts_the_texts_alone_have_an_unknown_outcome(
    workspace: Workspace, http: HttpClient
) -> None:
    workspace.fail(504)
    opt_out = event("out", sender="+14155550999", intent="opt_out", after="unsubscribed")

    results = await braze(workspace.url).deliver(http, [event(), opt_out])

    assert [error and (error.retryable, error.outcome_unknown) for error in results] == [(True, True), (True, False)]


async def test_an_event_that_waits_for_its_state_has_not_left(workspace: Workspace, http: HttpClient) -> None:
    workspace.fail(504)

    results = await braze(workspace.url, consent="status_set").deliver(
        http, [event("both", before="none"), event("text", sender="+14155550999")]
    )

    assert [error and error.outcome_unknown for error in results] == [False, None]
    assert workspace.unknown == {}


async def test_of_a_batch_sent_in_parts_only_the_part_without_an_answer_has_an_unknown_outcome(
    http: HttpClient,
) -> None:
    async with Workspace(delay=0.005) as workspace:
        workspace.fail(413)
        workspace.fail(504)

        results = await braze(workspace.url).deliver(http, crowd(4))
        await workspace.wait_for(2)

    assert [error and error.outcome_unknown for error in results] == [True, True, None, None]
    assert sorted(workspace.unknown) == [f"SM-e{n}" for n in range(4)][:2]


async def test_in_a_contract_of_few_objects_only_the_request_that_failed_is_tried_again(http: HttpClient) -> None:
    async with Workspace(delay=0.005) as workspace:
        workspace.fail(503)
        results = await braze(workspace.url, objects_in_all=2).deliver(http, crowd(6))

    assert outcomes(results) == [(503, True)] * 2 + [None] * 4


async def test_what_was_asked_of_which_endpoint_is_kept_with_a_failure(workspace: Workspace, http: HttpClient) -> None:
    workspace.hang()
    workspace.fail(500)
    async with HttpClient(0.2, True) as impatient:
        unanswered = await refusal(braze(workspace.url), impatient, [event()])
    answered = await refusal(braze(workspace.url), http, [event()])

    assert {unanswered.request, answered.request} == {"POST 127.0.0.1/users/track"}


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_failure_that_names_events_is_no_refusal_of_them(status: int) -> None:
    """A server in trouble may say anything: what it did not take is tried again."""
    http = Recorder(status, b'{"errors":[{"type":"odd","input_array":"events","index":0}]}')

    error = await refusal(braze(URL), http, [event()])

    assert (error.status, error.retryable) == (status, True)


async def test_a_cancelled_request_is_under_way_no_more() -> None:
    class Cancelled(Recorder):
        async def request(self, method: str, url: str, *, headers: dict[str, str], body: bytes) -> HttpResponse:
            raise asyncio.CancelledError

    platform = braze(URL, now=1_770_000_000.0)
    with pytest.raises(asyncio.CancelledError):
        await platform.deliver(Cancelled(), [event()])
    http = Recorder(201, headers={"x-ratelimit-remaining": "1", "x-ratelimit-reset": "1770000060"})
    results = [await platform.deliver(http, [event()]) for _ in range(2)]

    assert results == [[None], [None]]
