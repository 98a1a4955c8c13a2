"""The chunk: at most one second of one device's ECG, the unit of every transport, log, store and feed."""

import re
import zlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

SHARDS = 64
MICROSECONDS = 1_000_000
FS_MIN, FS_MAX = 100.0, 1000.0
MAX_MILLIVOLTS = 32.767
DEVICE_ID = re.compile(r"[A-Za-z0-9._-]{1,32}")

LEAD_OFF = 1 << 0
"""The device says that its electrode is off."""
GAP_BEFORE = 1 << 1
"""Ingest re-anchored this device's clock: the chunk does not continue the one before it."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """At most one second of one lead.

    Attributes:
        device_id: matches `DEVICE_ID`.
        t0: time of the first sample, UTC, microseconds since the epoch.
        fs: sample rate in Hz, 100..1000; a resolution of 1 mHz survives every encoding.
        samples: shape (n,), int16, microvolts.
        seq: the device's running number, u32; it may restart.
        flags: `LEAD_OFF`, `GAP_BEFORE`.
        arrived: wall clock at which ingest took it, microseconds since the epoch, 0 when that is not known. It is about
            the way here, not part of what the chunk is: the same samples that arrive again are the same chunk.
    """

    device_id: str
    t0: int
    fs: float
    samples: NDArray[np.int16]
    seq: int = 0
    flags: int = 0
    arrived: int = field(default=0, compare=False)

    @property
    def end(self) -> int:
        """Time just after the last sample (where the next chunk begins), microseconds since the epoch."""
        return self.t0 + round(len(self.samples) * MICROSECONDS / self.fs)

    @property
    def shard(self) -> int:
        """The shard that owns this device, 0..63."""
        return shard_of(self.device_id)

    def checksum(self) -> int:
        """CRC-32 of rate and samples: tells a repeated chunk from a conflicting one."""
        return zlib.crc32(self.samples.tobytes(), round(self.fs * 1000))


def shard_of(device_id: str) -> int:
    """Stable hash of a device id, 0..63: CRC-32 mod 64, the same in every process and release."""
    return zlib.crc32(device_id.encode()) % SHARDS
