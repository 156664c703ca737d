"""One attempt at a destination: what is sent under a lease, and what became of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import structlog

from router.delivery.gate import Gate
from router.errors import DeliveryError, StoreUnavailable
from router.ports import Http, Platform
from router.store import Entry, Lease, Parked
from router.telemetry import Metrics

_log = structlog.get_logger("router.delivery.attempt")
#: Something that waits for its delivery, in the outbox or behind it for an alias.
Waiting = TypeVar("Waiting", Entry, Parked)


@dataclass(frozen=True, slots=True)
class Destination:
    """A configured destination, ready to be delivered to. `give_up_after` is in seconds."""

    name: str
    platform: Platform
    http: Http
    gate: Gate
    give_up_after: float


class Held:
    """A lease as long as it is held for sure: past `until` (monotonic seconds) nothing more is sent under it."""

    def __init__(self, lease: Lease, until: float) -> None:
        self.lease = lease
        self.until = until


@dataclass(slots=True)
class Attempt(Generic[Waiting]):
    """What became of a batch. `errors` are those of the `failed` entries, which are tried again."""

    taken: list[Waiting] = field(default_factory=list)
    dead: list[tuple[Waiting, DeliveryError]] = field(default_factory=list)
    failed: list[Waiting] = field(default_factory=list)
    errors: list[DeliveryError] = field(default_factory=list)

    @property
    def settled(self) -> set[str]:
        """The ids of the outbox entries that need no further attempt."""
        entries = (*self.taken, *(entry for entry, _ in self.dead))
        return {entry.id for entry in entries if isinstance(entry, Entry)}


def adapter_fault(error: Exception, destination: str, metrics: Metrics) -> DeliveryError:
    """What stands for an exception that no adapter should raise, logged and counted. It is tried again, since a mended
    adapter may work.
    """
    _log.error("adapter failed", destination=destination, exc_info=error)
    metrics.failures.labels("adapter").inc()
    return DeliveryError(f"the adapter failed with {type(error).__name__}; the log has the rest", retryable=True)


class Attempts:
    """Makes attempts for one lane."""

    def __init__(
        self,
        held: Held,
        destination: Destination,
        metrics: Metrics,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._held = held
        self._destination = destination
        self._metrics = metrics
        self._clock = clock
        self._monotonic = monotonic
        #: How many are under way now.
        self.in_flight = 0

    async def make(self, batch: Sequence[Waiting], gate: Gate) -> Attempt[Waiting]:
        """One attempt, when the destination's gate and the one of whoever waits are open."""
        await gate.opened()
        await self._destination.gate.opened()
        if self._monotonic() >= self._held.until:
            raise StoreUnavailable(f"the lease of shard {self._held.lease.shard} ran out before it could be renewed")
        events = [entry.event for entry in batch]
        self.in_flight += 1
        try:
            results = await self._destination.platform.deliver(self._destination.http, events)
            if len(results) != len(batch):
                raise ValueError(f"{len(results)} results for {len(batch)} events")
        except DeliveryError as error:
            results = [error] * len(batch)
        except Exception as error:  # noqa: BLE001 (an adapter is anybody's code; whatever it raises, nothing is lost)
            results = [adapter_fault(error, self._destination.name, self._metrics)] * len(batch)
        finally:
            self.in_flight -= 1
        attempt = Attempt[Waiting]()
        for entry, result in zip(batch, results, strict=True):
            if result is None:
                attempt.taken.append(entry)
            elif not result.retryable or self._clock() - entry.joined >= self._destination.give_up_after:
                attempt.dead.append((entry, result))
            else:
                attempt.failed.append(entry)
                attempt.errors.append(result)
        self._count(attempt)
        self._close_gates(attempt, gate)
        return attempt

    def _count(self, attempt: Attempt[Any]) -> None:
        name = self._destination.name
        for entry in attempt.taken:
            number = "known" if isinstance(entry, Entry) else "unknown"
            self._metrics.delivery_seconds.labels(name, number).observe(max(0.0, self._clock() - entry.event.at))
        self._metrics.deliveries.labels(name, "delivered").inc(len(attempt.taken))
        self._metrics.deliveries.labels(name, "dead").inc(len(attempt.dead))
        self._metrics.deliveries.labels(name, "retried").inc(len(attempt.failed))
        self._metrics.unknown_outcomes.labels(name).inc(sum(error.outcome_unknown for error in attempt.errors))
        for entry, error in attempt.dead:
            _log.warning("event given up", destination=name, event_id=entry.event.id, reason=error.reason)
        if attempt.errors:
            _log.warning(
                "delivery will be retried",
                destination=name,
                shard=self._held.lease.shard,
                reason=attempt.errors[0].reason,
            )

    def _close_gates(self, attempt: Attempt[Any], gate: Gate) -> None:
        """Holds up whoever attempted this if nothing was taken, and everybody if the destination asks for it."""
        if attempt.taken:
            gate.succeeded()
        if not attempt.errors:
            return
        worst = max(attempt.errors, key=lambda error: error.retry_after or 0.0)
        if worst.retry_after is not None:
            self._destination.gate.failed(worst)
        elif not attempt.taken:
            gate.failed(worst)
