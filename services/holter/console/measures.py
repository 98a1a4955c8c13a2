"""The console's metrics, and what it says of the cohort's health."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from holter.chunk import MICROSECONDS, Chunk
from holter.metrics import Metrics

_LAGS = 500


class Measures:
    """Declares and records the console's own metrics (design §7)."""

    def __init__(self, cohort: str) -> None:
        self.metrics = Metrics(cohort)
        of = self.metrics.of
        self.browsers = of(self.metrics.gauge("holter_console_browsers", "Browsers that are connected."))
        self.patients = of(self.metrics.gauge("holter_console_patients", "Patients that are shown."))
        self.dropped = of(
            self.metrics.counter("holter_console_dropped_batches_total", "Batches of ECG that a slow browser missed.")
        )
        self.acknowledged = of(
            self.metrics.counter("holter_console_acknowledgements_total", "Acknowledgements stored.")
        )
        self.refused = of(self.metrics.counter("holter_console_refused_total", "Requests without the right token."))
        self.store_errors = of(self.metrics.counter("holter_store_errors_total", "Calls that the store failed."))


@dataclass(slots=True)
class Health:
    """How the cohort is, as far as the store tells.

    Attributes:
        faults: what the store said last, in words, by what was read; empty while it answers.
        read_seconds: how long it took to read what had arrived.
        lags: seconds from a chunk's arrival at ingest until it was here.
        revision: of the model that scored the newest window, 0 without one.
        scored: event time of the newest window, µs; 0 without one.
    """

    faults: dict[str, str] = field(default_factory=dict)
    read_seconds: float = 0.0
    lags: deque[float] = field(default_factory=lambda: deque(maxlen=_LAGS))
    revision: int = 0
    scored: int = 0

    def arrived(self, chunks: Iterable[Chunk], now: int) -> None:
        """Chunks were read at wall clock `now` (µs)."""
        self.lags.extend((now - chunk.arrived) / MICROSECONDS for chunk in chunks if chunk.arrived)

    def describe(self) -> dict[str, object]:
        """For browsers: seconds, and ms since the epoch."""
        return {
            "store": next(iter(self.faults.values()), None),
            "readSeconds": round(self.read_seconds, 4),
            "lag": round(float(np.median(self.lags)), 2) if self.lags else None,
            "revision": self.revision,
            "scored": self.scored / 1000 or None,
        }
