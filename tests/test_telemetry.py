"""What is counted without a `Counter` or a `Histogram` is told as if by one."""

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from router.telemetry import LATENCIES, Timing


def test_a_timing_is_told_as_a_histogram_is() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    timing = Timing("seconds", "How long.", ours)
    histogram = Histogram("seconds", "How long.", registry=theirs, buckets=LATENCIES)
    assert _told(ours) == _told(theirs)
    for seconds in (0.0, 0.0004, 0.0005, 0.00051, 1.0, 3599.0, 3600.0, 4000.0):
        timing.observe(seconds)
        histogram.observe(seconds)

    assert _told(ours) == _told(theirs)


def _told(registry: CollectorRegistry) -> list[str]:
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]
