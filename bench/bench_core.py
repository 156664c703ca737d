"""What the compiled core costs, each part beside the obvious way to do the same. A round is a batch of calls."""

import random
from urllib.parse import parse_qsl

import phonenumbers
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from router import KeywordMatcher, normalize
from router._core import fold, scan_form

BATCH = 1000
TABLES = 200
REGIONS = ["US", "GB", "FR", "DE", "IN", "BR", "ES", "IT", "NG", "MX"]
FORM = (
    b"ToCountry=US&ToState=CA&SmsMessageSid=SM2f0d61a7c1b9e4d08a3b5c6d7e8f9012&NumMedia=0&ToCity=&FromZip=94105&"
    b"FromState=CA&SmsStatus=received&FromCity=SAN+FRANCISCO&Body=Stop+please%21&FromCountry=US&To=%2B14155550199&"
    b"ToZip=&NumSegments=1&MessageSid=SM2f0d61a7c1b9e4d08a3b5c6d7e8f9012&AccountSid=AC00000000000000000000000000000000&"
    b"From=%2B14155550100&ApiVersion=2010-04-01"
)


def keywords(count: int) -> list[str]:
    """Distinct words of 4 to 12 letters."""
    chance = random.Random(count)
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(chance.choices("ABCDEFGHIJKLMNOPRSTUVW", k=chance.randint(4, 12)))] = None
    return list(found)


def texts(words: list[str]) -> list[str]:
    """What people send: half of it keywords as people write them, half something else."""
    chance = random.Random(1)
    other = ["Hi, when do you open on sunday?", "thanks", "see you there", "no", "what is this about", "call me later"]
    found = []
    for word in chance.choices(words, k=BATCH):
        written = chance.choice([word, word.lower(), word.title(), f" {word.title()}!\n"])
        found.append(written if chance.random() < 0.5 else chance.choice(other))
    return found


def numbers() -> list[str]:
    """Numbers of many countries, in E.164."""
    chance = random.Random(1)
    examples = [phonenumbers.example_number_for_type(region, 1) for region in REGIONS]
    written = [phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) for number in examples if number]
    return chance.choices(written, k=BATCH)


@pytest.mark.parametrize("count", [100, 10_000, 1_000_000])
def test_match(benchmark: BenchmarkFixture, count: int) -> None:
    benchmark.group = f"match, {count} keywords"
    words = keywords(count)
    entries = ((word, index % TABLES, index, True) for index, word in enumerate(words))
    match = KeywordMatcher(entries, [("please", table) for table in range(TABLES)]).match
    # Every keyword is sent to a number that has it.
    tables = {fold(word): index % TABLES for index, word in enumerate(words)}
    calls = [(text, tables.get(fold(text), 0)) for text in texts(words)]

    found = benchmark(lambda: [match(text, table) for text, table in calls])
    assert BATCH * 0.4 < sum(result is not None for result in found) < BATCH * 0.6


@pytest.mark.parametrize("count", [100, 10_000, 1_000_000])
def test_first_word_in_a_dict(benchmark: BenchmarkFixture, count: int) -> None:
    benchmark.group = f"match, {count} keywords"
    words = keywords(count)
    get = {word.casefold(): index for index, word in enumerate(words)}.get
    batch = texts(words)

    benchmark(lambda: [get(text.strip().casefold().split()[0]) for text in batch])


def test_fold(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "fold"
    batch = texts(keywords(100))

    benchmark(lambda: [fold(text) for text in batch])


def test_strip_casefold(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "fold"
    batch = texts(keywords(100))

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
