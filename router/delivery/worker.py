"""Works on the outbox: holds leases of shards, and runs a lane for each shard and destination."""

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import structlog

from router import registry
from router.config import Settings
from router.delivery.aliases import AliasWorker
from router.delivery.attempt import Destination, Held
from router.delivery.checking import AliasCheck
from router.delivery.dispatch import Dispatch
from router.delivery.gate import Gate
from router.delivery.http import HttpClient
from router.delivery.lane import Lane
from router.delivery.ledger import LedgerLane, recording
from router.delivery.pace import Pace
from router.delivery.removed import Removed
from router.delivery.replies import Block, ReplyLane, Sending
from router.errors import LeaseLost, StoreUnavailable
from router.ports import ChecksAliases
from router.routing import Routing
from router.store import LEDGER, Ledger, Outbox, People, Store, Workers
from router.tasks import cancelled
from router.telemetry import Metrics

_log = structlog.get_logger("router.delivery.worker")
#: How long a request that is under way may go on when the process is asked to stop, in seconds.
_GRACE = 5.0
#: Before a lane or the watch tries a store again that did not answer, in seconds.
_PAUSE = 0.2
#: How long one wait for news lasts; a shard taken meanwhile is watched from the next one on. In seconds.
_LONGEST_WAIT = 0.5
#: How many new entries of a shard are read at once, for all lanes together.
_READ_AT_ONCE = 200
#: How long after news the next are asked for, in seconds: what comes meanwhile leaves together, which takes far less of
#: the processor's time than each alone. A lone text does not wait.
_NEWS_APART = 0.0015


_AnyLane = Lane | ReplyLane | LedgerLane


