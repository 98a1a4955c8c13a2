"""What ingest counts (design §7). Each series is looked up once: the hot path only increments."""

import time

from holter.ingest.refusal import REASONS, RefusalError
from holter.ingest.refused import RefusedDevices
from holter.metrics import Metrics

TRANSPORTS = ("http", "websocket", "udp")
_CODES = ("202", *map(str, REASONS), "500")


class Measures:
    """The metrics of one ingest process, and who was refused, which no metric says."""

    def __init__(self, cohort: str) -> None:
        self.metrics = m = Metrics(cohort)
        self.devices = RefusedDevices()
        requests = m.counter(
            "holter_ingest_requests_total",
            "Requests (HTTP) and frames (WebSocket, UDP) by what they were answered, or would have been.",
            transport=TRANSPORTS,
            code=_CODES,
        )
        self._requests = {(t, c): m.of(requests, transport=t, code=c) for t in TRANSPORTS for c in _CODES}
        reasons = (*REASONS.values(), "conflict", "damaged", "store_refused")
        rejected = m.counter(
            "holter_ingest_rejected_total",
            "Posts, lines, frames and chunks that were not taken; `damaged` are unreadable stretches of the log.",
            reason=reasons,
        )
        self._rejected = {r: m.of(rejected, reason=r) for r in reasons}
        gaps = m.counter(
            "holter_gap_samples_total",
            "Samples that never came, by how it was noticed.",
            reason=("t0", "reanchored"),
        )
        self.gap_t0, self.gap_reanchored = m.of(gaps, reason="t0"), m.of(gaps, reason="reanchored")
        self.reanchored = m.of(
            m.counter("holter_ingest_reanchored_total", "Devices without t0 placed anew by arrival.")
        )
        self.samples = m.of(m.counter("holter_ingest_samples_total", "Samples that were accepted and are new."))
        self.repeated = m.of(m.counter("holter_ingest_repeated_samples_total", "Samples that were there already."))
        self.late = m.of(m.counter("holter_late_chunks_total", "Chunks older than the newest of their device."))
        self.datagrams_dropped = m.of(
            m.counter("holter_ingest_datagrams_dropped_total", "Datagrams that the kernel had no room for.")
        )
        self.seconds = m.of(m.histogram("holter_ingest_request_seconds", "From a request's headers to its answer."))
        self.log_bytes = m.of(m.gauge("holter_ingest_wal_bytes", "Bytes of the log that the store has not taken yet."))
        self.patients = m.of(m.gauge("holter_ingest_patients", "Devices that have sent lately."))
        self.feed_dropped = m.of(
            m.counter("holter_feed_dropped_chunks_total", "Chunks that a worker was too slow for: it reads the store.")
        )
        self.store_seconds = m.of(m.histogram("holter_store_write_seconds", "One batch, written to the store."))
        self.store_errors = m.of(m.counter("holter_store_errors_total", "Batches that the store did not take at once."))

    def answered(self, transport: str, code: int, count: int = 1) -> None:
        """Count requests or frames."""
        self._requests[transport, str(code)].inc(count)

    def refused(self, refusal: RefusalError) -> None:
        """Count what was not taken, by its status."""
        self.rejected(REASONS[refusal.code])
        self.devices.note(refusal, time.monotonic())

    def rejected(self, reason: str, count: int = 1) -> None:
        """Count what was not taken, by reason."""
        self._rejected[reason].inc(count)
