"""`keyroute serve`: the server."""

import logging
import signal
import socket
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path

import click
import uvicorn

from router._version import VERSION
from router.app import create_app
from router.cli import listen
from router.cli.options import config_option
from router.cli.processes import Processes
from router.config import Settings, load
from router.embedded import EmbeddedServer
from router.service import EMBEDDED, Role
from router.siblings import Siblings
from router.telemetry import set_up_logs
from router.webhooks import KEEP_ALIVE, Webhooks

_TCP = "Stop what listens there, or choose another place with --host and --port, or server.host and server.port."
_UDS = "Stop what listens there, or choose a short path in a folder that can be written to with --uds or server.uds."


@click.command("serve")
@config_option
@click.option("--host", help="The address to listen on, instead of server.host.")
@click.option("--port", type=click.IntRange(0, 65535), help="The port, instead of server.port; 0 takes a free one.")
@click.option("--uds", type=click.Path(path_type=Path), help="A Unix socket to listen on, instead of host and port.")
@click.option(
    "--role",
    type=click.Choice(["all", "ingress", "worker"]),
    default="all",
    show_default=True,
    help="ingress takes texts, worker delivers events, all does both.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="How many processes share the address, each in this role: one for each core.",
)
@click.option("--one-of-several", type=(int, int, click.Path(path_type=Path)), hidden=True)
def command(
    config: Path,
    host: str | None,
    port: int | None,
    uds: Path | None,
    role: Role,
    processes: int,
    one_of_several: tuple[int, int, Path] | None,
) -> None:
    """Serve the configuration until SIGTERM or Ctrl-C. SIGHUP reads the file again."""
    # uvicorn sends itself the signal again once it has stopped; what is open here is to be closed then too.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    # One that comes before anybody listens for it waits, see `Reloader`: it would end the process.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    settings = load(config)
    set_up_logs(logging.INFO)
    inherited, place_of_ours, folder = one_of_several or (None, 0, None)
    with _listening(settings, host, port, uds, inherited) as (shared, place):
        if processes > 1:
            sys.exit(_several(settings, role, processes, shared))
        app = create_app(
            settings,
            role=role,
            clock=time.time,
            config=config,
            siblings=Siblings(folder, place_of_ours) if folder else None,
        )
        # Why the start failed is said once and in words, below.
        logging.getLogger("uvicorn.error").addFilter(lambda _: app.state.failure is None)
        try:
            _Server(_server_config(app, app.state.webhooks), place).run([shared])
        except SystemExit:
            if app.state.failure is None:
                raise
    if app.state.failure is not None:
        raise app.state.failure


def _listening(
    settings: Settings, host: str | None, port: int | None, uds: Path | None, inherited: int | None
) -> AbstractContextManager[tuple[socket.socket, str]]:
    if inherited is not None:
        return listen.inherited(inherited)
    if uds is None and host is None and port is None:
        uds = settings.server.uds
    if uds:
        return listen.unix(uds, _UDS)
    return listen.tcp(host or settings.server.host, settings.server.port if port is None else port, _TCP)


def _several(settings: Settings, role: Role, count: int, shared: socket.socket) -> int:
    """Serves in so many processes; their exit code."""
    start = "from router.cli import main; main()"
    # -P: whatever lies in the folder where it is started is not to be imported.
    command = [sys.executable, "-P", "-c", start, "serve", "--config", str(settings.path), "--role", role]
    store = EmbeddedServer(settings.store.data) if settings.store.url == EMBEDDED else None
    with tempfile.TemporaryDirectory(prefix="keyroute-") as folder:  # nobody else can look into it

        def one(number: int) -> list[str]:
            return [*command, "--one-of-several", str(shared.fileno()), str(number), folder]

        return Processes(one, count, shared.fileno(), store).run()


class _Server(uvicorn.Server):
    """Says where it serves as soon as it does."""

    def __init__(self, config: uvicorn.Config, place: str) -> None:
        super().__init__(config)
        self._place = place

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        click.echo(f"keyroute {VERSION} serves {self._place}", err=True)


def _server_config(app: object, webhooks: Webhooks | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # an ASGI application; uvicorn's own name for the type is private
        loop="uvloop",
        http=webhooks or "httptools",  # type: ignore[arg-type]  # it makes protocols, as a class of them does
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        backlog=listen.BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=10,
    )
