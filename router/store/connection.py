"""The connection to the store: opening it, checking that it is the right one, running scripts."""

import re
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError

from router.errors import StoreMismatch, StoreUnavailable
from router.store.held import Held
from router.store.keys import Keys

_LAYOUT = "4"

Execute = Callable[..., Awaitable[object]]


class Script:
    """Lua files, one after the other, run by their digest and loaded when the server does not have it (it forgets at a
    restart).
    """

    def __init__(self, redis: "Redis", execute: Execute, *names: str) -> None:
        self._redis = redis
        self._execute = execute
        folder = resources.files("router.store.lua")
        self._source = "\n".join(folder.joinpath(f"{name}.lua").read_text() for name in names)
        self._digest = ""

    async def run(self, keys: list[str], arguments: list[str | bytes | int]) -> object:
        """Raises `redis.RedisError`; the script may then have run or not."""
        if not self._digest:
            self._digest = await self._redis.script_load(self._source)
        try:
            return await self._execute("EVALSHA", self._digest, len(keys), *keys, *arguments)
        except NoScriptError:
            self._digest = await self._redis.script_load(self._source)
            return await self._execute("EVALSHA", self._digest, len(keys), *keys, *arguments)

    async def run_again(self, keys: list[str], arguments: list[str | bytes | int]) -> object:
        """The same for a script that may run twice: tried once more if the connection was lost."""
        try:
            return await self.run(keys, arguments)
        except RedisConnectionError:
            return await self.run(keys, arguments)


class Store:
    """A checked connection with its key names. What is done over it stands in the other files of this folder."""

    def __init__(
        self,
        url: str,
        *,
        prefix: str,
        shards: int,
        durability: str,
        timeout_seconds: float,
        password: str | None = None,
    ) -> None:
        self._pool = BlockingConnectionPool.from_url(
            url,
            password=password,
            max_connections=64,
            timeout=timeout_seconds,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            # The client must not send anything twice by itself: most of what is written here has an effect each time.
            retry=Retry(NoBackoff(), 0),
        )
        self.redis = Redis.from_pool(self._pool)
        self.keys = Keys(prefix, shards)
        self._url = url
        self._durability = durability
        self._timeout_seconds = timeout_seconds

    async def open(self) -> None:
        """Connects and checks. Raises `StoreUnavailable` or `StoreMismatch`, each saying what to do."""
        try:
            await self.redis.ping()
            await self._check_mode()
            await self._check_durability()
            await self._check_layout()
        except RedisError as error:
            raise StoreUnavailable(
                f"the store at {self.address} does not answer ({error}). Start it, or correct store.url."
            ) from error

    async def ping(self) -> None:
        """Raises `StoreUnavailable` if the store does not answer."""
        await asked(self.redis.ping())

    async def memory(self) -> tuple[int, int]:
        """How many bytes the store uses, and how many it may at most (0: no limit). Raises `StoreUnavailable`."""
        found = cast("dict[str, int]", await asked(self.redis.info("memory")))
        return found["used_memory"], found.get("maxmemory", 0)

    async def close(self) -> None:
        """Closes every connection."""
        await self.redis.aclose()

    @property
    def address(self) -> str:
        """The URL without a password."""
        return re.sub(r"://[^@/]*@", "://…@", self._url)

    def script(self, *names: str, held: bool = False) -> Script:
        """The script that the files `lua/NAME.lua` make together. `held`: it is never run twice at a time."""
        return Script(
            self.redis, Held(self._pool, self._timeout_seconds).execute if held else self.redis.execute_command, *names
        )

    async def _check_mode(self) -> None:
        server = await self.redis.info("cluster")
        if server.get("cluster_enabled"):
            raise StoreMismatch(
                f"the store at {self.address} runs in cluster mode, which this version does not speak. "
                "Set store.url to a server that is not part of a cluster."
            )

    async def _check_layout(self) -> None:
        """The number of shards decides where a sender's keys are, so it is fixed when the store is first used."""
        wanted = {"layout": _LAYOUT, "shards": str(self.keys.shards)}
        for field, value in wanted.items():
            await self.redis.hsetnx(self.keys.meta, field, value)
        found = cast("dict[bytes, bytes]", await self.redis.hgetall(self.keys.meta))
        kept = {key.decode(): value.decode() for key, value in found.items()}
        if kept["shards"] != wanted["shards"]:
            raise StoreMismatch(
                f"the store at {self.address} was set up with {kept['shards']} shards, the configuration says "
                f"{wanted['shards']}. Set store.shards = {kept['shards']}, or use another store or store.prefix."
            )
        if kept["layout"] != _LAYOUT:
            raise StoreMismatch(
                f"the store at {self.address} has layout {kept['layout']}, this version reads {_LAYOUT}. "
                "Run the version of keyroute that wrote it, or use another store.prefix."
            )

    async def _check_durability(self) -> None:
        if self._durability != "fsync":
            return
        try:
            found = await self.redis.config_get("append*")
        except ResponseError as error:
            raise StoreMismatch(
                f"the store at {self.address} does not show its settings ({error}), so keyroute cannot tell whether it "
                "writes to disk before it answers. Allow CONFIG GET, or accept the risk with "
                'store.durability = "memory".'
            ) from error
        if (found.get("appendonly"), found.get("appendfsync")) != ("yes", "always"):
            raise StoreMismatch(
                f"the store at {self.address} does not write to disk before it answers (appendonly "
                f"{found.get('appendonly')}, appendfsync {found.get('appendfsync')}). Set appendonly yes and "
                'appendfsync always there, or accept the risk with store.durability = "memory".'
            )


async def asked(call: Any) -> object:
    """Awaits a command; what goes wrong at the store is `StoreUnavailable`."""
    try:
        return await call
    except (RedisError, OSError) as error:
        raise StoreUnavailable(f"the store does not answer ({type(error).__name__}: {error})") from error
