"""Braze's rate limits and contracts: what is left is known ahead of a refusal, also with several requests under way."""

import asyncio
import time

import pytest

from adapters._braze_quota import Quota
from adapters.platforms.braze import Braze, BrazeOptions
from router.delivery.http import HttpClient
from router.errors import DeliveryError
from router.ports import Secret
from router.types import HttpResponse
from tests.platforms.at_braze import PROGRAMS, braze, crowd, refusal
from tests.platforms.events import SENDER, event
from tests.standins.braze import API_KEY
from tests.standins.braze import Braze as Workspace

NOW = 1_770_000_000.0


def answer(left: int | None = None, reset: int = 60, status: int = 201, retry_after: str = "") -> HttpResponse:
    """An answer that tells what is left of a window, which ends `reset` seconds from now."""
    told = {} if left is None else {"x-ratelimit-remaining": str(left), "x-ratelimit-reset": str(int(NOW) + reset)}
    return HttpResponse(status, told | ({"retry-after": retry_after} if retry_after else {}), b"{}")


def quota(*answers: HttpResponse, under_way: int = 0) -> Quota:
    """A quota after some answers, whose requests had all left before the first came back, and with more under way."""
    found = Quota()
    for _ in range(len(answers) + under_way):
        found.left()
    for one in answers:
        found.answered(one, NOW)
    return found


def room(found: Quota, now: float = NOW) -> int:
    """How many more requests it lets leave."""
    count = 0
    while count < 1000 and not found.wait(now):
        found.left()
        count += 1
    return count


@pytest.mark.parametrize(
    ("found", "left"),
    [
        (quota(answer(5)), 5),
        (quota(answer(5), under_way=3), 2),
        (quota(answer(5), under_way=9), 0),
        # Answers that overtook each other.
        (quota(answer(4), answer(5)), 4),
        (quota(answer(5), answer(4), answer(6)), 4),
        # The next window, and a late answer of the one before.
        (quota(answer(0, reset=1), answer(9, reset=61)), 9),
        (quota(answer(9, reset=61), answer(0, reset=1)), 9),
        # Who does not tell may have been counted.
        (quota(answer(5), answer()), 4),
        (quota(answer(status=429, retry_after="7")), 0),
        (quota(answer(0, status=429), answer(3)), 0),
        (quota(answer()), 1000),
        (quota(answer(status=429)), 1000),
        (quota(HttpResponse(201, {"x-ratelimit-remaining": "-1", "x-ratelimit-reset": "soon"}, b"")), 1000),
    ],
)
def test_what_is_left_is_what_was_told_last_less_what_is_under_way(found: Quota, left: int) -> None:
    assert room(found) == left


def test_a_request_without_an_answer_may_have_been_counted() -> None:
    found = quota(answer(5), under_way=1)
    found.unanswered()

    assert room(found) == 4


def test_nothing_is_held_after_the_reset() -> None:
    found = quota(answer(0, reset=60))

    assert found.wait(NOW + 15) == 45
    assert found.wait(NOW + 60) == 0


async def test_a_refusal_for_its_rate_holds_requests_until_the_reset(workspace: Workspace, http: HttpClient) -> None:
    workspace.refuse_for_rate(reset_in=30)
    now = time.time()

    platform = braze(workspace.url, now)
    first = await refusal(platform, http, [event()])
    second = await refusal(platform, http, [event()])

    assert (first.status, first.retryable) == (429, True)
    assert first.retry_after == pytest.approx(30, abs=1.5)
    assert second.retry_after == pytest.approx(30, abs=1.5)
    assert len(workspace.requests) == 1


async def test_the_last_request_of_a_window_succeeds_and_the_next_is_held_for_that_endpoint(http: HttpClient) -> None:
    now = time.time()
    async with Workspace(delay=0, limit=1, window=30) as workspace:
        platform = braze(workspace.url, now)
        results = await platform.deliver(http, [event(new_alias=True)])
        held = await refusal(platform, http, [event()])
        await platform.ensure_aliases(http, [SENDER])

    assert list(results) == [None]
    assert (held.status, held.retryable) == (None, True)
    assert held.retry_after == pytest.approx(31, abs=1.5)
    assert [path for path, _ in workspace.requests] == ["/users/track", "/users/alias/new"]


