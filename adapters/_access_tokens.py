"""OAuth 2.0 access tokens for the server itself (client credentials): kept, renewed ahead of their end, and once."""

import asyncio
from collections.abc import Callable, Mapping
from math import inf
from urllib.parse import urlencode

import orjson

from adapters._http import MISCONFIGURED_PAUSE, delivery_error
from router.errors import DeliveryError
from router.ports import Http

#: How long before its end a token is renewed, in seconds, or a tenth of its life if that is less.
_AHEAD = 300.0


class AccessTokens:
    """The access token of one client."""

    def __init__(self, url: str, form: Mapping[str, str], clock: Callable[[], float]) -> None:
        """`form` is what is posted to get a token, `clock` in unix seconds."""
        self._url = url
        self._body = urlencode(form).encode()
        self._clock = clock
        self._token = ""
        self._renew_at = 0.0
        self._renewing = asyncio.Lock()

    async def get(self, http: Http) -> str:
        """A token that is good for now. Of those who need one at the same time, one asks. Raises `DeliveryError`."""
        async with self._renewing:
            if not self._token or self._clock() >= self._renew_at:
                await self._renew(http)
            return self._token

    def refused(self, token: str) -> None:
        """The token is not taken any more: whoever needs one next renews it, unless somebody has."""
        if token == self._token:
            self._token = ""

    async def _renew(self, http: Http) -> None:
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        try:
            response = await http.request("POST", self._url, headers=headers, body=self._body)
        except DeliveryError as failure:
            failure.outcome_unknown = False  # as below
            raise
        if error := delivery_error(response, self._clock(), hide=[self._body.decode()]):
            # No token was given, whatever the answer: nothing of what is to be delivered has arrived.
            error.outcome_unknown = False
            if response.status in (400, 401, 403, 404):
                error.reason = (
                    f"no access token ({response.status}). Check client_id, client_secret, scopes and token_url."
                )
                error.retryable, error.retry_after = True, MISCONFIGURED_PAUSE
            raise error
        given = _given(response.body)
        if given is None:
            raise DeliveryError(
                "The answer has no access_token with expires_in. Check token_url.",
                retryable=True,
                retry_after=MISCONFIGURED_PAUSE,
            )
        self._token, lasts = given
        self._renew_at = self._clock() + lasts - min(_AHEAD, lasts / 10)


def _given(answer: bytes) -> tuple[str, float] | None:
    """The token in an answer, and how long it lasts, in seconds; None for anything else, which would be sent as one."""
    try:
        said = orjson.loads(answer)
        token, lasts = said["access_token"], float(said["expires_in"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None
    usable = isinstance(token, str) and token and token.isascii() and token.isprintable()
    return (token, lasts) if usable and 0 < lasts < inf else None
