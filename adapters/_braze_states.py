"""The body of a `/v2/subscription/status/set` request of Braze, and whose states an answer is about."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from adapters._braze import REFUSED_WHOLE, STATUS_SET, BrazeApi, errors_of, refusal, repeatable
from router.errors import DeliveryError
from router.ports import Http

#: The most states in one request. Braze's limit is of users; one who changes in two groups may count twice.
MOST_STATES = 50
#: How long Braze may take until a user who was just created has what else was said of them, in seconds.
_SETTLING = 60.0


@dataclass(frozen=True, slots=True)
class State:
    """That a number is subscribed to a group, or not; `owner` is the place of the event that says so."""

    owner: int
    phone: str
    group: str
    state: str


class Newcomers:
    """People whose number Braze was told so recently that it may not have it yet: no state could be set by it."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def add(self, senders: Iterable[str], now: float) -> None:
        """Braze was told of people; `now` is in unix seconds."""
        for sender in senders:
            self._since.pop(sender, None)
            self._since[sender] = now
        for sender, since in list(self._since.items()):
            if since + _SETTLING > now:
                break
            del self._since[sender]

    def has(self, sender: str, now: float) -> bool:
        """Whether somebody is one of them still."""
        return now < self._since.get(sender, 0.0) + _SETTLING


async def set_states(api: BrazeApi, http: Http, states: Sequence[State]) -> dict[int, DeliveryError]:
    """Sets states, and says of the events whose states could not be set why not.

    An error names a group with all its numbers, or nothing: halving finds the number at fault. Setting a state again
    does no harm.
    """
    if len(states) > MOST_STATES:
        return await _in_parts(api, http, [states[:MOST_STATES], states[MOST_STATES:]])
    groups = _grouped(states)
    numbers = [state.phone for state in states]
    try:
        response = await api.post(http, STATUS_SET, {"subscription_groups": [_object(group) for group in groups]})
    except DeliveryError as error:
        return _of_all(states, error)
    named, remarks = errors_of(response, {"subscription_groups": groups})
    taken = response.status < 300
    if taken:
        api.note(remarks, numbers)
    indexes = {index for _, index, _ in named}
    faulty = [state for index in indexes for state in groups[index]]
    rest = [] if taken else [state for state in states if state not in faulty]
    if len(faulty) == 1:
        found = _of_all(faulty, refusal(response, STATUS_SET, named[0][2], numbers))
        return _worst(found, await _in_parts(api, http, [rest]))
    if faulty:
        return await _in_parts(api, http, [*_halves(faulty), rest])
    if response.status in REFUSED_WHOLE and len(states) > 1:
        return await _in_parts(api, http, _halves(states))
    failure = api.failure(STATUS_SET, response, numbers)
    return _of_all(states, failure) if failure else {}


async def _in_parts(api: BrazeApi, http: Http, parts: Sequence[Sequence[State]]) -> dict[int, DeliveryError]:
    found: dict[int, DeliveryError] = {}
    for part in parts:
        if part:
            found = _worst(found, await set_states(api, http, part))
    return found


def _of_all(states: Sequence[State], error: DeliveryError) -> dict[int, DeliveryError]:
    harmless = repeatable(error)
    return {state.owner: harmless for state in states}


def _worst(some: dict[int, DeliveryError], others: dict[int, DeliveryError]) -> dict[int, DeliveryError]:
    """Of two errors of an event, the one that can be retried: else what could still be set would not be."""
    return some | {place: error for place, error in others.items() if place not in some or error.retryable}


def _grouped(states: Sequence[State]) -> list[list[State]]:
    groups: dict[tuple[str, str], list[State]] = {}
    for state in states:
        groups.setdefault((state.group, state.state), []).append(state)
    return list(groups.values())


def _object(group: Sequence[State]) -> dict[str, Any]:
    return {
        "subscription_group_id": group[0].group,
        "subscription_state": group[0].state,
        "phones": [state.phone for state in group],
    }


def _halves(states: Sequence[State]) -> list[Sequence[State]]:
    middle = len(states) // 2
    return [states[:middle], states[middle:]]
