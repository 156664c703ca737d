"""What all adapters need of HTTP: the error that a response stands for, texts made safe to log, JSON, times, URLs."""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlsplit

import orjson
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from router.errors import DeliveryError
from router.types import HttpResponse

#: The longest pause that a platform can ask for, in seconds: of a longer one, either side's clock may be the cause.
LONGEST_PAUSE = 3600.0

#: Nothing is lost while an operator mends a wrong secret or url: seconds between two tries.
MISCONFIGURED_PAUSE = 60.0

_EXCERPT = 200
#: How much of an answer is kept with a dead letter, in bytes.
_KEPT = 2048

_RETRYABLE_4XX = {408, 425, 429}
_REMEDIES = {
    401: "Check the secret.",
    403: "Check the secret and its permissions.",
    404: "Check the url.",
    410: "The endpoint is gone: change the url or remove the destination.",
}

_SECONDS = re.compile(r"\d{1,12}", re.ASCII)
_SPACES = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
_NUMBER = re.compile(r"\+?\d(?:[\s().\-]{0,2}\d){6,}")
_BEARER = re.compile(r"(bearer|basic)\s+\S+", re.IGNORECASE)
_TOKEN = re.compile(r"whsec_\S+|[\w+=\-]{20,}")


def delivery_error(response: HttpResponse, now: float | None = None, hide: Iterable[str] = ()) -> DeliveryError | None:
    """The error that a response stands for; None for a 2xx.

    `now`, in unix seconds, is needed to read a pause that is given as a point in time. `hide` holds private texts
    of the request, which the response may repeat.
    """
    status = response.status
    if 200 <= status < 300:
        return None
    pause = retry_after(response.headers, now)
    if pause is None and status == 429:
        # On any other answer the reset says when the quota is full again, not when to come back.
        pause = rate_limit_reset(response.headers, now)
    return DeliveryError(
        _reason(response, hide),
        retryable=status >= 500 or status in _RETRYABLE_4XX,
        retry_after=pause,
        status=status,
        # A gateway that gave up waiting does not know what the server behind it did.
        outcome_unknown=status == 504,
        request=response.request,
        answer=answer_of(response),
    )


def answer_of(response: HttpResponse) -> str:
    """An answer as it is kept with a dead letter, less what may be a secret."""
    body = _BEARER.sub(r"\1 …", response.body[:_KEPT].decode(errors="replace"))
    body = _TOKEN.sub(lambda found: "…" if _is_opaque(found[0]) else found[0], body)
    return f"{response.status} {body}".rstrip()


def retry_after(headers: Mapping[str, str], now: float | None) -> float | None:
    """The pause that `Retry-After` asks for, in seconds, at most `LONGEST_PAUSE`."""
    after = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(after):
        return _capped(float(after))
    return _capped(_until_date(after, now)) if after and now is not None else None


def rate_limit_reset(headers: Mapping[str, str], now: float | None) -> float | None:
    """How long until `X-RateLimit-Reset`, in seconds, at most `LONGEST_PAUSE`."""
    reset = headers.get("x-ratelimit-reset", "").strip()
    return _capped(int(reset) - now) if now is not None and _SECONDS.fullmatch(reset) else None


def _capped(pause: float | None) -> float | None:
    return None if pause is None else min(max(pause, 0.0), LONGEST_PAUSE)


def _until_date(date: str, now: float) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, OverflowError):
        return None


def _reason(response: HttpResponse, hide: Iterable[str]) -> str:
    try:
        reason = f"{response.status} {HTTPStatus(response.status).phrase}."
    except ValueError:
        reason = f"{response.status}."
    if 300 <= response.status < 400:
        reason += " Redirects are not followed: set the url to the final address."
    elif remedy := _REMEDIES.get(response.status):
        reason += f" {remedy}"
    if "html" in response.headers.get("content-type", "") or not response.body.strip():
        return reason
    return f"{reason} It said: {redact(response.body.decode(errors='replace'), hide)}"


def redact(text: str, hide: Iterable[str] = ()) -> str:
    """A text from outside made fit for a log: one line, at most 200 characters, no phone numbers, secrets or `hide`."""
    for private in sorted({part for written in hide for part in _written_forms(written)}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(private)}(?!\w)", "…", text, flags=re.IGNORECASE)
    text = _SPACES.sub(" ", text).strip()
    text = _BEARER.sub(r"\1 …", text)
    text = _TOKEN.sub(lambda found: "…" if _is_opaque(found[0]) else found[0], text)
    text = _NUMBER.sub(lambda found: "…" + found[0][-2:], text)
    return text if len(text) <= _EXCERPT else text[: _EXCERPT - 1] + "…"


def _written_forms(private: str) -> set[str]:
    private = private.encode(errors="replace").decode()
    in_json = json.dumps(private)[1:-1], json.dumps(private, ensure_ascii=False)[1:-1]
    return {form for form in (private, private.strip(), *in_json) if form.strip()}


def _is_opaque(word: str) -> bool:
    return word.startswith("whsec_") or any(character.isdigit() for character in word)


def json_body(value: object) -> bytes:
    """A value as compact JSON in UTF-8. Half a surrogate pair, which UTF-8 has no bytes for, becomes `?`."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def utc_time(at: float) -> str:
    """Unix seconds as ISO 8601 in UTC, to the millisecond: `2026-02-03T10:00:00.000Z`."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")
        usable = bool(host) and parts.port != 0 and parts.scheme in ("http", "https") and url.isprintable()
    except ValueError:
        usable = False
    if not usable or " " in url:
        raise PydanticCustomError(
            "url_shape",
            "is not the address of a server.",
            {"remedy": 'Write it in full, such as "https://crm.example.com/events".'},
        )
    if parts.username or parts.password or parts.fragment:
        raise PydanticCustomError(
            "url_shape",
            "has a user, password or fragment, which an address here cannot have.",
            {"remedy": 'Write it without what stands before "@" or after "#"; secrets have keys of their own.'},
        )
    return url


#: An absolute http or https URL. Whether http is enough depends on the destination's `allow_private`.
HttpUrl = Annotated[str, AfterValidator(_check_url)]
