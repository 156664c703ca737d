"""What a carrier's request gets for an answer: verified, parsed, accepted, and only then answered. No HTTP in here."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence

import structlog

from router.acceptance import Accepted
from router.egress import leave
from router.errors import (
    BadPayload,
    DeliveryError,
    Overloaded,
    RequestError,
    RouterError,
    StoreUnavailable,
    UnknownAccount,
)
from router.outage import Outage
from router.outbound import Outbound
from router.pipeline import Pipeline
from router.ports import FetchesKeys, Parsed
from router.routing import Account
from router.spill import Spill
from router.tasks import Background
from router.telemetry import Metrics
from router.types import Answer, Handshake, Inbound, Outgoing, RawRequest, Receipt

_log = structlog.get_logger("router.reception")

_OVERLOADED = Overloaded()  # to make one takes half of what the answer does, and nobody raises it
#: Told the answer to a request.
Answered = Callable[[Answer], object]


class Reception:
    """Takes the requests of carriers."""

    def __init__(self, pipeline: Pipeline, outage: Outage, outbound: Outbound, metrics: Metrics) -> None:
        self.pipeline = pipeline
        self.outage = outage
        self.outbound = outbound
        self.receipts = metrics.receipts
        self.requests = metrics.requests
        self._background = Background()

    async def receive(self, request: RawRequest) -> Answer:
        """A carrier's request, and what its adapter answers. Never raises a `RouterError`."""
        shed = self.shed(request.account)
        if shed is not None:
            return shed
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def settle(answer: Answer) -> None:
            if not answered.done():  # whoever waited has given up
                answered.set_result(answer)

        self.begin(request, settle)
        return await answered

    def shed(self, account: str) -> Answer | None:
        """What the request of a carrier that comes again is answered while too many texts wait: nothing of it is looked
        at, so that there is time for what was taken before. None if it is to be taken.
        """
        if not self.pipeline.crowded:
            return None
        found = self.pipeline.routing.accounts.get(account)
        if found is None or not found.carrier.retries:
            return None
        self.requests.add(account, Overloaded.__name__)
        return found.carrier.answer(_OVERLOADED)

    def begin(self, request: RawRequest, answered: Answered) -> None:
        """`receive` for what was not shed, and without a task for what most requests are: one text. `answered` is told
        the answer, perhaps at once.

        The texts of a request take their places in line before this returns, unless keys must be fetched first.
        """
        account = self.pipeline.routing.accounts.get(request.account)
        if account is None:
            self.requests.add("", UnknownAccount.__name__)
            answered(Answer(UnknownAccount.status))
            return
        visit = _Visit(self, account, answered)
        if account.keys:
            self.start(visit.read_with(account.keys, request), answered)
        else:
            visit.read(request)

    def unreadable(self, account: str, error: RequestError) -> Answer:
        """What the carrier of an account answers to a request that could not even be read."""
        found = self.pipeline.routing.accounts.get(account)
        if found is None:
            return Answer(UnknownAccount.status)
        self.requests.add(account, type(error).__name__)
        return found.carrier.answer(error)

    def start(self, work: Coroutine[None, None, None], answered: Answered) -> None:
        """Goes on with a request that has to wait for something; should that fail, it is answered all the same."""
        self._background.start(work, lambda error: _failed(error, answered))


