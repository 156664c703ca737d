"""When the next request to a destination may leave, so that those under way are spread over its answering time."""

#: How much the newest answering time counts in the average.
_NEWEST = 0.2


class Pacing:
    """Spreads requests: while few are under way the next may leave at once, and then only in even steps.

    Were all that may be under way to leave together, whatever comes next would wait for as long as the destination
    takes to answer. A step is the answering time, divided by how many may be under way, less one to spare.
    """

    def __init__(self, at_once: int) -> None:
        self._few = at_once / 2
        self._steps = max(at_once - 1, 1)
        #: The answering time, in seconds; 0 until it is known.
        self._answers_in = 0.0
        self._last = float("-inf")

    def wait(self, under_way: int, now: float) -> float:
        """How long the next request has to wait, in seconds; `now` is monotonic."""
        if under_way < self._few:
            return 0.0
        return self._last + self._answers_in / self._steps - now

    def left(self, now: float) -> None:
        """A request has left."""
        self._last = now

    def answered(self, seconds: float) -> None:
        """A request was answered after so long."""
        self._answers_in += (seconds - self._answers_in) * (_NEWEST if self._answers_in else 1.0)
