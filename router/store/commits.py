"""Accepting texts: one atomic call for all that wait together, durable before anybody is answered."""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, cast
from weakref import WeakKeyDictionary

from redis.exceptions import RedisError

from router.errors import StoreUnavailable
from router.store.connection import Store
from router.types import ConsentState, Plan, Row

#: The most texts in one call: bounds how long the store's single thread is held.
_MOST_AT_ONCE = 256
_STATES_DECIDED = re.compile(rb'"before":"([a-z]+)","after":"([a-z]+)"')
#: As in lua/commit.lua.
BUCKET_SECONDS = 21_600


@dataclass(slots=True, eq=False)  # not frozen: that costs a text 1 µs
class Commit:
    """One text ready to be accepted.

    `digest` stands for the carrier's message id. `message` is the event as JSON, less its decision; `undelivered` a
    record of a text that no destination is told of. `destinations` are the plan's, and where its reply waits; `number`
    is ours, and `block` names the block of the person that the text may tell of: ACCOUNT/NUMBER. `late_at` is when a
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
    number: str
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


#: The lines that a plan has in what its texts have in common, and the arguments behind them: see lua/commit.lua.
PlanArguments = tuple[str, tuple[str | bytes, ...]]


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
        self._plans: WeakKeyDictionary[Plan, PlanArguments] = WeakKeyDictionary()
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
                batch, self._waiting = self._waiting[:_MOST_AT_ONCE], self._waiting[_MOST_AT_ONCE:]
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
            plan = text.plan
            kind = (plan, text.destinations, text.dedupe_seconds, text.replies_per_hour, text.number, text.block)
            place = places.get(kind)
            if place is None:
                place = places[kind] = len(places) + 1
                arguments = self._kind_arguments(text)
                kinds += (len(arguments), *arguments)
            late = 0 if text.late_at is None else _microseconds(text.late_at)
            each += (place, text.digest, text.message, text.undelivered, late)
        keys = [self._keys.person(text.sender) for text in texts]
        return keys, [_microseconds(self._clock()), len(places), *kinds, *each]

    def _kind_arguments(self, text: Commit) -> tuple[str | bytes | int, ...]:
        """What texts of a kind have in common: told once for all of them in a call."""
        plan = self._plans.get(text.plan)
        if plan is None:
            plan = self._plans[text.plan] = _plan_arguments(text.plan)
        lines, decisions_and_rows = plan
        return (
            "\n".join(
                (
                    ",".join(text.destinations),
                    ",".join(text.plan.need_alias),
                    # The newest bucket is still filling, so the full ones behind it must make the window.
                    str(-(-text.dedupe_seconds // BUCKET_SECONDS)),
                    str(self._unhandled_kept),
                    str(text.replies_per_hour),
                    lines,
                )
            ),
            text.number,
            text.block,
            *decisions_and_rows,
        )


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


def _plan_arguments(plan: Plan) -> PlanArguments:
    parts: dict[tuple[bytes, bytes], int] = {}
    rows = [_written_rows(of_consent, parts) for of_consent in (*plan.rows, *plan.rows_of_several)]
    speak = any(len(row.decisions) > 1 for of_consent in (*plan.rows, *plan.rows_of_several) for row in of_consent)
    lines = (
        ",".join(plan.consents),
        ";".join(",".join(names) for names in plan.overruled_by),
        ",".join(plan.covers),
        ",".join(plan.sought),
        plan.writes,
        ",".join(plan.languages) if speak else "",
        str(len(parts)),
    )
    return "".join(f"{line}\n" for line in lines), (*chain.from_iterable(parts), *rows)


def _written_rows(rows: Sequence[Row], parts: dict[tuple[bytes, bytes], int]) -> str:
    """What `read_row` in lua/commit.lua takes apart. The rows of most plans decide the same but for the states."""
    lines = []
    for row in rows:
        otherwise = _written_decision(row.otherwise, parts) if row.otherwise else "-"
        decisions = ",".join(_written_decision(decision, parts) for decision in row.decisions)
        lines.append(
            f"\n{row.before} {row.after} {row.renews:d} {row.expires_in} {row.lapses_to or ''} {row.asks_again_in} "
            f"{row.recorded:d} {row.language} {row.block} {otherwise} {decisions}"
        )
    return "".join(lines)


def _written_decision(decision: bytes, parts: dict[tuple[bytes, bytes], int]) -> str:
    found = _STATES_DECIDED.search(decision)  # what people write stands in JSON's own quotes, so it cannot be meant
    if found is None:
        raise ValueError("a decision does not say from which state to which")
    place = parts.setdefault((decision[: found.start()], decision[found.end() :]), len(parts))
    return f"{place}:{found[1].decode()}:{found[2].decode()}"


def _microseconds(seconds: float) -> int:
    return int(seconds * 1e6)
