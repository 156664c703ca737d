"""What may go wrong with a request, by chance, and which requests their callers could not know the outcome of."""

import random
from collections import Counter
from collections.abc import Sequence

#: The request takes no effect: an answer that says so, or none at all.
REFUSALS = ("429", "500", "502", "503", "hang before", "cut before")
#: It takes effect, and the caller hears nothing of it, or that a gateway gave up waiting.
LOST_ANSWERS = ("504", "hang after", "cut after")
#: It takes effect, and the answer says so in another way.
QUEUED = ("202",)
#: The request is too large, if there is more than one item in it.
TOO_LARGE = ("413",)
#: A gateway gave up waiting before the server had seen the request: no effect, and the answer does not say so.
GAVE_UP = ("504 before",)
#: A token is good no more; some items of a batch fail.
OF_ADOBE = ("401", "207")
#: After these the caller cannot know.
UNKNOWN = {"504", "504 before", "hang before", "cut before", "hang after", "cut after"}


class Faults:
    """Draws a fault for some of the requests. `counts` has how often each came."""

    def __init__(self, rate: float, seed: int, modes: Sequence[str] = (*REFUSALS, *LOST_ANSWERS)) -> None:
        self.rate = rate
        self.counts: Counter[str] = Counter()
        self._modes = modes
        self._chance = random.Random(seed)

    def draw(self, *without: str) -> str | None:
        """The fault of the next request, if it has one; none of those that make no sense for it."""
        if self._chance.random() >= self.rate:
            return None
        mode = self._chance.choice(self._modes)
        if mode in without:
            return None
        self.counts[mode] += 1
        return mode
