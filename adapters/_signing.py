"""Signatures in and out: HMAC with many keys, and Standard Webhooks, which is built on it.

Secrets are compared in constant time, and whatever is wrong with a signature is `BadSignature`.
"""

import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from router.errors import BadSignature
from router.ports import Secret

if TYPE_CHECKING:
    # Not loaded by who verifies no such signature: it takes 5 MB.
    from adapters._public_keys import VerifyKey

Algorithm = Literal["md5", "sha1", "sha224", "sha256", "sha384", "sha512"]

#: How far the timestamp of a webhook may be from our clock, in seconds, either way.
TOLERANCE = 300

_TIMESTAMP = re.compile(r"[0-9]{1,12}")


class SigningKey:
    """An HMAC key (RFC 2104), made ready once: that takes as long as signing, and so does going through `hmac`."""

    def __init__(self, key: bytes, algorithm: Algorithm) -> None:
        self._inner, self._outer = hashlib.new(algorithm), hashlib.new(algorithm)
        size = self._inner.block_size
        padded = (key if len(key) <= size else hashlib.new(algorithm, key).digest()).ljust(size, b"\0")
        self._inner.update(bytes(byte ^ 0x36 for byte in padded))
        self._outer.update(bytes(byte ^ 0x5C for byte in padded))

    def sign(self, message: bytes) -> bytes:
        """The HMAC of a message, in Base64 with padding."""
        return b64encode(self._digest(message))

    def hex(self, message: bytes) -> bytes:
        """The HMAC of a message, in lower-case hex."""
        return self._digest(message).hex().encode()

    def _digest(self, message: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()


def matches(given: str, signature: bytes) -> bool:
    """Whether what came from outside, of any characters and length, is this signature (in Base64 or hex)."""
    # "?" is in no Base64 and no hex, so nothing is made equal here.
    return hmac.compare_digest(given.encode("ascii", "replace"), signature)


def decode_base64(text: str) -> bytes:
    """What Base64 with or without padding stands for. Raises `ValueError`."""
    encoded = text.strip().rstrip("=")
    return b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)


def webhook_secret(text: str) -> bytes:
    """The key that a Standard Webhooks secret stands for: Base64, with or without `whsec_` and padding.

    Raises `ValueError`, which says what to write and does not repeat the secret.
    """
    try:
        key = decode_base64(text.strip().removeprefix("whsec_"))
    except ValueError:
        raise ValueError('The webhook secret is not Base64. Write it as it was issued: "whsec_" and Base64.') from None
    if not key:
        raise ValueError('The webhook secret is empty. Write "whsec_" and the Base64 of 24 to 64 random bytes.')
    return key


def _check_webhook_secret(secret: Secret) -> Secret:
    try:
        webhook_secret(secret.reveal())
    except ValueError as error:
        _, _, remedy = str(error).partition(". ")
        raise PydanticCustomError("secret_shape", "is not a webhook secret.", {"remedy": remedy}) from None
    return secret


#: Standard Webhooks secrets in the configuration file. During a rotation the new one is first, then the old one.
WebhookSecrets = Annotated[tuple[Annotated[Secret, AfterValidator(_check_webhook_secret)], ...], Field(strict=False)]


def sign_webhook(secrets: Sequence[bytes], event_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: one `v1` entry for each secret, in their order.

    `timestamp` is of this attempt, in unix seconds, and goes into `webhook-timestamp`; `event_id` goes into
    `webhook-id`.
    """
    message = _webhook_message(event_id, str(timestamp), body)
    return " ".join(f"v1,{signature.decode()}" for signature in _webhook_signatures(secrets, message))


def verify_webhook(
    secrets: Sequence[bytes],
    headers: Mapping[str, str],
    body: bytes,
    now: float,
    *,
    tolerance: int = TOLERANCE,
    public_keys: "Sequence[VerifyKey]" = (),
) -> None:
    """Raises `BadSignature` unless one of the secrets or keys signed this body, no more than `tolerance` from `now`.

    Header names are lower case; `now` is in unix seconds. `public_keys` are those of senders that sign with `v1a`.
    """
    event_id, timestamp, signatures = (headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    if not (event_id and timestamp and signatures):
        raise BadSignature("A webhook header is missing. Send webhook-id, webhook-timestamp and webhook-signature.")
    check_timestamp(timestamp, now, tolerance, "webhook-timestamp")
    try:
        message = _webhook_message(event_id, timestamp, body)
    except UnicodeEncodeError:
        raise BadSignature("webhook-id has characters that no header can carry. Send ASCII.") from None
    expected = _webhook_signatures(secrets, message)
    for entry in signatures.split(" "):
        version, _, given = entry.partition(",")
        if version == "v1" and any(matches(given, signature) for signature in expected):
            return
        if version == "v1a" and any(key.fits(given, message) for key in public_keys):
            return
    raise BadSignature("No signature in webhook-signature fits. Check that both sides hold the same secret.")


def check_timestamp(timestamp: str, now: float, tolerance: int, name: str, *, ahead: int | None = None) -> None:
    """Raises `BadSignature` unless these are unix seconds no more than `tolerance` before `now`, nor `ahead` after.

    `ahead` is as much as `tolerance` if not given.
    """
    age = now - int(timestamp) if _TIMESTAMP.fullmatch(timestamp) else None
    if age is None or not -(tolerance if ahead is None else ahead) <= age <= tolerance:
        raise BadSignature(
            f"{name} is not within {tolerance} s of our clock. Send unix seconds and set both clocks by NTP."
        )


def _webhook_message(event_id: str, timestamp: str, body: bytes) -> bytes:
    # Latin-1 gives back the bytes of the header as they were on the wire.
    return b"%s.%s.%s" % (event_id.encode("latin-1"), timestamp.encode(), body)


def _webhook_signatures(secrets: Sequence[bytes], message: bytes) -> list[bytes]:
    return [SigningKey(secret, "sha256").sign(message) for secret in secrets]
