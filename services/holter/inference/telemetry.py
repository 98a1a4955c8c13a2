"""The worker's metrics (design §7)."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from holter.alert import AlertEvent, Category, Kind, Priority, Transition
from holter.chunk import MICROSECONDS
from holter.metrics import Metrics

STAGES = ("read", "compute", "decide", "commit", "write")


class Telemetry:
    """Declares and records them.

    Args:
        metrics: of this cohort.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._of = metrics.of
        self._stage = metrics.histogram("holter_inference_cycle_seconds", "Time in a cycle, by stage.", stage=STAGES)
        self._windows = metrics.counter("holter_inference_windows_total", "Windows scored.")
        self._patients = metrics.gauge("holter_inference_patients", "Patients that this worker looks at.")
        self._unowned = metrics.gauge("holter_shards_unowned", "Shards that no worker looks at, as seen from here.")
        self._delay = metrics.times(
            "holter_sample_to_decision_seconds",
            "Arrival at ingest of the sample that completed a second, or a window, to its committed decision.",
            "path",
            ("life_threatening", "window"),
        )
        self._late = metrics.counter("holter_late_chunks_total", "Chunks that came after their second was judged.")
        self._gaps = metrics.counter("holter_gap_samples_total", "Samples that never came.", reason=("missing",))
        self._errors = metrics.counter("holter_store_errors_total", "Calls that the store failed.")
        self._lost = metrics.counter("holter_scores_dropped_total", "Windows whose scores could not be stored.")
        self._alerts = metrics.counter(
            "holter_alerts_total",
            "Alerts raised.",
            category=tuple(Category),
            priority=tuple(Priority),
            kind=tuple(Kind),
        )
        self._revision = metrics.gauge("holter_model_revision", "Model at work, 0 while the ordered score is alone.")
        self._age = metrics.gauge("holter_model_age_seconds", "Since the model at work was fitted, 0 without one.")
        self._trained_at = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage of the cycle."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._of(self._stage, stage=name).observe(time.perf_counter() - began)

    def decided(self, at: float, seconds: NDArray[np.int64], windows: NDArray[np.int64]) -> None:
        """Decisions were committed.

        Args:
            at: wall clock, s since the epoch.
            seconds: shape (n,), int64, arrival of what completed each patient's second, µs since the epoch, 0 unknown.
            windows: shape (m,), likewise for each window.
        """
        for path, arrived in (("life_threatening", seconds), ("window", windows)):
            # Ingest has a clock of its own, which may be a little ahead.
            self._delay.observe(path, np.maximum(at - arrived[arrived > 0] / MICROSECONDS, 0.0).tolist())
        self._of(self._windows).inc(len(windows))

    def alerts(self, events: Iterable[AlertEvent]) -> None:
        """Count what was raised."""
        for e in events:
            if e.event is Transition.RAISED:
                self._of(self._alerts, category=e.category, priority=e.priority, kind=e.kind).inc()

    def cycle(self, patients: int, late: int, missing: int) -> None:
        """At the end of a cycle: patients now, late chunks and missing samples since the last."""
        self._of(self._patients).set(patients)
        self._of(self._late).inc(late)
        self._of(self._gaps, reason="missing").inc(missing)
        self._of(self._age).set(time.time() - self._trained_at if self._trained_at else 0.0)

    def unowned(self, shards: int) -> None:
        """Shards that nobody judges, as seen from here."""
        self._of(self._unowned).set(shards)

    def store_failed(self) -> None:
        """A call to the store failed."""
        self._of(self._errors).inc()

    def scores_dropped(self, windows: int) -> None:
        """Scores were given up."""
        self._of(self._lost).inc(windows)

    def model(self, revision: int, trained_at: float) -> None:
        """A model is at work, fitted at `trained_at` (s since the epoch)."""
        self._trained_at = trained_at
        self._of(self._revision).set(revision)
