"""The application in the test's own process: requests go straight in, without sockets."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

from router.app import create_app
from router.config import Settings
from router.ports import Http
from router.types import RawRequest


@dataclass(frozen=True)
class Reply:
    """What was answered; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@asynccontextmanager
async def serving(settings: Settings, clock: Callable[[], float], http: Http | None = None) -> AsyncIterator[Starlette]:
    """An application that takes texts and delivers none."""
    app = create_app(settings, role="ingress", clock=clock, http=http)
    async with app.router.lifespan_context(app):
        yield app


async def call(app: Starlette, request: RawRequest) -> Reply:
    """One request to its path. Whatever the application does not catch is raised."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": request.body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    path = request.path or f"/in/{request.account}"
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode("latin-1"),
        "root_path": "",
        "query_string": request.query,
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    start, *bodies = sent
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start["headers"]}
    return Reply(start["status"], headers, b"".join(body.get("body", b"") for body in bodies))


async def metric(app: Starlette, name: str, **labels: str) -> float:
    """The sum of a metric's values with these labels, 0 if it was never counted."""
    return sum((await counted(app, name, next(iter(labels)), **labels)).values())


async def counted(app: Starlette, name: str, by: str, **labels: str) -> Counter[str]:
    """A metric's values with these labels, by another label."""
    reply = await call(app, RawRequest("", "GET", b"", {}, b"", 0.0, "/metrics"))
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(reply.body.decode()):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                found[sample.labels[by]] += int(sample.value)
    return found
