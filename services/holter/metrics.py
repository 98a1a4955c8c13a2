"""How a service declares its metrics (design §7): each carries the label `cohort`, each counter starts at 0."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, product
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0)
"""Seconds: resolves 1 ms to 30 s."""

# One more series for each counter and histogram, which nobody reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

T = TypeVar("T", Counter, Gauge, Histogram)


class Times(Collector):
    """A histogram of seconds that takes many at once: one by one, five thousand patients' a second cost 3 µs each.

    Args:
        name: of the metric.
        text: its help.
        labels: `cohort` and one more.
        cohort: its value.
        values: of the other.
    """

    def __init__(self, name: str, text: str, labels: tuple[str, str], cohort: str, values: Sequence[str]) -> None:
        self._name, self._text, self._labels, self._cohort = name, text, labels, cohort
        self._counts = {value: [0] * (len(BUCKETS) + 1) for value in values}
        self._sums = dict.fromkeys(values, 0.0)

    def observe(self, value: str, seconds: Sequence[float]) -> None:
        """Count these under one value of the label; sorting them makes it quick."""
        ordered, counts, done = sorted(seconds), self._counts[value], 0
        for i, place in enumerate((*(bisect_right(ordered, bound) for bound in BUCKETS), len(ordered))):
            counts[i] += place - done
            done = place
        self._sums[value] += sum(ordered)

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """For the registry."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        bounds = [floatToGoString(bound) for bound in (*BUCKETS, float("inf"))]  # type: ignore[no-untyped-call]
        for value, counts in self._counts.items():
            buckets = list(zip(bounds, map(float, accumulate(counts)), strict=True))
            family.add_metric((self._cohort, value), buckets, self._sums[value])
        yield family


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

    def times(self, name: str, text: str, label: str, values: Sequence[str]) -> Times:
        """Declare a histogram of seconds that takes many at once, with one label."""
        times = Times(name, text, ("cohort", label), self._cohort, values)
        self.registry.register(times)
        return times

    def of(self, metric: T, **labels: str) -> T:
        """The series of this cohort with these labels."""
        return metric.labels(cohort=self._cohort, **labels)

    def _start(self, metric: T, labels: dict[str, Sequence[str]]) -> T:
        for values in product(*labels.values()):
            self.of(metric, **dict(zip(labels, values, strict=True)))
        return metric
