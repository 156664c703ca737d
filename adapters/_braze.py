"""The REST API of a Braze workspace: requests within its rate limits, and what its answers mean."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
import structlog

from adapters._http import (
    MISCONFIGURED_PAUSE,
    delivery_error,
    json_body,
    rate_limit_reset,
    redact,
    retry_after,
)
from router.errors import DeliveryError
from router.ports import Http, Secret
from router.types import HttpResponse

log = structlog.get_logger(__name__)

TRACK = "/users/track"
ALIAS_NEW = "/users/alias/new"
STATUS_SET = "/v2/subscription/status/set"
EXPORT = "/users/export/ids"

_MISCONFIGURED = {
    401: "Braze does not know the API key (401). Check api_key, and that url names the instance that the key is of.",
    403: "The API key may not do this (403). Give it the permission {permission} in Braze.",
    404: "Braze has no such address (404). Check url, such as https://rest.iad-01.braze.com, without a path.",
}
_PERMISSIONS = {
    TRACK: "users.track",
    ALIAS_NEW: "users.alias.new",
    STATUS_SET: "subscription.status.set",
    EXPORT: "users.export.ids",
}


class _Quota:
    """How many requests an endpoint still takes: by its newest answer, less what has left since."""

    def __init__(self) -> None:
        self.under_way = 0
        self._left: int | None = None
        self._resets_at = 0.0

    def wait(self, now: float) -> float:
        """How long until another request may leave, in seconds."""
        if now >= self._resets_at:
            self._left = None
        return self._resets_at - now if self._left is not None and self._left <= 0 else 0.0

    def leave(self) -> None:
        self.under_way += 1
        if self._left is not None:
            self._left -= 1

    def answered(self, response: HttpResponse, now: float) -> None:
        left = response.headers.get("x-ratelimit-remaining", "")
        reset = rate_limit_reset(response.headers, now)
        if response.status == 429:
            self._left, self._resets_at = 0, now + (retry_after(response.headers, now) or reset or 0.0)
        elif left.isdecimal() and reset is not None:
            # Whether the others that are under way are counted already is not known: to be safe, they are not.
            self._left, self._resets_at = int(left) - self.under_way, now + reset


class BrazeApi:
    """Posts to one workspace."""

    def __init__(self, name: str, url: str, key: Secret, clock: Callable[[], float]) -> None:
        """`clock` is in unix seconds."""
        self._name = name
        self._url = url
        self._key = key
        self._clock = clock
        self._quotas = {path: _Quota() for path in _PERMISSIONS}

    async def post(self, http: Http, path: str, payload: Mapping[str, Any]) -> HttpResponse:
        """Any answer. Raises `DeliveryError`, before anything is sent, while the endpoint's rate limit is used up."""
        quota, now = self._quotas[path], self._clock()
        wait = quota.wait(now)
        if wait > 0:
            raise DeliveryError(
                f"The rate limit of {path} is used up for {wait:.0f} s. Ask Braze for a higher one if this goes on.",
                retryable=True,
                retry_after=wait,
            )
        headers = {"Authorization": f"Bearer {self._key.reveal()}", "Content-Type": "application/json"}
        quota.leave()
        try:
            response = await http.request("POST", self._url + path, headers=headers, body=json_body(payload))
        finally:
            quota.under_way -= 1
        quota.answered(response, self._clock())
        return response

    def failure(self, path: str, response: HttpResponse, private: Sequence[str] = ()) -> DeliveryError | None:
        """Why nothing of a request was taken; None if something was. `private` must not be told on."""
        error = delivery_error(response, self._clock(), private)
        if error:
            error.request = f"{error.request}{path}"
        if error and (reason := _MISCONFIGURED.get(response.status)):
            error.reason = reason.format(permission=_PERMISSIONS[path])
            # Nothing is lost while an operator mends it.
            error.retryable, error.retry_after = True, MISCONFIGURED_PAUSE
            error.args = (error.reason,)
        return error

    def note(self, errors: Sequence[object], private: Sequence[str] = ()) -> None:
        """Logs what a success remarks on without naming any item."""
        for error in errors:
            log.warning("braze_notice", destination=self._name, notice=redact(said(error), private))


def said(error: object) -> str:
    """One of the errors in an answer, in words."""
    return str(error.get("type")) if isinstance(error, dict) else str(error)


def errors_in(response: HttpResponse) -> list[Any]:
    """The errors that an answer lists."""
    errors = answer_of(response).get("errors")
    return errors if isinstance(errors, list) else []


def answer_of(response: HttpResponse) -> dict[str, Any]:
    """The answer, empty if it is not an object."""
    try:
        answer = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}