class Worker:
    """One process's part of the deliveries."""

    def __init__(
        self,
        settings: Settings,
        routing: Routing,
        store: Store,
        owner: str,
        block: Block,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        """`block` notes that a carrier sends a person nothing."""
        # Not the settings and not the routing: they are large, and what is left of a worker that was stopped must not
        # keep them.
        self._lease_seconds = settings.worker.lease_seconds
        self._longest_wait = min(_LONGEST_WAIT, settings.store.timeout_seconds / 2)
        self._block = block
        self._metrics = metrics
        self._clock = clock
        self._outbox = Outbox(store, routing.lanes)
        self._people = People(store)
        self._ledger = Ledger(store)
        self._recording = recording(settings, routing)
        self._workers = Workers(store, owner, settings.worker.lease_seconds)
        self._owner = owner
        self._shards = range(store.keys.shards)
        self._clients: list[HttpClient] = []
        #: What runs as long as the worker does.
        self._parts: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self._dispatches: dict[str, tuple[Dispatch, AliasWorker | None]] = {}
        for name, configured in settings.destinations.items():
            http = HttpClient(configured.timeout_seconds, configured.allow_private, configured.private_hosts)
            self._clients.append(http)
            platform = registry.platform(configured.platform)(name, configured.options, settings.program_options(name))
            destination = Destination(
                name,
                platform,
                http,
                _gate(),
                configured.give_up_after_hours * 3600,
                configured.retry_unknown_outcomes,
            )
            self._add_destination(destination)
            objective = metrics.delivery_objective
            objective.labels(name, "known").set(configured.objective_known_seconds)
            objective.labels(name, "unknown").set(configured.objective_unknown_seconds)
        self._sendings: dict[str, Sending] = {}
        for account in routing.accounts.values():
            if account.reply_lane:
                self._add_sending(settings, routing, account.name)
        self._held: dict[int, Held] = {}
        self._lanes: dict[int, list[tuple[_AnyLane, asyncio.Task[None]]]] = {}
        self._seen: dict[int, str] = {}
        #: Shards whose work is being ended.
        self._leaving: dict[int, asyncio.Task[None]] = {}
        self._holding = asyncio.Event()
        self._catching_up = asyncio.Lock()
        self._open = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Takes shards and begins to deliver."""
        for client in self._clients:
            await self._open.enter_async_context(client)
        self._parts += [("leases", self._hold_leases), ("watch", self._watch)]
        self._tasks = [asyncio.create_task(self._kept_up(part, run)) for part, run in self._parts]

    async def stop(self) -> None:
        """Lets requests that are under way finish, then gives the shards up."""
        await cancelled(self._tasks)
        self._leave(list(self._held))
        if self._leaving:
            await asyncio.wait(set(self._leaving.values()))
        for dispatch, _ in self._dispatches.values():
            await dispatch.close()
        try:
            await self._workers.leave()
        except StoreUnavailable as error:
            _log.warning("worker left without saying so", error=str(error))
        await self._open.aclose()

    def _add_destination(self, destination: Destination) -> None:
        name, platform, http, metrics = destination.name, destination.platform, destination.http, self._metrics
        check = None
        if isinstance(platform, ChecksAliases) and platform.check_every:
            check = AliasCheck(name, platform, http, metrics)
            self._parts.append(("alias check", check.run))
        aliases = None
        if platform.needs_alias:
            # A gate of its own: what is wrong with creating aliases must not hold up deliveries.
            aliases = AliasWorker(name, platform, http, _gate(), destination.give_up_after, metrics, self._clock)
            self._parts.append(("aliases", aliases.run))
        self._dispatches[name] = (Dispatch(destination, metrics, self._clock, time.monotonic, check), aliases)

    def _add_sending(self, settings: Settings, routing: Routing, account: str) -> None:
        found, configured = routing.accounts[account], settings.accounts[account]
        http = HttpClient(configured.timeout_seconds, configured.allow_private, configured.private_hosts)
        self._clients.append(http)
        self._sendings[found.reply_lane] = Sending(
            found.reply_lane,
            account,
            found.carrier,
            http,
            _gate(),
            Pace(routing.texts_per_second(account), time.monotonic),
            {program: routing.bearing_on(program) for program in routing.programs},
            settings.limits.reply_within_minutes * 60,
            configured.timeout_seconds,
        )

    async def _hold_leases(self) -> None:
        """Renews what is held, takes what is free up to a fair share, and gives up what is more than that."""
        lease_seconds = self._lease_seconds
        while True:
            try:
                workers = await self._workers.count()
                share = -(-len(self._shards) // workers)
                for sending in self._sendings.values():
                    sending.pace.processes = workers
                self._leave(list(self._held)[share:])
                for shard in self._shards:
                    if shard not in self._leaving and (shard in self._held or len(self._held) < share):
                        await self._take(shard, lease_seconds)
            except StoreUnavailable as error:
                _log.warning("leases not renewed", error=str(error))
            self._metrics.shards.set(len(self._held))
            if self._held:
                self._holding.set()
            else:
                self._holding.clear()
            if self._leaving:  # what was lost can be taken again as soon as that is over
                leaving = set(self._leaving.values())
                await asyncio.wait(leaving, timeout=lease_seconds / 3, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(lease_seconds / 3)

    async def _take(self, shard: int, lease_seconds: float) -> None:
        until = time.monotonic() + lease_seconds
        lease = await self._outbox.take(shard, self._owner, lease_seconds)
        held = self._held.get(shard)
        # A store that lost what was written last gives the same lease again, after lanes have ended for want of it.
        ended = any(task.done() for _, task in self._lanes.get(shard, ()))
        if held and (held.lease != lease or ended):
            _log.warning("shard lost to another worker", shard=shard, token=held.lease.token)
            self._leave([shard], release=False)
            return
        if lease is None:
            return
        if held:
            held.until = until
            return
        removed = await self._outbox.destinations(shard) - {*self._dispatches, *self._sendings, LEDGER}
        newest = await self._outbox.newest(shard)
        # Nothing is awaited from here on: a shard that is held has its lanes.
        self._held[shard] = Held(lease, until)
        for name in removed:
            self._add_destination(
                Destination(name, Removed(name), HttpClient(1.0, allow_private=False), _gate(), give_up_after=0.0)
            )
        self._seen[shard] = newest
        held, metrics, clock = self._held[shard], self._metrics, self._clock
        lanes: list[_AnyLane] = [
            Lane(held, dispatch, self._outbox, self._people, aliases, metrics, clock, self._catching_up)
            for dispatch, aliases in self._dispatches.values()
        ]
        lanes += [
            ReplyLane(held, sending, self._outbox, self._people, self._block, metrics, clock, time.monotonic)
            for sending in self._sendings.values()
        ]
        lanes.append(
            LedgerLane(
                held, self._recording, self._outbox, self._ledger, metrics, clock, time.monotonic, secrets.token_bytes
            )
        )
        self._lanes[shard] = [(lane, asyncio.create_task(self._run_lane(lane))) for lane in lanes]

    def _leave(self, shards: Sequence[int], *, release: bool = True) -> None:
        """Ends the work on shards, beside everything else: the leases of others must not run out meanwhile."""
        if not shards:
            return
        held = [self._held.pop(shard) for shard in shards if shard in self._held]
        lanes = [pair for shard in shards for pair in self._lanes.pop(shard, ())]
        for shard in shards:
            self._seen.pop(shard, None)
        for lane, _ in lanes:
            lane.stop()
        ending = asyncio.create_task(self._end(lanes, held if release else ()))
        self._leaving |= dict.fromkeys(shards, ending)
        ending.add_done_callback(lambda _: self._left(shards))

    def _left(self, shards: Sequence[int]) -> None:
        for shard in shards:
            del self._leaving[shard]

    async def _end(self, lanes: Sequence[tuple[_AnyLane, asyncio.Task[None]]], held: Sequence[Held]) -> None:
        """What is in flight may finish, all of it within one grace; then the leases are given back."""
        if in_flight := [(lane, task) for lane, task in lanes if lane.in_flight]:
            grace = max(_GRACE, *(lane.grace for lane, _ in in_flight))
            await asyncio.wait([task for _, task in in_flight], timeout=grace)
        await cancelled(task for _, task in lanes)
        for one in held:
            try:
                await self._outbox.release(one.lease)
            except StoreUnavailable as error:
                _log.warning("lease not given back, it will run out", shard=one.lease.shard, error=str(error))

    async def _run_lane(self, lane: _AnyLane) -> None:
        """Starts a lane anew when the store was away; ends when the shard is not ours any more."""
        while True:
            try:
                await lane.run()
                return
            except LeaseLost as error:
                _log.warning("shard lost", shard=lane.shard, error=str(error))
                return
            except StoreUnavailable as error:
                _log.warning("lane interrupted", shard=lane.shard, error=str(error))
            except Exception:  # noqa: BLE001 (whatever a lane raises, the rest must go on)
                _log.exception("lane failed and starts again", shard=lane.shard)
                self._metrics.failures.labels("lane").inc()
            await asyncio.sleep(_PAUSE)

    async def _kept_up(self, part: str, run: Callable[[], Awaitable[None]]) -> None:
        """Runs a part that must never end: what it raises is logged and counted, and it starts again."""
        while True:
            try:
                await run()
            except Exception:  # noqa: BLE001 (as above)
                _log.exception("part failed and starts again", part=part)
                self._metrics.failures.labels(part).inc()
            await asyncio.sleep(_PAUSE)

    async def _watch(self) -> None:
        """Wakes the lanes of a shard when it has news."""
        while True:
            await self._holding.wait()
            try:
                news = await self._outbox.wait(dict(self._seen), self._longest_wait, _READ_AT_ONCE)
            except StoreUnavailable:
                await asyncio.sleep(_PAUSE)
                continue
            for shard, entries in news.items():
                if shard in self._seen:
                    after, self._seen[shard] = self._seen[shard], entries[-1].id
                    for lane, _ in self._lanes.get(shard, ()):
                        lane.offer(after, entries)
            if news:
                await asyncio.sleep(_NEWS_APART)


def _gate() -> Gate:
    return Gate(time.monotonic, random.Random())  # noqa: S311 (jitter, not a secret)
