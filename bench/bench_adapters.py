"""What a carrier costs per request: a Twilio form verified and parsed by us, or only verified by Twilio's library."""

import json
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from pytest_benchmark.fixture import BenchmarkFixture
from twilio.request_validator import RequestValidator

from adapters.carriers.twilio import Twilio, TwilioOptions
from router.ports import Parsed, Secret
from router.types import Inbound, RawRequest

SAMPLE = Path(__file__).parent.parent / "tests" / "fixtures" / "carriers" / "twilio" / "01-sms-plain.json"


def sample() -> dict[str, Any]:
    """A text as Twilio posts it: nineteen fields, 480 bytes."""
    content: dict[str, Any] = json.loads(SAMPLE.read_text())
    return content


def test_verify_and_parse(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "twilio"
    found = sample()
    headers = {name.lower(): value for name, value in found["request"]["headers"].items()}
    fields = found["request"]["body"].encode().split(b"&")
    # The order of fields is not signed: equally good requests, of which no two that follow each other are the same.
    bodies = [b"&".join(fields[start:] + fields[:start]) for start in range(len(fields))]
    requests = cycle([RawRequest("acme", "POST", b"", headers, body, found["now"]) for body in bodies])
    secret = found["secret"]
    carrier = Twilio("acme", TwilioOptions(auth_tokens=(Secret(secret["auth_token"]),)), secret["public_url"])

    def verify_and_parse() -> Parsed:
        request = next(requests)
        carrier.verify(request)
        return carrier.parse(request)[0]

    text = benchmark(verify_and_parse)
    assert isinstance(text, Inbound)
    assert text.text == "Hello there"


def test_official_validator(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "twilio"
    found = sample()
    signature = found["request"]["headers"]["X-Twilio-Signature"]
    validator = RequestValidator(found["secret"]["auth_token"])

    def validate() -> bool:
        parameters = dict(parse_qsl(found["request"]["body"], keep_blank_values=True))
        return bool(validator.validate(found["secret"]["public_url"], parameters, signature))

    assert benchmark(validate)
