"""What the compiled core costs, each part beside the obvious way to do the same. A round is a batch of calls."""

from urllib.parse import parse_qsl

import phonenumbers
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench import libphonenumber
from bench.numbers import columns
from bench.workload import messages, words
from router import normalize
from router._core import Form, fold, scan_form

BATCH = 1000
FORM = (
    b"ToCountry=US&ToState=CA&SmsMessageSid=SM2f0d61a7c1b9e4d08a3b5c6d7e8f9012&NumMedia=0&ToCity=&FromZip=94105&"
    b"FromState=CA&SmsStatus=received&FromCity=SAN+FRANCISCO&Body=Stop+please%21&FromCountry=US&To=%2B14155550199&"
    b"ToZip=&NumSegments=1&MessageSid=SM2f0d61a7c1b9e4d08a3b5c6d7e8f9012&AccountSid=AC00000000000000000000000000000000&"
    b"From=%2B14155550100&ApiVersion=2010-04-01"
)


def texts() -> list[str]:
    """What people send, all of ASCII."""
    return [text for text, _ in messages(words(100), ["own", "reserved", "chat"], BATCH)]


def test_fold(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "fold"
    batch = texts()

    benchmark(lambda: [fold(text) for text in batch])


def test_strip_casefold(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "fold"
    batch = texts()

    benchmark(lambda: [" ".join(text.casefold().split()).strip("!?.,") for text in batch])


@pytest.mark.parametrize("column", ["+…", "national"])
def test_normalize(benchmark: BenchmarkFixture, column: str) -> None:
    benchmark.group = f"number, {column}"
    batch = columns()[column]

    benchmark(lambda: [normalize(raw, region).valid for raw, region in batch])


@pytest.mark.parametrize("column", ["+…", "national"])
def test_phonenumbers(benchmark: BenchmarkFixture, column: str) -> None:
    phonenumbers.enable_pattern_cache()
    benchmark.group = f"number, {column}"
    batch = columns()[column]

    benchmark(libphonenumber.run, batch)


def test_scan_form(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "form of 18 fields"

    assert len(benchmark(scan_form, FORM, 1000)) == 18


def test_parse_qsl(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "form of 18 fields"

    assert len(benchmark(lambda: parse_qsl(FORM.decode(), keep_blank_values=True, errors="replace"))) == 18


def test_join_form(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "what is signed of a form of 18 fields"

    assert benchmark(lambda: Form(FORM, 1000).joined()) == _joined()


def test_join_form_with_urllib(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "what is signed of a form of 18 fields"

    assert benchmark(_joined)


def _joined() -> bytes:
    pairs = parse_qsl(FORM.decode(), keep_blank_values=True, errors="replace")
    return "".join(name + value for name, value in sorted(set(pairs))).encode()
