"""Sends what waits for one destination: in batches over all shards, several at a time, each person in order."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from router.delivery.attempt import Destination, Held, Outcome, Waiting, WhileHeld, attempt, outcome
from router.delivery.checking import AliasCheck
from router.delivery.pacing import Pacing
from router.errors import DeliveryError
from router.store import Entry
from router.tasks import cancelled
from router.telemetry import Metrics
from router.types import Event

_log = structlog.get_logger("router.delivery.dispatch")
#: Before it is looked again whether a lease that could not be renewed in time has been, in seconds.
_LEASE_PAUSE = 0.2


class _Lane(Protocol):
    """Whose lines they are."""

    held: Held
    #: Whether nothing more may leave.
    closed: bool

    def sent(self, line: "Line", outcome: Outcome) -> None:
        """What became of the first events of a line."""
        ...

    def forget(self, sender: str) -> None:
        """The sender's alias does not exist any more."""
        ...


@dataclass(slots=True, eq=False)
class Line:
    """One person's events on their way from one shard to one destination, oldest first.

    `parked`: they stand in the store by themselves, and these are the first of them. `refused` is why none of them can
    ever be taken. `failures` counts how often the first one failed while others were taken.
    """

    lane: _Lane
    sender: str
    waiting: deque[Waiting] = field(default_factory=deque)
    #: Whether it is being asked if the person is known.
    asking: bool = False
    parked: bool = False
    refused: DeliveryError | None = None
    failures: int = 0
    #: Those that are to stand in the store, and of which it has not been told yet.
    untold: int = 0
    #: When the first of them failed, in monotonic seconds.
    failed_at: float = float("inf")
    #: Whether it waits for its turn, whether it is under way, and whether nobody works on it any more.
    queued: bool = False
    under_way: bool = False
    gone: bool = False


