"""`pytest tests/conformance --fixtures DIR`: the samples under DIR, and the real application that they are sent to."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn

from router.app import create_app
from router.config import Settings, load
from tests.conformance.samples import Sample, read_samples, write_configuration

OWN_SAMPLES = Path(__file__).parent.parent / "fixtures" / "carriers"


class Clock:
    """A clock that stands where the sample under way says."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Application:
    """keyroute, serving all samples' accounts on a port of loopback."""

    settings: Settings
    clock: Clock
    port: int


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fixtures", type=Path, metavar="DIR", help="a folder of carrier samples (default: the project's own)"
    )


def samples_of(config: pytest.Config) -> list[Sample]:
    folder = config.getoption("--fixtures", None) or OWN_SAMPLES
    samples = read_samples(folder)
    if not samples:
        raise pytest.UsageError(f"There is no sample (*.json) under {folder}. Give --fixtures a folder that has some.")
    return samples


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "sample" in metafunc.fixturenames:
        metafunc.parametrize("sample", samples_of(metafunc.config), ids=lambda sample: sample.name)


@pytest.fixture(scope="session")
def application(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    settings = load(write_configuration(tmp_path_factory.mktemp("conformance"), samples_of(pytestconfig)))
    clock = Clock()
    app = create_app(settings, role="ingress", clock=clock)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", ws="none"))
    # Connections wait in the socket's queue from now on, so nobody need wait for the server.
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield Application(settings, clock, listener.getsockname()[1])
    server.should_exit = True
    thread.join()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each sample."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, said in report.user_properties:
                if name == "sample":
                    terminalreporter.write_line(f"{outcome}  {said}")
