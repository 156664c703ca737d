"""The plainest HTTP/1.1, for a driver and sinks that must not be what is measured."""

from collections.abc import Callable

_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


def body_length(head: bytes) -> int:
    """What the head of a message says of its body, in bytes."""
    at = head.lower().find(_LENGTH)
    return int(head[at + len(_LENGTH) : head.find(b"\r", at)]) if at >= 0 else 0


class Messages:
    """Cuts what arrives into messages: head and body. No chunked bodies."""

    def __init__(self, take: Callable[[bytes, bytes], None]) -> None:
        self._take = take
        self._data = b""

    def feed(self, data: bytes) -> None:
        """Takes bytes as they come."""
        data = self._data + data if self._data else data
        while (end := data.find(_END)) >= 0:
            head = data[: end + 2]
            whole = end + 4 + body_length(head)
            if len(data) < whole:
                break
            self._take(head, data[end + 4 : whole])
            data = data[whole:]
        self._data = data
