"""Signatures in and out: HMAC with many keys, and Standard Webhooks, which is built on it.

Secrets are compared in constant time, and whatever is wrong with a signature is `BadSignature`.
"""

import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Literal

from router.errors import BadSignature

Algorithm = Literal["sha1", "sha256"]

#: How far the timestamp of a webhook may be from our clock, in seconds, either way.
TOLERANCE = 300

_TIMESTAMP = re.compile(r"[0-9]{1,12}")


class SigningKey:
    """An HMAC key, made ready once: that costs as much as signing a text."""

    def __init__(self, key: bytes, algorithm: Algorithm) -> None:
        self._ready = hmac.new(key, digestmod=algorithm)

    def sign(self, message: bytes) -> bytes:
        """The HMAC of a message, in Base64 with padding."""
        mac = self._ready.copy()
        mac.update(message)
        return b64encode(mac.digest())


def matches(given: str, signature: bytes) -> bool:
    """Whether what came from outside, of any characters and length, is this signature (in Base64)."""
    # "?" is in no Base64 text, so nothing is made equal here.
    return hmac.compare_digest(given.encode("ascii", "replace"), signature)


def webhook_secret(text: str) -> bytes:
    """The key that a Standard Webhooks secret stands for: Base64, with or without `whsec_` and padding.

    Raises `ValueError`, which says what to write and does not repeat the secret.
    """
    encoded = text.strip().removeprefix("whsec_").rstrip("=")
    try:
        key = b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        raise ValueError('The webhook secret is not Base64. Write it as it was issued: "whsec_" and Base64.') from None
    if not key:
        raise ValueError('The webhook secret is empty. Write "whsec_" and the Base64 of 24 to 64 random bytes.')
    return key


def sign_webhook(secrets: Sequence[bytes], event_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: one `v1` entry for each secret, in their order.

    `timestamp` is of this attempt, in unix seconds, and goes into `webhook-timestamp`; `event_id` goes into
    `webhook-id`.
    """
    message = _webhook_message(event_id, str(timestamp), body)
    return " ".join(f"v1,{signature.decode()}" for signature in _webhook_signatures(secrets, message))


def verify_webhook(secrets: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Raises `BadSignature` unless one of the secrets signed this body, no more than `TOLERANCE` from `now`.

    Header names are lower case; `now` is in unix seconds.
    """
    event_id, timestamp, signatures = (headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    if not (event_id and timestamp and signatures):
        raise BadSignature("A webhook header is missing. Send webhook-id, webhook-timestamp and webhook-signature.")
    if not _TIMESTAMP.fullmatch(timestamp) or abs(now - int(timestamp)) > TOLERANCE:
        raise BadSignature(
            f"webhook-timestamp is not within {TOLERANCE} s of our clock. Send unix seconds and set both clocks by NTP."
        )
    try:
        message = _webhook_message(event_id, timestamp, body)
    except UnicodeEncodeError:
        raise BadSignature("webhook-id has characters that no header can carry. Send ASCII.") from None
    expected = _webhook_signatures(secrets, message)
    for entry in signatures.split(" "):
        version, _, given = entry.partition(",")
        if version == "v1" and any(matches(given, signature) for signature in expected):
            return
    raise BadSignature("No signature in webhook-signature fits. Check that both sides hold the same secret.")


def _webhook_message(event_id: str, timestamp: str, body: bytes) -> bytes:
    # Latin-1 gives back the bytes of the header as they were on the wire.
    return b"%s.%s.%s" % (event_id.encode("latin-1"), timestamp.encode(), body)


def _webhook_signatures(secrets: Sequence[bytes], message: bytes) -> list[bytes]:
    return [SigningKey(secret, "sha256").sign(message) for secret in secrets]
