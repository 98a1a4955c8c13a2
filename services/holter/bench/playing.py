"""Cheap patients: seconds of ECG made beforehand, played over and over as ready-made frames and bodies. Pure."""

import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holter.chunk import MICROSECONDS
from holter.frame import ACK_BYTES, MAGIC, VERSION
from holter.keys import MAC_BYTES, bearer, mac_key
from holter.sim.ward import ward

FS = 250
TEMPLATES, TEMPLATE_SECONDS = 48, 60
_BEGINNING, _MIDDLE = struct.Struct("<4sBBH"), struct.Struct("<IIq")
ACK = np.dtype(
    [
        ("magic", "S4"),
        ("version", "u1"),
        ("status", "u1"),
        ("wait", "<u2"),
        ("seq", "<u4"),
        ("t0", "<i8"),
        ("id", "S32"),
    ]
)
assert ACK.itemsize == ACK_BYTES


@dataclass(frozen=True, slots=True)
class Tape:
    """Seconds of ECG.

    Attributes:
        samples: shape (templates, seconds, 250), int16, µV.
    """

    samples: NDArray[np.int16]

    def second(self, patient: int, second: int) -> NDArray[np.int16]:
        """What a patient sends as their n-th second; patients of one template are at different places of it."""
        templates, seconds, _ = self.samples.shape
        found: NDArray[np.int16] = self.samples[patient % templates, (second + 7 * (patient // templates)) % seconds]
        return found


def record(
    rhythms: Sequence[str] = ("resting",),
    templates: int = TEMPLATES,
    seconds: int = TEMPLATE_SECONDS,
    onset: float = 0.0,
) -> Tape:
    """Let simulated patients (`holter.sim`) with these rhythms in turn live for so long, changing at `onset` s."""
    beds = ward([rhythms[i % len(rhythms)] for i in range(templates)], base=0, onset=onset)
    return Tape(np.stack([bed.patient.block(float(seconds)).reshape(seconds, FS) for bed in beds]))


class Patients:
    """`n` devices with ids, keys and clocks of their own; patient i begins i/n of a second after the first.

    Args:
        tape: what they send.
        n: how many.
        key: the cohort's device key.
        base: event time of the first patient's first sample, µs since the epoch.
        prefix: of their ids.
    """

    def __init__(self, tape: Tape, n: int, key: bytes, base: int, prefix: str = "bench") -> None:
        self.n, self.base, self.tape = n, base, tape
        self.ids = [f"{prefix}-{i:06d}" for i in range(n)]
        self._key = key
        self._beginning = _BEGINNING.pack(MAGIC, VERSION, 0, FS)
        self._devices = [device_id.encode().ljust(32, b"\0") for device_id in self.ids]
        self._mac_keys = [mac_key(key, device_id) for device_id in self.ids]
        self._seconds: list[list[bytes]] = [[s.astype("<i2").tobytes() for s in template] for template in tape.samples]
        self._offsets = [i * MICROSECONDS // n for i in range(n)]
        self.texts: dict[tuple[int, int], bytes] = {}

    def t0(self, patient: int, second: int) -> int:
        """Event time of a patient's n-th second, µs."""
        return self.base + self._offsets[patient] + second * MICROSECONDS

    def frame(self, patient: int, second: int) -> bytes:
        """The frame of a patient's n-th second."""
        template = self._seconds[patient % len(self._seconds)]
        samples: bytes = template[(second + 7 * (patient // len(self._seconds))) % len(template)]
        middle = _MIDDLE.pack(second, FS * 1000, self.base + self._offsets[patient] + second * MICROSECONDS)
        signed = self._beginning + middle + self._devices[patient] + samples
        mac: bytes = hmac.digest(self._mac_keys[patient], signed, "sha256")[:MAC_BYTES]
        return signed + mac

    def bearer(self, patient: int) -> str:
        """A patient's token."""
        return bearer(self._key, self.ids[patient])

    def body(self, patient: int, second: int, seconds: int = 1, *, timed: bool = True) -> bytes:
        """The JSON body of `seconds` seconds from a patient's n-th on; the tutorial's device gives no `t0`."""
        parts = b",".join(self._text(patient, s) for s in range(second, second + seconds))
        device_id = self.ids[patient].encode()
        clock = b',"t0":%d' % (self.t0(patient, second) // 1000) if timed else b""
        return b'{"device_id":"%s"%s,"samples":[%s]}' % (device_id, clock, parts)

    def _text(self, patient: int, second: int) -> bytes:
        templates, seconds, _ = self.tape.samples.shape
        place = patient % templates, (second + 7 * (patient // templates)) % seconds
        if place not in self.texts:
            self.texts[place] = ",".join(f"{v / 1000:g}" for v in self.tape.samples[place].tolist()).encode()
        return self.texts[place]
