"""Accepting texts: one atomic call for all that wait together, durable before anybody is answered."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.exceptions import RedisError

from router.errors import StoreUnavailable
from router.store.connection import Store
from router.types import Row

#: The most texts in one call: bounds how long the store's single thread is held.
_MOST_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Commit:
    """One text ready to be accepted.

    `digest` stands for the carrier's message id. `consent` names the consent to change: a program's id, or
    `@ACCOUNT` for the whole account; `account` the account whose own consent bears on it too. `message` is the event as
    JSON, less its decision; `undelivered` a record of a text that no destination is told of. `rows` are `decide`'s.
    """

    sender: str
    digest: bytes
    consent: str
    account: str
    dedupe_seconds: int
    destinations: tuple[str, ...]
    need_alias: tuple[str, ...]
    message: bytes
    undelivered: bytes
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Committed:
    """What the store says of a text: whether it came for the first time, and the decision taken then, as JSON."""

    first: bool
    decision: bytes


class Commits:
    """Gathers the texts that arrive while the store is busy into its next call, in their order of arrival."""

    def __init__(
        self,
        store: Store,
        *,
        replies_per_hour: int,
        unhandled_kept: int,
        clock: Callable[[], float],
        on_failure: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._on_failure = on_failure
        self._keys = store.keys
        self._script = store.script("commit")
        self._replies_per_hour = replies_per_hour
        self._unhandled_kept = max(1, unhandled_kept // store.keys.shards)
        self._waiting: list[tuple[Commit, asyncio.Future[Committed]]] = []
        self._task: asyncio.Task[None] | None = None

    def commit(self, text: Commit) -> "asyncio.Future[Committed]":
        """Puts a text in line; done once it is durable. On `StoreUnavailable` it may be recorded or not."""
        done: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        self._waiting.append((text, done))
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return done

    async def _work(self) -> None:
        """Runs while anything waits. Its own task: a caller that gives up does not cut a call short."""
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_MOST_AT_ONCE], self._waiting[_MOST_AT_ONCE:]
                await self._call(batch)
        finally:
            self._task = None

    async def _call(self, batch: list[tuple[Commit, asyncio.Future[Committed]]]) -> None:
        reason = "the store did not take the texts"
        try:
            answers = await self._script.run(*self._arguments([text for text, _ in batch]))
            for (_, done), (first, decision) in zip(batch, cast("list[list[Any]]", answers), strict=True):
                if not done.done():
                    done.set_result(Committed(bool(first), decision))
        except (RedisError, OSError) as error:
            reason = f"the store did not take the texts ({type(error).__name__})"
        finally:
            if not all(done.done() for _, done in batch):
                # Those that came later fail with those before them: none of a sender's texts may overtake another.
                failed, self._waiting = [*batch, *self._waiting], []
                self._on_failure()
                for _, done in failed:
                    if not done.done():
                        done.set_exception(StoreUnavailable(reason))

    def _arguments(self, texts: Sequence[Commit]) -> tuple[list[str], list[str | bytes | int]]:
        width = 10 + 6 * len(texts[0].rows)
        arguments: list[str | bytes | int] = [int(self._clock() * 1000), width]
        for text in texts:
            own, account = f"consent:{text.consent}", f"consent:@{text.account}"
            arguments += (
                text.digest,
                # Five buckets are looked at, the newest still filling: four full ones make the window.
                max(1, text.dedupe_seconds // 4),
                own,
                account if account != own else "",
                ",".join(text.destinations),
                ",".join(text.need_alias),
                text.message,
                text.undelivered,
                self._unhandled_kept,
                self._replies_per_hour,
            )
            for row in text.rows:
                arguments += (row.before, row.after, int(row.renews), row.expires_in, row.decision, row.silent)
        return [self._keys.person(text.sender) for text in texts], arguments
