"""What carrier adapters need of a request: its JSON or form, fields of the right type, credentials, the signed URL."""

import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, TypeVar

import orjson

from router._core import TooManyFieldsError, classify_address, scan_form
from router.errors import BadPayload, BadSignature, RequestError, RouterError, TooManyFields
from router.ports import MOST_FORM_FIELDS, Parsed
from router.types import Answer, Channel, RawRequest

F = TypeVar("F", dict[str, Any], list[Any], str)

_RETRY_AFTER = (("retry-after", "1"),)


def json_object(data: bytes) -> dict[str, Any]:
    """The JSON object that a body is. Raises `BadPayload`."""
    found = json_value(data)
    if not isinstance(found, dict):
        raise BadPayload("The body is no JSON object. Send only the carrier's own webhooks here.")
    return found


def json_value(data: bytes) -> Any:
    """The JSON that a body is, half a surrogate pair read as `?`. Raises `BadPayload`."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        # Slower, and reads escapes of half a surrogate pair, which no store can keep.
        return orjson.loads(json.dumps(json.loads(data), ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise BadPayload("The body is not JSON. Send only the carrier's own webhooks here.") from None


def table(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A field that is an object; empty if it is missing or null. Raises `BadPayload` for anything else."""
    return _field(fields, name, {})


def entries(fields: Mapping[str, Any], name: str) -> list[Any]:
    """A field that is a list; empty if it is missing or null. Raises `BadPayload` for anything else."""
    return _field(fields, name, [])


def text(fields: Mapping[str, Any], name: str) -> str:
    """A field that is a text; empty if it is missing or null. Raises `BadPayload` for anything else."""
    return _field(fields, name, "")


def _field(fields: Mapping[str, Any], name: str, missing: F) -> F:
    found = fields.get(name)
    if found is None:
        return missing
    if not isinstance(found, type(missing)):
        raise BadPayload(f"{name} is of the wrong type. Send only the carrier's own webhooks here.")
    return found


def required(**fields: str) -> None:
    """Raises `BadPayload` that names the fields that are blank."""
    blank = [name for name, value in fields.items() if not value.strip()]
    if blank:
        raise BadPayload(f"{', '.join(blank)} missing or blank. Send only the carrier's own webhooks here.")


def parsed_each(found: Iterable[Any], read: Callable[[dict[str, Any]], Iterable[Parsed]]) -> list[Parsed]:
    """What is in the entries of a batch: one that makes no sense does not lose the others."""
    parsed: list[Parsed] = []
    for entry in found:
        try:
            if not isinstance(entry, dict):
                raise BadPayload("An entry is no JSON object. Send only the carrier's own webhooks here.")
            parsed += read(entry)
        except BadPayload as error:
            parsed.append(error)
    return parsed


def form_fields(data: bytes) -> dict[str, str]:
    """The fields of a form or query, of repeated ones the last. Raises `TooManyFields`."""
    try:
        return dict(scan_form(data, MOST_FORM_FIELDS))
    except TooManyFieldsError:
        raise TooManyFields(f"The form has over {MOST_FORM_FIELDS} fields. No carrier sends so many.") from None


def content_type(request: RawRequest) -> str:
    """The type of the body in lower case, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def made_id(*parts: bytes) -> str:
    """An id for what has none: the same for the same bytes."""
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def our_address(address: str, channel: Channel) -> tuple[str | None, str | None]:
    """(recipient, recipient_ref) of a text: an RCS agent is not a number, but what the carrier calls one of ours."""
    if channel == "rcs" and classify_address(address)[0] not in ("phone", "short_code"):
        return None, address or None
    return address or None, None


def signed_url(public_url: str | None, request: RawRequest) -> str:
    """The URL that the carrier called, without its query: as configured, or else as the proxy before us tells."""
    if public_url is not None:
        return public_url
    scheme, host = (
        request.headers.get(f"x-forwarded-{name}", "").rpartition(",")[2].strip() for name in ("proto", "host")
    )
    return f"{scheme}://{host}{request.path}"


def check_secret(given: str, secrets: Iterable[str], name: str) -> None:
    """Raises `BadSignature` unless `given`, of any characters and length, is one of the secrets."""
    written = given.encode("utf-8", "surrogatepass")
    if not _is_one_of(written, [secret.encode() for secret in secrets]):
        raise BadSignature(f"{name} does not fit. Check that both sides hold the same secret.")


def check_basic(request: RawRequest, credentials: Iterable[tuple[str, str]]) -> None:
    """Raises `BadSignature` unless the request has one of these users and passwords in its `Authorization`."""
    scheme, _, encoded = request.headers.get("authorization", "").strip().partition(" ")
    try:
        given = b64decode(encoded.strip(), validate=True) if scheme.lower() == "basic" else b""
    except ValueError:
        given = b""
    if b64encode(given).decode() != encoded.strip():  # there is one way to write it
        given = b""
    expected = [f"{user}:{password}".encode() for user, password in credentials]
    if not _is_one_of(given, expected):
        raise BadSignature("Authorization does not fit. Check the user and password on both sides.")


def _is_one_of(given: bytes, secrets: Sequence[bytes]) -> bool:
    # All are compared, so the time taken tells nothing.
    fits = [hmac.compare_digest(given, secret) for secret in secrets]
    return any(fits)


def error_answer(error: RouterError, *, malformed: int = 400) -> Answer:
    """The answer to a carrier that only looks at the status. `malformed`: to authentic requests that make no sense."""
    if isinstance(error, BadSignature):
        return Answer(error.status)
    if not isinstance(error, RequestError):
        return Answer(503, headers=_RETRY_AFTER)
    status = malformed if isinstance(error, BadPayload) else error.status
    return Answer(status, str(error).encode(), "text/plain") if status >= 400 else Answer(status)
