"""When the next request to a destination may leave, so that those under way are spread over its answering time."""

#: How much the newest answering time counts in the average.
_NEWEST = 0.2


class Pacing:
    """Spreads requests: of `at_once` that may be under way, half may leave at any time, the others in even steps.

    Were all of them to leave together, whatever comes next would wait for as long as the destination takes to answer.
    A step is the destination's own answering time, divided by `at_once`.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._burst = at_once / 2
        #: The answering time, in seconds; 0 until it is known.
        self._answers_in = 0.0
        self._next = 0.0

    @property
    def _step(self) -> float:
        return self._answers_in / self._at_once

    def wait(self, now: float) -> float:
        """How long the next request has to wait, in seconds; `now` is monotonic."""
        return self._next - self._burst * self._step - now

    def left(self, now: float) -> None:
        """A request has left."""
        self._next = max(self._next, now) + self._step

    def answered(self, seconds: float) -> None:
        """A request was answered after so long."""
        self._answers_in += (seconds - self._answers_in) * (_NEWEST if self._answers_in else 1.0)
