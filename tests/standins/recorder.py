"""An outbound client that goes nowhere: it keeps what it is asked and always gives the same answer."""

from dataclasses import dataclass, field

from router.types import HttpResponse


@dataclass
class Recorder:
    """`requests` holds the headers and the body of each request, `urls` its method and URL."""

    status: int = 204
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    urls: list[tuple[str, str]] = field(default_factory=list)
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def request(self, method: str, url: str, *, headers: dict[str, str], body: bytes) -> HttpResponse:
        """Keeps the request and answers."""
        self.urls.append((method, url))
        self.requests.append((headers, body))
        return HttpResponse(self.status, self.headers, self.body)
