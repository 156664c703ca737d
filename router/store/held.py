"""A connection that is kept, for who sends command after command and is in a hurry."""

import asyncio
import socket
from collections import deque
from typing import Any, cast

from hiredis import PushNotification, Reader, pack_command
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

#: What a command of many texts takes, in bytes. The kernel gives room for it, up to its own limit
#: (`net.core.wmem_max`): what does not fit leaves only when the loop has done all else that is ready.
_COMMAND = 1 << 20


class Held:
    """Takes a connection out of the pool and reads it itself.

    The client's own way of packing, waiting and trying again takes as long as the store, and comes back to the loop
    for each piece of an answer: with thousands of requests to read in between, that takes a fifth of a second.
    """

    def __init__(self, pool: BlockingConnectionPool, timeout_seconds: float) -> None:
        self._pool = pool
        self._timeout_seconds = timeout_seconds
        self._replies: _Replies | None = None
        self._connecting = asyncio.Lock()

    async def execute(self, *arguments: str | bytes | int) -> object:
        """One command, behind those that are under way. Raises `redis.RedisError`; unless that is the store's answer,
        all that is under way fails with it.
        """
        replies = self._replies
        if replies is None or replies.lost:
            replies = await self._connected()
        try:
            return await replies.to(pack_command(cast("Any", arguments)), self._timeout_seconds)
        except RedisError as error:
            if not isinstance(error, ResponseError):
                await self._disconnect(replies)
            raise

    async def _connected(self) -> "_Replies":
        async with self._connecting:
            if self._replies is not None and self._replies.lost:
                await self._disconnect(self._replies)
            if self._replies is None:
                self._replies = _Replies(await self._pool.get_connection())  # type: ignore[no-untyped-call]
            return self._replies

    async def _disconnect(self, replies: "_Replies") -> None:
        if self._replies is replies:  # else somebody else has
            self._replies = None
            await replies.connection.disconnect(nowait=True)
            await self._pool.release(replies.connection)


class _Replies(asyncio.Protocol):
    """What comes over a connection in place of its own protocol, which is told of the end."""

    def __init__(self, connection: AbstractConnection) -> None:
        self.connection = connection
        # The client has no public way to its socket.
        self._transport = cast("asyncio.StreamWriter", connection._writer).transport
        self.lost = self._transport.is_closing()
        self._before = self._transport.get_protocol()
        self._reader = Reader(replyError=_error)
        self._waiting: deque[asyncio.Future[object]] = deque()
        known = self._transport.get_extra_info("socket")
        if known.family == socket.AF_UNIX:  # that of TCP grows by itself
            known.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _COMMAND)
        self._transport.set_protocol(self)

    async def to(self, command: bytes, seconds: float) -> object:
        """The answer to a packed command. Whoever gives up waiting leaves the place in the line, so that the answer is
        taken for nobody else's.
        """
        if self.lost or self._transport.is_closing():
            raise RedisConnectionError("the connection to the store is closed")
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        self._transport.write(command)
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            raise RedisTimeoutError(f"no answer in {seconds} s") from None

    def data_received(self, data: bytes) -> None:
        """A piece of an answer."""
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            if isinstance(reply, PushNotification) or not self._waiting:
                continue
            answer = self._waiting.popleft()
            if answer.done():  # whoever waited has given up
                continue
            if isinstance(reply, ResponseError):
                answer.set_exception(reply)
            else:
                answer.set_result(reply)

    def connection_lost(self, error: Exception | None) -> None:
        """The store or we have closed it."""
        self.lost = True
        for answer in self._waiting:
            if not answer.done():
                answer.set_exception(RedisConnectionError("the store has closed the connection"))
        self._waiting.clear()
        self._before.connection_lost(error)


def _error(message: str) -> ResponseError:
    return NoScriptError(message) if message.startswith("NOSCRIPT") else ResponseError(message)
