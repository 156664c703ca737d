"""The addresses of the API, for the application."""

import uuid
from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from router.inbox import Inbox
from router.platform_api.context import Context
from router.platform_api.endpoint import Endpoint
from router.platform_api.limits import Limiter
from router.platform_api.operations import OPERATIONS
from router.service import Service
from router.store import Directory, People, Quota


def routes(service: Service, clock: Callable[[], float]) -> list[BaseRoute]:
    """Every operation, and the document that describes them."""
    store = service.store
    context = Context(
        service.pipeline, People(store), Directory(store), lambda: service.settings, clock, lambda: uuid.uuid4().hex
    )
    limiter = Limiter(Quota(store), lambda: service.settings.api.rate_limit_factor, clock)
    most = service.settings.server.max_body_bytes
    found: list[BaseRoute] = [Route("/openapi.json", _described(service))]
    for operation in OPERATIONS:
        endpoint = Endpoint(operation, context, limiter, service.metrics)
        inbox = Inbox(endpoint.receive, endpoint.refuse, most, clock)
        found.append(Route(operation.path, inbox, methods=[operation.method]))
    return found


def _described(service: Service) -> Callable[[Request], Awaitable[Response]]:
    documents: list[bytes] = []

    async def describe(_: Request) -> Response:
        if not documents:
            # Imported so late because few ask for it, and an idle process is to stay small.
            from router.platform_api.openapi import document  # noqa: PLC0415

            documents.append(document(service.settings.server.public_url))
        return Response(documents[0], media_type="application/json")

    return describe


async def refused(request: Request, error: Exception) -> Response:
    """What a wrong path or method gets, in the shape of all other errors; carriers get the bare words."""
    if not isinstance(error, HTTPException):
        raise error
    if request.url.path.startswith("/in/"):
        return PlainTextResponse(error.detail, error.status_code, error.headers)
    message = f"{error.detail}: GET /openapi.json lists what there is."
    return JSONResponse({"message": message}, error.status_code, error.headers)
