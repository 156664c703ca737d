"""The HTTP face: routes, the cap on bodies, and what is opened and closed with the server."""

import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import structlog
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from router.api import MessagesApi
from router.config import Settings
from router.errors import RouterError
from router.inbox import Inbox
from router.platform_api import refused, routes
from router.ports import Http
from router.reload import Reloader
from router.service import Role, Service
from router.siblings import Siblings
from router.webhooks import Webhooks

_log = structlog.get_logger("router.app")

#: What waits for the store is looked at again and again for nothing: texts make no cycles.
_OBJECTS_BETWEEN_COLLECTIONS = 20_000


def create_app(
    settings: Settings,
    *,
    role: Role = "all",
    clock: Callable[[], float] = time.time,
    config: Path | None = None,
    http: Http | None = None,
    siblings: Siblings | None = None,
) -> Starlette:
    """The application. Its lifespan opens the store; with `config`, SIGHUP reads that file again.

    `http` fetches what requests of carriers make necessary, in place of a client of its own. `siblings` are the other
    processes that serve the same address.
    """
    service = Service(settings, role, clock, http)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as opened:
            try:
                await service.start()
                opened.push_async_callback(service.stop)
                if siblings:
                    await siblings.open(service.counted)
                    opened.push_async_callback(siblings.close)
            except RouterError as error:
                app.state.failure = error
                raise
            gc.freeze()  # the collector need not look at the configuration again and again
            gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, 20, 20)
            service.begin_delivery()
            if config:
                reloader = Reloader(service, config)
                reloader.listen()
                opened.push_async_callback(reloader.close)
            yield

    addresses: list[BaseRoute] = [
        Route("/healthz", _healthy),
        Route("/readyz", _readiness(service)),
        Route("/metrics", _metrics(service, siblings)),
    ]
    if role != "worker":
        addresses += _ingress(service, clock)
    app = Starlette(routes=addresses, lifespan=lifespan, exception_handlers={HTTPException: refused})
    # The short way for webhooks, for whoever started a server that can take it.
    app.state.webhooks = (
        None if role == "worker" else Webhooks(service.reception, settings.server.max_body_bytes, clock)
    )
    app.state.failure = None  # why the start failed, for whoever started the server
    return app


def _ingress(service: Service, clock: Callable[[], float]) -> list[BaseRoute]:
    server = service.settings.server
    pipeline = service.pipeline
    api = MessagesApi(pipeline, lambda: service.settings.api.tokens, service.metrics)
    webhooks = Inbox(service.reception.receive, service.reception.unreadable, server.max_body_bytes, clock)
    messages = Inbox(api.receive, api.refuse, server.max_body_bytes, clock)
    return [
        Route("/in/{account}", webhooks, methods=["GET", "POST"]),
        Route("/v1/messages", messages, methods=["POST"]),
        *routes(service, clock),
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


def _metrics(service: Service, siblings: Siblings | None) -> Callable[[Request], Awaitable[Response]]:
    async def metrics(_: Request) -> Response:
        counted = await siblings.counted() if siblings else service.counted()
        return Response(counted, media_type=CONTENT_TYPE_LATEST)

    return metrics
