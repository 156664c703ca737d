"""Who calls the API, and what they may do. Only digests of keys are known."""

from collections.abc import Iterable, Mapping
from hashlib import sha256

from router.bearer import same, token_digest
from router.config import ApiKey
from router.errors import AccessDenied, BadToken
from router.types import RawRequest

_NO_KEY = sha256(b"").hexdigest()


def authenticated(request: RawRequest, keys: Mapping[str, ApiKey]) -> tuple[str, ApiKey]:
    """The key that was sent, with its name. Raises `BadToken`. Every key is looked at, whichever fits."""
    given = token_digest(request) or _NO_KEY
    found = [(name, key) for name, key in keys.items() if same(given, key.sha256)]
    if not found or given == _NO_KEY:
        raise BadToken("Invalid API Key")
    return found[0]


def authorise(key: ApiKey, permissions: Iterable[str]) -> None:
    """Raises `AccessDenied` if the key has none of the permissions, of which one is enough."""
    if not set(key.permissions) & set(permissions):
        raise AccessDenied("Access Denied")