class _Visit:
    """A request on its way, without the request itself: hundreds that wait for the store would push all else out of the
    processor's cache, and only the spill, and what is kept of one that cannot be used, need it again.
    """

    __slots__ = ("_account", "_answered", "_parsed", "_reception", "_spilled")

    def __init__(self, reception: Reception, account: Account, answered: Answered) -> None:
        self._reception = reception
        self._account = account
        self._answered = answered
        self._parsed: Sequence[Parsed] = ()
        self._spilled: _Spilled | None = None

    async def read_with(self, keys: FetchesKeys, request: RawRequest) -> None:
        """The same as `read` once the carrier's keys are there."""
        try:
            await keys.fetch_keys(self._reception.outbound, request)
        except RouterError as error:
            await self._refuse(error, request)
        else:
            self.read(request)

    def read(self, request: RawRequest) -> None:
        """Verifies and parses the request, and puts what it holds in line."""
        carrier = self._account.carrier
        try:
            carrier.verify(request)
            self._parsed = carrier.parse(request)
            if not any(map(_needs_store, self._parsed)):
                self._finish("receipt" if self._parsed else "ignored", ())
                return
            if not carrier.retries:
                self._spilled = _Spilled(self._reception.outage.spill, request)
            self._accept(request)
        except RouterError as error:
            if isinstance(error, StoreUnavailable) and self._spilled:
                self._spilled()  # by the time a task runs the outage may be over, and then nobody looks into the spill
            self._reception.start(self._refuse(error, request), self._answered)

    def _accept(self, request: RawRequest) -> None:
        pipeline = self._reception.pipeline
        if not pipeline.submit(request, self._parsed, self._told, self._spilled):
            accepting = pipeline.accept(request, self._parsed, self._spilled)
            self._reception.start(self._finish_after(accepting, request), self._answered)

    def _told(self, result: Accepted | Exception) -> None:
        try:
            if isinstance(result, Accepted):
                self._finish("accepted", (result,))
            elif isinstance(result, StoreUnavailable):
                self._reception.start(self._refuse(result), self._answered)
            else:
                _failed(result, self._answered)
        except Exception as error:  # noqa: BLE001 (whatever it is, somebody waits for an answer)
            _failed(error, self._answered)

    async def _finish_after(self, accepting: Coroutine[None, None, list[Accepted]], request: RawRequest) -> None:
        try:
            self._finish("accepted", await accepting)
        except RouterError as error:
            await self._refuse(error, request)

    def _finish(self, outcome: str, accepted: Sequence[Accepted]) -> None:
        account, reception = self._account, self._reception
        for item in self._parsed:
            if isinstance(item, Receipt):
                reception.receipts.labels(account.name, item.failure or "delivered").inc()
            elif isinstance(item, Handshake):
                if item.visit:
                    reception.outbound.visit(account.name, item.visit)
                self._answer("handshake", item.answer)
                return
        self._answer(outcome, account.carrier.answer(_replies(account, accepted)))

    async def _refuse(self, error: RouterError, request: RawRequest | None = None) -> None:
        if isinstance(error, StoreUnavailable) and self._spilled:
            try:
                await self._spilled()
            except StoreUnavailable as full:
                error = full
            else:
                # Nothing is decided yet, so nobody is answered.
                self._finish("spilled", ())
                return
        if isinstance(error, DeliveryError):
            _log.error(
                "keys of the carrier not fetched, it must come again", account=self._account.name, reason=error.reason
            )
        outcome = type(error).__name__
        if isinstance(error, BadPayload) and request:
            error = await self._kept(error, request)
        self._answer(outcome, self._account.carrier.answer(error))

    async def _kept(self, error: BadPayload, request: RawRequest) -> RouterError:
        """Keeps what is authentic and malformed; if neither store nor disk takes it, the carrier must come again."""
        outage = self._reception.outage
        try:
            await self._reception.pipeline.keep(request, str(error))
        except StoreUnavailable:
            outage.begin()
            try:
                await outage.spill.append(request)
            except StoreUnavailable as away:
                return away
        return error

    def _answer(self, outcome: str, answer: Answer) -> None:
        self._reception.requests.add(self._account.name, outcome)
        self._answered(answer)


class _Spilled:
    """Puts a request into the spill, once, at the first call."""

    __slots__ = ("_done", "_request", "_spill")

    def __init__(self, spill: Spill, request: RawRequest) -> None:
        self._spill = spill
        self._request = request
        self._done: asyncio.Future[None] | None = None

    def __call__(self) -> "asyncio.Future[None]":
        """Done once the request is on disk."""
        if self._done is None:
            self._done = self._spill.append(self._request)
        return self._done


def _failed(error: BaseException | None, answered: Answered) -> None:
    _log.error("a request could not be answered as it should, this is a fault of keyroute", exc_info=error)
    answered(Answer(500))


def _needs_store(item: Parsed) -> bool:
    return isinstance(item, Inbound | BadPayload) or (isinstance(item, Receipt) and item.failure == "opted_out")


def _replies(account: Account, accepted: Sequence[Accepted]) -> list[Outgoing]:
    """What the carrier is to give people in its answer; nothing if it cannot."""
    if not account.carrier.replies_inline:
        return []
    replies = []
    for event_id, text, decision in accepted:
        if decision.reply is not None and text.recipient is not None:
            leave(event_id, account.name, text.recipient, text.sender, decision)
            replies.append(Outgoing.reply(event_id, text, text.recipient, decision.reply))
    return replies
