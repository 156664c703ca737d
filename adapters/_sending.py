"""What carrier adapters need to send: one way from a response to the error that it stands for."""

import html
import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import orjson

from adapters._http import MISCONFIGURED_PAUSE, answer_of, delivery_error
from router.errors import DeliveryError, SendError
from router.types import HttpResponse, Outgoing, SendFailure

_BY_STATUS: Mapping[int, SendFailure] = {401: "auth", 403: "auth", 408: "temporary", 425: "temporary", 429: "throttled"}

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def send_error(
    response: HttpResponse, message: Outgoing, code: str | None, failures: Mapping[str, SendFailure]
) -> SendError:
    """The error that a response which is no success stands for.

    `failures`: what the carrier's own codes mean; `code` is the one in the response, if it has any. The numbers and the
    text of the message are hidden in what the error shows.
    """
    found = delivery_error(response, hide=(message.text, message.recipient, message.sender))
    failure = failures.get(code) if code else None
    if failure is None:
        failure = _by_status(response.status)
    reason = found.reason if found else f"The carrier refused the text, code {code or 'unknown'}."
    return SendError(
        reason,
        failure,
        retry_after=_pause(found, failure),
        status=response.status,
        outcome_unknown=bool(found and found.outcome_unknown),
        request=response.request,
        answer=answer_of(response),
    )


def response_json(response: HttpResponse) -> dict[str, Any]:
    """The JSON object in a response; empty if there is none."""
    try:
        found = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def basic_authorization(user: str, password: str) -> str:
    """The value of `Authorization` for a user and password."""
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


def xml_text(text: str) -> str:
    """A text fit to stand in an XML element, less what XML cannot carry."""
    # A bare carriage return would be read as a line feed.
    return html.escape(_NOT_XML.sub("", text), quote=False).replace("\r", "&#13;")


def xml_attribute(text: str) -> str:
    """A text fit to stand in an XML attribute, in quotes of either kind."""
    return html.escape(_NOT_XML.sub("", text))


def _by_status(status: int) -> SendFailure:
    return _BY_STATUS.get(status, "temporary" if status >= 500 else "permanent")


def _pause(found: DeliveryError | None, failure: SendFailure) -> float | None:
    if failure == "auth":
        return MISCONFIGURED_PAUSE
    return found.retry_after if found else None
