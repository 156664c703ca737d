"""What came to a workspace, kept in memory or as lines of JSON in a file."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson


@dataclass(frozen=True, slots=True)
class Arrival:
    """A custom event that was accepted: the text's id, who sent it, when (unix seconds), and in which request."""

    message_id: str
    sender: str
    at: float
    request: int


class Record:
    """`arrivals` and `dropped` stay empty if there is a file: then each is a line of it, with its `kind`.

    `repeats` counts the custom events that came again, whatever their number.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.arrivals: list[Arrival] = []
        self.dropped: list[tuple[str, dict[str, Any]]] = []
        self.counts: Counter[str] = Counter()
        self.repeats: Counter[str] = Counter()
        self._seen: set[int] = set()
        self._file: BinaryIO | None = file.open("wb") if file else None

    @property
    def keeps(self) -> bool:
        """Whether it keeps in memory what comes."""
        return self._file is None

    def arrived(self, arrivals: list[Arrival]) -> None:
        """Custom events were accepted."""
        self.counts["events"] += len(arrivals)
        for arrival in arrivals:
            # Of a million ids, their hashes take little room.
            if (key := hash(arrival.message_id)) in self._seen:
                self.repeats[arrival.message_id] += 1
            self._seen.add(key)
        if self._file:
            self._file.writelines(orjson.dumps(arrival) + b"\n" for arrival in arrivals)
        else:
            self.arrivals += arrivals

    def dropped_silently(self, kind: str, item: dict[str, Any]) -> None:
        """An object had no effect, and the caller was told that it was taken."""
        self.counts["dropped"] += 1
        if self._file:
            self._file.write(orjson.dumps({"kind": kind, "dropped": item}) + b"\n")
        else:
            self.dropped.append((kind, item))

    def flush(self) -> None:
        """Everything up to now is in the file, if there is one."""
        if self._file:
            self._file.flush()

    def report(self) -> dict[str, Any]:
        """What a test asks of a stand-in in another process: all of it, or counts if it is in the file."""
        self.flush()
        found: dict[str, Any] = {"counts": self.counts, "duplicates": self.repeats}
        if self.keeps:
            found |= {"events": self.arrivals, "dropped": [{"kind": kind, "item": item} for kind, item in self.dropped]}
        return found
