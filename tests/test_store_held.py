"""The connection that is kept: answers in pieces, errors, ends and time-outs, each followed by a command that works."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import BlockingConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from router.store import Store
from router.store.held import Held
from tests.commits import until
from tests.running import own_store


@pytest.fixture
async def pool(store: Store) -> AsyncIterator[BlockingConnectionPool]:
    arguments = store.redis.connection_pool.connection_kwargs
    pool = BlockingConnectionPool(
        max_connections=1,
        timeout=1,
        connection_class=store.redis.connection_pool.connection_class,
        **arguments,
    )
    yield pool
    await pool.disconnect()


@pytest.fixture
def held(pool: BlockingConnectionPool) -> Held:
    return Held(pool, 0.5)


async def test_an_answer_that_comes_in_pieces_is_one(held: Held, prefix: str) -> None:
    long = b"x" * 3_000_000
    assert await held.execute("SET", f"{prefix}:long", long) == b"OK"
    assert await held.execute("GET", f"{prefix}:long") == long


@pytest.mark.parametrize(
    ("command", "error"), [(("NOSUCH",), ResponseError), (("EVALSHA", "0" * 40, 0), NoScriptError)]
)
async def test_an_error_is_raised_and_the_connection_kept(
    held: Held, command: tuple[str | int, ...], error: type[Exception]
) -> None:
    number = await held.execute("CLIENT", "ID")
    with pytest.raises(error):
        await held.execute(*command)
    assert await held.execute("CLIENT", "ID") == number


async def test_a_connection_that_ends_while_an_answer_is_waited_for_is_told_and_replaced(
    held: Held, store: Store, prefix: str
) -> None:
    number = await held.execute("CLIENT", "ID")
    waiting = asyncio.create_task(held.execute("BLPOP", f"{prefix}:nothing", 0))
    while not await store.redis.client_kill_filter(_id=str(number), skipme=True):
        await asyncio.sleep(0)
    with pytest.raises(RedisConnectionError):
        await waiting
    assert await held.execute("CLIENT", "ID") != number


async def test_a_connection_that_ended_in_between_is_replaced_unnoticed(held: Held, store: Store) -> None:
    number = await held.execute("CLIENT", "ID")
    assert await store.redis.client_kill_filter(_id=str(number))
    await store.ping()
    assert await held.execute("CLIENT", "ID") != number


async def test_the_answer_to_a_command_that_took_too_long_is_not_taken_for_the_next(held: Held, prefix: str) -> None:
    await held.execute("PING")
    with pytest.raises(RedisTimeoutError, match=r"no answer in 0\.5 s"):
        await held.execute("BLPOP", f"{prefix}:nothing", 0)
    assert await held.execute("ECHO", "mine") == b"mine"


async def test_the_pool_closes_what_is_held(held: Held, pool: BlockingConnectionPool) -> None:
    await held.execute("PING")
    await asyncio.wait_for(pool.disconnect(), 1)
    assert await held.execute("ECHO", "again") == b"again"


async def test_what_had_not_left_when_its_time_was_over_is_not_carried_out_later(tmp_path: Path) -> None:
    async with own_store(tmp_path) as store:
        pool = store.redis.connection_pool
        assert isinstance(pool, BlockingConnectionPool)
        held = Held(pool, 0.5)
        number = await held.execute("CLIENT", "ID")
        process = int((await store.redis.info("server"))["process_id"])
        os.kill(process, signal.SIGSTOP)

        async def gone() -> bool:
            return number not in [int(client["id"]) for client in await store.redis.client_list()]

        try:
            with pytest.raises(RedisTimeoutError):
                await held.execute("SET", "held:late", b"x" * 30_000_000)
        finally:
            os.kill(process, signal.SIGCONT)
        assert await held.execute("PING") == b"PONG"
        await until(gone)
        assert not await store.redis.exists("held:late")
