"""Logs and metrics. No line and no label ever holds a full phone number, a text or a secret."""

import logging
import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

#: Upper bounds in seconds: fine below the budget of 10 ms, and at the 3, 5, 10 and 15 s that platforms quote.
LATENCIES = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 3, 5, 10, 15, 60, 600, 3600)

#: What counts `Metrics.failures`.
PARTS = ("adapter", "alias check", "aliases", "backlog", "dispatch", "lane", "leases", "ledger", "parts", "watch")


def set_up_logs(level: int, stream: TextIO = sys.stderr) -> None:
    """One JSON object a line, for our own logs from `level` on and for the warnings of the libraries."""
    shared: list[structlog.types.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(stream),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
            foreign_pre_chain=shared,
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


class Tally(Collector):
    """A counter of what happens with each text: adding to a table takes a tenth of what finding a `Counter` does."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._family = (name, documentation, None, labels)
        self._counts: dict[tuple[str, ...], int] = {}
        registry.register(self)

    def add(self, *labels: str) -> None:
        """One more with these values of the labels."""
        self._counts[labels] = self._counts.get(labels, 0) + 1

    def collect(self) -> Iterator[CounterMetricFamily]:
        """What was counted, as Prometheus asks for it."""
        family = CounterMetricFamily(*self._family)
        for labels, count in self._counts.items():
            family.add_metric(labels, count)
        yield family


class Timing(Collector):
    """The same for a histogram of how long something takes, in seconds."""

    def __init__(self, name: str, documentation: str, registry: CollectorRegistry) -> None:
        self._name, self._documentation = name, documentation
        self._counts = [0] * (len(LATENCIES) + 1)
        self._sum = 0.0
        registry.register(self)

    def observe(self, seconds: float) -> None:
        """One more that took so long."""
        self._counts[bisect_left(LATENCIES, seconds)] += 1
        self._sum += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What was measured, as Prometheus asks for it."""
        bounds = [*map(floatToGoString, LATENCIES), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._documentation, buckets, self._sum)


class Metrics:
    """The counters and histograms of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Tally(
            "keyroute_requests",
            "Webhook and API requests by account and outcome (accepted, ignored, receipt, handshake, spilled, or the "
            "error's name).",
            ("account", "outcome"),
            self.registry,
        )
        self.texts = Tally(
            "keyroute_texts",
            "Texts accepted for the first time, by program and intent.",
            ("program", "intent"),
            self.registry,
        )
        self.repeats = Tally("keyroute_repeats", "Texts that had been accepted before.", ("account",), self.registry)
        self.unrouted = Tally(
            "keyroute_unrouted", "Texts to a number that no program has.", ("account",), self.registry
        )
        self.joined = Counter(
            "keyroute_joined_texts",
            "Long texts that came in parts, by account and outcome (complete, incomplete).",
            ("account", "outcome"),
            registry=self.registry,
        )
        self.receipts = Counter(
            "keyroute_receipts",
            "What carriers report of texts that were sent, by account and outcome (delivered, or why not).",
            ("account", "outcome"),
            registry=self.registry,
        )
        self.commit_seconds = Timing("keyroute_commit_seconds", "From decided to durable.", self.registry)
        self.store_up = Gauge(
            "keyroute_store_up",
            "Whether texts go to the store (1) or not (0); of a worker, whether it answers.",
            registry=self.registry,
        )
        self.replayed = Counter(
            "keyroute_replayed", "Requests taken from the spill file after an outage.", registry=self.registry
        )
        self.deliveries = Counter(
            "keyroute_deliveries",
            "Attempts by destination and outcome (delivered, ignored, retried, dead; of replies also late, opted_out, "
            "and blocked by the carrier).",
            ("destination", "outcome"),
            registry=self.registry,
        )
        self.unknown_outcomes = Counter(
            "keyroute_unknown_outcomes",
            "Attempts that the platform may have acted on although no answer came; the retry may be a second copy.",
            ("destination",),
            registry=self.registry,
        )
        self.delivery_seconds = Histogram(
            "keyroute_delivery_seconds",
            "From accepted to taken by the platform, for numbers known and unknown at acceptance.",
            ("destination", "number"),
            registry=self.registry,
            buckets=LATENCIES,
        )
        self.delivery_objective = Gauge(
            "keyroute_delivery_objective_seconds",
            "What the delivery of an event should take at most, for numbers known and unknown at acceptance.",
            ("destination", "number"),
            registry=self.registry,
        )
        self.waiting = Gauge(
            "keyroute_waiting_deliveries",
            "Entries of the outbox that the slowest destination has not settled, without what waits by itself.",
            registry=self.registry,
        )
        self.too_much_waits = Gauge(
            "keyroute_too_much_waits",
            "Whether so much waits, or the store is so full, that /readyz asks for no more texts (1) or not (0).",
            registry=self.registry,
        )
        self.oldest_waiting = Gauge(
            "keyroute_oldest_waiting_seconds",
            "How long the first event that a destination has not settled has waited.",
            ("destination",),
            registry=self.registry,
        )
        self.parked = Gauge(
            "keyroute_waiting_people",
            "People whose events wait by themselves: for their alias, or because they failed while others were taken.",
            ("destination",),
            registry=self.registry,
        )
        self.oldest_parked = Gauge(
            "keyroute_oldest_waiting_person_seconds",
            "How long the first event of those people has waited; of a few people of each shard, when there are many.",
            ("destination",),
            registry=self.registry,
        )
        self.dead_letters = Gauge(
            "keyroute_dead_letters",
            "Dead letters that there are: deliveries given up on, and what was not handled (requests and texts that "
            "nobody could be told of).",
            ("kind",),
            registry=self.registry,
        )
        self.store_memory = Gauge("keyroute_store_memory_bytes", "Memory that the store uses.", registry=self.registry)
        self.vanished_aliases = Counter(
            "keyroute_vanished_aliases",
            "People whom a platform was found not to know any more; their next text makes them known again.",
            ("destination",),
            registry=self.registry,
        )
        self.failures = Counter(
            "keyroute_failures",
            "Times that a part of the deliveries failed in a way nobody foresaw, and was tried again.",
            ("part",),
            registry=self.registry,
        )
        # From 0 on, as in `begin`.
        for part in PARTS:
            self.failures.labels(part)
        self.ledger_rows = Counter(
            "keyroute_ledger_rows", "Rows that were written into the ledger of consent.", registry=self.registry
        )
        self.ledger_waiting = Gauge(
            "keyroute_ledger_waiting_rows",
            "Rows of the ledger that are not sealed into files yet, by the shards that this process works on.",
            ("shard",),
            registry=self.registry,
        )
        self.ledger_segments = Counter(
            "keyroute_ledger_segments",
            "What was done to the ledger's files (sealed, removed after their time, erased from), or failed and waits.",
            ("outcome",),
            registry=self.registry,
        )
        self.ledger_segments.labels("failed")
        self.shards = Gauge("keyroute_shards_held", "Shards that this process works on.", registry=self.registry)
        self.reloads = Counter(
            "keyroute_reloads", "Reloads of the configuration (done, refused).", ("outcome",), registry=self.registry
        )
        self.reloads.labels("refused")

    def begin(self, destinations: Iterable[str]) -> None:
        """Counts the deliveries to destinations from 0 on: Prometheus sees no increase in a series that begins at 1."""
        for name in destinations:
            for outcome in ("delivered", "retried", "dead"):
                self.deliveries.labels(name, outcome)

    def end(self, destinations: Iterable[str]) -> None:
        """Shows nothing more that is said of destinations now: what stood last would stand for ever."""
        for name in destinations:
            for gauge in (self.oldest_waiting, self.parked, self.oldest_parked):
                _remove(gauge, name)
            for number in ("known", "unknown"):
                _remove(self.delivery_objective, name, number)


def _remove(gauge: Gauge, *labels: str) -> None:
    with suppress(KeyError):  # it never had a value
        gauge.remove(*labels)