async def test_after_the_reset_requests_go_out_again(http: HttpClient) -> None:
    now = time.time()
    clock = [now]
    async with Workspace(delay=0, limit=1, window=0.000001) as workspace:
        settings = BrazeOptions(url=workspace.url, api_key=Secret(API_KEY))
        platform = Braze("crm", settings, PROGRAMS, lambda: clock[0])
        await platform.deliver(http, [event(new_alias=True)])
        clock[0] = now + 3
        results = await platform.deliver(http, [event(new_alias=True)])

    assert list(results) == [None]


async def test_requests_under_way_count_against_what_the_limit_leaves(http: HttpClient) -> None:
    async with Workspace(delay=0.005, limit=4, latency=0.02) as workspace:
        platform = braze(workspace.url)
        await platform.deliver(http, crowd(1))
        results = await asyncio.gather(*(platform.deliver(http, crowd(1)) for _ in range(10)))

    refused = [result[0] for result in results if result[0]]
    assert len(refused) == 7
    assert all(error.retry_after and error.status is None for error in refused)
    assert workspace.calls["/users/track"] == 4


async def test_a_limit_is_never_overrun_however_requests_overlap(http: HttpClient) -> None:
    async with Workspace(delay=0.005, limit=40, latency=0.01) as workspace:
        platform = braze(workspace.url)
        await platform.deliver(http, crowd(1))

        async def sender() -> int:
            return sum([(await platform.deliver(http, crowd(1))) == [None] for _ in range(20)])

        taken = sum(await asyncio.gather(*(sender() for _ in range(8))))

    assert taken == 39
    assert workspace.calls["/users/track"] == 40


async def test_a_refusal_whose_reset_is_over_by_our_clock_asks_for_no_pause_of_its_own(
    workspace: Workspace, http: HttpClient
) -> None:
    workspace.refuse_for_rate(reset_in=-30)

    error = await refusal(braze(workspace.url), http, [event()])

    assert (error.status, error.retryable, error.retry_after) == (429, True, None)


async def test_the_limit_of_look_ups_holds_up_the_creation_of_aliases_alone(http: HttpClient) -> None:
    async with Workspace(delay=0.005) as workspace:
        workspace.rates.of_paths["/users/export/ids"] = (1, 30.0)
        platform = braze(workspace.url, look_up=True)
        await platform.ensure_aliases(http, [SENDER])
        with pytest.raises(DeliveryError, match="rate limit of /users/export/ids") as caught:
            await platform.ensure_aliases(http, ["+14155550999"])
        results = await platform.deliver(http, [event()])

    assert caught.value.retry_after == pytest.approx(31, abs=1.5)
    assert list(results) == [None]
    assert workspace.calls["/users/export/ids"] == 1


async def test_a_contract_that_counts_all_objects_is_kept_from_the_first_request_on(http: HttpClient) -> None:
    async with Workspace(delay=0.005, objects_in_all=50) as workspace:
        platform = braze(workspace.url, objects_in_all=50, create="with_event")
        results = await platform.deliver(http, crowd(60, new_alias=True))
        await workspace.wait_for(60)

    assert list(results) == [None] * 60
    sizes = [len(payload["events"]) + len(payload["attributes"]) for _, payload in workspace.requests]
    assert sizes == [50, 50, 20]


async def test_a_contract_is_kept_also_where_an_event_has_two_objects_and_one_place_is_left(http: HttpClient) -> None:
    async with Workspace(delay=0.005, objects_in_all=5) as workspace:
        platform = braze(workspace.url, objects_in_all=5)
        results = await platform.deliver(http, [*crowd(4), *crowd(4, new_alias=True)])
        await workspace.wait_for(8)

    assert list(results) == [None] * 8
    sizes = [len(payload["events"]) + len(payload["attributes"]) for _, payload in workspace.requests]
    assert sizes == [4, 4, 4]
