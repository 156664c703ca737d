"""One attempt at a destination: what is sent, and what became of it."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import structlog

from router.delivery.gate import Gate
from router.errors import DeliveryError
from router.ports import Http, Platform
from router.store import Entry, Lease, Parked
from router.telemetry import Metrics
from router.types import Event, HttpResponse

_log = structlog.get_logger("router.delivery.attempt")


@dataclass(frozen=True, slots=True)
class Destination:
    """A configured destination, ready to be delivered to. `give_up_after` is in seconds.

    `retry_unknown`: whether what may have arrived already is sent again.
    """

    name: str
    platform: Platform
    http: Http
    gate: Gate
    give_up_after: float
    retry_unknown: bool = True


class Held:
    """A lease as long as it is held for sure: past `until` (monotonic seconds) nothing more is sent under it."""

    def __init__(self, lease: Lease, until: float) -> None:
        self.lease = lease
        self.until = until


class WhileHeld:
    """The client of a destination as long as leases are held: one delivery may take several requests."""

    def __init__(self, http: Http, held: Collection[Held], clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self._http = http
        self._held = held
        self._clock = clock

    async def request(self, method: str, url: str, *, headers: dict[str, str], body: bytes) -> HttpResponse:
        """As `Http.request`. Past the leases nothing is sent, and a retryable `DeliveryError` raised."""
        if self._clock() >= min(held.until for held in self._held):
            raise DeliveryError("The shard's lease ran out. It is sent by whoever holds the shard.", retryable=True)
        return await self._http.request(method, url, headers=headers, body=body)


#: Something that waits for its delivery, in the outbox or by itself.
Waiting = Entry | Parked


@dataclass(slots=True)
class Outcome:
    """What became of a person's events that were sent together: of each, in order, None if it was taken, or why it is
    given up on. `failed` is why the others have to be sent again, if there are any; `alone` says that other people's
    events were taken meanwhile.
    """

    settled: list[DeliveryError | None] = field(default_factory=list)
    failed: DeliveryError | None = None
    alone: bool = False


def adapter_fault(error: BaseException, destination: str, metrics: Metrics) -> DeliveryError:
    """What stands for an exception that no adapter should raise, logged and counted. It is tried again, since a mended
    adapter may work.
    """
    _log.error("adapter failed", destination=destination, exc_info=error)
    metrics.failures.labels("adapter").inc()
    return DeliveryError(f"the adapter failed with {type(error).__name__}; the log has the rest", retryable=True)


def ending() -> bool:
    """Whether the running task is asked to end. If not, a `CancelledError` is one that an adapter let out."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def attempt(
    destination: Destination, http: Http, events: Sequence[Event], metrics: Metrics
) -> Sequence[DeliveryError | None]:
    """Sends events; of each, None or why it was not taken."""
    try:
        results = await destination.platform.deliver(http, events)
        if len(results) != len(events):
            raise ValueError(f"{len(results)} results for {len(events)} events")
        if not all(result is None or isinstance(result, DeliveryError) for result in results):
            raise TypeError("a result is neither None nor a DeliveryError")
    except DeliveryError as error:
        return [error] * len(events)
    except asyncio.CancelledError as error:
        if ending():
            raise
        return [adapter_fault(error, destination.name, metrics)] * len(events)
    except Exception as error:  # noqa: BLE001 (an adapter is anybody's code; whatever it raises, nothing is lost)
        return [adapter_fault(error, destination.name, metrics)] * len(events)
    return results


def outcome(
    destination: Destination,
    waiting: Sequence[Waiting],
    results: Sequence[DeliveryError | None],
    clock: Callable[[], float],
) -> Outcome:
    """What follows from the results of one person's events."""
    found = Outcome()
    for item, error in zip(waiting, results, strict=True):
        if error and error.outcome_unknown and not destination.retry_unknown:
            found.settled.append(error.because(f"it is not known whether the event arrived: {error.reason}"))
        elif error and error.retryable and clock() - item.joined < destination.give_up_after:
            found.failed = error
            break
        else:
            found.settled.append(error)
    return found
