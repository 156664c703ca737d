"""What every stand-in is made of: an aiohttp server on a free port of loopback, and waiting without polling."""

import asyncio
from collections.abc import Callable
from typing import Self

from aiohttp import web


class Server:
    """Serves `handle` on every path while in its `async with` block; `origin` is its address then.

    `port` is set before that where it must not be any free one.
    """

    origin: str
    port = 0

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._closing = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The answer to one request."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.origin = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        await self._runner.cleanup()

    def changed(self) -> None:
        """Wakes those who wait."""
        self._changed.set()
        self._changed.clear()

    async def until(self, condition: Callable[[], bool], within: float = 5.0) -> None:
        """Returns once the condition holds; raises `TimeoutError` after `within` seconds."""
        async with asyncio.timeout(within):
            while not condition():
                await self._changed.wait()

    async def never_answer(self, request: web.Request) -> web.StreamResponse:
        """Keeps the caller waiting until the stand-in is closed, then cuts the connection."""
        await self._closing.wait()
        if request.transport:
            request.transport.abort()
        return web.Response(status=503)
