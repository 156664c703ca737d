"""Texts ready for the store, and a clock that stands: material for tests of the store and of delivery."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import orjson

from router.consent import STATES
from router.store import Commit
from router.types import ConsentState, Row

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
            decision=_decision(state, after(state), reply),
            otherwise=_decision(state, after(state), None) if reply else b"",
        )
        for state in STATES
    )


def _decision(before: str, after: str, reply: str | None) -> bytes:
    empty = dict.fromkeys(("keyword", "argument", "program", "language", "rule"))
    return orjson.dumps({"intent": "none", **empty, "before": before, "after": after, "reply": reply})


STOP = rows(lambda _: "unsubscribed", renews=True)
START = rows(lambda _: "subscribed")
ASK = rows(lambda _: "pending", renews=True, expires_in=100)
LEAVE = rows(lambda state: state)
#: What `decide` makes of an opt-in that is late: otherwise nothing changes.
LATE_START = tuple(replace(row, otherwise=_decision(row.before, row.before, None)) for row in START)
CHAT = rows(lambda state: state, reply="hello")


def text(
    name: str,
    rows: tuple[Row, ...],
    *,
    sender: str = SENDER,
    program: str = "deals",
    destinations: tuple[str, ...] = ("crm", "braze"),
    need_alias: tuple[str, ...] = ("braze",),
    body: str = "x",
) -> Commit:
    """A commit whose message id is `name`, and its event's id `evt_NAME`."""
    message = MESSAGE["message"] | {"sender": sender, "text": body}
    return Commit(
        sender=sender,
        digest=name.encode(),
        consent=program,
        overruled_by=("@acme",) if program != "@acme" else (),
        dedupe_seconds=86_400,
        replies_per_hour=3,
        destinations=destinations,
        need_alias=need_alias,
        message=orjson.dumps(MESSAGE | {"id": f"evt_{name}", "message": message}),
        undelivered=b"",
        rows=rows,
    )


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    """Waits for something that only the store knows, and tells nobody when it comes about."""
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.002)
