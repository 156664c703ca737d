"""Accepting texts: one atomic call for all that wait together, durable before anybody is answered."""

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import sha1
from typing import Any, NamedTuple, cast

from redis.exceptions import RedisError

from router.errors import StoreUnavailable
from router.store.connection import Script, Store
from router.tasks import Background
from router.types import ConsentState, Plan, Row

#: How many calls may be under way. With one alone, server and store wait for each other.
_CALLS = 2
#: How many texts a call may take however few wait, and however fast the store is. Small calls let server, store and
#: whoever sends work at the same time, and what the script touches stays in the processor's cache.
_AT_ONCE = 32
#: Of many that wait, a call takes one in so many, up to the most: the loop has hundreds of requests to read between
#: two calls.
_SHARE, _MOST = 4, 512
#: A call takes one more text for so many seconds that the call before it took: where the disk is slow to confirm, few
#: calls with many texts each are faster.
_SECONDS_OF_TEXT = 0.0001
#: How many it takes to make a second call.
_ENOUGH = 16
#: The end of a decision without changes: the states.
_STATES_DECIDED = re.compile(rb'"([a-z]+)","([a-z]+)"\]\Z')
#: As in lua/shard.lua.
BUCKET_SECONDS = 43_200
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
_Waiting = tuple[Commit, Told]


@dataclass(slots=True)
class _Call:
    """A call that is under way, and whether those who wait for it have already been told that it failed."""

    texts: Sequence[_Waiting]
    failed: bool = False


class _Places(dict[Any, int]):
    """The place of each thing that is asked for, from 1 on, in the order in which they first are."""

    def __missing__(self, thing: object) -> int:
        place = self[thing] = len(self) + 1
        return place


