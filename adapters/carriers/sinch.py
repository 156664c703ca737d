"""What both APIs of Sinch have in common: how webhooks are signed, and the token of a project for sending.

Facts: Sinch's pages on callbacks and authentication, and the validator of sinch-sdk-python 2.3, which has no age limit.
"""

from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlencode

from pydantic import Field

from adapters._credentials import CallerOptions, Check
from adapters._http import HttpUrl
from adapters._sending import basic_authorization, response_json, send_error
from adapters._signing import SigningKey, check_timestamp, matches
from router.errors import BadSignature
from router.ports import Http, Secret
from router.types import HttpResponse, Outgoing, RawRequest, SendFailure

#: Texts a second outside North America. Sinch agrees on a rate with each customer and publishes none: a modest one.
RATE = 30.0

_HEADER = "x-sinch-webhook-signature"


class SinchOptions(CallerOptions):
    """The keys that accounts of both APIs have, beside those that tell how requests are known as Sinch's.

    `hmac_secrets` are what webhooks are signed with, the new one first while it is changed. `tolerance` is how old a
    signature may be, in seconds, if that matters: Sinch repeats a webhook for up to a day and does not say whether it
    signs it anew. `key_id` and `key_secret` are the access key of the project that sends.
    """

    hmac_secrets: Annotated[tuple[Secret, ...], Field(strict=False)] = ()
    tolerance: Annotated[int, Field(ge=1)] | None = None
    key_id: str | None = None
    key_secret: Secret | None = None
    auth_url: HttpUrl = "https://auth.sinch.com"


def signature_checks(options: SinchOptions) -> list[Check]:
    """The proof by signature, if the account has secrets for it."""
    keys = [SigningKey(secret.reveal().encode(), "sha256") for secret in options.hmac_secrets]
    return [lambda request: _check_signature(request, keys, options.tolerance)] if keys else []


def _check_signature(request: RawRequest, keys: Sequence[SigningKey], tolerance: int | None) -> None:
    given, nonce, timestamp = (request.headers.get(_HEADER + part, "") for part in ("", "-nonce", "-timestamp"))
    if not (given and nonce and timestamp):
        raise BadSignature(
            f"{_HEADER}, its nonce or its timestamp is missing. Ask Sinch to sign this account's webhooks."
        )
    if tolerance is not None:
        check_timestamp(timestamp, request.received_at, tolerance, f"{_HEADER}-timestamp")
    # What Latin-1 cannot write did not come in a header; "?" in its place fits no signature that was made here.
    tail = f".{nonce}.{timestamp}".encode("latin-1", "replace")
    if not any(matches(given, key.sign(request.body + tail)) for key in keys):
        raise BadSignature(f"{_HEADER} does not fit. Check hmac_secrets of this account.")


class ProjectToken:
    """The OAuth 2 token of a project: fetched when it is first needed, and again when Sinch takes it no more."""

    def __init__(self, options: SinchOptions) -> None:
        self._url = f"{options.auth_url}/oauth2/token"
        secret = options.key_secret
        self._authorization = basic_authorization(options.key_id or "", secret.reveal() if secret else "")
        self._token = ""

    async def post(self, http: Http, url: str, message: Outgoing, body: bytes) -> HttpResponse:
        """Sends the JSON of a text. Raises `DeliveryError`, a `SendError` if Sinch gives no token."""
        used = self._token or await self._fetch(http, message)
        response = await post_json(http, url, used, body)
        if response.status != 401:
            return response
        # Another text may have fetched a new one meanwhile.
        fresh = self._token if self._token != used else await self._fetch(http, message)
        return await post_json(http, url, fresh, body)

    async def _fetch(self, http: Http, message: Outgoing) -> str:
        response = await http.request(
            "POST",
            self._url,
            headers={"Authorization": self._authorization, "Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode({"grant_type": "client_credentials"}).encode(),
        )
        token = response_json(response).get("access_token")
        if response.status // 100 != 2 or not isinstance(token, str) or not token:
            # 400 is what OAuth 2 says to credentials that it does not know.
            code = "refused" if response.status in (200, 400) else None
            failures: dict[str, SendFailure] = {"refused": "auth"}
            raise send_error(response, message, code, failures)
        self._token = token
        return token


async def post_json(http: Http, url: str, token: str, body: bytes) -> HttpResponse:
    """Sends JSON with a bearer token."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    return await http.request("POST", url, headers=headers, body=body)
