"""One device's chunks, in whatever order and rate, to gapless seconds at 250 Hz on the grid of whole event seconds.

A second is ready when all of it is there, or when the device's newest sample is `LATENESS` beyond it: then what is
missing is a hole. Both depend on event time alone, so a replay at any speed makes the same seconds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holter.chunk import LEAD_OFF, MICROSECONDS, Chunk
from holter.signal.filters import BLOCK, FS
from holter.signal.resample import HALF, interpolate, kernel

LATENESS = 2.0
"""Seconds of event time that a missing chunk is waited for."""
_CAPACITY = 24
"""Seconds that a stream holds."""
_BRIDGE = 5
"""Missing native samples that are bridged by a straight line and are no hole (a clock that drifts)."""
_RESTART_AFTER = 8
"""Chunks in a row from far behind: the device's clock was set back."""
_FAR = 60 * MICROSECONDS


@dataclass(frozen=True, slots=True)
class Second:
    """One second of one device.

    Attributes:
        end: event time of its end, whole seconds since the epoch.
        samples: shape (250,), float32, mV; a hole holds the last value.
        hole: share of samples that are missing.
        lead_off: the device said so of any part.
    """

    end: int
    samples: NDArray[np.float32]
    hole: float
    lead_off: bool


class Stream:
    """Chunks in by `push`, seconds out by `take` while `ready`."""

    __slots__ = (
        "_anchor", "_arrived", "_base", "_buffer", "_fs", "_late", "_lead_off", "_newest", "_second", "late_chunks",
    )  # fmt: skip

    def __init__(self) -> None:
        self._fs = 0.0
        self._second = 0
        self._late = 0
        self._arrived = 0
        self._lead_off: set[int] = set()
        self.late_chunks = 0

    def _restart(self, chunk: Chunk) -> None:
        self._fs = chunk.fs
        self._anchor = chunk.t0  # time of native sample 0
        self._base = 0  # native number of the buffer's first sample
        self._newest = 0  # native number just after the newest sample
        self._buffer = np.full(int(_CAPACITY * chunk.fs), np.nan, np.float32)
        first = -(-chunk.t0 // MICROSECONDS) + 1
        if self._second and chunk.t0 // MICROSECONDS + 1 >= self._second - 1:  # the clock goes on: no second twice
            first = max(first, self._second)
        self._second = first
        self._late = 0
        self._lead_off.clear()

    @property
    def newest(self) -> int:
        """Event time just after the newest sample, µs."""
        return self._anchor + round(self._newest * MICROSECONDS / self._fs)

    def push(self, chunk: Chunk) -> bool:
        """Take a chunk; False when there is no room for it until ready seconds have been taken."""
        if self._fs != chunk.fs:
            if 0 < chunk.arrived < self._arrived:
                return True  # from before the device changed its rate
            if self._fs and self.ready():
                return False
            self._restart(chunk)
        at = round((chunk.t0 - self._anchor) * self._fs / MICROSECONDS) - self._base
        n = len(chunk.samples)
        if at + n > len(self._buffer):
            if self.ready():
                return False
            self._restart(chunk)
            at = 0
        start = self._start()
        if at + n <= start:
            if 0 < chunk.arrived <= self._arrived:
                return True  # the store repeats what the feed has brought; a clock that was set back arrives now
            self._arrived = max(self._arrived, chunk.arrived)
            self.late_chunks += 1
            self._late = self._late + 1 if self.newest - chunk.t0 > _FAR else 0
            if self._late < _RESTART_AFTER:
                return True
            self._second = 0
            self._restart(chunk)
            at = 0
        self._late = 0
        self._arrived = max(self._arrived, chunk.arrived)
        skip = max(0, -at)
        part = self._buffer[at + skip : at + n]
        missing = np.isnan(part)
        values = chunk.samples[skip:].astype(np.float32) / np.float32(1000)
        part[missing] = values[missing]
        self._newest = max(self._newest, self._base + at + n)
        if chunk.flags & LEAD_OFF:
            self._lead_off.update((chunk.t0 // MICROSECONDS + 1, (chunk.end - 1) // MICROSECONDS + 1))
        return True

    def _start(self) -> int:
        """Buffer place of the first native sample of the next second."""
        ahead = (self._second - 1) * MICROSECONDS - self._anchor
        return round(ahead * self._fs / MICROSECONDS) - self._base - (0 if self._fs == FS else 2 * HALF)

    def _length(self) -> int:
        return BLOCK if self._fs == FS else int(self._fs) + 2 * HALF + 2

    def ready(self) -> bool:
        """Whether `take` has a second to give."""
        start = self._start()
        end = start + self._length() - (0 if self._fs == FS else 2)
        have = self._newest - self._base
        if have < end:
            return False
        return have >= end + LATENESS * self._fs or not np.isnan(self._buffer[max(start, 0) : end]).any()

    @property
    def waiting(self) -> bool:
        """Whether the next second has holes that something newer lies beyond: what belongs there may be on its way."""
        start = self._start()
        end = start + self._length() - (0 if self._fs == FS else 2)
        return self._newest - self._base >= end and not self.ready()

    def take(self) -> Second:
        """The next second; `ready` has to be true."""
        start, length = self._start(), self._length()
        native = self._buffer[max(start, 0) : start + length]
        if start < 0:  # the first second of a stream: before it was nothing
            native = np.concatenate([np.full(-start, np.nan, np.float32), native])
        filled, hole = _fill(native)
        if self._fs == FS:
            samples = filled
        else:
            samples = np.empty(BLOCK, np.float32)
            exact = ((self._second - 1) * MICROSECONDS - self._anchor) * self._fs / MICROSECONDS - self._base
            interpolate(filled, exact - HALF - start, self._fs / FS, kernel(self._fs), samples)
        second = Second(self._second, samples, hole, self._second in self._lead_off)
        self._lead_off.discard(self._second)
        self._second += 1
        self._forget(self._start())
        return second

    def _forget(self, keep_from: int) -> None:
        if keep_from > len(self._buffer) // 2:
            self._buffer[:-keep_from] = self._buffer[keep_from:]
            self._buffer[-keep_from:] = np.nan
            self._base += keep_from


def _fill(native: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """Bridge what is missing; the share that is a hole, and not just a step of the clock."""
    missing = np.isnan(native)
    if not missing.any():
        return native.copy(), 0.0
    if missing.all():
        return np.zeros_like(native), 1.0
    places = np.arange(len(native))
    filled = np.interp(places, places[~missing], native[~missing]).astype(np.float32)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], missing.astype(np.int8), [0]])))
    for a, b in zip(edges[::2], edges[1::2], strict=True):
        if b - a <= _BRIDGE:
            missing[a:b] = False
        elif a > 0:
            filled[a:b] = native[a - 1]
    return filled, float(missing.mean())
