"""The operator's Prometheus metrics."""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

PHASES = ("Pending", "Progressing", "Ready", "Degraded", "Paused", "Deleting")
RESULTS = ("changed", "unchanged", "retry", "error")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """All of them, on a registry of their own. Counters start at 0."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._clock = clock
        self._here = threading.local()
        self._reconciles = Counter(
            "holter_operator_reconcile",
            "Reconciles, by what came of them: something was written, nothing was, to be tried again, an error",
            ["result"],
            registry=self.registry,
        )
        for result in RESULTS:
            self._reconciles.labels(result)
        self._seconds = Histogram(
            "holter_operator_reconcile_seconds", "Of a reconcile", buckets=_SECONDS, registry=self.registry
        )
        self._cohorts = Gauge("holter_operator_cohorts", "Cohorts, by phase", ["phase"], registry=self.registry)
        self._phases: dict[tuple[str, str], str] = {}
        self._calls = Counter(
            "holter_operator_api_calls",
            "Requests to the API server; code 0 had no answer",
            ["kind", "verb", "code"],
            registry=self.registry,
        )
        self._writes = Counter(
            "holter_operator_writes",
            "Requests to the API server that write, Events not counted",
            registry=self.registry,
        )
        self._queued = Gauge("holter_operator_queue", "Cohorts that wait for a reconcile", registry=self.registry)
        self._repairs = Counter(
            "holter_operator_repairs",
            "Objects set right after somebody else's change",
            ["kind"],
            registry=self.registry,
        )
        self._event = clock()
        Gauge(
            "holter_operator_watch_event_age_seconds", "Since a watch last told anything", registry=self.registry
        ).set_function(lambda: self._clock() - self._event)
        of_cohort = ["cohort_namespace", "cohort"]
        self._refit_seconds = Gauge(
            "holter_refit_seconds", "That the newest refit took", of_cohort, registry=self.registry
        )
        self._refit_windows = Gauge(
            "holter_refit_windows", "That the newest refit read", of_cohort, registry=self.registry
        )
        self._refit_trained = Gauge(
            "holter_refit_trained_timestamp_seconds",
            "When the newest candidate was fitted, s since the epoch",
            of_cohort,
            registry=self.registry,
        )
        self._refit_accepted = Gauge(
            "holter_refit_accepted", "1 when the gate accepted the newest candidate", of_cohort, registry=self.registry
        )
        self._of_refits = (self._refit_seconds, self._refit_windows, self._refit_trained, self._refit_accepted)
        self._set_phases()

    def call(self, kind: str, verb: str, code: str, writes: bool) -> None:
        """A request to the API server."""
        self._calls.labels(kind, verb, code).inc()
        if writes and kind != "Event":
            self._writes.inc()
            self._here.writes = self.writes() + 1

    def writes(self) -> int:
        """Requests of this thread that wrote."""
        return getattr(self._here, "writes", 0)

    def reconciled(self, result: str, seconds: float) -> None:
        """One of `RESULTS`."""
        self._reconciles.labels(result).inc()
        self._seconds.observe(seconds)

    def repaired(self, kind: str) -> None:
        """An object of this kind was."""
        self._repairs.labels(kind).inc()

    def heard(self) -> None:
        """A watch told something."""
        self._event = self._clock()

    def queued(self, number: int) -> None:
        """So many cohorts wait."""
        self._queued.set(number)

    def phase(self, namespace: str, cohort: str, phase: str | None) -> None:
        """A cohort's phase; None when it is gone."""
        if self._phases.get((namespace, cohort)) == phase:
            return
        if phase is None:
            self._phases.pop((namespace, cohort), None)
            for gauge in self._of_refits:
                gauge.remove_by_labels({"cohort_namespace": namespace, "cohort": cohort})
        else:
            self._phases[namespace, cohort] = phase
        self._set_phases()

    def refitted(self, namespace: str, cohort: str, numbers: Mapping[str, Any], accepted: bool) -> None:
        """What a candidate says of its refit (`seconds`, `windows`, `trainedAt`, those it has), and the gate of it."""
        for gauge, name in ((self._refit_seconds, "seconds"), (self._refit_windows, "windows")):
            if name in numbers:
                gauge.labels(namespace, cohort).set(numbers[name])
        with suppress(ValueError):  # it has the form of a time, and may be the 31st of February
            if trained := numbers.get("trainedAt"):
                self._refit_trained.labels(namespace, cohort).set(datetime.fromisoformat(trained).timestamp())
        self._refit_accepted.labels(namespace, cohort).set(accepted)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)

    def _set_phases(self) -> None:
        now = list(self._phases.values())
        for phase in PHASES:
            self._cohorts.labels(phase).set(now.count(phase))
