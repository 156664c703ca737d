"""The path of a text: verify, parse, normalise, match, decide, commit; and only then an answer. No HTTP in here."""

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import orjson

from router._core import classify_address
from router.decide import intended
from router.errors import BadPayload, RequestError, RouterError, StoreUnavailable, UnknownAccount
from router.outage import Outage
from router.routing import API_ACCOUNT, Account, Route, Routing
from router.store import Commit, Commits, DeadLetters, read_message
from router.telemetry import Metrics
from router.types import Answer, Decision, Inbound, Intent, RawRequest

#: How much of a refused body is kept.
_KEPT_BODY = 64 * 1024


@dataclass(frozen=True, slots=True)
class Accepted:
    """A text that is durable, with the decision taken when it first came."""

    event_id: str
    decision: Decision


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
            outcome, decisions = await self._take(account, request, texts)
            answer = account.carrier.answer(decisions)
        except RouterError as error:
            outcome, answer = type(error).__name__, account.carrier.answer(await self._refused(request, error))
        self._metrics.requests.labels(account.name, outcome).inc()
        return answer

    def refuse(self, account: str, error: RequestError) -> Answer:
        """What the carrier of an account answers to a request that could not even be read."""
        found = self.routing.accounts.get(account)
        if found is None:
            return Answer(UnknownAccount.status)
        self._metrics.requests.labels(account, type(error).__name__).inc()
        return found.carrier.answer(error)

    async def replay(self, request: RawRequest) -> None:
        """A spilled request: it was verified and answered with silence when it came. Raises `StoreUnavailable`."""
        account = self.routing.accounts.get(request.account)
        if account is None:
            await self.keep(request, f"spilled for the account {request.account!r}, which is not configured any more")
            return
        try:
            texts = account.carrier.parse(request)
            await self._accept(request, texts, answer=False)
        except RequestError as error:
            await self.keep(request, str(error))
        self._metrics.replayed.inc()

    async def retry(self, record: Mapping[str, Any]) -> None:
        """Takes a refused request or text (as `keep` and `_undelivered` wrote it) as if it came now, unanswered.

        Raises `BadPayload` if it would be refused again, and leaves everything as it is.
        """
        if record["kind"] == "malformed":
            headers = {"content-type": record["content_type"]}
            query, body = b64decode(record["query"]), b64decode(record["body"])
            request = RawRequest(record["account"], record["method"], query, headers, body, record["at"])
            account = self.routing.accounts.get(request.account)
            if account is None:
                raise BadPayload(f"the account {request.account!r} is not configured.")
            texts = account.carrier.parse(request)
        else:
            text = read_message(record["text"]["message"])
            request = RawRequest(record["account"], "POST", b"", {}, b"", record["at"])
            # It was accepted under its own id already, and nobody was told.
            texts = [replace(text, message_id=f"{text.message_id}\0retried")]
            commit = self._prepare(request, texts[0], answer=False)[1]
            if commit.undelivered:
                raise BadPayload(orjson.loads(commit.undelivered)["reason"])
        await self._accept(request, texts, answer=False)

    async def take(self, request: RawRequest, texts: Sequence[Inbound]) -> list[Accepted]:
        """Accepts texts unless earlier ones wait for the store. Raises `BadPayload`, `StoreUnavailable`."""
        self._outage.check()
        return await self._accept(request, texts, answer=True)

    async def _accept(self, request: RawRequest, texts: Sequence[Inbound], *, answer: bool) -> list[Accepted]:
        """Makes texts durable, in their order. Raises `BadPayload` if none makes sense, `StoreUnavailable`.

        A text whose addresses make no sense is kept as a refused request; its neighbours go on.
        """
        commits, problems = [], []
        for text in texts:
            try:
                commits.append(self._prepare(request, text, answer=answer))
            except BadPayload as error:
                problems.append(str(error))
        if problems and not commits:
            raise BadPayload("; ".join(problems))
        with self._metrics.commit_seconds.time():
            committed = await asyncio.gather(*(self._commits.commit(commit) for _, commit in commits))
        if problems:
            await self.keep(request, "; ".join(problems))
        accepted = []
        for (event_id, commit), result in zip(commits, committed, strict=True):
            decision = Decision(**orjson.loads(result.decision))
            self._count(request.account, commit, decision, first=result.first)
            accepted.append(Accepted(event_id, decision))
        return accepted

    async def keep(self, request: RawRequest, reason: str) -> None:
        """Keeps an authentic request that cannot be used, with its raw body, as a dead letter."""
        record = {
            "v": 1,
            "kind": "malformed",
            "reason": reason,
            "at": self._clock(),
            "account": request.account,
            "method": request.method,
            "query": b64encode(request.query[:_KEPT_BODY]).decode(),
            "content_type": request.headers.get("content-type", ""),
            "body": b64encode(request.body[:_KEPT_BODY]).decode(),
        }
        await self._dead.refuse(orjson.dumps(record))

    async def _take(
        self, account: Account, request: RawRequest, texts: Sequence[Inbound]
    ) -> tuple[str, list[Decision]]:
        if not texts:
            return "ignored", []
        try:
            accepted = await self.take(request, texts)
        except StoreUnavailable:
            if account.carrier.retries:
                raise
            await self._outage.spill.append(request)
            return "spilled", [self._unanswered(account.name, text) for text in texts]
        return "accepted", [found.decision for found in accepted]

    async def _refused(self, request: RawRequest, error: RouterError) -> RouterError:
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

    def _prepare(self, request: RawRequest, text: Inbound, *, answer: bool) -> tuple[str, Commit]:
        account, at = request.account, request.received_at
        kind, sender = classify_address(text.sender)
        recipient_kind, recipient = classify_address(text.recipient)
        if "malformed" in (kind, recipient_kind):
            which = "sender (from)" if kind == "malformed" else "recipient (to)"
            raise BadPayload(f"the {which} is neither a phone number, nor a short code, nor a name.")
        owner, route = self.routing.find(account, text.channel, recipient)
        person = kind in ("phone", "user_id")
        match = self.routing.match(route, text)
        rows = self.routing.rows(route, match, text.opt_out_type, person=person, answer=answer)
        event_id, digest = _identity(account, sender, text.message_id)
        destinations = _destinations(route, intended(match, text.opt_out_type), kind)
        message = orjson.dumps(
            {
                "v": 1,
                "id": event_id,
                "at": at,
                "account": owner,
                "message": replace(text, sender=sender, recipient=recipient),
            }
        )
        need_alias = tuple(name for name in route.need_alias if name in destinations)
        return event_id, Commit(
            sender=sender,
            digest=digest,
            program=route.consent,
            account=owner,
            dedupe_seconds=self._dedupe_seconds(account),
            destinations=destinations,
            need_alias=need_alias,
            message=message,
            undelivered=_undelivered(route, destinations, account, at, message),
            rows=rows,
        )

    def _dedupe_seconds(self, account: str) -> int:
        return (
            self.routing.api_dedupe_seconds if account == API_ACCOUNT else self.routing.accounts[account].dedupe_seconds
        )

    def _unanswered(self, account: str, text: Inbound) -> Decision:
        """What a carrier is told of a text that waits on disk: nothing is decided yet, so nobody is answered."""
        _, route = self.routing.find(account, text.channel, text.recipient)
        return Decision("none", None, None, route.policy.program, None, None, "none", "none", None)

    def _count(self, account: str, commit: Commit, decision: Decision, *, first: bool) -> None:
        if not first:
            self._metrics.repeats.labels(account).inc()
            return
        self._metrics.texts.labels(decision.program or "", decision.intent).inc()
        if decision.program is None:
            self._metrics.unrouted.labels(account).inc()


