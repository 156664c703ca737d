"""What is in a request, made durable: texts, the parts of long ones, and what carriers report about people."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter
from typing import NamedTuple

from router.calls import Call, prepare_block, prepare_call
from router.consent import may_be_answered
from router.errors import BadPayload, StoreUnavailable
from router.parts import Long, join, kept_part, place
from router.ports import Parsed
from router.records import read_answer, read_decision, write_answer, write_message
from router.routing import Routing
from router.store import Commits, Committed, DeadLetters, Group, Part, Parts, People
from router.telemetry import Metrics
from router.texts import Prepared, dedupe_seconds, identity, normalised, prepare
from router.types import Decision, Inbound, Plan, RawRequest, Receipt
from router.unhandled import text_record

Lost = Callable[[], object]
#: Told what became of a text; an exception that nobody foresaw, too, for somebody waits.
Told = Callable[["Accepted | Exception"], object]


class Accepted(NamedTuple):
    """A text that is durable, its addresses normalised, with the decision taken when it first came."""

    event_id: str
    text: Inbound
    decision: Decision


@dataclass(slots=True)
class _Sorted:
    """What is in a request by what is to be done about it."""

    whole: list[Prepared] = field(default_factory=list)
    parts: list[tuple[Inbound, Part]] = field(default_factory=list)
    blocks: list[Prepared] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Acceptance:
    """Puts into the store what requests hold. Raises `StoreUnavailable`; repeating anything changes nothing."""

    def __init__(
        self,
        commits: Commits,
        people: People,
        parts: Parts,
        dead: DeadLetters,
        metrics: Metrics,
        clock: Callable[[], float],
        on_failure: Callable[[], None],
    ) -> None:
        """`on_failure` is called at once when the store does not take something."""
        self._commits = commits
        self._people = people
        self._parts = parts
        self._dead = dead
        self._metrics = metrics
        self._clock = clock
        self._on_failure = on_failure

    @property
    def waiting(self) -> int:
        """How many texts wait for the store."""
        return self._commits.waiting

    def lone(
        self, routing: Routing, request: RawRequest, parsed: Sequence[Parsed], lost: Lost | None
    ) -> Prepared | None:
        """The one whole text that most requests are; None for all others. Raises `BadPayload`."""
        if len(parsed) != 1 or not isinstance(parsed[0], Inbound) or place(parsed[0]):
            return None
        return prepare(routing, request.account, parsed[0], request.received_at, lost=lost)

    def submit(self, account: str, prepared: Prepared, told: Told) -> None:
        """Puts a `lone` text in line: `told` is called once it is durable, or with why it may not be."""
        self._commits.submit(prepared.commit, partial(self._told, account, prepared, perf_counter(), told))

    def _told(
        self, account: str, prepared: Prepared, began: float, told: Told, result: Committed | StoreUnavailable
    ) -> None:
        self._metrics.commit_seconds.observe(perf_counter() - began)
        outcome: Accepted | Exception
        try:
            outcome = result if isinstance(result, StoreUnavailable) else self._accepted(account, prepared, result)
        except Exception as error:  # noqa: BLE001 (`Told` says why)
            outcome = error
        told(outcome)

    def take(
        self, routing: Routing, request: RawRequest, parsed: Sequence[Parsed], *, late: bool, lost: Lost | None
    ) -> Coroutine[None, None, tuple[list[Accepted], list[str]]]:
        """Puts whole texts in line, then, awaited, does the rest: the texts that are complete now, and what is wrong
        with the entries that make no sense.

        Raises `BadPayload` if no entry makes sense. `late` and `lost` as for `prepare`.
        """
        found = self._sorted(routing, request, parsed, late=late, lost=lost)
        if found.problems and len(found.problems) == len(parsed):
            raise BadPayload("; ".join(found.problems))
        return self._taken(routing, request, found, self._commit(found.whole), lost)

    async def _taken(
        self,
        routing: Routing,
        request: RawRequest,
        found: _Sorted,
        committed: "asyncio.Future[list[Committed]]",
        lost: Lost | None,
    ) -> tuple[list[Accepted], list[str]]:
        accepted = await self._committed(routing, request.account, found.whole, committed)
        with self._noticed():
            for text, part in found.parts:
                accepted += await self._add(routing, request, text, part, lost)
            await self._commit(found.blocks)
        return accepted, found.problems

    async def commit(self, routing: Routing, account: str, prepared: Sequence[Prepared]) -> list[Accepted]:
        """Makes prepared texts durable, in their order."""
        return await self._committed(routing, account, prepared, self._commit(prepared))

    async def _committed(
        self,
        routing: Routing,
        account: str,
        prepared: Sequence[Prepared],
        committed: "asyncio.Future[list[Committed]]",
    ) -> list[Accepted]:
        accepted = []
        texts = Counter(one.text.sender for one in prepared)
        for one, result in zip(prepared, await committed, strict=True):
            found = self._accepted(account, one, result)
            if result.first and texts[found.text.sender] > 1:
                found = found._replace(decision=await self._as_of_now(routing, found.text.sender, found.decision))
            accepted.append(found)
        return accepted

    def _accepted(self, account: str, prepared: Prepared, result: Committed) -> Accepted:
        decision = read_decision(result.decision)
        if result.first:
            self._metrics.texts.add(decision.program or "", decision.intent)
            if decision.program is None:
                self._metrics.unrouted.add(account)
        else:
            self._metrics.repeats.add(account)
            decision = _by_now(decision, prepared.commit.plan, result)
        return Accepted(prepared.event_id, prepared.text, decision)

    async def call(self, routing: Routing, calls: Sequence[Call]) -> list[Decision]:
        """Makes durable what callers of the API say. Raises `BadPayload`, and then nothing was done."""
        now = self._clock()
        prepared = [prepare_call(routing, call, now) for call in calls]
        with self._noticed():
            return [read_decision(result.decision) for result in await self._commit(prepared)]

    async def block(self, routing: Routing, account: str, receipt: Receipt) -> None:
        """Notes that a carrier sends a person nothing."""
        prepared = prepare_block(routing, account, receipt, self._clock())
        if prepared:
            await self._commit([prepared])

    async def sweep(self, routing: Routing) -> None:
        """Accepts the long texts whose time is over, as far as they have come.

        Any process may do it at any time: each text is accepted once, under the id that its parts give it.
        """
        now = self._clock()
        with self._noticed():
            for shard, name in await self._parts.due(now):
                group = await self._parts.close(shard, name, now)
                if group:
                    await self._join(routing, group)

    def _sorted(
        self, routing: Routing, request: RawRequest, parsed: Sequence[Parsed], *, late: bool, lost: Lost | None
    ) -> _Sorted:
        account, at = request.account, request.received_at
        found = _Sorted()
        for item in parsed:
            try:
                if isinstance(item, BadPayload):
                    found.problems.append(str(item))
                elif isinstance(item, Receipt) and item.failure == "opted_out":
                    block = prepare_block(routing, account, item, at)
                    found.blocks += [block] if block else []
                elif isinstance(item, Inbound) and (part := place(item)):
                    _, text = normalised(routing, account, item)
                    found.parts.append((text, kept_part(account, text, part, at, late=late)))
                elif isinstance(item, Inbound):
                    found.whole.append(prepare(routing, account, item, at, late=late, lost=lost))
            except BadPayload as error:
                found.problems.append(str(error))
        return found

    async def _add(
        self, routing: Routing, request: RawRequest, text: Inbound, part: Part, lost: Lost | None
    ) -> list[Accepted]:
        """Keeps a part; the text, if that completes one."""
        while True:
            added = await self._parts.add(part, self._clock() + routing.join_seconds)
            if added.known:
                event_id, decision = read_answer(added.known)
                return [Accepted(event_id, text, await self._as_of_now(routing, text.sender, decision))]
            if added.group is None:
                return []
            if added.taken:
                return await self._join(routing, added.group, at=request.received_at, completed_by=part.id, lost=lost)
            await self._join(routing, added.group)

    async def _join(
        self,
        routing: Routing,
        group: Group,
        *,
        at: float | None = None,
        completed_by: str = "",
        lost: Lost | None = None,
    ) -> list[Accepted]:
        """Accepts parts as one text, completed `at` a time. One that is not, or was not in its turn, is late: it must
        not overrule what the person has said since its first part.
        """
        long = join(group)
        late = long.late or at is None
        written = long.began if at is None or late else at
        seconds = dedupe_seconds(routing, long.account)
        try:
            prepared = prepare(routing, long.account, long.text, written, late=late, lost=lost)
        except BadPayload as error:
            await self._keep(long, str(error))
            await self._parts.forget(group, seconds)
            return []
        accepted = await self.commit(routing, long.account, [prepared])
        self._metrics.joined.labels(long.account, "complete" if long.complete else "incomplete").inc()
        known = write_answer(accepted[0].event_id, accepted[0].decision)
        await self._parts.forget(group, seconds, completed_by=completed_by, known=known)
        return accepted

    async def _as_of_now(self, routing: Routing, sender: str, decision: Decision) -> Decision:
        """The decision on a text that came with others of its sender, less a reply that these rule out."""
        if decision.reply is None or decision.program is None:
            return decision
        with self._noticed():
            person = await self._people.get(sender)
        state = person.state(routing.bearing_on(decision.program), self._clock()) if person else "none"
        return decision if may_be_answered(decision, state, 0.0) else replace(decision, reply=None)

    async def _keep(self, long: Long, reason: str) -> None:
        """Keeps a text whose account is gone."""
        event_id, _ = identity(long.account, long.text.sender, long.text.message_id)
        message = write_message(event_id, long.began, long.account, (), long.text)
        await self._dead.keep(text_record(reason, long.account, self._clock(), message))

    def _commit(self, prepared: Sequence[Prepared]) -> "asyncio.Future[list[Committed]]":
        began = perf_counter()
        every = asyncio.gather(*(self._commits.commit(one.commit) for one in prepared))
        if prepared:
            every.add_done_callback(lambda _: self._metrics.commit_seconds.observe(perf_counter() - began))
        return every

    @contextmanager
    def _noticed(self) -> Iterator[None]:
        try:
            yield
        except StoreUnavailable:
            self._on_failure()
            raise


def _by_now(decision: Decision, plan: Plan, repeat: Committed) -> Decision:
    """The decision that is answered to a repeat: without its reply, if the person has opted out since it was taken."""
    place = plan.consents.index(decision.program) if decision.program in plan.consents else 0
    return decision if may_be_answered(decision, *repeat.standing[place]) else replace(decision, reply=None)
