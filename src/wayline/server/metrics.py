"""What the server counts, in a registry of its own, so that two apps in one process never mix."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from wayline.schema import Feed, Receipt

if TYPE_CHECKING:
    from wayline.engine import Engine

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5, 10)
GAUGES = {
    "users": "People in the workspace",
    "items": "Items in the workspace",
    "actions": "Actions in the log",
    "lag": "Actions in the log that the current generation has not seen",
    "generation_age_s": "Seconds since the current generation was built",
}

HISTORIES = {
    "people": "People whose histories are in memory",
    "bytes": "Memory of their histories",
    "hits": "Histories read from memory",
    "misses": "Histories read from the store",
    "evictions": "Histories that made room for others",
    "inserted": "Actions put into histories in memory",
    "late": "Of these, actions older than the newest of their person",
}

RANKER = {
    "feeds": "Feeds whose order a learned ranker made",
    "candidates": "Candidates it scored",
    "shortened": "Feeds in which it scored fewer than it might, because others waited",
    "failed": "Feeds that were answered without it because it failed or was too slow",
}


class Metrics:
    """The server's counters; :meth:`render` gives them as Prometheus reads them."""

    def __init__(self, engine: Engine) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "wayline_requests_total",
            "HTTP requests",
            ["route", "status"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "wayline_request_duration_seconds",
            "Seconds from a request's arrival to the end of its answer",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.actions = Counter(
            "wayline_actions_total", "Actions accepted over HTTP", registry=self.registry
        )
        self.duplicates = Counter(
            "wayline_duplicates_total",
            "Actions that had come before",
            registry=self.registry,
        )
        self.rejected = Counter(
            "wayline_rejected_total",
            "Rows refused over HTTP",
            ["kind"],
            registry=self.registry,
        )
        self.feed_seconds = Histogram(
            "wayline_feed_seconds",
            "Seconds the engine took for a feed",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.feed_degraded = Counter(
            "wayline_feed_degraded_total",
            "Feeds in which a stage failed or was too slow and its fallback answered",
            ["stage"],
            registry=self.registry,
        )
        self.feed_cold = Counter(
            "wayline_feed_cold_start_total",
            "Feeds for people without a history",
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)  # resident memory, processor seconds, open files
        self.registry.register(_EngineCollector(engine))

    def observe_request(self, route: str, status: int, seconds: float) -> None:
        """Count one request under its route's pattern."""
        self.requests.labels(route, str(status)).inc()
        self.request_seconds.labels(route).observe(seconds)

    def observe_receipt(self, kind: str, receipt: Receipt) -> None:
        """Count what became of the rows of one request."""
        if kind == "actions":
            self.actions.inc(receipt.accepted)
            self.duplicates.inc(receipt.duplicates)
        self.rejected.labels(kind).inc(len(receipt.rejected))

    def observe_feed(self, feed: Feed, started: float) -> None:
        """Count one feed, timed from ``started`` (``time.perf_counter()``)."""
        self.feed_seconds.observe(time.perf_counter() - started)
        self.feed_cold.inc(feed.cold_start)
        for what in feed.degraded:
            # "stage: why" → the stage alone: a reason with numbers in it would make a series each.
            self.feed_degraded.labels(what.partition(":")[0]).inc()

    def render(self) -> bytes:
        """All of it, in the text format."""
        return generate_latest(self.registry)


class _EngineCollector(Collector):
    """Asks the engine when asked, so that nothing is kept in step by hand."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def describe(self) -> Iterator[Metric]:
        """Nothing: registering must not ask the engine."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The engine's own figures, now."""
        stats = self.engine.stats()
        for name, help_text in GAUGES.items():
            value = stats.get(name)
            if value is not None:
                unit = name.replace("_age_s", "_age_seconds")
                yield GaugeMetricFamily(f"wayline_{unit}", help_text, value=float(value))
        for name, value in stats["histories"].items():
            help_text = HISTORIES[name]
            if name in ("people", "bytes"):
                yield GaugeMetricFamily(f"wayline_histories_{name}", help_text, value=float(value))
            else:
                yield CounterMetricFamily(f"wayline_history_{name}", help_text, value=float(value))
        for name, help_text in RANKER.items():
            value = float(stats["ranker"][name])
            yield CounterMetricFamily(f"wayline_ranker_{name}", help_text, value=value)
        trouble = float(stats["ranker"]["unusable"])
        yield GaugeMetricFamily(
            "wayline_ranker_unusable", "1 if the ranker's files cannot be read", value=trouble
        )
        states = GaugeMetricFamily(
            "wayline_notifications", "Notifications by state", labels=["state"]
        )
        for state, number in stats["notifications"].items():
            states.add_metric([state], float(number))
        yield states
        generation = stats.get("generation")
        yield InfoMetricFamily(
            "wayline_generation", "The current generation", {"id": str(generation or "none")}
        )
