"""`pytest tests/conformance --fixtures DIR`: the samples under DIR, and the real application that they are sent to."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import uvicorn

from router.app import create_app
from router.config import Settings, load
from tests.conformance.samples import read_samples, write_configuration

SAMPLES = pytest.StashKey[Path]()
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


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Takes `--fixtures DIR`, which pytest reads as a wish to list fixtures (`--funcargs` still is one) and a path."""
    words = [str(word) for word in config.invocation_params.args]
    for flag, folder in pairwise(words):
        if flag == "--fixtures" and folder in config.args:
            config.option.showfixtures = False
            config.args.remove(folder)
            config.stash[SAMPLES] = config.invocation_params.dir / folder
    if not read_samples(samples_folder(config)):
        raise pytest.UsageError(
            f"{samples_folder(config)} has no sample (*.json). Give --fixtures a folder of samples."
        )


def samples_folder(config: pytest.Config) -> Path:
    return config.stash.get(SAMPLES, OWN_SAMPLES)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "sample" in metafunc.fixturenames:
        metafunc.parametrize("sample", read_samples(samples_folder(metafunc.config)), ids=lambda sample: sample.name)


@pytest.fixture(scope="session")
def application(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    samples = read_samples(samples_folder(pytestconfig))
    settings = load(write_configuration(tmp_path_factory.mktemp("conformance"), samples))
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
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    said = [(value, report.outcome) for report in reports for name, value in report.user_properties if name == "sample"]
    for sample, outcome in sorted(said):
        terminalreporter.write_line(f"{outcome}  {sample}")
