"""Texts ready for the store, and a clock that stands: material for tests of the store and of delivery."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import orjson

from router.consent import STATES
from router.records import write_decision
from router.store import Commit
from router.types import ConsentState, Decision, Plan, Row

SENDER = "+14155550101"
MESSAGE: dict[str, Any] = {
    "v": 1,
    "id": "evt_1",
    "at": 1.0,
    "account": "acme",
    "programs": ["deals"],
    "message": {"message_id": "1", "sender": SENDER, "recipient": "2020", "text": "x", "channel": "sms", "media": []},
}


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def rows(
    after: Callable[[ConsentState], ConsentState],
    *,
    renews: bool = False,
    expires_in: int = 0,
    asks_again_in: int = 0,
    reply: str | None = None,
) -> tuple[Row, ...]:
    """Rows that lead from each state where `after` says; the decision names the state found."""
    return tuple(
        Row(
            before=state,
            after=after(state),
            renews=renews,
            expires_in=expires_in,
            asks_again_in=asks_again_in,
            decisions=(decision(state, after(state), reply),),
            otherwise=decision(state, after(state), None) if reply else b"",
        )
        for state in STATES
    )


def decision(before: ConsentState, after: ConsentState, reply: str | None) -> bytes:
    """A decision that names no program."""
    return write_decision(Decision("none", None, None, None, None, None, before, after, reply))


def plan(
    *each: tuple[Row, ...],
    consents: tuple[str, ...] = ("deals",),
    writes: str = "",
    several: tuple[tuple[Row, ...], ...] = (),
    sought: tuple[ConsentState, ...] = ("subscribed", "pending", "none", "choosing", "unsubscribed"),
    destinations: tuple[str, ...] = ("crm", "braze"),
    need_alias: tuple[str, ...] = ("braze",),
    languages: tuple[str, ...] = ("en",),
) -> Plan:
    """A plan with the rows of each of some consents."""
    return Plan(
        intent="none",
        consents=consents,
        overruled_by=tuple(() if name.startswith("@") else ("@acme", "@all") for name in consents),
        sought=sought,
        writes=writes,
        rows=each,
        rows_of_several=several,
        languages=languages,
        programs=consents,
        destinations=destinations,
        need_alias=need_alias,
    )


STOP = rows(lambda _: "unsubscribed", renews=True)
START = rows(lambda _: "subscribed")
ASK = rows(lambda _: "pending", renews=True, expires_in=100)
LEAVE = rows(lambda state: state)
#: What `decide` makes of an opt-in that is late: otherwise nothing changes.
LATE_START = tuple(replace(row, otherwise=decision(row.before, row.before, None)) for row in START)
CHAT = rows(lambda state: state, reply="hello")


def text(
    name: str,
    rows: tuple[Row, ...] | Plan,
    *,
    sender: str = SENDER,
    program: str = "deals",
    destinations: tuple[str, ...] = ("crm", "braze"),
    need_alias: tuple[str, ...] = ("braze",),
    body: str = "x",
    number: str = "2020",
) -> Commit:
    """A commit whose message id is `name`, and its event's id `evt_NAME`."""
    message = MESSAGE["message"] | {"sender": sender, "text": body}
    if not isinstance(rows, Plan):
        rows = plan(rows, consents=(program,), destinations=destinations, need_alias=need_alias)
    return Commit(
        sender=sender,
        digest=name.encode(),
        dedupe_seconds=86_400,
        replies_per_hour=3,
        plan=rows,
        destinations=destinations,
        message=orjson.dumps(MESSAGE | {"id": f"evt_{name}", "message": message}),
        undelivered=b"",
        block=f"acme/{number}",
    )


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    """Waits for something that only the store knows, and tells nobody when it comes about."""
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.002)
