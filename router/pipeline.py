"""The path of a text: verify, parse, normalise, match, decide, commit; and only then an answer. No HTTP in here."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import orjson

from router._core import classify_address
from router.decide import intended
from router.errors import BadPayload, RequestError, RouterError, StoreUnavailable, UnknownAccount
from router.outage import Outage
from router.records import read_request, read_text, write_message
from router.routing import API_ACCOUNT, Account, Route, Routing
from router.spill import Spill
from router.store import Commit, Commits, DeadLetters
from router.telemetry import Metrics
from router.types import Answer, Decision, Inbound, Intent, RawRequest
from router.unhandled import MOST_KEPT, request_record, text_record

SILENCE = Decision("none", None, None, None, None, None, "none", "none", None)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A text that is durable, with the decision taken when it first came."""

    event_id: str
    decision: Decision


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A text that only has to be committed."""

    event_id: str
    commit: Commit


class _Spilled:
    """Puts a request into the spill, once, at the first call."""

    def __init__(self, spill: Spill, request: RawRequest) -> None:
        self._spill = spill
        self._request = request
        self._done: asyncio.Future[None] | None = None

    def __call__(self) -> "asyncio.Future[None]":
        """Done once the request is on disk."""
        if self._done is None:
            self._done = self._spill.append(self._request)
        return self._done


class Pipeline:
    """Takes requests of carriers and texts of neighbour services. `routing` may be swapped between two texts."""

    def __init__(
        self,
        routing: Routing,
        commits: Commits,
        dead: DeadLetters,
        outage: Outage,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self.routing = routing
        self._commits = commits
        self._dead = dead
        self._outage = outage
        self._metrics = metrics
        self._clock = clock

    async def receive(self, request: RawRequest) -> Answer:
        """A carrier's request, and what its adapter answers. Never raises a `RouterError`."""
        account = self.routing.accounts.get(request.account)
        if account is None:
            self._metrics.requests.labels("", UnknownAccount.__name__).inc()
            return Answer(UnknownAccount.status)
        try:
            account.carrier.verify(request)
            texts = account.carrier.parse(request)
            outcome, decisions = await self._accept_or_spill(account, request, texts)
            answer = account.carrier.answer(decisions)
        except RouterError as error:
            outcome, answer = type(error).__name__, account.carrier.answer(await self._kept(request, error))
        self._metrics.requests.labels(account.name, outcome).inc()
        return answer

    def unreadable(self, account: str, error: RequestError) -> Answer:
        """What the carrier of an account answers to a request that could not even be read."""
        found = self.routing.accounts.get(account)
        if found is None:
            return Answer(UnknownAccount.status)
        self._metrics.requests.labels(account, type(error).__name__).inc()
        return found.carrier.answer(error)

    async def accept(
        self, request: RawRequest, texts: Sequence[Inbound], lost: Callable[[], object] | None = None
    ) -> list[Accepted]:
        """Makes the texts of a request durable, in their order.

        A text whose addresses make no sense is kept as a dead letter and its neighbours go on. Raises `BadPayload` if
        none makes sense, and `StoreUnavailable`, at once while earlier texts wait for the store. `lost` is called
        when the store did not take them, before any later text is told so.
        """
        self._outage.check()
        return await self._accept(request, texts, lost=lost)

    async def keep(self, request: RawRequest, reason: str) -> None:
        """Keeps an authentic request that cannot be used, with its raw body, as a dead letter."""
        await self._dead.keep(request_record(request, reason, self._clock()))

    async def replay(self, requests: Sequence[RawRequest]) -> None:
        """Spilled requests: they were verified and answered with silence when they came. Raises `StoreUnavailable`."""
        await asyncio.gather(*(self._replay(request) for request in requests))

    async def _replay(self, request: RawRequest) -> None:
        try:
            await self._accept(request, self._parsed_again(request), late=True)
        except RequestError as error:
            await self.keep(request, str(error))
        self._metrics.replayed.inc()

    async def retry(self, record: Mapping[str, Any]) -> None:
        """Takes what `router.unhandled` recorded as if it came now, unanswered.

        Raises `BadPayload` if it would be recorded again, and leaves everything as it is.
        """
        if record["kind"] == "request":
            if record["cut"]:
                raise BadPayload(f"only the first {MOST_KEPT} bytes of it were kept. Ask the carrier to send it again.")
            request = read_request(record["request"])
            await self._accept(request, self._parsed_again(request), late=True)
            return
        again = self._prepare(record["account"], read_text(record["text"]), record["at"], late=True, again=True)
        if again.commit.undelivered:
            raise BadPayload(orjson.loads(again.commit.undelivered)["reason"])
        await self._commit(record["account"], [again])

    async def _accept_or_spill(
        self, account: Account, request: RawRequest, texts: Sequence[Inbound]
    ) -> tuple[str, list[Decision]]:
        if not texts:
            return "ignored", []
        if account.carrier.retries:
            accepted = await self.accept(request, texts)
            return "accepted", [found.decision for found in accepted]
        spilled = _Spilled(self._outage.spill, request)
        try:
            accepted = await self.accept(request, texts, lost=spilled)
        except StoreUnavailable:
            await spilled()
            # Nothing is decided yet, so nobody is answered.
            return "spilled", [SILENCE] * len(texts)
        return "accepted", [found.decision for found in accepted]

    async def _accept(
        self,
        request: RawRequest,
        texts: Sequence[Inbound],
        *,
        late: bool = False,
        lost: Callable[[], object] | None = None,
    ) -> list[Accepted]:
        prepared, problems = [], []
        for text in texts:
            try:
                prepared.append(self._prepare(request.account, text, request.received_at, late=late, lost=lost))
            except BadPayload as error:
                problems.append(str(error))
        if problems and not prepared:
            raise BadPayload("; ".join(problems))
        accepted = await self._commit(request.account, prepared)
        if problems:
            await self.keep(request, "; ".join(problems))
        return accepted

    async def _commit(self, account: str, prepared: Sequence[_Prepared]) -> list[Accepted]:
        with self._metrics.commit_seconds.time():
            committed = await asyncio.gather(*(self._commits.commit(one.commit) for one in prepared))
        accepted = []
        for one, result in zip(prepared, committed, strict=True):
            decision = Decision(**orjson.loads(result.decision))
            self._count(account, decision, first=result.first)
            accepted.append(Accepted(one.event_id, decision))
        return accepted

    async def _kept(self, request: RawRequest, error: RouterError) -> RouterError:
        """Keeps what is authentic and malformed; if neither store nor disk takes it, the carrier must come again."""
        if not isinstance(error, BadPayload):
            return error
        try:
            await self.keep(request, str(error))
        except StoreUnavailable:
            self._outage.begin()
            try:
                await self._outage.spill.append(request)
            except StoreUnavailable as away:
                return away
        return error

    def _parsed_again(self, request: RawRequest) -> Sequence[Inbound]:
        """The texts of a request that was verified when it came."""
        if request.account == API_ACCOUNT:
            raise BadPayload("it came to /v1/messages. Its caller was told what is wrong, and must send it again.")
        account = self.routing.accounts.get(request.account)
        if account is None:
            raise BadPayload(f"the account {request.account!r} is not configured. Configure it, then retry.")
        return account.carrier.parse(request)

    def _prepare(
        self,
        account: str,
        text: Inbound,
        at: float,
        *,
        late: bool = False,
        again: bool = False,
        lost: Callable[[], object] | None = None,
    ) -> _Prepared:
        """`again` is for a text that was accepted under its own id, although nobody was told of it."""
        kind, sender = classify_address(text.sender)
        recipient_kind, recipient = classify_address(text.recipient)
        if "malformed" in (kind, recipient_kind):
            which = "sender (from)" if kind == "malformed" else "recipient (to)"
            raise BadPayload(f"the {which} is neither a phone number, nor a short code, nor a name.")
        owner, route = self.routing.find(account, text.channel, recipient)
        match = self.routing.match(route, text)
        destinations = _destinations(route, intended(match, text.opt_out_type), kind)
        event_id, digest = _identity(account, sender, text.message_id, again=again)
        normalised = replace(text, sender=sender, recipient=recipient)
        message = write_message(event_id, at, owner, route.programs, normalised)
        person = kind in ("phone", "user_id")
        commit = Commit(
            sender=sender,
            digest=digest,
            consent=route.key,
            overruled_by=route.overruled_by,
            dedupe_seconds=self._dedupe_seconds(account),
            replies_per_hour=self.routing.replies_per_hour,
            destinations=destinations,
            need_alias=tuple(name for name in route.need_alias if name in destinations),
            message=message,
            undelivered=text_record(route, destinations, account, at, message),
            rows=self.routing.rows(route, match, text.opt_out_type, person=person, late=late),
            late_at=at if late else None,
            lost=lost,
        )
        return _Prepared(event_id, commit)

    def _dedupe_seconds(self, account: str) -> int:
        return (
            self.routing.api_dedupe_seconds if account == API_ACCOUNT else self.routing.accounts[account].dedupe_seconds
        )

    def _count(self, account: str, decision: Decision, *, first: bool) -> None:
        if not first:
            self._metrics.repeats.labels(account).inc()
            return
        self._metrics.texts.labels(decision.program or "", decision.intent).inc()
        if decision.program is None:
            self._metrics.unrouted.labels(account).inc()


def _identity(account: str, sender: str, message_id: str, *, again: bool) -> tuple[str, bytes]:
    """The event's id, the same for every delivery of the text, and the shorter digest that the store keeps of it."""
    name = "\0".join((account, sender, message_id, "again" if again else "")).encode("utf-8", "surrogatepass")
    digest = blake2b(name, digest_size=16)
    return f"evt_{digest.hexdigest()}", digest.digest()[:12]


def _destinations(route: Route, intent: Intent, kind: str) -> tuple[str, ...]:
    if route.policy.program is None and intent != "opt_out":
        return ()
    if kind != "phone":
        # An alias is a phone number; who has none cannot be addressed where aliases are needed.
        return tuple(name for name in route.destinations if name not in route.need_alias)
    return route.destinations