class Dispatch:
    """Makes batches of what waits while requests are under way; what finds none under way leaves at once."""

    def __init__(
        self,
        destination: Destination,
        metrics: Metrics,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        check: AliasCheck | None = None,
    ) -> None:
        self.destination = destination
        self._check = check
        self._platform = destination.platform
        self._metrics = metrics
        self._clock = clock
        self._monotonic = monotonic
        self._known = metrics.delivery_seconds.labels(destination.name, "known")
        self._unknown = metrics.delivery_seconds.labels(destination.name, "unknown")
        self._delivered = metrics.deliveries.labels(destination.name, "delivered")
        self._ready: deque[Line] = deque()
        self._pacing = Pacing(self._platform.requests_at_once)
        #: The destination failed: one request at a time tries it until it takes something.
        self._probing = False
        self._took_last = 0.0
        self._requests: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._soon = False

    def add(self, line: Line) -> None:
        """The line has something to send, and is neither queued nor under way."""
        line.queued = True
        self._ready.append(line)
        self._plan(0.0)

    async def close(self) -> None:
        """Ends what is under way."""
        if self._timer:
            self._timer.cancel()
        self._ready.clear()
        await cancelled(self._requests)

    def _plan(self, pause: float) -> None:
        """Sees to it that what is ready leaves after a pause, or sooner if there is reason to."""
        if self._soon:
            return
        if self._timer:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._soon = pause <= 0
        # What joins in the same turn of the loop leaves together.
        self._timer = loop.call_soon(self._depart) if self._soon else loop.call_later(pause, self._depart)

    def _depart(self) -> None:
        """Starts the requests that may leave now."""
        self._soon, self._timer = False, None
        while self._ready:
            now = self._monotonic()
            if len(self._requests) >= (1 if self._probing else self._platform.requests_at_once):
                return  # the next to be answered comes back here
            pause = self.destination.gate.opens_at - now
            if len(self._ready) < self._platform.batch_size:
                pause = max(pause, self._pacing.wait(len(self._requests), now))
            if pause > 0:
                self._plan(pause)
                return
            batch = self._batch(now)
            if batch:
                self._pacing.left(now)
                request = asyncio.create_task(self._send(batch, now))
                self._requests.add(request)
                request.add_done_callback(self._ended)

    def _batch(self, now: float) -> list[tuple[Line, list[Waiting]]]:
        """The first of the lines that are ready, with the events of each that go together."""
        batch = []
        room = self._platform.batch_size
        while room and self._ready:
            line = self._ready.popleft()
            if line.lane.closed or line.gone:
                line.queued = False
                continue
            if now >= line.lane.held.until:
                # It stays queued: what joins it meanwhile must not put it here a second time.
                asyncio.get_running_loop().call_later(_LEASE_PAUSE, self._add_again, line)
                continue
            line.queued, line.under_way = False, True
            chosen = [line.waiting[0]]
            if not self._platform.one_per_sender:
                chosen = [item for item, _ in zip(line.waiting, range(room), strict=False)]
            batch.append((line, chosen))
            room -= len(chosen)
        return batch

    def _add_again(self, line: Line) -> None:
        if not (line.lane.closed or line.gone):
            self.add(line)

    async def _send(self, batch: list[tuple[Line, list[Waiting]]], began: float) -> None:
        items = [item for _, chosen in batch for item in chosen]
        events = [self._event(item) for item in items]
        held = {line.lane.held for line, _ in batch}
        http = WhileHeld(self.destination.http, held, self._monotonic)
        results = await attempt(self.destination, http, events, self._metrics)
        self._count(events, results)
        now = self._monotonic()
        if not all(error and error.retryable for error in results):
            self.destination.gate.succeeded()
            self._probing, self._took_last = False, now
            self._pacing.answered(now - began)
        at = 0
        failed: list[Outcome] = []
        for line, chosen in batch:
            found = outcome(self.destination, chosen, results[at : at + len(chosen)], self._clock)
            at += len(chosen)
            line.under_way = False
            if found.failed:
                found.alone = self._took_last > min(began, line.failed_at)
                line.failed_at = now
                failed.append(found)
            if not line.gone:
                self._tell(line, found)
        if failed:
            self._close_gate(failed)

    def _tell(self, line: Line, found: Outcome) -> None:
        line.lane.sent(line, found)
        if self._check and found.settled == [None]:
            self._check.note(line.sender, line.lane)

    def _ended(self, request: asyncio.Task[None]) -> None:
        self._requests.discard(request)
        self._plan(0.0)
        if not request.cancelled() and (error := request.exception()):
            _log.error("a request's outcome was not noted", destination=self.destination.name, exc_info=error)
            self._metrics.failures.labels("dispatch").inc()

    def _event(self, item: Waiting) -> Event:
        """The event as this platform needs it."""
        event = item.event
        if self._platform.makes_known and isinstance(item, Entry) and self.destination.name not in item.known:
            return replace(event, new_alias=True)
        return event

    def _count(self, events: Sequence[Event], results: Sequence[DeliveryError | None]) -> None:
        now = self._clock()
        errors = [error for error in results if error]
        for event, error in zip(events, results, strict=True):
            if error is None:
                (self._unknown if event.new_alias else self._known).observe(max(0.0, now - event.at))
        self._delivered.inc(len(results) - len(errors))
        if errors:
            unknown = sum(error.outcome_unknown for error in errors)
            self._metrics.unknown_outcomes.labels(self.destination.name).inc(unknown)

    def _close_gate(self, failed: Sequence[Outcome]) -> None:
        """Holds up everybody if others fail too, or if the destination asks for it."""
        errors = [found.failed for found in failed if found.failed]
        worst = max(errors, key=lambda error: error.retry_after or 0.0)
        if worst.retry_after is not None or not all(found.alone for found in failed):
            self.destination.gate.failed(worst)
            self._probing = True
        self._metrics.deliveries.labels(self.destination.name, "retried").inc(len(errors))
        _log.warning(
            "delivery will be retried", destination=self.destination.name, people=len(errors), reason=worst.reason
        )
