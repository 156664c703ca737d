"""What a carrier costs per request: one accepted sample of each, verified and parsed; some beside the official way."""

import hmac
import json
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from twilio.request_validator import RequestValidator

from router.config import load
from router.ports import Parsed
from router.routing import Routing
from router.types import RawRequest
from tests.conformance.samples import Sample, read_samples, write_configuration

SAMPLES = Path(__file__).parent.parent / "tests" / "fixtures" / "carriers"


def accepted() -> dict[str, Sample]:
    """The first sample of each wire format that is accepted; certificates are fetched, so those of SNS are not here."""
    found: dict[str, Sample] = {}
    for sample in sorted(read_samples(SAMPLES), key=lambda sample: sample.name):
        if sample.expect["status"] == "accept" and "certs" not in sample.content["secret"]:
            found.setdefault(sample.adapter, sample)
    return found


def request_of(sample: Sample) -> RawRequest:
    """The sample as the application hands it to the adapter."""
    headers = {name.lower(): value for name, value in sample.headers}
    asked = sample.request
    return RawRequest(
        sample.account, asked["method"], asked["query"].encode(), headers, sample.body, sample.content["now"]
    )


@pytest.mark.parametrize("adapter", sorted(accepted()))
def test_verify_and_parse(benchmark: BenchmarkFixture, adapter: str, tmp_path: Path) -> None:
    benchmark.group = adapter
    sample = accepted()[adapter]
    settings = load(write_configuration(tmp_path, [sample], "embedded", "bench"))
    carrier = Routing(settings).accounts[sample.account].carrier
    request = request_of(sample)
    # Two copies: what an adapter remembers of one is not what it needs for the next.
    requests = cycle([request, replace(request, body=bytes(bytearray(request.body)))])

    def verify_and_parse() -> Parsed:
        request = next(requests)
        carrier.verify(request)
        return carrier.parse(request)[0]

    assert benchmark(verify_and_parse)


def test_official_validator_of_twilio(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "twilio"
    sample = accepted()["twilio"]
    signature = dict(sample.headers)["X-Twilio-Signature"]
    secret = sample.content["secret"]
    validator = RequestValidator(secret["auth_token"])

    def validate() -> bool:
        parameters = dict(parse_qsl(sample.body.decode(), keep_blank_values=True))
        return bool(validator.validate(secret["public_url"], parameters, signature))

    assert benchmark(validate)


def test_what_meta_tells_to_do(benchmark: BenchmarkFixture) -> None:
    """There is no official validator: the HMAC of the body, and the body as JSON."""
    benchmark.group = "whatsapp"
    sample = accepted()["whatsapp"]
    given = dict(sample.headers)["X-Hub-Signature-256"]
    key, body = sample.content["secret"]["app_secret"].encode(), sample.body

    def validate() -> object:
        assert hmac.compare_digest(given, "sha256=" + hmac.new(key, body, "sha256").hexdigest())
        return json.loads(body)

    assert benchmark(validate)
