"""Public keys that are fetched by the URL of their certificate: each once, and kept for some hours."""

import asyncio

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from adapters._http import delivery_error
from router.errors import BadSignature
from router.ports import Http

#: How long a key is kept, in seconds.
KEPT = 6 * 3600.0
#: How many keys are kept.
MOST_KEYS = 16


class Certificates:
    """RSA keys by the URL of their certificate. Which URLs are to be trusted is for the caller to check."""

    def __init__(self) -> None:
        self._keys: dict[str, tuple[float, RSAPublicKey]] = {}
        self._fetches: dict[str, asyncio.Task[None]] = {}

    def key(self, url: str, now: float) -> RSAPublicKey | None:
        """The key, if it has been fetched not long before `now`."""
        fetched_at, key = self._keys.get(url, (0.0, None))
        return key if now - fetched_at < KEPT else None

    async def fetch(self, http: Http, url: str, now: float) -> None:
        """Fetches the key unless it is here; those who want it at the same time wait for one fetch.

        Raises `BadSignature` if there is no certificate, and `DeliveryError` if that cannot be told.
        """
        if self.key(url, now):
            return
        fetch = self._fetches.get(url)
        if fetch is None:
            fetch = self._fetches[url] = asyncio.create_task(self._fetch(http, url, now))
            fetch.add_done_callback(lambda done: self._end(url, done))
        # Whoever gives up waiting does not take the fetch away from the others.
        await asyncio.shield(fetch)

    def _end(self, url: str, fetch: "asyncio.Task[None]") -> None:
        del self._fetches[url]
        if not fetch.cancelled():
            # Looked at here too, or asyncio would complain of it where nobody waits any more.
            fetch.exception()

    async def _fetch(self, http: Http, url: str, now: float) -> None:
        response = await http.request("GET", url, headers={}, body=b"")
        error = delivery_error(response)
        if error is not None and error.retryable:
            raise error
        try:
            key = x509.load_pem_x509_certificate(response.body).public_key() if error is None else None
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, RSAPublicKey):
            raise BadSignature(
                "There is no RSA certificate at the URL that the request names. Send only real webhooks."
            )
        self._keys.pop(url, None)
        while len(self._keys) >= MOST_KEYS:
            del self._keys[next(iter(self._keys))]
        self._keys[url] = now, key