def _identity(account: str, sender: str, message_id: str) -> tuple[str, bytes]:
    """The event's id, the same for every delivery of the text, and the shorter digest that the store keeps of it."""
    name = "\0".join((account, sender, message_id)).encode("utf-8", "surrogatepass")
    digest = blake2b(name, digest_size=16)
    return f"evt_{digest.hexdigest()}", digest.digest()[:12]


def _destinations(route: Route, intent: Intent, kind: str) -> tuple[str, ...]:
    if route.policy.program is None and intent != "opt_out":
        return ()
    if kind != "phone":
        # An alias is a phone number; who has none cannot be addressed where aliases are needed.
        return tuple(name for name in route.destinations if name not in route.need_alias)
    return route.destinations


def _undelivered(route: Route, destinations: tuple[str, ...], account: str, at: float, message: bytes) -> bytes:
    """A record of a text that no destination hears of although one was meant to; empty for all others."""
    if route.policy.program is None:
        reason = "unrouted: no program has the number. Add it to [[numbers]], then retry"
    elif route.destinations and not destinations:
        reason = "the sender has no phone number, and every destination addresses people by theirs"
    else:
        return b""
    record = {"v": 1, "kind": "text", "reason": reason, "at": at, "account": account, "text": orjson.Fragment(message)}
    return orjson.dumps(record)
