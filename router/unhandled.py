"""Records of requests and texts that nobody could be told of; `keyroute dead` shows them and takes them again."""

from dataclasses import replace
from typing import Any

import orjson

from router.records import request_fields
from router.routing import Route
from router.types import RawRequest

#: How much of a body or query is kept.
MOST_KEPT = 64 * 1024
#: The only header that reading a request again needs; the others may hold credentials.
_KEPT_HEADER = "content-type"


def request_record(request: RawRequest, reason: str, at: float) -> bytes:
    """An authentic request that makes no sense."""
    kept = replace(
        request,
        query=request.query[:MOST_KEPT],
        body=request.body[:MOST_KEPT],
        headers={name: value for name, value in request.headers.items() if name == _KEPT_HEADER},
    )
    cut = (kept.query, kept.body) != (request.query, request.body)
    return _record("request", reason, at, request.account, {"request": request_fields(kept), "cut": cut})


def text_record(route: Route, destinations: tuple[str, ...], account: str, at: float, message: bytes) -> bytes:
    """A text that no destination hears of although one was meant to; empty for all others."""
    if route.policy.program is None:
        reason = "unrouted: no program has the number. Add it to [[numbers]], then retry"
    elif route.destinations and not destinations:
        reason = "the sender has no phone number, and every destination addresses people by theirs"
    else:
        return b""
    return _record("text", reason, at, account, {"text": orjson.Fragment(message)})


def _record(kind: str, reason: str, at: float, account: str, what: dict[str, Any]) -> bytes:
    return orjson.dumps({"kind": kind, "reason": reason, "at": at, "account": account, **what})
