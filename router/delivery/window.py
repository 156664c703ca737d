"""What has been read of a shard's outbox and is not recorded as settled yet, by one lane."""

from collections import deque
from collections.abc import Iterable


class Window:
    """The entries from the first open one on. Everything up to `position` is settled."""

    def __init__(self, position: str, ahead: Iterable[str]) -> None:
        """`ahead`: what is settled beyond the position, from an earlier holder of the shard."""
        self.position = position
        self._ids: deque[str] = deque()
        self._settled = set(ahead)
        #: The last one that was read.
        self.newest = position

    def __len__(self) -> int:
        return len(self._ids)

    def take_in(self, entry_id: str) -> bool:
        """Adds the next entry; whether it is still open."""
        self._ids.append(entry_id)
        self.newest = entry_id
        return entry_id not in self._settled

    def settle(self, entry_id: str) -> None:
        """Nothing more is to be done about an entry."""
        self._settled.add(entry_id)

    def books(self) -> tuple[str, list[str]]:
        """Moves on to before the first open entry: the position, and what is settled beyond it."""
        ids, settled = self._ids, self._settled
        while ids and ids[0] in settled:
            self.position = ids.popleft()
            settled.discard(self.position)
        return self.position, sorted(settled)
