"""Records of requests and texts that nobody could be told of; `keyroute dead` shows them and takes them again."""

import json
import re
from collections.abc import Container, Iterable
from dataclasses import replace
from typing import Any
from urllib.parse import quote, quote_plus

import orjson

from router.records import request_fields
from router.routing import KEPT_HEADERS, Route
from router.types import Inbound, Plan, RawRequest

#: How much of a body or query is kept.
MOST_KEPT = 64 * 1024


def request_record(
    request: RawRequest,
    reason: str,
    at: float,
    headers: Container[str] = KEPT_HEADERS,
    secrets: Iterable[str] = (),
) -> bytes:
    """An authentic request that makes no sense, with these headers and without the secrets that it shows."""
    query, body = request.query, request.body
    for secret in secrets:
        for written in _written_forms(secret):
            query, body = query.replace(written, b"..."), body.replace(written, b"...")
    kept = replace(
        request,
        query=query[:MOST_KEPT],
        body=body[:MOST_KEPT],
        headers={name: value for name, value in request.headers.items() if name in headers},
    )
    cut = len(query) > MOST_KEPT or len(body) > MOST_KEPT
    return _record("request", reason, at, request.account, {"request": request_fields(kept), "cut": cut})


def _written_forms(secret: str) -> set[bytes]:
    """As it stands, and as it is written in a form or a query (with the digits of `%2f` in either case), or in JSON."""
    forms = {secret, quote(secret, safe=""), quote_plus(secret)}
    forms |= {re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), form) for form in forms}
    forms |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    return {form.encode() for form in forms if form}


def unheard(route: Route, plan: Plan, destinations: tuple[str, ...], text: Inbound) -> str:
    """Why no destination hears of a text although one was meant to; empty for all others.

    An opt-out that the carrier reports without naming our number is complete: it counts for all of the account.
    """
    if route.program is None and text.recipient is None:
        if plan.intent == "opt_out":
            return ""
        if text.recipient_ref is None:
            return "unrouted: the carrier does not say for which number it is"
        return (
            f"unrouted: the carrier calls the number {text.recipient_ref!r}. Write that as the reference of one of "
            "[[numbers]], then retry"
        )
    if route.program is None:
        return "unrouted: no program has the number. Add it to [[numbers]], then retry"
    if plan.destinations and not destinations:
        return "the sender has no phone number, and every destination addresses people by theirs"
    return ""


def text_record(reason: str, account: str, at: float, message: bytes) -> bytes:
    """A text that no destination is told of; `message` as `router.records` writes it."""
    return _record("text", reason, at, account, {"text": orjson.Fragment(message)})


def _record(kind: str, reason: str, at: float, account: str, what: dict[str, Any]) -> bytes:
    return orjson.dumps({"kind": kind, "reason": reason, "at": at, "account": account, **what})
