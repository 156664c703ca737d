"""What tests share: one real store server for the whole run, and a store of its own for each test."""

import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from router.embedded import EmbeddedServer
from router.store import Store


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """The embedded server, as the product starts it. Tests keep apart by their prefix."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(Path(folder))
        server.spawn()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def prefix() -> str:
    """A prefix that no other test uses."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def store(server: EmbeddedServer, prefix: str) -> AsyncIterator[Store]:
    """An open store with four shards."""
    await server.ready()
    store = Store(server.url, prefix=prefix, shards=4, durability="fsync", timeout_seconds=5.0)
    await store.open()
    yield store
    await store.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=3, help="how often tests/test_crash.py kills the server")
