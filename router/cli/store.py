"""The store for commands that look into it: that of the running server, or started for the moment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from router.config import Settings
from router.service import open_store
from router.store import Store


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Store]:
    """The configured store, checked. Raises `StoreUnavailable`, `StoreMismatch`."""
    store, server = open_store(settings)
    try:
        if server:
            await server.ready()
        await store.open()
        yield store
    finally:
        await store.close()
        if server:
            server.stop()
