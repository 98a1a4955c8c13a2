"""The fast lane: a genuine frame that simply goes on where its device left off reaches the log as it came.

Nothing of it is taken apart. Whatever is not such a frame – unknown device, no `t0`, overlap, damage – is left to the
general way (`Intake.offer`), which would have made the same record of it.
"""

import hmac
import struct
import zlib
from dataclasses import dataclass

from holter.chunk import FS_MAX, FS_MIN, GAP_BEFORE, LEAD_OFF, MICROSECONDS
from holter.frame import DEVICE_ID_SPAN, HEADER_BYTES, MAGIC, VERSION
from holter.ingest.records import sealed
from holter.ingest.timeline import FUTURE, OLDEST, SESSION, Device, Timeline
from holter.keys import MAC_BYTES, DeviceKeys

_BEGINNING = MAGIC + bytes([VERSION])
_FIELDS = struct.Struct("<BHIIq")  # flags, n, seq, fs, t0
_KNOWN_FLAGS = LEAD_OFF | GAP_BEFORE
_LEAST, _MOST = round(FS_MIN * 1000), round(FS_MAX * 1000)


@dataclass(slots=True)
class Passed:
    """What went along the lane since it was last counted.

    Attributes:
        frames: how many.
        samples: in them.
        missing: between them (gaps).
    """

    frames: int = 0
    samples: int = 0
    missing: int = 0


class Lane:
    """Args: the devices of the process."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self.passed = Passed()

    def take(self, data: bytes, at: int, keys: DeviceKeys | None, now: int) -> bytes | None:
        """The record of the frame that begins at `at`, which is then accepted; None when it has to go the general way.

        Args:
            data: holds the frame.
            at: where.
            keys: that it has to be signed by; None lets anybody in.
            now: wall clock, µs.
        """
        if not data.startswith(_BEGINNING, at) or len(data) - at < HEADER_BYTES + MAC_BYTES:
            return None
        flags, n, _, fs, t0 = _FIELDS.unpack_from(data, at + 5)
        end = at + HEADER_BYTES + 2 * n
        raw = data[at + DEVICE_ID_SPAN.start : at + HEADER_BYTES]
        device = self._timeline.following(raw)
        if (
            device is None
            or not device.ends
            or flags & ~_KNOWN_FLAGS
            or not _LEAST <= fs <= _MOST
            or not 0 < n * 1000 <= fs
            or end + MAC_BYTES > len(data)
            or not OLDEST <= t0 <= now + FUTURE
        ):
            return None
        # Less than half a sample is jitter, not an overlap.
        gap = t0 - device.ends[-1]
        if gap < 0 and (-gap * fs > MICROSECONDS * 500 or t0 <= device.starts[-1]):
            return None
        signed = data[at:end]
        if keys is not None and not _genuine(device, signed, data[end : end + MAC_BYTES], keys):
            return None
        self._timeline.follow(
            raw, device, t0, t0 + _duration(n, fs), zlib.crc32(data[at + HEADER_BYTES : end], fs), now
        )
        passed = self.passed
        passed.frames += 1
        passed.samples += n
        if 0 < gap <= SESSION:
            passed.missing += round(gap * (fs / 1000) / MICROSECONDS)
        return sealed(signed, now)


def _genuine(device: Device, signed: bytes, mac: bytes, keys: DeviceKeys) -> bool:
    if device.keys is not keys or device.signers is None:
        device.signers = keys.signers(signed[DEVICE_ID_SPAN].rstrip(b"\0").decode())
        device.keys = keys
    return any(hmac.compare_digest(mac, signer.mac(signed)) for signer in device.signers)


def _duration(n: int, fs: int) -> int:
    return round(n * MICROSECONDS / (fs / 1000))
