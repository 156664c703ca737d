"""`keyroute sink`: a receiver for trying things out, which checks what a destination sends and prints it."""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import click
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from router import registry
from router.cli import listen
from router.cli.options import config_option
from router.config import Settings, load
from router.errors import RequestError
from router.ports import Options

#: (options, headers, body, unix seconds) → the event; raises `RequestError`. What a platform that signs its deliveries
#: offers as `check_delivery`, beside an option `url`.
Check = Callable[[Options, Mapping[str, str], bytes, float], dict[str, Any]]

_LARGEST_BODY = 4_194_304
#: How many ids are remembered to tell a repeat.
_REMEMBERED = 100_000


class Sink:
    """Prints the events of one destination, each once. `stop` is called when `count` have been printed."""

    def __init__(self, check: Check, options: Options, path: str, count: int | None) -> None:
        self._check = check
        self._options = options
        self._path = path
        self._left = count
        self._seen: dict[str, None] = {}
        self.stop: Callable[[], None] = lambda: None
        self.app = Starlette(routes=[Route("/{path:path}", self._receive, methods=["POST"])])

    async def _receive(self, request: Request) -> Response:
        if request.scope["path"] != self._path:
            click.echo(f"not found: {request.scope['path']!r}; events go to {self._path}", err=True)
            return Response(status_code=404)
        if self._left == 0:
            return Response(status_code=503)
        body = await _read(request)
        if body is None:
            click.echo(f"refused: a body over {_LARGEST_BODY} bytes", err=True)
            return Response(status_code=413)
        try:
            event = self._check(self._options, request.headers, body, time.time())
        except RequestError as error:
            click.echo(f"refused: {error}", err=True)
            return Response(status_code=error.status)
        return self._take(request.headers.get("webhook-id", ""), event)

    def _take(self, webhook_id: str, received: dict[str, Any]) -> Response:
        events = [(webhook_id, received)]
        if received["type"] == "events.batch":
            events = [(event["id"], event) for event in received["data"]["events"]]
        for event_id, event in events:
            if event_id in self._seen:
                click.echo(f"repeat of {event_id}, not printed again", err=True)
            elif self._left == 0 or not self._print(event_id, event):
                return Response(status_code=503)
        return Response(status_code=204)

    def _print(self, event_id: str, event: dict[str, Any]) -> bool:
        """Whether there still is somebody to read it; if not, the sender keeps the event."""
        try:
            click.echo(orjson.dumps(event))
        except BrokenPipeError:
            self._left = 0
            self.stop()
            return False
        self._seen[event_id] = None
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        if self._left is not None:
            self._left -= 1
            if not self._left:
                self.stop()
        return True


@click.command("sink")
@config_option
@click.option("--destination", metavar="NAME", help="Whose events to receive; needed if there are several.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="Stop after N events.")
def command(config: Path, destination: str | None, count: int | None) -> None:
    """Receive, verify and print signed webhooks.

    One JSON object a line, also where several events come together.
    """
    name, check, options = _find(load(config), config, destination)
    url = str(getattr(options, "url", ""))
    place = urlsplit(url)
    remedy = f'set url = "http://127.0.0.1:8090/events" and allow_private = true in [destinations.{name}].'
    if place.scheme != "http":
        raise click.ClickException(f"The sink speaks plain HTTP, but {name} sends to {place.scheme}: {remedy}")
    sink = Sink(check, options, unquote(place.path) or "/", count)
    server = uvicorn.Server(
        uvicorn.Config(sink.app, lifespan="off", ws="none", access_log=False, log_config=None, server_header=False)
    )

    def stop() -> None:
        server.should_exit = True

    sink.stop = stop
    remedy = f"Stop what listens there, or {remedy}"
    with listen.tcp(place.hostname or "", place.port or 80, remedy) as (listener, _):
        click.echo(f"Listening on {url} for the destination {name}. Ctrl-C stops it.", err=True)
        click.echo(
            f"Try: run `keyroute serve --config {config}` in another terminal and send a text; its event appears here.",
            err=True,
        )
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            click.echo("Stopped.", err=True)
    if not server.started:
        sys.exit(1)


def _find(settings: Settings, config: Path, wanted: str | None) -> tuple[str, Check, Options]:
    checks: dict[str, Check] = {}
    for name, destination in settings.destinations.items():
        if check := getattr(registry.platform(destination.platform), "check_delivery", None):
            checks[name] = check
    if wanted is None and len(checks) == 1:
        (wanted,) = checks
    if wanted in checks:
        return wanted, checks[wanted], settings.destinations[wanted].options
    if not checks:
        raise click.UsageError(f'No destination signs what it sends. Add one with platform = "webhook" to {config}.')
    what = f"{wanted!r} is not a destination that signs what it sends" if wanted else "Several destinations sign"
    raise click.UsageError(f"{what}. Choose with --destination among: {', '.join(checks)}.")


async def _read(request: Request) -> bytes | None:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_BODY:
            return None
    return bytes(body)
