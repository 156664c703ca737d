"""The body of a `/users/track` request of Braze, and which of its objects an answer is about."""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters._braze import REFUSED_WHOLE, TRACK, errors_of, refusal, repeatable
from router.errors import DeliveryError
from router.types import HttpResponse

#: What is told of one event: (array, object) each.
TrackObjects = list[tuple[str, dict[str, Any]]]


@dataclass(slots=True)
class TrackBatch:
    """The body of one `/users/track` request. For each object, `owners` has the place of the event that it tells of."""

    objects: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"attributes": [], "events": []})
    owners: dict[str, list[int]] = field(default_factory=lambda: {"attributes": [], "events": []})

    def add(self, owner: int, objects: TrackObjects) -> None:
        """Puts in what is told of one event."""
        for array, item in objects:
            self.objects[array].append(item)
            self.owners[array].append(owner)

    @property
    def count(self) -> int:
        """How many objects there are in all."""
        return sum(map(len, self.objects.values()))

    @property
    def places(self) -> list[int]:
        """The events that something is told of, in order."""
        return sorted({place for places in self.owners.values() for place in places})

    def private(self) -> list[str]:
        """The texts in it that must not come back in an error message."""
        return [item["properties"]["message_body"] for item in self.objects["events"]]

    def refused(self, response: HttpResponse) -> tuple[dict[int, DeliveryError], list[object]]:
        """The events that an answer names as faulty, and what else it remarks on."""
        named, remarks = errors_of(response, self.objects)
        private = self.private() if named else []
        refused = {self.owners[array][index]: refusal(response, TRACK, error, private) for array, index, error in named}
        return refused, remarks

    def failed(self, error: DeliveryError) -> dict[int, DeliveryError]:
        """What an error of the whole request is to each event."""
        texts = set(self.owners["events"])
        harmless = repeatable(error)
        return {place: error if place in texts else harmless for place in self.places}


def batches(objects: Sequence[TrackObjects], places: Sequence[int], most: int | None) -> Iterator[TrackBatch]:
    """The requests that tell of some events: one, unless a contract counts all objects of a request together."""
    batch = TrackBatch()
    for place in places:
        if most and batch.count + len(objects[place]) > most:
            yield batch
            batch = TrackBatch()
        batch.add(place, objects[place])
    if batch.count:
        yield batch


def parts_to_resend(response: HttpResponse, places: Sequence[int], refused: Container[int]) -> list[Sequence[int]]:
    """What to send again of a request that was refused whole: all but the events named, or, if none was, two halves."""
    if response.status not in REFUSED_WHOLE:
        return []
    rest = [place for place in places if place not in refused]
    if len(rest) < len(places):
        return [rest] if rest else []
    middle = len(places) // 2
    return [rest[:middle], rest[middle:]] if len(places) > 1 else []
