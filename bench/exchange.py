"""The plainest HTTP/1.1 of both sides, for a driver and sinks that must not be what is measured."""

import asyncio
from collections.abc import Callable
from typing import cast

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


class Client(asyncio.Protocol):
    """One connection that has at most one request under way. `answered` is told the status of each answer; 0: none, and
    the connection is of no more use.
    """

    def __init__(self, answered: Callable[["Client", int], None]) -> None:
        self.busy = False
        self.connected = False
        self._answered = answered
        self._messages = Messages(self._take)
        self._transport: asyncio.Transport | None = None

    def send(self, request: bytes) -> None:
        """Sends a request; the connection is busy until its answer."""
        self.busy = True
        if self._transport and self.connected:
            self._transport.write(request)
        else:
            self._lost()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport, self.connected = cast("asyncio.Transport", transport), True

    def data_received(self, data: bytes) -> None:
        """Part of an answer."""
        self._messages.feed(data)

    def connection_lost(self, error: Exception | None) -> None:
        """Whatever was under way is not answered."""
        self.connected = False
        self._lost()

    def _lost(self) -> None:
        # It stays busy: whoever sends has to take another one.
        if self.busy:
            self._answered(self, 0)

    def close(self) -> None:
        """Ends the connection."""
        if self._transport:
            self._transport.close()

    def _take(self, head: bytes, body: bytes) -> None:
        self.busy = False
        self._answered(self, int(head[9:12]))
