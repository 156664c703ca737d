"""`keyroute serve`: the server."""

import logging
import time
from pathlib import Path

import click
import uvicorn

from router._version import VERSION
from router.app import create_app
from router.cli.options import config_option
from router.config import Settings, load
from router.service import Role
from router.telemetry import set_up_logs


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
def command(config: Path, host: str | None, port: int | None, uds: Path | None, role: Role) -> None:
    """Serve the configuration until SIGTERM or Ctrl-C. SIGHUP reads the file again."""
    settings = load(config)
    set_up_logs(logging.INFO)
    app = create_app(settings, role=role, clock=time.time, config=config)
    server = uvicorn.Server(_server_config(app, settings, host, port, uds))
    # Why the start failed is said once and in words, below.
    logging.getLogger("uvicorn.error").addFilter(lambda _: app.state.failure is None)
    try:
        server.run()
    except SystemExit:
        if app.state.failure is None:
            raise
    if app.state.failure is not None:
        raise app.state.failure


def _server_config(
    app: object, settings: Settings, host: str | None, port: int | None, uds: Path | None
) -> uvicorn.Config:
    socket = uds or (settings.server.uds if host is None and port is None else None)
    host = host or settings.server.host
    port = settings.server.port if port is None else port
    place = f"unix:{socket}" if socket else f"http://{host}:{port}"
    click.echo(f"keyroute {VERSION} serves {place}", err=True)
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # an ASGI application; uvicorn's own name for the type is private
        host=host,
        port=port,
        uds=str(socket) if socket else None,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=10,
    )
