"""The matcher beside what else finds keywords in Python, and how it grows. `python -m bench.matchers` prints ratios."""

from functools import cache

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.matchers import COLUMNS, MATCHERS, Run, batches
from bench.workload import words

KEYWORDS = 10_000


@cache
def listed(count: int) -> list[str]:
    return words(count)


@cache
def matcher(name: str, count: int) -> Run:
    return MATCHERS[name](listed(count))


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("name", [name for name in MATCHERS if name != "re"])
def test_match(benchmark: BenchmarkFixture, name: str, column: str) -> None:
    benchmark.group = f"2,000 messages: {column}"

    benchmark(matcher(name, KEYWORDS), batches(listed(KEYWORDS))[column])


def test_match_with_a_regular_expression(benchmark: BenchmarkFixture) -> None:
    # A hundred messages: it takes a thousand times as long as the others.
    benchmark.group = "100 messages: mixed"

    benchmark(matcher("re", KEYWORDS), batches(listed(KEYWORDS))["mixed"][:100])


@pytest.mark.parametrize("count", [100, 10_000, 1_000_000])
@pytest.mark.parametrize("name", ["keyroute", "dict"])
def test_growth(benchmark: BenchmarkFixture, name: str, count: int) -> None:
    benchmark.group = f"2,000 messages: mixed, {count} keywords"

    benchmark(matcher(name, count), batches(listed(count))["mixed"])
