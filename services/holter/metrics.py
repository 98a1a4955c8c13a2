"""How a service declares its metrics (design §7): each carries the label `cohort`, each counter starts at 0."""

from collections.abc import Sequence
from itertools import product
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.process_collector import ProcessCollector

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0)
"""Seconds: resolves 1 ms to 30 s."""

# One more series for each counter and histogram, which nobody reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

T = TypeVar("T", Counter, Gauge, Histogram)


class Metrics:
    """A registry whose metrics all carry one cohort.

    Labels are given as name → every value it can have, so that each series is there, at 0, before its first event.
    Record through `of(metric, **labels)`.
    """

    def __init__(self, cohort: str, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._cohort = cohort

    def counter(self, name: str, text: str, **labels: Sequence[str]) -> Counter:
        """Declare a counter."""
        return self._start(Counter(name, text, ["cohort", *labels], registry=self.registry), labels)

    def gauge(self, name: str, text: str, **labels: Sequence[str]) -> Gauge:
        """Declare a gauge."""
        return self._start(Gauge(name, text, ["cohort", *labels], registry=self.registry), labels)

    def histogram(self, name: str, text: str, **labels: Sequence[str]) -> Histogram:
        """Declare a histogram of seconds."""
        return self._start(Histogram(name, text, ["cohort", *labels], buckets=BUCKETS, registry=self.registry), labels)

    def of(self, metric: T, **labels: str) -> T:
        """The series of this cohort with these labels."""
        return metric.labels(cohort=self._cohort, **labels)

    def _start(self, metric: T, labels: dict[str, Sequence[str]]) -> T:
        for values in product(*labels.values()):
            self.of(metric, **dict(zip(labels, values, strict=True)))
        return metric
