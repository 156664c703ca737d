"""`pytest tests/conformance --fixtures DIR`: the samples under DIR, and the real application that they are sent to."""

import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest
import uvicorn

from router.app import create_app
from router.config import Settings, load
from router.errors import ConfigurationError, RouterError
from router.routing import Routing
from router.types import HttpResponse
from tests.conformance.samples import Sample, account_keys, read_samples, write_configuration

SAMPLES = pytest.StashKey[Path]()
OWN_SAMPLES = Path(__file__).parent.parent / "fixtures" / "carriers"
_PATIENCE = 10.0


class Clock:
    """A clock that stands where the sample under way says."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Network:
    """An `Http` that leads nowhere: it serves the certificates of the sample under way, and keeps what it is asked."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._served: dict[str, str] = {}
        self.asked: list[tuple[str, str]] = []

    def begin(self, sample: Sample) -> None:
        """Forgets what was asked before."""
        visit = sample.expect.get("visit")
        self._served = sample.content["secret"].get("certs", {}) | ({visit: ""} if visit else {})
        self.asked = []

    def wait_for(self, method: str, url: str) -> None:
        """Returns when that was asked."""
        with self._changed:
            assert self._changed.wait_for(lambda: (method, url) in self.asked, _PATIENCE), f"nobody asked for {url}"

    async def request(self, method: str, url: str, *, headers: dict[str, str], body: bytes) -> HttpResponse:
        """What a web server would answer."""
        with self._changed:
            self.asked.append((method, url))
            self._changed.notify_all()
        found = self._served.get(url)
        return HttpResponse(404, {}, b"") if found is None else HttpResponse(200, {}, found.encode())


class Application:
    """keyroute, serving one round's accounts on a port of loopback while in its `with` block."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = Clock()
        self.network = Network()
        app = create_app(settings, role="ingress", clock=self.clock, http=self.network)
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", ws="none"))
        # Connections wait in the socket's queue from now on, so nobody need wait for the server.
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]})
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> "Application":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()


class Applications:
    """An application for each round of samples, each with a store prefix of its own; closed by `opened`."""

    def __init__(self, folder: Path, samples: list[Sample], store_url: str, opened: ExitStack) -> None:
        self._folder = folder
        self._store_url = store_url
        self._opened = opened
        self._running: dict[int, Application] = {}
        self._rounds: dict[int, list[Sample]] = defaultdict(list)
        #: Why a sample cannot be sent, by its name.
        self.problems: dict[str, str] = {}
        for sample in samples:
            if problem := self._problem(sample):
                self.problems[sample.name] = problem
            else:
                self._rounds[sample.round].append(sample)

    def of(self, sample: Sample) -> Application:
        """The application that has the sample's account, ready for it."""
        if sample.round not in self._running:
            settings = self._settings(f"round-{sample.round}", self._rounds[sample.round])
            self._running[sample.round] = self._opened.enter_context(Application(settings))
        application = self._running[sample.round]
        application.clock.now = sample.content["now"]
        application.network.begin(sample)
        return application

    def _problem(self, sample: Sample) -> str:
        """Nothing, if an account can be made of what the sample says of it."""
        if account_keys(sample.adapter) is None:
            return f"No adapter speaks {sample.adapter!r}. Install its package, or add it to ACCOUNTS in samples.py."
        try:
            Routing(self._settings("one", [sample]))
        except KeyError as error:
            return f"The sample's secret has no {error}, which the account of {sample.adapter} needs."
        except ConfigurationError as error:
            return "; ".join(f"{problem.key} {problem.message} {problem.remedy}" for problem in error.problems)
        except (RouterError, ValueError) as error:
            return str(error)
        except (TypeError, AttributeError, LookupError) as error:  # a secret of another shape
            return f"The sample's secret cannot be used ({type(error).__name__}: {error})."
        return ""

    def _settings(self, name: str, samples: list[Sample]) -> Settings:
        return load(write_configuration(self._folder / name, samples, self._store_url, f"conformance-{name}"))


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
def applications(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, embedded_url: str
) -> Iterator[Applications]:
    with ExitStack() as opened:
        folder = tmp_path_factory.mktemp("conformance")
        yield Applications(folder, read_samples(samples_folder(pytestconfig)), embedded_url, opened)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each sample."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    said = [(value, report.outcome) for report in reports for name, value in report.user_properties if name == "sample"]
    for sample, outcome in sorted(said):
        terminalreporter.write_line(f"{outcome}  {sample}")
