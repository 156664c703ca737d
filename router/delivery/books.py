"""What became of a lane's events, as long as the store does not know it."""

from dataclasses import dataclass, field

from router.delivery.attempt import Waiting
from router.delivery.dispatch import Line
from router.errors import DeliveryError
from router.store import Entry, Steps


@dataclass(slots=True)
class Books:
    """What is to be recorded beside the position.

    `dead` was given up on. `parked` is to wait in the store by itself; `unparked` says how many of those that did are
    settled. `known` says of people whether their alias exists.
    """

    dead: list[tuple[Waiting, DeliveryError]] = field(default_factory=list)
    parked: list[tuple[Line, Entry]] = field(default_factory=list)
    unparked: dict[Line, int] = field(default_factory=dict)
    known: dict[str, bool] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.dead or self.parked or self.unparked or self.known)

    def steps(self, destination: str, now: float, position: tuple[str, list[str]]) -> Steps:
        """All of it for `Outbox.settle`, whose answer then has one number for each of `unparked`."""
        steps = Steps(in_order=True)
        for item, error in self.dead:
            steps.dead(error, now, destination, item)
        for line, entry in self.parked:
            steps.park(line.sender, entry)
        for sender, known in self.known.items():
            if known:
                steps.known(sender)
            else:
                steps.unknown(sender)
        for line, count in self.unparked.items():
            steps.unpark(line.sender, count)
        steps.position(*position)
        return steps
