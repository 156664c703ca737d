"""The HTTP face: routes, the cap on bodies, and what is opened and closed with the server."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from router.api import MessagesApi
from router.config import Settings, load
from router.errors import BodyTooLarge, ConfigurationError, RequestError, RouterError, TooManyFields
from router.routing import API_ACCOUNT
from router.service import Role, Service
from router.tasks import cancelled
from router.types import Answer, RawRequest

#: The most fields that a form or query may have. The longest that carriers send have some sixty.
_MOST_FIELDS = 1000

_log = structlog.get_logger("router.app")


class Inbox:
    """An address that takes raw requests: reads the body up to the cap, hands it over, sends the answer.

    Plain ASGI: this is the busiest address of all, and needs neither a request nor a response object.
    """

    def __init__(
        self,
        receive: Callable[[RawRequest], Awaitable[Answer]],
        refuse: Callable[[str, RequestError], Answer],
        max_body_bytes: int,
        clock: Callable[[], float],
    ) -> None:
        self._receive = receive
        self._refuse = refuse
        self._max_body_bytes = max_body_bytes
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        account = scope["path_params"].get("account", API_ACCOUNT)
        received_at = self._clock()
        try:
            body = await self._body(receive)
            _check_fields(scope, body)
        except ClientDisconnect:
            return
        except (BodyTooLarge, TooManyFields) as error:
            await _send(self._refuse(account, error), send)
            return
        request = RawRequest(account, scope["method"], scope["query_string"], _headers(scope), body, received_at)
        await _send(await self._receive(request), send)

    async def _body(self, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._max_body_bytes:
                raise BodyTooLarge(f"the body is over {self._max_body_bytes} bytes (server.max_body_bytes).")
            chunks.append(chunk)
            more = message.get("more_body", False)
        return b"".join(chunks)


def create_app(
    settings: Settings, *, role: Role = "all", clock: Callable[[], float] = time.time, config: Path | None = None
) -> Starlette:
    """The application. Its lifespan opens the store; with `config`, SIGHUP reads that file again."""
    service = Service(settings, role, clock)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        try:
            await service.start()
        except RouterError as error:
            app.state.failure = error
            raise
        service.begin_delivery()
        reloader = Reloader(service, config) if config else None
        if reloader:
            reloader.listen()
        try:
            yield
        finally:
            if reloader:
                await reloader.close()
            await service.stop()

    routes: list[BaseRoute] = [
        Route("/healthz", _healthy),
        Route("/readyz", _readiness(service)),
        Route("/metrics", _metrics(service)),
    ]
    if role != "worker":
        routes += _ingress(service, clock)
    app = Starlette(routes=routes, lifespan=lifespan)
    app.state.failure = None  # why the start failed, for whoever started the server
    return app


class Reloader:
    """Reads the configuration file again on SIGHUP: takes it into use, or says what is wrong and keeps the old one."""

    def __init__(self, service: Service, path: Path) -> None:
        self._service = service
        self._path = path
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def listen(self) -> None:
        """Begins to listen for the signal."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._asked.set)
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Lets a reload that is under way finish."""
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        if self._task:
            await cancelled([self._task])

    async def _run(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            await asyncio.shield(self._reload())

    async def _reload(self) -> None:
        outcome = "done"
        try:
            await self._service.reload(await asyncio.to_thread(load, self._path))
        except RouterError as error:
            outcome = "refused"
            # A problem's remedy may repeat a number that is written wrongly; `keyroute check` shows it.
            problems = error.problems if isinstance(error, ConfigurationError) else ()
            said = [f"line {problem.line}: {problem.key}: {problem.message}" for problem in problems] or [str(error)]
            _log.error("reload refused, the old configuration stays in use", problems=said)
        else:
            _log.info("configuration reloaded", path=str(self._path))
        self._service.metrics.reloads.labels(outcome).inc()


def _ingress(service: Service, clock: Callable[[], float]) -> list[BaseRoute]:
    server = service.settings.server
    pipeline = service.pipeline
    api = MessagesApi(pipeline, lambda: service.settings.api.tokens, service.metrics)
    webhooks = Inbox(pipeline.receive, pipeline.refuse, server.max_body_bytes, clock)
    messages = Inbox(api.receive, api.refuse, server.max_body_bytes, clock)
    return [
        Route("/in/{account}", webhooks, methods=["GET", "POST"]),
        Route("/v1/messages", messages, methods=["POST"]),
    ]


async def _healthy(_: Request) -> Response:
    return PlainTextResponse("ok")


def _readiness(service: Service) -> Callable[[Request], Awaitable[Response]]:
    async def ready(_: Request) -> Response:
        reason = await service.unready()
        if reason:
            return JSONResponse({"ready": False, "reason": reason}, status_code=503, headers={"retry-after": "1"})
        return JSONResponse({"ready": True})

    return ready


def _metrics(service: Service) -> Callable[[Request], Awaitable[Response]]:
    async def metrics(_: Request) -> Response:
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return metrics


def _check_fields(scope: Scope, body: bytes) -> None:
    """A form must be taken apart before its signature can be checked, so its size is looked at before anything."""
    for data in (scope["query_string"], body):
        if data.count(b"&") >= _MOST_FIELDS and not data.lstrip().startswith((b"{", b"[")):
            raise TooManyFields(f"a form has at most {_MOST_FIELDS} fields.")


def _headers(scope: Scope) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


async def _send(answer: Answer, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    if answer.content_type:
        headers.append((b"content-type", answer.content_type.encode("latin-1")))
    headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
