"""Accepting texts: one atomic call for all that wait together, durable before anybody is answered."""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha1
from typing import Any, NamedTuple, cast
from weakref import WeakKeyDictionary

from redis.exceptions import RedisError

from router.errors import StoreUnavailable
from router.store.connection import Store
from router.types import ConsentState, Plan, Row

#: The most texts in one call. What the script touches for more of them does not stay in the processor's cache, and the
#: server has nothing to do until they are done: with 256, and a program each, the two do a fifth less.
_AT_ONCE = 64
#: The most when more than that wait: the loop then has thousands of requests to read between two calls.
_AT_ONCE_OF_CROWD = 512
#: The end of a decision without changes: the states.
_STATES_DECIDED = re.compile(rb'"([a-z]+)","([a-z]+)"\]\Z')
#: As in lua/commit.lua.
BUCKET_SECONDS = 21_600
_DIGEST = 14


@dataclass(slots=True, eq=False)  # not frozen: that costs a text 1 µs
class Commit:
    """One text ready to be accepted.

    `digest` stands for the carrier's message id. `message` is the event as JSON, less its decision; `undelivered` a
    record of a text that no destination is told of. `destinations` are the plan's, and where its reply waits. `block`
    names the block of the person that the text may tell of: ACCOUNT/NUMBER, the number being ours. `late_at` is when a
    text was written that is not taken in its turn, in unix seconds. `lost` is called if the store does not take the
    text, before any later text is told so.
    """

    sender: str
    digest: bytes
    dedupe_seconds: int
    replies_per_hour: int
    plan: Plan
    destinations: tuple[str, ...]
    message: bytes
    undelivered: bytes
    block: str
    late_at: float | None = None
    lost: Callable[[], object] | None = None


class Committed(NamedTuple):
    """What the store says of a text: whether it came for the first time, and the decision taken then, as JSON.

    For a repeat `standing` has the state by now of each consent that the text may be about, and how many seconds ago
    that began; for the repeat of an opt-out, how many seconds ago it first came.
    """

    first: bool
    decision: bytes
    standing: tuple[tuple[ConsentState, float], ...] = ()


#: Told what became of a text.
Told = Callable[[Committed | StoreUnavailable], object]


