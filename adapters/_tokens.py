"""JSON Web Tokens by which carriers sign requests with a shared secret. Times are compared with the request's own."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from jwt import PyJWS, PyJWTError
from jwt.algorithms import HMACAlgorithm

from adapters._requests import json_object
from adapters._signing import matches
from router.errors import BadPayload, BadSignature

Algorithm = Literal["HS256", "HS384", "HS512"]


class _AnyLength(HMACAlgorithm):
    """Carriers choose the secrets: that PyJWT finds one short is nothing to warn of at every text."""

    def check_key_length(self, key: bytes) -> str | None:
        return None


_TOKENS = PyJWS(algorithms=[])
_TOKENS.register_algorithm("HS256", _AnyLength(hashlib.sha256))
_TOKENS.register_algorithm("HS384", _AnyLength(hashlib.sha384))
_TOKENS.register_algorithm("HS512", _AnyLength(hashlib.sha512))


def verified_claims(token: str, secrets: Sequence[str], algorithms: Sequence[Algorithm]) -> dict[str, Any]:
    """The claims of a token, of any characters and length, that one of the secrets signed. Raises `BadSignature`.

    Whom it was issued to and when is for the caller to check.
    """
    for secret in secrets if token.isascii() else ():
        try:
            return json_object(_TOKENS.decode(token, secret, algorithms=list(algorithms)))
        except (PyJWTError, BadPayload):
            continue
    raise BadSignature("The token in the request does not fit. Check that both sides hold the same secret.")


def time_claim(claims: Mapping[str, Any], name: str) -> float:
    """A claim that is a time in unix seconds. Raises `BadSignature`."""
    found = claims.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise BadSignature(f"The token has no {name} in unix seconds. Send only what the carrier signed.")
    return found


def hash_fits(claims: Mapping[str, Any], name: str, data: bytes) -> bool:
    """Whether a claim is the SHA-256 of these bytes, in lower-case hex."""
    found = claims.get(name)
    return isinstance(found, str) and matches(found, hashlib.sha256(data).hexdigest().encode())