class Commits:
    """Gathers the texts that arrive while the store is busy into its next calls, each person's in their order of
    arrival: no two calls under way have texts of the same person.
    """

    def __init__(
        self,
        store: Store,
        *,
        unhandled_kept: int,
        clock: Callable[[], float],
        on_failure: Callable[[], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_failure` is called at once when the store does not take texts; by `now` a call's time is taken."""
        self._clock = clock
        self._now = now
        self._on_failure = on_failure
        self._keys = store.keys
        self._idle = [store.script("consent", "shard", "commit", held=True) for _ in range(_CALLS)]
        self._unhandled_kept = -(-unhandled_kept // store.keys.shards)
        self._waiting: list[_Waiting] = []
        self._held_back = 0
        #: How long the last call took, in seconds.
        self._took = 0.0
        self._under_way: dict[Script, _Call] = {}
        self._answered: list[tuple[Told, Committed]] = []
        self._background = Background()

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
        workers = _CALLS - len(self._idle) - sum(call.failed for call in self._under_way.values())
        if self._idle and (workers == 0 or self._enough_wait()):
            self._background.start(self._work(self._idle.pop()), _report)

    def _enough_wait(self) -> bool:
        """Whether there may be texts for a second call."""
        return len(self._waiting) - self._held_back >= _ENOUGH

    async def _work(self, script: Script) -> None:
        """Makes one call after another. Its own task: a caller that gives up does not cut a call short."""
        try:
            while texts := self._next_texts():
                call = self._under_way[script] = _Call(texts)
                try:
                    await self._make(call, script)
                finally:
                    del self._under_way[script]
                    self._held_back = 0
        finally:
            self._idle.append(script)

    def _next_texts(self) -> Sequence[_Waiting]:
        """What the next call takes, in the order of arrival; nothing if what may go is too little for a call beside the
        one that is under way, and takes it when it returns.
        """
        beside = any(not call.failed for call in self._under_way.values())
        if beside and not self._enough_wait():
            return ()
        most = max(_AT_ONCE, len(self._waiting) // _SHARE, int(self._took / _SECONDS_OF_TEXT))
        most = min(most, _MOST)
        busy = {text.sender for call in self._under_way.values() for text, _ in call.texts}
        if not busy:
            taken, self._waiting = self._waiting[:most], self._waiting[most:]
            return taken
        may_go: list[_Waiting] = []
        held_back: list[_Waiting] = []
        for one in self._waiting:
            (held_back if one[0].sender in busy else may_go).append(one)
            if len(may_go) == most:
                break
        self._held_back = len(held_back)
        if beside and len(may_go) < _ENOUGH:
            return ()
        self._waiting = held_back + self._waiting[len(held_back) + len(may_go) :]
        return may_go

    async def _make(self, call: _Call, script: Script) -> None:
        reason = "the store did not take the texts"
        answered: list[tuple[Told, Committed]] | None = None
        began = self._now()
        try:
            found = await script.run_again(*self._arguments([text for text, _ in call.texts]))
            self._took = self._now() - began
            answers = map(_committed, cast("list[bytes | list[Any]]", found))
            answered = [(told, answer) for (_, told), answer in zip(call.texts, answers, strict=True)]
        except (RedisError, OSError) as error:
            reason = f"the store did not take the texts ({type(error).__name__})"
        finally:
            if answered is None and not call.failed:
                self._fail(StoreUnavailable(reason))
        if answered and not call.failed:
            self._answered += answered
            asyncio.get_running_loop().call_soon(self._tell)  # the next call goes first

    def _tell(self) -> None:
        """Tells what the store has answered."""
        answered, self._answered = self._answered, []
        for told, answer in answered:
            _attempt(told, answer)

    def _fail(self, reason: StoreUnavailable) -> None:
        """What is under way and what waits fails together: none of a person's texts may overtake another."""
        self._tell()  # they came earlier
        failed: list[_Waiting] = []
        for call in self._under_way.values():
            if not call.failed:
                call.failed = True
                failed += call.texts
        failed += self._waiting
        self._waiting = []
        self._on_failure()
        for text, told in failed:
            if text.lost:
                _attempt(text.lost)
            _attempt(told, reason)

    def _arguments(self, texts: Sequence[Commit]) -> tuple[list[str], list[str | bytes | int]]:
        kinds, shapes = _Places(), _Places()
        each: list[str | bytes | int] = []
        for text in texts:
            settings = (text.destinations, text.dedupe_seconds, text.replies_per_hour)
            late = 0 if text.late_at is None else _microseconds(text.late_at)
            kind = kinds[text.plan, settings, text.block]
            each += (kind, text.digest, text.message, text.undelivered, late)
        of_kinds: list[str | bytes | int] = []
        for plan, settings, block in kinds:
            if plan.written is None:
                plan.written = _write_plan(plan)
            shape, own = plan.written
            of_kinds += (shapes[settings, shape], own, block)
        of_shapes: list[str | bytes | int] = []
        for settings, shape in shapes:
            of_shapes += (self._settings(*settings), shape)
        keys = [self._keys.person(text.sender) for text in texts]
        return keys, [_microseconds(self._clock()), len(shapes), *of_shapes, len(kinds), *of_kinds, *each]

    def _settings(self, destinations: tuple[str, ...], dedupe_seconds: int, replies_per_hour: int) -> str:
        # The newest bucket is still filling, so the full ones behind it must make the window.
        buckets = -(-dedupe_seconds // BUCKET_SECONDS)
        return f"{','.join(destinations)}\n{buckets}\n{self._unhandled_kept}\n{replies_per_hour}\n"


def _attempt(callback: Callable[..., object], *arguments: object) -> None:
    """Calls somebody back. Whatever goes wrong with one must not keep the others from being told."""
    try:
        callback(*arguments)
    except Exception as error:  # noqa: BLE001 (whatever it is, the next waits to be told)
        _report(error)


def _report(error: BaseException | None) -> None:
    """Tells the loop of what nobody foresaw; None is the end of the process."""
    if error:
        message = "texts were not committed or told as they should, this is a fault of keyroute"
        asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})


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


def _write_plan(plan: Plan) -> tuple[bytes, bytes]:
    """What the plans of many programs have in common, and what is a plan's own, as lua/commit.lua reads them."""
    every = (*plan.rows, *plan.rows_of_several)
    speaks = any(len(row.decisions) > 1 for of_consent in every for row in of_consent)
    bearing = [(name, *others) for name, others in zip(plan.consents, plan.overruled_by, strict=True)]
    fields = [f"consent:{name}" for names in bearing for name in names]
    fields += (f"alias:{name}" for name in plan.need_alias)
    decisions = _Places()
    rows = [
        _written_row(consent, row, decisions) for consent, of_consent in enumerate(every, start=1) for row in of_consent
    ]
    shape = (
        ",".join(str(len(others)) for others in plan.overruled_by),
        ",".join(plan.need_alias),
        ",".join(plan.sought),
        plan.writes,
        ",".join(plan.languages) if speaks else "",
        f"{bool(plan.rows_of_several):d}",
    )
    own = (",".join(plan.consents), ",".join((*fields, "lang") if speaks else fields), ",".join(plan.covers))
    lines = [b"=%d %b %b\n" % (place, _digest(decision), decision) for decision, place in decisions.items()]
    return _shared(_lines(shape) + "".join(rows).encode()), b"".join((_lines(own), *lines))


# There are few, and a thousand programs with one each would push all else out of the processor's cache.
@lru_cache(maxsize=1024)
def _shared(shape: bytes) -> bytes:
    return shape


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _digest(decision: bytes) -> bytes:
    return sha1(decision, usedforsecurity=False).hexdigest()[:_DIGEST].encode()


def _written_row(consent: int, row: Row, places: _Places) -> str:
    otherwise = _written_decision(row.otherwise, places) if row.otherwise else "-"
    decisions = ",".join(_written_decision(decision, places) for decision in row.decisions)
    return (
        f"{consent} {row.before} {row.after} {row.renews:d} {row.expires_in} {row.lapses_to or ''} {row.asks_again_in} "
        f"{row.recorded:d} {row.language} {row.block} {otherwise} {decisions}\n"
    )


def _written_decision(decision: bytes, places: _Places) -> str:
    """Refers to a decision, less its states, by its place: most rows of a plan decide the same but for the states."""
    found = _STATES_DECIDED.search(decision)
    if found is None:
        raise ValueError("a decision does not end with from which state it leads to which")
    return f"{places[decision[: found.start()]]}:{found[1].decode()}:{found[2].decode()}"


def _microseconds(seconds: float) -> int:
    return int(seconds * 1e6)