class Commits:
    """Gathers the texts that arrive while the store is busy into its next call, in their order of arrival."""

    def __init__(
        self, store: Store, *, unhandled_kept: int, clock: Callable[[], float], on_failure: Callable[[], None]
    ) -> None:
        """`on_failure` is called at once when the store does not take texts."""
        self._clock = clock
        self._on_failure = on_failure
        self._keys = store.keys
        self._script = store.script("consent", "commit", held=True)
        self._plans: WeakKeyDictionary[Plan, bytes] = WeakKeyDictionary()
        self._unhandled_kept = -(-unhandled_kept // store.keys.shards)
        self._waiting: list[tuple[Commit, Told]] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many texts wait for the next call."""
        return len(self._waiting)

    def commit(self, text: Commit) -> "asyncio.Future[Committed]":
        """Puts a text in line; done once it is durable. On `StoreUnavailable` it may be recorded or not."""
        done: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        self.submit(text, partial(_settle, done))
        return done

    def submit(self, text: Commit, told: Told) -> None:
        """The same for who has no use for a future: `told` is called once it is durable, or with why it may not be."""
        self._waiting.append((text, told))
        if self._task is None:
            self._task = asyncio.create_task(self._work())

    async def _work(self) -> None:
        """Runs while anything waits. Its own task: a caller that gives up does not cut a call short."""
        try:
            while self._waiting:
                most = _AT_ONCE_OF_CROWD if len(self._waiting) > _AT_ONCE_OF_CROWD else _AT_ONCE
                batch, self._waiting = self._waiting[:most], self._waiting[most:]
                await self._call(batch)
        finally:
            self._task = None

    async def _call(self, batch: list[tuple[Commit, Told]]) -> None:
        reason = "the store did not take the texts"
        answers: list[bytes | list[Any]] | None = None
        try:
            found = await self._script.run_again(*self._arguments([text for text, _ in batch]))
            answers = cast("list[bytes | list[Any]]", found)
        except (RedisError, OSError) as error:
            reason = f"the store did not take the texts ({type(error).__name__})"
        finally:
            if answers is None:
                self._fail(batch, StoreUnavailable(reason))
        # Each for itself: whatever goes wrong with one must not keep the others from being told.
        soon = asyncio.get_running_loop().call_soon
        for (_, told), answer in zip(batch, answers or (), strict=answers is not None):
            soon(told, _committed(answer))

    def _fail(self, batch: list[tuple[Commit, Told]], reason: StoreUnavailable) -> None:
        """Those that came later fail with those before them: none of a sender's texts may overtake another."""
        failed, self._waiting = [*batch, *self._waiting], []
        self._on_failure()
        for text, told in failed:
            if text.lost:
                text.lost()
            told(reason)

    def _arguments(self, texts: Sequence[Commit]) -> tuple[list[str], list[str | bytes | int]]:
        places: dict[tuple[object, ...], int] = {}
        kinds: list[str | bytes | int] = []
        each: list[str | bytes | int] = []
        for text in texts:
            kind = (text.plan, text.destinations, text.dedupe_seconds, text.replies_per_hour, text.block)
            place = places.get(kind)
            if place is None:
                place = places[kind] = len(places) + 1
                kinds += (self._lines(text), text.block)
            late = 0 if text.late_at is None else _microseconds(text.late_at)
            each += (place, text.digest, text.message, text.undelivered, late)
        keys = [self._keys.person(text.sender) for text in texts]
        return keys, [_microseconds(self._clock()), len(places), *kinds, *each]

    def _lines(self, text: Commit) -> bytes:
        """What texts of a kind have in common: told once for all of them in a call."""
        of_plan = self._plans.get(text.plan)
        if of_plan is None:
            of_plan = self._plans[text.plan] = _plan_lines(text.plan)
        # The newest bucket is still filling, so the full ones behind it must make the window.
        buckets = -(-text.dedupe_seconds // BUCKET_SECONDS)
        own = f"{','.join(text.destinations)}\n{buckets}\n{self._unhandled_kept}\n{text.replies_per_hour}\n"
        return own.encode() + of_plan


def _settle(done: "asyncio.Future[Committed]", result: Committed | StoreUnavailable) -> None:
    if done.done():  # whoever waited has given up
        return
    if isinstance(result, StoreUnavailable):
        done.set_exception(result)
    else:
        done.set_result(result)


def _committed(answer: bytes | list[Any]) -> Committed:
    """What the script answers: a decision; of a repeat states behind it, in turns with how many µs they have lasted."""
    if isinstance(answer, bytes):
        return Committed(True, answer)
    decision, *standing = answer
    states = [cast("ConsentState", state.decode()) for state in standing[::2]]
    seconds = [int(age) / 1e6 for age in standing[1::2]]
    return Committed(False, decision, tuple(zip(states, seconds, strict=True)))


def _plan_lines(plan: Plan) -> bytes:
    """What lua/commit.lua takes apart."""
    every = (*plan.rows, *plan.rows_of_several)
    speak = any(len(row.decisions) > 1 for of_consent in every for row in of_consent)
    bearing = [(name, *others) for name, others in zip(plan.consents, plan.overruled_by, strict=True)]
    fields = [f"consent:{name}" for names in bearing for name in names]
    fields += (f"alias:{name}" for name in plan.need_alias)
    lines = (
        ",".join(plan.consents),
        ",".join(str(len(others)) for others in plan.overruled_by),
        ",".join(plan.need_alias),
        ",".join((*fields, "lang") if speak else fields),
        ",".join(plan.covers),
        ",".join(plan.sought),
        plan.writes,
        ",".join(plan.languages) if speak else "",
        f"{bool(plan.rows_of_several):d}",
    )
    parts: dict[bytes, int] = {}
    rows = [
        _written_row(consent, row, parts) for consent, of_consent in enumerate(every, start=1) for row in of_consent
    ]
    decisions = (b"=%d %b %b\n" % (place, _digest(part), part) for part, place in parts.items())
    return "".join(f"{line}\n" for line in lines).encode() + b"".join(decisions) + "".join(rows).encode()


def _digest(part: bytes) -> bytes:
    return sha1(part, usedforsecurity=False).hexdigest()[:_DIGEST].encode()


def _written_row(consent: int, row: Row, parts: dict[bytes, int]) -> str:
    otherwise = _written_decision(row.otherwise, parts) if row.otherwise else "-"
    decisions = ",".join(_written_decision(decision, parts) for decision in row.decisions)
    return (
        f"{consent} {row.before} {row.after} {row.renews:d} {row.expires_in} {row.lapses_to or ''} {row.asks_again_in} "
        f"{row.recorded:d} {row.language} {row.block} {otherwise} {decisions}\n"
    )


def _written_decision(decision: bytes, parts: dict[bytes, int]) -> str:
    """Refers to a decision by its place among the `parts`: most rows of a plan decide the same but for the states."""
    found = _STATES_DECIDED.search(decision)
    if found is None:
        raise ValueError("a decision does not end with from which state it leads to which")
    place = parts.setdefault(decision[: found.start()], len(parts))
    return f"{place}:{found[1].decode()}:{found[2].decode()}"


def _microseconds(seconds: float) -> int:
    return int(seconds * 1e6)
