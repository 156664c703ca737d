"""The distribution of latencies, as a histogram of high dynamic range."""

from collections.abc import Iterable
from typing import Any

from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

#: Latencies are kept in µs, up to a minute, to three figures.
_LONGEST, _DIGITS = 60_000_000, 3


class Latencies:
    """The distribution of latencies."""

    def __init__(self, seconds: Iterable[float]) -> None:
        self._histogram = HdrHistogram(1, _LONGEST, _DIGITS)
        for each in seconds:
            self._histogram.record_value(min(_LONGEST, max(1, int(each * 1e6))))

    def at(self, percent: float) -> float:
        """A percentile in ms."""
        return float(self._histogram.get_value_at_percentile(percent)) / 1e3

    def figures(self) -> dict[str, Any]:
        """Percentiles in ms, the curve, and the histogram itself, to be merged with others."""
        shares = (0.0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999, 1.0)
        return {
            "p50": self.at(50),
            "p99": self.at(99),
            "p99.9": self.at(99.9),
            "longest": self.at(100),
            "curve": [[share, self.at(100 * share)] for share in shares],
            "hdr": self._histogram.encode().decode(),
        }
