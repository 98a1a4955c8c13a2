"""Who lies in the ward and what was heard of them last. Pure: times come from outside."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from holter.chunk import LEAD_OFF, MICROSECONDS, Chunk
from holter.console.rate import SPAN, heart_rate

GONE_AFTER = 3600 * MICROSECONDS
"""A device that was silent for so long leaves the ward, unless an alert of it is open."""
_JOINED = 20_000
"""µs: chunks nearer than this follow each other."""
_WRONG_CLOCK = 30 * MICROSECONDS
"""Less than this is the way here and buffering, not a clock that is wrong."""


@dataclass(slots=True)
class Patient:
    """One device.

    Attributes:
        newest: event time just after its newest sample, µs.
        heard: wall clock when that came, µs.
        flags: of its newest chunk.
        recent: chunks of the last `SPAN` seconds, in order of time.
    """

    newest: int
    heard: int
    flags: int = 0
    recent: deque[Chunk] = field(default_factory=deque)


def rate(chunks: Sequence[Chunk]) -> float | None:
    """Heart rate, 1/min, of the chunks at the end that follow each other without a gap."""
    parts: list[Chunk] = []
    for chunk in reversed(chunks):
        if parts and (abs(parts[-1].t0 - chunk.end) > _JOINED or chunk.fs != parts[-1].fs):
            break
        parts.append(chunk)
    if not parts:
        return None
    return heart_rate(np.concatenate([chunk.samples for chunk in reversed(parts)]), parts[0].fs)


def rates(recent: Mapping[str, Sequence[Chunk]]) -> dict[str, float | None]:
    """Heart rates by device; takes 0.2 ms a patient."""
    return {device_id: rate(chunks) for device_id, chunks in recent.items()}


@dataclass(slots=True)
class Ward:
    """All devices by id."""

    patients: dict[str, Patient] = field(default_factory=dict)

    def hear(self, chunks: Iterable[Chunk], now: int) -> list[Chunk]:
        """Chunks came at wall clock `now` (µs).

        Returns:
            Those that a browser has not had: a page may repeat chunks.
        """
        fresh = []
        for chunk in chunks:
            patient = self.patients.get(chunk.device_id)
            if patient is None:
                patient = self.patients[chunk.device_id] = Patient(chunk.end, now)
            elif chunk.end <= patient.newest and patient.recent:
                if patient.newest - chunk.end < GONE_AFTER:
                    continue  # again, or late: it is in the store for who looks back
                patient.recent.clear()  # the device's clock was set back
            if patient.recent and chunk.t0 - patient.recent[-1].end > SPAN * MICROSECONDS:
                patient.recent.clear()
            patient.newest, patient.heard = chunk.end, max(patient.heard, chunk.arrived or now)
            patient.flags = chunk.flags
            patient.recent.append(chunk)
            while patient.recent[0].end < chunk.end - SPAN * MICROSECONDS:
                patient.recent.popleft()
            fresh.append(chunk)
        return fresh

    def known(self, device_id: str, end: int) -> None:
        """The store tells of a device that has not been heard: its newest window ended at `end` (µs)."""
        self.patients.setdefault(device_id, Patient(end, end))

    def offset(self, device_id: str) -> int:
        """How far the wall clock is ahead of this device's, µs; 0 for what the way here explains."""
        patient = self.patients.get(device_id)
        ahead = patient.heard - patient.newest if patient and patient.recent else 0
        return ahead if abs(ahead) > _WRONG_CLOCK else 0

    def earliest(self, now: int) -> int:
        """The least event time that those heard in the last hour are at; `now` (µs) when it is later than that."""
        return min([now, *(p.newest for p in self.patients.values() if now - p.heard < GONE_AFTER)])

    def leave(self, now: int, watched: set[str]) -> None:
        """Let those go that have long been silent, but for those `watched`."""
        for device_id in [d for d, p in self.patients.items() if now - p.heard > GONE_AFTER and d not in watched]:
            del self.patients[device_id]

    def recent(self) -> dict[str, tuple[Chunk, ...]]:
        """Of each patient the chunks of the last `SPAN` seconds."""
        return {device_id: tuple(patient.recent) for device_id, patient in self.patients.items()}

    def describe(self, rates: Mapping[str, float | None]) -> list[dict[str, object]]:
        """Each patient as browsers are told of it; times in ms since the epoch."""
        return [
            {
                "id": device_id,
                "rate": None if (found := rates.get(device_id)) is None else round(found),
                "newest": patient.newest / 1000,
                "heard": patient.heard / 1000,
                "leadOff": bool(patient.flags & LEAD_OFF),
            }
            for device_id, patient in sorted(self.patients.items())
        ]
