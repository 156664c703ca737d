"""Whatever anybody sends to a carrier's address of the real application: nothing breaks, nothing false is believed."""

import asyncio
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from router.config import Settings, load
from router.errors import BadSignature, DeliveryError
from router.routing import Routing
from router.types import RawRequest
from tests.asgi import call, counted, serving
from tests.commits import Clock
from tests.conformance.conftest import OWN_SAMPLES, Network
from tests.conformance.samples import Sample, account_keys, read_samples, write_configuration
from tests.kit import ANY_TEXT, mutated, rubbish

SAMPLES = read_samples(OWN_SAMPLES)
ADAPTERS = sorted({sample.adapter for sample in SAMPLES})
#: What may come of a request that is not authentic: it is refused, or a key that it names cannot be had.
REFUSED = {"BadSignature", "TooManyFields", "BodyTooLarge", "DeliveryError"}


@dataclass
class Target:
    """An application with an account for each sample, and what was counted there so far."""

    app: Starlette
    clock: Clock
    network: Network
    routing: Routing
    outcomes: Counter[str]

    async def check(self, sample: Sample, request: RawRequest) -> None:
        """Sends a request and looks at what came of it."""
        self.clock.now = request.received_at
        self.network.begin(sample)
        authentic = await self._verified(request)
        reply = await call(self.app, request)
        outcome = await self._outcome(request.account)

        assert reply.status < 500 or (reply.status == 503 and outcome == "DeliveryError"), (reply, outcome)
        assert authentic or outcome in REFUSED

    async def _verified(self, request: RawRequest) -> bool:
        account = self.routing.accounts[request.account]
        try:
            if account.keys:
                await account.keys.fetch_keys(self.network, request)
            account.carrier.verify(request)
        except (BadSignature, DeliveryError):
            return False
        return True

    async def _outcome(self, account: str) -> str:
        outcomes = await counted(self.app, "keyroute_requests_total", "outcome")
        (outcome,) = outcomes - self.outcomes
        self.outcomes = outcomes
        return outcome


async def opened(loaded: Settings, stack: AsyncExitStack) -> Target:
    """The application, until the stack is closed."""
    clock, network = Clock(), Network()
    app = await stack.enter_async_context(serving(loaded, clock, network))
    return Target(app, clock, network, Routing(loaded), Counter())


def request_of(sample: Sample) -> RawRequest:
    """What a sample's carrier sends, as the application reads it."""
    headers: dict[str, str] = {}
    for name, value in sample.headers:
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    query = sample.request.get("query", "").encode()
    now = float(sample.content["now"])
    return RawRequest(
        sample.account, sample.request["method"], query, headers, sample.body, now, f"/in/{sample.account}"
    )


def attacks(sample: Sample) -> st.SearchStrategy[tuple[Sample, RawRequest]]:
    """The sample with its request as it is, with something in its query, body or headers replaced, or with rubbish."""
    request = request_of(sample)
    spoilt = st.one_of(st.just(request), mutated(request), respoken(request), rubbish(request))
    return spoilt.map(lambda found: (sample, written(found)))


def respoken(request: RawRequest) -> st.SearchStrategy[RawRequest]:
    """The request with some of its headers left out or saying something else."""
    changed = st.fixed_dictionaries({}, optional=dict.fromkeys(request.headers, st.none() | ANY_TEXT))
    return changed.map(
        lambda found: replace(
            request, headers={name: value for name, value in {**request.headers, **found}.items() if value is not None}
        )
    )


def written(request: RawRequest) -> RawRequest:
    """The request with its headers in the characters that arrive: one for each byte."""
    headers = {
        name: value.encode("utf-8", "surrogatepass").decode("latin-1") for name, value in request.headers.items()
    }
    return replace(request, headers=headers)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_nothing_that_is_sent_breaks_anything_or_is_believed_without_proof(
    adapter: str, tmp_path: Path, embedded_url: str, prefix: str, runner: asyncio.Runner
) -> None:
    own = [sample for sample in SAMPLES if sample.adapter == adapter]
    samples = [replace(sample, account=f"sample-{number}") for number, sample in enumerate(own)]
    loaded = load(write_configuration(tmp_path, samples, embedded_url, prefix))
    stack = AsyncExitStack()
    target = runner.run(opened(loaded, stack))

    @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(samples).flatmap(attacks))
    def check(attack: tuple[Sample, RawRequest]) -> None:
        runner.run(target.check(*attack))

    try:
        check()
    finally:
        runner.run(stack.aclose())


def test_every_installed_carrier_has_samples() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    keys = [(account_keys(sample.adapter), sample.content["secret"]) for sample in SAMPLES]
    sampled = {found(secret, str)["carrier"] for found, secret in keys if found}

    assert project["entry-points"]["router.carriers"].keys() - sampled == set()
