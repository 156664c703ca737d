"""The body of a `/users/track` request of Braze, and which of its objects an answer is about."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters._braze import TRACK, errors_in, said
from adapters._http import redact
from router.errors import DeliveryError
from router.types import HttpResponse


@dataclass(slots=True)
class TrackBatch:
    """The body of one `/users/track` request. For each object, `owners` has the place of the event that it tells of."""

    objects: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"attributes": [], "events": []})
    owners: dict[str, list[int]] = field(default_factory=lambda: {"attributes": [], "events": []})

    def add(self, array: str, owner: int, item: dict[str, Any]) -> None:
        self.objects[array].append(item)
        self.owners[array].append(owner)

    @property
    def count(self) -> int:
        """How many objects there are in all."""
        return sum(map(len, self.objects.values()))

    def owner(self, error: object) -> int | None:
        """Whom one of the errors in an answer is about; None if it does not say."""
        match error:
            case {"input_array": str(array), "index": int(index)} if 0 <= index < len(self.owners.get(array, ())):
                return self.owners[array][index]
        return None

    def private(self) -> list[str]:
        """The texts in it that must not come back in an error message."""
        return [item["properties"]["message_body"] for item in self.objects["events"]]

    def refused(self, response: HttpResponse) -> tuple[dict[int, DeliveryError], list[Any]]:
        """The events that an answer names as faulty, and what else it remarks on."""
        refused: dict[int, DeliveryError] = {}
        remarks = []
        for error in errors_in(response):
            owner = self.owner(error)
            if owner is None:
                remarks.append(error)
                continue
            what = redact(said(error), self.private())
            reason = f"Braze does not take this event ({what}). Mend what it names, then retry it."
            refused[owner] = DeliveryError(
                reason,
                retryable=False,
                status=response.status,
                request=f"{response.request}{TRACK}",
                answer=str(error),
            )
        return refused, remarks


def parts_to_resend(response: HttpResponse, places: Sequence[int], refused: Container[int]) -> list[Sequence[int]]:
    """What to send again of a request that was refused whole: all but the events named, or, if none was, two halves."""
    if response.status not in (400, 413):
        return []
    rest = [place for place in places if place not in refused]
    if len(rest) < len(places):
        return [rest]
    middle = len(places) // 2
    return [rest[:middle], rest[middle:]] if len(places) > 1 else []
