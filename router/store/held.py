"""A connection that is kept, for who sends one command after the other and is in a hurry."""

import asyncio
import socket
from typing import Any, cast

from hiredis import PushNotification, Reader, pack_command
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError
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

    async def execute(self, *arguments: str | bytes | int) -> object:
        """One command, never while another is under way. Raises `redis.RedisError`."""
        if self._replies is None or self._replies.lost:
            self._replies = await self._connected()
        try:
            return await self._replies.to(pack_command(cast("Any", arguments)), self._timeout_seconds)
        except BaseException as error:
            if not isinstance(error, ResponseError):  # after any other, who knows whose answer comes next
                await self._disconnect()
            raise

    async def _connected(self) -> "_Replies":
        await self._disconnect()
        return _Replies(await self._pool.get_connection())  # type: ignore[no-untyped-call]

    async def _disconnect(self) -> None:
        if self._replies is not None:
            connection = self._replies.end()
            self._replies = None
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)


class _Replies(asyncio.Protocol):
    """What comes over a connection in place of its own protocol, which is told of the end."""

    def __init__(self, connection: AbstractConnection) -> None:
        self.connection = connection
        # The client has no public way to its socket.
        self._transport = cast("asyncio.StreamWriter", connection._writer).transport
        self.lost = self._transport.is_closing()
        self._before = self._transport.get_protocol()
        self._reader = Reader(replyError=_error)
        self._next: asyncio.Future[object] | None = None
        known = self._transport.get_extra_info("socket")
        if known.family == socket.AF_UNIX:  # that of TCP grows by itself
            known.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _COMMAND)
        self._transport.set_protocol(self)

    async def to(self, command: bytes, seconds: float) -> object:
        """The answer to a packed command."""
        self._next = asyncio.get_running_loop().create_future()
        self._transport.write(command)
        try:
            async with asyncio.timeout(seconds):
                return await self._next
        except TimeoutError:
            raise RedisTimeoutError(f"no answer in {seconds} s") from None
        finally:
            self._next = None

    def end(self) -> AbstractConnection:
        """Lets the connection go. What the system has not taken of a command never leaves, and comes late to nobody."""
        self._transport.abort()
        return self.connection

    def data_received(self, data: bytes) -> None:
        """A piece of an answer."""
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            if self._next is None or self._next.done() or isinstance(reply, PushNotification):
                continue
            if isinstance(reply, ResponseError):
                self._next.set_exception(reply)
            else:
                self._next.set_result(reply)

    def connection_lost(self, error: Exception | None) -> None:
        """The store or we have closed it."""
        self.lost = True
        if self._next is not None and not self._next.done():
            self._next.set_exception(RedisConnectionError("the store has closed the connection"))
        self._before.connection_lost(error)


def _error(message: str) -> ResponseError:
    return NoScriptError(message) if message.startswith("NOSCRIPT") else ResponseError(message)
