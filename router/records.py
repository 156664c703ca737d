"""What is kept as JSON, in the store and on disk, written and read in one place. `v` is the version of the form."""

from base64 import b64decode, b64encode
from typing import Any

import orjson

from router.types import Binary, Decision, Event, Inbound, Media, Part, RawRequest

_VERSION = 1


def write_message(event_id: str, at: float, account: str, programs: tuple[str, ...], text: Inbound) -> bytes:
    """An event less its decision, which the store adds."""
    return orjson.dumps(
        {"v": _VERSION, "id": event_id, "at": at, "account": account, "programs": programs, "message": text}
    )


def read_event(message: bytes | str, decision: bytes | str, *, new_alias: bool = False) -> Event:
    """The event of `write_message` and its decision."""
    written = orjson.loads(message)
    return Event(
        id=written["id"],
        at=written["at"],
        account=written["account"],
        programs=tuple(written["programs"]),
        message=read_text(written),
        decision=Decision(**orjson.loads(decision)),
        new_alias=new_alias,
    )


def read_text(written: dict[str, Any]) -> Inbound:
    """The text in what `write_message` wrote."""
    text = written["message"]
    parts: dict[str, Any] = {"media": tuple(Media(**media) for media in text["media"])}
    for name, kind in (("part", Part), ("binary", Binary)):
        if text.get(name):
            parts[name] = kind(**text[name])
    return Inbound(**text | parts)


def request_fields(request: RawRequest) -> dict[str, Any]:
    """A request as fields of a record."""
    return {
        "v": _VERSION,
        "account": request.account,
        "method": request.method,
        "query": b64encode(request.query).decode(),
        "headers": dict(request.headers),
        "body": b64encode(request.body).decode(),
        "received_at": request.received_at,
        "path": request.path,
    }


def read_request(written: dict[str, Any]) -> RawRequest:
    """The request in what `request_fields` gave."""
    return RawRequest(
        account=written["account"],
        method=written["method"],
        query=b64decode(written["query"]),
        headers=written["headers"],
        body=b64decode(written["body"]),
        received_at=written["received_at"],
        path=written.get("path", ""),
    )
