"""What the tests of Braze share: an adapter for a workspace, crowds, and what became of their events."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from adapters.platforms.braze import Braze, BrazeOptions, BrazeProgramOptions
from router.errors import DeliveryError
from router.ports import Http, Secret
from router.types import Event
from tests.platforms.events import event
from tests.standins.braze import API_KEY

PROGRAMS = {
    "deals": ("Deals", BrazeProgramOptions(subscription_group_id="group-deals")),
    "alerts": ("Alerts", BrazeProgramOptions(subscription_group_id="group-alerts", event_name="alert_text")),
    "plain": ("Plain", BrazeProgramOptions()),
}


def braze(url: str, now: float | None = None, *, clock: Callable[[], float] = time.time, **options: Any) -> Braze:
    """An adapter with the options; `now`, in unix seconds, stops its clock."""
    settings = BrazeOptions(url=url, api_key=Secret(API_KEY), **options)
    return Braze("crm", settings, PROGRAMS, (lambda: now) if now else clock)


def crowd(count: int, **said: Any) -> list[Event]:
    """An event each of as many people."""
    return [event(f"e{n}", sender=f"+1415555{n:04}", **said) for n in range(count)]


def outcomes(results: Sequence[DeliveryError | None]) -> list[tuple[int | None, bool] | None]:
    """Of each event None, or (status, whether it can be retried) of why it was not taken."""
    return [(error.status, error.retryable) if error else None for error in results]


async def refusal(platform: Braze, http: Http, events: Sequence[Event]) -> DeliveryError:
    """The one reason why none of the events was taken."""
    results = await platform.deliver(http, events)
    assert results[0]
    assert all(result is results[0] for result in results)
    return results[0]
