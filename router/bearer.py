"""What calls of our own API prove and promise in their headers: a bearer token, and a body of JSON."""

from hashlib import sha256
from hmac import compare_digest

from router.types import RawRequest


def token_digest(request: RawRequest) -> str:
    """The SHA-256 of the bearer token, in hex; empty if there is none. Nothing is known of tokens but this."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return digest(token.strip()) if scheme.lower() == "bearer" and token.strip() else ""


def digest(token: str) -> str:
    """The SHA-256 of a token, in hex."""
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def same(one: str, other: str) -> bool:
    """Whether two digests are the same, in a time that does not tell how far they are."""
    return compare_digest(one.encode(), other.encode())


def is_json(request: RawRequest) -> bool:
    """Whether the body is said to be JSON."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
