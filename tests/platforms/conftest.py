"""A Braze workspace and an outbound client, for the tests of platforms."""

from collections.abc import AsyncIterator

import pytest

from router.delivery.http import HttpClient
from tests.standins.braze import Braze as Workspace


@pytest.fixture
async def workspace() -> AsyncIterator[Workspace]:
    async with Workspace(delay=0.005) as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient(5.0, True) as client:
        yield client
