"""What the store knows of people: their consent, and which platforms know their alias."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from router.store.connection import Store, asked
from router.types import ConsentState


@dataclass(frozen=True, slots=True)
class Consent:
    """A state and since when, in unix seconds. A pending one lapses at `until`, back to `then`."""

    state: ConsentState
    since: float
    until: float | None = None
    then: ConsentState | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """Since when, in unix seconds, a carrier or a network sends the person nothing from one of our numbers.

    `number` is None where the carrier did not name it. Only the person can lift it, by texting START or UNSTOP there.
    """

    account: str
    number: str | None
    since: float


@dataclass(frozen=True, slots=True)
class Person:
    """`consent` by program id, `@ACCOUNT` for an opt-out of a whole account, `@all` for one of everything.

    `aliases` are the destinations where the person's alias is known to exist, `blocks` what carriers do not send,
    `language` the one that the person speaks, if that is known.
    """

    consent: dict[str, Consent]
    aliases: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()
    language: str | None = None

    def latest(self, names: Iterable[str], now: float) -> Consent | None:
        """Of these consents the one that was given or taken back last, and so holds; None if there is none."""
        found = max((self.consent[name] for name in names if name in self.consent), key=_since, default=None)
        if found and found.until is not None and now >= found.until and found.then:
            return Consent(found.then, found.since)
        return found

    def state(self, names: Iterable[str], now: float) -> ConsentState:
        """The state that follows from these consents."""
        latest = self.latest(names, now)
        return latest.state if latest else "none"


class People:
    """The phone-to-alias directory and the consent states. All methods raise `StoreUnavailable`."""

    def __init__(self, store: Store) -> None:
        self._redis = store.redis
        self._keys = store.keys

    async def get(self, sender: str) -> Person | None:
        """A person by their E.164 number or user id; None if nothing is known of them."""
        return (await self.several([sender])).get(sender)

    async def several(self, senders: Iterable[str]) -> dict[str, Person]:
        """Those of the people of whom anything is known, found in one round trip."""
        distinct = list(dict.fromkeys(senders))
        pipeline = self._redis.pipeline(transaction=False)
        for sender in distinct:
            pipeline.hgetall(self._keys.person(sender))
        found = cast("list[dict[bytes, bytes]]", await asked(pipeline.execute()) if distinct else [])
        return {sender: read_person(fields) for sender, fields in zip(distinct, found, strict=True) if fields}

    async def known(self, destination: str, senders: Sequence[str]) -> set[str]:
        """Those of the senders whose alias is known to exist at the destination, found in one round trip."""
        field = f"alias:{destination}"
        pipeline = self._redis.pipeline(transaction=False)
        for sender in senders:
            pipeline.hexists(self._keys.person(sender), field)
        found = cast("list[bool]", await asked(pipeline.execute()) if senders else [])
        return {sender for sender, known in zip(senders, found, strict=True) if known}


def read_person(found: dict[bytes, bytes]) -> Person:
    """A person's record."""
    fields = {key.decode(): value.decode() for key, value in found.items()}
    return Person(
        consent={k.removeprefix("consent:"): _consent(v) for k, v in fields.items() if k.startswith("consent:")},
        aliases=tuple(sorted(key.removeprefix("alias:") for key in fields if key.startswith("alias:"))),
        blocks=tuple(_block(k.removeprefix("block:"), v) for k, v in fields.items() if k.startswith("block:")),
        language=fields.get("lang"),
    )


def _since(consent: Consent) -> float:
    return consent.since


def _block(name: str, since: str) -> Block:
    account, _, number = name.partition("/")
    return Block(account, number or None, int(since) / 1e6)


def _consent(kept: str) -> Consent:
    state, _, rest = kept.partition(" ")
    since, _, lapse = rest.partition(":")
    until, _, then = lapse.partition(":")
    return Consent(
        state=cast("ConsentState", state),
        since=int(since) / 1e6,
        until=int(until) / 1e6 if until else None,
        then=cast("ConsentState", then) if then else None,
    )
