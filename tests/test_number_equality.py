"""`normalize` gives the answers of libphonenumber: on 300,000 inputs by default, from a seed that is new each time.

`pytest tests/test_number_equality.py --numbers 20000000 -s` is the whole of it; `--seed` repeats a run.
"""

import multiprocessing
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice, product

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

from router import normalize
from router._core import NumberParseError, is_certain
from tests import reference
from tests.number_inputs import WRITTEN, Writer, plans

_CHUNK = 10_000


@dataclass
class Outcome:
    """What came of some inputs, by their kind: how many, how many numbers, how many left to libphonenumber."""

    inputs: Counter[str] = field(default_factory=Counter)
    numbers: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        self.inputs += other.inputs
        self.numbers += other.numbers
        self.left += other.left
        self.differences += other.differences


def said(raw: str, region: str | None) -> reference.Described | str:
    """What `normalize` says, in the form of the reference."""
    try:
        number = normalize(raw, region)
    except NumberParseError as error:
        return error.reason
    return number.e164, number.country_code, number.region, number.type, number.valid, number.possible


def compared(seed: int) -> Outcome:
    """One chunk of inputs."""
    phonenumbers.enable_pattern_cache()
    outcome = Outcome()
    for kind, (raw, region) in islice(Writer(seed).inputs(), _CHUNK):
        expected, found = reference.normalize(raw, region), said(raw, region)
        outcome.inputs[kind] += 1
        outcome.numbers[kind] += not isinstance(expected, str)
        outcome.left[kind] += not is_certain(raw, region)
        if found != expected:
            outcome.differences.append(f"{kind} {raw!r} {region}: {found}, libphonenumber: {expected}")
    return outcome


@pytest.fixture
def numbers(pytestconfig: pytest.Config) -> int:
    count: int = pytestconfig.getoption("--numbers")
    return count


@pytest.fixture
def seed(pytestconfig: pytest.Config) -> int:
    given: int | None = pytestconfig.getoption("--seed")
    return random.SystemRandom().randrange(2**32) if given is None else given


def chunks(seed: int, count: int) -> Iterator[Outcome]:
    """The outcomes of as many chunks as hold `count` inputs, worked on by all processors."""
    seeds = range(seed << 32, (seed << 32) + -(-count // _CHUNK))
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as processes:
        yield from processes.map(compared, seeds, chunksize=1)


def test_every_answer_is_that_of_libphonenumber(
    numbers: int, seed: int, record_property: Callable[[str, object], None]
) -> None:
    record_property("seed", seed)
    total = Outcome()
    for outcome in chunks(seed, numbers):
        total.add(outcome)
    for kind, count in total.inputs.items():
        numbers_among, left = total.numbers[kind] / count, total.left[kind] / count
        print(f"{kind:10} {count:>10,} inputs, numbers {numbers_among:.1%}, left to libphonenumber {left:.1%}")

    assert total.differences[:20] == []
    assert [total.left[kind] for kind in ("example", "near", "digits", "national", "abroad")] == [0] * 5


@pytest.mark.parametrize("plan", plans(), ids=lambda plan: f"{plan.id}{plan.country_code}")
def test_every_start_of_every_plan(plan: PhoneMetadata) -> None:
    phonenumbers.enable_pattern_cache()
    region = plan.id if len(plan.id) == 2 else None
    lengths = plan.general_desc.possible_length if plan.general_desc else ()
    for start, length in product(range(100), sorted({2, 5, *lengths, 17})):
        number = f"{start:02}{'5' * (length - 2)}"
        for raw in (f"+{plan.country_code}{number}", *([number] if region else [])):
            assert said(raw, region) == reference.normalize(raw, region), raw


def test_country_codes_that_nobody_has() -> None:
    for code in set(range(1000)) - set(COUNTRY_CODE_TO_REGION_CODE):
        for digits in ("2345678", "0" * 7, "123456789012"):
            raw = f"+{code:03}{digits}"
            assert said(raw, None) == reference.normalize(raw, None), raw


@given(st.one_of(WRITTEN, st.text(st.characters(), max_size=40)), st.sampled_from([None, "US", "GB", "IT", "AR", "ZZ"]))
@example("x" * 251, None)
@example("+1", "US")
@example("12", None)
@example("12-", "US")
@example("1-2", "US")
@example("12ー", "US")
@example("++1 415 555 0199", None)
@example("+ +1 415 555 0199", "US")
def test_whatever_is_written(raw: str, region: str | None) -> None:
    assert said(raw, region) == reference.normalize(raw, region)
