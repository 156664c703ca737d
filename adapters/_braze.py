"""The REST API of a Braze workspace: requests within its rate limits, and what its answers mean."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import orjson
import structlog

from adapters._braze_quota import Quota
from adapters._http import MISCONFIGURED_PAUSE, delivery_error, json_body, redact
from router.errors import DeliveryError
from router.ports import Http, Secret
from router.types import HttpResponse

log = structlog.get_logger(__name__)

TRACK = "/users/track"
ALIAS_NEW = "/users/alias/new"
STATUS_SET = "/v2/subscription/status/set"
EXPORT = "/users/export/ids"

#: Where a request is refused whole for what is in it, or for how much.
REFUSED_WHOLE = (400, 413)

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


class BrazeApi:
    """Posts to one workspace."""

    def __init__(self, name: str, url: str, key: Secret, clock: Callable[[], float]) -> None:
        """`clock` is in unix seconds."""
        self._name = name
        self._url = url
        self._key = key
        self._clock = clock
        self._quotas = {path: Quota() for path in _PERMISSIONS}

    async def post(self, http: Http, path: str, payload: Mapping[str, Any]) -> HttpResponse:
        """Any answer. Raises `DeliveryError`, before anything is sent, while the endpoint's rate limit is used up."""
        quota = self._quotas[path]
        wait = quota.wait(self._clock())
        if wait > 0:
            raise DeliveryError(
                f"The rate limit of {path} is used up for {wait:.0f} s. Ask Braze for a higher one if this goes on.",
                retryable=True,
                retry_after=wait,
            )
        headers = {"Authorization": f"Bearer {self._key.reveal()}", "Content-Type": "application/json"}
        quota.left()
        try:
            response = await http.request("POST", self._url + path, headers=headers, body=json_body(payload))
        except DeliveryError as error:
            quota.unanswered()
            error.request = f"{error.request}{path}"
            raise
        except BaseException:  # cancelled, above all
            quota.unanswered()
            raise
        quota.answered(response, self._clock())
        return response

    def failure(self, path: str, response: HttpResponse, private: Sequence[str] = ()) -> DeliveryError | None:
        """Why nothing of a request was taken; None if something was. `private` must not be told on."""
        error = delivery_error(response, self._clock(), private)
        if error is None:
            return None
        error.request = f"{error.request}{path}"
        if reason := _MISCONFIGURED.get(response.status):
            error.reason = reason.format(permission=_PERMISSIONS[path])
            # Nothing is lost while an operator mends it.
            error.retryable, error.retry_after = True, MISCONFIGURED_PAUSE
            error.args = (error.reason,)
        # A reset that is over by our clock says that the clocks differ, not that there is no need to wait.
        error.retry_after = error.retry_after or None
        return error

    def note(self, errors: Sequence[object], private: Sequence[str] = ()) -> None:
        """Logs what a success remarks on without naming any item."""
        for error in errors:
            log.warning("braze_notice", destination=self._name, notice=redact(said(error), private))


def said(error: object) -> str:
    """One of the errors in an answer, in words."""
    return str(error.get("type")) if isinstance(error, dict) else str(error)


def errors_of(
    response: HttpResponse, arrays: Mapping[str, Collection[object]]
) -> tuple[list[tuple[str, int, object]], list[object]]:
    """The errors in an answer: (array, index, error) of those that name an item of the request, and all others.

    `arrays` are those of the request. On any other failure than a refusal, nothing is wrong with the items.
    """
    if response.status >= 300 and response.status not in REFUSED_WHOLE:
        return [], []
    errors = answer_of(response).get("errors")
    named: list[tuple[str, int, object]] = []
    remarks: list[object] = []
    for error in errors if isinstance(errors, list) else [errors] if isinstance(errors, str) else []:
        match error:
            case {"input_array": str(array), "index": int(index)} if 0 <= index < len(arrays.get(array, ())):
                named.append((array, index, error))
            case _:
                remarks.append(error)
    return named, remarks


def refusal(response: HttpResponse, path: str, error: object, private: Sequence[str] = ()) -> DeliveryError:
    """Why one item of a request was not taken, while others may have been."""
    return DeliveryError(
        f"Braze does not take this event ({redact(said(error), private)}). Mend what it names, then retry it.",
        retryable=False,
        status=response.status,
        request=f"{response.request}{path}",
        answer=str(error),
    )


def repeatable(error: DeliveryError) -> DeliveryError:
    """The same error for somebody of whom nothing was sent that does harm when it is sent again.

    A state that is set twice is set; only a custom event that is sent twice is there twice.
    """
    if not error.outcome_unknown:
        return error
    return DeliveryError(
        error.reason,
        retryable=error.retryable,
        retry_after=error.retry_after,
        status=error.status,
        request=error.request,
        answer=error.answer,
    )


def answer_of(response: HttpResponse) -> dict[str, Any]:
    """The answer, empty if it is not an object."""
    try:
        answer = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}
