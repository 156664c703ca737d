"""Follows a shard's outbox for one lane: every entry once, in order, as it is offered or read from the store."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from router.delivery.window import Window
from router.errors import StoreUnavailable
from router.store import Entry, Outbox

_log = structlog.get_logger("router.delivery.following")

#: How many entries are read at once: taking them up holds up everything else.
_READ_AT_ONCE = 50
#: Before a store is asked again that did not answer, in seconds.
_STORE_PAUSE = 0.2


class Following:
    """Hands on what follows the newest entry of a window, as long as there is room for it."""

    def __init__(
        self,
        outbox: Outbox,
        shard: int,
        window: Window,
        catching_up: asyncio.Lock,
        has_room: Callable[[], bool],
        take_up: Callable[[Sequence[Entry]], None],
    ) -> None:
        """`catching_up` is one for all, so that those who are behind take turns, and others get in between."""
        self._outbox = outbox
        self._shard = shard
        self._window = window
        self._catching_up = catching_up
        self._has_room = has_room
        self._take_up = take_up
        self._news = asyncio.Event()
        self._waits_for_room = False

    def look(self) -> None:
        """There may be new entries."""
        self._news.set()

    def made_room(self) -> None:
        """Some of what was handed on is settled."""
        if self._waits_for_room:
            self._news.set()

    def offer(self, after: str, entries: Sequence[Entry]) -> None:
        """These entries follow the one with the id `after`: if that is the newest here, nobody need ask the store."""
        if after == self._window.newest and self._has_room():
            self._take_up(entries)
        else:
            self._news.set()

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            self._news.clear()
            self._waits_for_room = not self._has_room()
            try:
                if self._waits_for_room or not await self._catch_up():
                    await self._news.wait()
            except StoreUnavailable as error:
                _log.warning("outbox not read, tried again", shard=self._shard, error=str(error))
                await asyncio.sleep(_STORE_PAUSE)

    async def _catch_up(self) -> bool:
        """Takes up some of what stands in the store; whether there was any."""
        async with self._catching_up:
            entries = await self._read()
            if entries:
                self._take_up(entries)
                await asyncio.sleep(0)
        return bool(entries)

    async def _read(self) -> list[Entry]:
        while True:
            newest = self._window.newest
            entries = await self._outbox.read(self._shard, newest, _READ_AT_ONCE)
            if newest == self._window.newest:  # else some were offered meanwhile
                return entries
