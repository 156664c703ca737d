"""The path of a request: verify, parse, accept; and only then an answer. No HTTP in here."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
import structlog

from router.acceptance import Acceptance, Accepted, Lost
from router.calls import Call
from router.egress import leave
from router.errors import BadPayload, DeliveryError, RequestError, RouterError, StoreUnavailable, UnknownAccount
from router.outage import Outage
from router.outbound import Outbound
from router.ports import Parsed
from router.records import read_request, read_text
from router.routing import API_ACCOUNT, Account, Routing
from router.spill import Spill
from router.store import DeadLetters
from router.telemetry import Metrics
from router.texts import prepare
from router.types import Answer, Decision, Handshake, Inbound, Outgoing, RawRequest, Receipt
from router.unhandled import MOST_KEPT, request_record

_log = structlog.get_logger("router.pipeline")


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
        acceptance: Acceptance,
        dead: DeadLetters,
        outage: Outage,
        outbound: Outbound,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self.routing = routing
        self._acceptance = acceptance
        self._dead = dead
        self._outage = outage
        self._outbound = outbound
        self._metrics = metrics
        self._clock = clock

    async def receive(self, request: RawRequest) -> Answer:
        """A carrier's request, and what its adapter answers. Never raises a `RouterError`."""
        account = self.routing.accounts.get(request.account)
        if account is None:
            self._metrics.requests.labels("", UnknownAccount.__name__).inc()
            return Answer(UnknownAccount.status)
        try:
            if account.keys:
                await account.keys.fetch_keys(self._outbound, request)
            account.carrier.verify(request)
            outcome, answer = await self._take(account, request, account.carrier.parse(request))
        except RouterError as error:
            if isinstance(error, DeliveryError):
                _log.error(
                    "keys of the carrier not fetched, it must come again", account=account.name, reason=error.reason
                )
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

    async def accept(self, request: RawRequest, parsed: Sequence[Parsed], lost: Lost | None = None) -> list[Accepted]:
        """Makes what is in a request durable, in its order; the texts that are complete now.

        If an entry makes no sense, the request is kept as a dead letter and the others go on. Raises `BadPayload` if
        none makes sense, and `StoreUnavailable`, at once while earlier texts wait for the store. `lost` is called
        when the store did not take them, before any later text is told so.
        """
        self._outage.check()
        return await self._accept(request, parsed, lost=lost)

    async def call(self, calls: Sequence[Call]) -> list[Decision]:
        """Makes durable what callers of the API say; none of it on `BadPayload`. Raises `StoreUnavailable` too."""
        self._outage.check()
        return await self._acceptance.call(self.routing, calls)

    async def block(self, account: str, receipt: Receipt) -> None:
        """Notes that the carrier of an account sends a person nothing. Raises `StoreUnavailable`."""
        await self._acceptance.block(self.routing, account, receipt)

    async def sweep(self) -> None:
        """Accepts the long texts that wait for parts no longer. Raises `StoreUnavailable`."""
        if self._outage.over:
            await self._acceptance.sweep(self.routing)

    async def keep(self, request: RawRequest, reason: str) -> None:
        """Keeps an authentic request that cannot be used, with its raw body, as a dead letter."""
        known = self.routing.accounts.get(request.account)
        more = (known.kept_headers, known.secrets) if known else ()
        await self._dead.keep(request_record(request, reason, self._clock(), *more))

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
        text = read_text(record["text"])
        again = prepare(self.routing, record["account"], text, record["at"], late=True, again=True)
        if again.commit.undelivered:
            raise BadPayload(orjson.loads(again.commit.undelivered)["reason"])
        await self._acceptance.commit(self.routing, record["account"], [again])

    async def _take(self, account: Account, request: RawRequest, parsed: Sequence[Parsed]) -> tuple[str, Answer]:
        outcome, accepted = await self._accept_or_spill(account, request, parsed)
        for item in parsed:
            if isinstance(item, Receipt):
                self._metrics.receipts.labels(account.name, item.failure or "delivered").inc()
            if isinstance(item, Handshake):
                if item.visit:
                    self._outbound.visit(account.name, item.visit)
                return "handshake", item.answer
        return outcome, account.carrier.answer(_replies(account, accepted))

    async def _accept_or_spill(
        self, account: Account, request: RawRequest, parsed: Sequence[Parsed]
    ) -> tuple[str, list[Accepted]]:
        if not any(map(_needs_store, parsed)):
            return "receipt" if parsed else "ignored", []
        if account.carrier.retries:
            return "accepted", await self.accept(request, parsed)
        spilled = _Spilled(self._outage.spill, request)
        try:
            return "accepted", await self.accept(request, parsed, lost=spilled)
        except StoreUnavailable:
            await spilled()
            # Nothing is decided yet, so nobody is answered.
            return "spilled", []

    async def _accept(
        self, request: RawRequest, parsed: Sequence[Parsed], *, late: bool = False, lost: Lost | None = None
    ) -> list[Accepted]:
        accepted, problems = await self._acceptance.take(self.routing, request, parsed, late=late, lost=lost)
        if problems:
            await self.keep(request, "; ".join(problems))
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

    def _parsed_again(self, request: RawRequest) -> Sequence[Parsed]:
        """What is in a request that was verified when it came."""
        if request.account == API_ACCOUNT:
            raise BadPayload("it came to /v1/messages. Its caller was told what is wrong, and must send it again.")
        account = self.routing.accounts.get(request.account)
        if account is None:
            raise BadPayload(f"the account {request.account!r} is not configured. Configure it, then retry.")
        return account.carrier.parse(request)


def _needs_store(item: Parsed) -> bool:
    return isinstance(item, Inbound | BadPayload) or (isinstance(item, Receipt) and item.failure == "opted_out")


def _replies(account: Account, accepted: Sequence[Accepted]) -> list[Outgoing]:
    """What the carrier is to give people in its answer; nothing if it cannot."""
    if not account.carrier.replies_inline:
        return []
    replies = []
    for found in accepted:
        text, decision = found.text, found.decision
        if decision.reply is not None and text.recipient is not None:
            leave(found.event_id, account.name, text.recipient, text.sender, decision)
            replies.append(Outgoing.reply(found.event_id, text, text.recipient, decision.reply))
    return replies
