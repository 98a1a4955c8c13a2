"""What ingest costs: CPU of one `holter ingest` for each second of one patient, log and store write included."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from holter.bench.influx import Influx
from holter.bench.load import Load, send
from holter.bench.service import Service, ingest
from holter.chunk import MICROSECONDS

WARM_SECONDS = 3
"""Of the same load before the measurement begins."""
_SETTLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class IngestCost:
    """One measurement.

    Attributes:
        load: what was sent.
        acknowledged: chunks (0 over UDP).
        stored: chunks of the measured time that InfluxDB has, by query.
        lost: chunks that were sent and neither stored nor refused (UDP: what the kernel dropped).
        cpu_seconds: user and system time of ingest, until all of it was stored.
        resident_bytes: of ingest, at the end.
    """

    load: Load
    acknowledged: int
    stored: int
    lost: int
    cpu_seconds: float
    resident_bytes: int

    @property
    def cpu_us(self) -> float:
        """µs of CPU for each second of one patient that was stored."""
        return self.cpu_seconds / max(self.stored, 1) * 1e6


def measure_ingest(load: Load, influx: Influx, folder: Path, signal: NDArray[np.int16]) -> IngestCost:
    """Start an ingest, warm it up, send the load, wait until it is stored.

    Args:
        load: what to send.
        influx: what it writes to; influxd's own CPU is not counted.
        folder: for its log and files; new, on a disk (an fsync on tmpfs costs nothing).
        signal: int16 µV at 250 Hz, at least a minute.

    Raises:
        RuntimeError: ingest refused something, or did not store it.
    """
    warm = Load(load.transport, load.patients, WARM_SECONDS, 1, load.gateways, load.frames_per_message)
    with influx.bucket(folder / "influx") as bucket, ingest(f"influxdb:{bucket.folder}", folder / "state") as service:
        start = time.time_ns() // 1000 // MICROSECONDS * MICROSECONDS - MICROSECONDS
        asyncio.run(send(warm, service, signal, start))
        _stored(service)
        before, cpu = bucket.count("ecg_chunk", "pcm"), service.cpu_seconds()
        sent = asyncio.run(send(load, service, signal, start + WARM_SECONDS * MICROSECONDS))
        _stored(service)
        cpu = service.cpu_seconds() - cpu
        stored = bucket.count("ecg_chunk", "pcm") - before
        refused = int(service.metric("holter_ingest_rejected_total"))
        return IngestCost(
            load, sent.acknowledged, stored, sent.chunks - stored - refused, cpu, service.resident_bytes()
        )


def _stored(service: Service) -> None:
    """Return when nothing arrives any more and the log is in the store."""
    until, seen = time.monotonic() + _SETTLE_SECONDS, -1.0
    while time.monotonic() < until:
        time.sleep(0.3)  # longer than a commit
        samples = service.metric("holter_ingest_samples_total")
        if samples == seen and not service.metric("holter_ingest_wal_bytes"):
            return
        seen = samples
    raise RuntimeError(f"ingest has not stored everything within {_SETTLE_SECONDS:g} s")
