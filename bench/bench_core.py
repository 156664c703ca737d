"""What the compiled core costs, each part beside the obvious way to do the same. A round is a batch of calls."""

import random
from urllib.parse import parse_qsl

import phonenumbers
from pytest_benchmark.fixture import BenchmarkFixture

from bench.workload import messages, words
from router import normalize
from router._core import fold, scan_form

BATCH = 1000
REGIONS = ["US", "GB", "FR", "DE", "IN", "BR", "ES", "IT", "NG", "MX"]
FORM = (
    b"ToCountry=US&ToState=CA&SmsMessageSid=SM2f0d61a7c1b9e4d08a3b5c6d7e8f9012&NumMedia=0&ToCity=&FromZip=94105&"
    b"FromState=CA&SmsStatus=received&FromCity=SAN+FRANCISCO&Body=Stop+please%21&FromCountry=US&To=%2B14155550199&"
    b"ToZip=&NumSegments=1&MessageSid=SM2f0d61a7c1b9e4d08a3b5c6d7e8f9012&AccountSid=AC00000000000000000000000000000000&"
    b"From=%2B14155550100&ApiVersion=2010-04-01"
)


def numbers() -> list[str]:
    """Numbers of many countries, in E.164."""
    chance = random.Random(1)
    examples = [phonenumbers.example_number_for_type(region, 1) for region in REGIONS]
    written = [phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) for number in examples if number]
    return chance.choices(written, k=BATCH)


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


def test_normalize(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "normalize +…"
    batch = numbers()

    assert benchmark(lambda: [normalize(number).e164 for number in batch]) == batch


def test_phonenumbers(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "normalize +…"
    batch = numbers()

    def parse_validate_format(number: str) -> str:
        parsed = phonenumbers.parse(number)
        assert phonenumbers.is_valid_number(parsed)
        return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)

    assert benchmark(lambda: [parse_validate_format(number) for number in batch]) == batch


def test_scan_form(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "form of 18 fields"

    assert len(benchmark(scan_form, FORM, 1000)) == 18


def test_parse_qsl(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "form of 18 fields"

    assert len(benchmark(lambda: parse_qsl(FORM.decode(), keep_blank_values=True, errors="replace"))) == 18
