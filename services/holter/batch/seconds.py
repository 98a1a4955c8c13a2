"""The next second of each device, of what waits in its ring: at 250 Hz, its holes bridged or told of."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holter.batch.stream import ARRIVALS, LATENESS, MISSING, RING, length, missing, ready, start
from holter.chunk import MICROSECONDS
from holter.model.jit import njit
from holter.signal.filters import BLOCK, FS
from holter.signal.resample import HALF, interpolate_all, kernel

_BRIDGE = 5
"""Missing native samples that are bridged by a straight line and are no hole (a clock that drifts)."""
_LONGEST_GAP = 30
"""Seconds in a row without a sample, at most; a ring holds 41 at 100 Hz, but what waits is `LATENESS` beyond a hole."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One second of each of n devices.

    Attributes:
        rows: shape (n,), int64, whose.
        seconds: shape (n,), int64, event time of their ends, s since the epoch.
        samples: shape (n, 250), float32, mV; a hole holds the last value.
        holes: shape (n,), float32, share of samples that are missing.
        lead_off: shape (n,), bool, the device said so of any part.
        arrived: shape (n,), int64, when what completed it came to ingest, µs since the epoch, 0 unknown.
    """

    rows: NDArray[np.int64]
    seconds: NDArray[np.int64]
    samples: NDArray[np.float32]
    holes: NDArray[np.float32]
    lead_off: NDArray[np.bool_]
    arrived: NDArray[np.int64]


@njit()
def _fill(native: NDArray[np.int16], out: NDArray[np.float32]) -> float:
    """To mV; what is missing is bridged; the share that is a hole, and not just a step of the clock."""
    n, scale = native.size, np.float32(1000)
    if missing(native) == 0:
        for i in range(n):
            out[i] = np.float32(native[i]) / scale
        return 0.0
    holes, last, i = 0, -1, 0
    while i < n:
        if native[i] != MISSING:
            out[i] = np.float32(native[i]) / scale
            last = i
            i += 1
            continue
        stop = i
        while stop < n and native[stop] == MISSING:
            stop += 1
        if last < 0 and stop == n:
            out[:] = 0.0
            return 1.0
        if stop - i > _BRIDGE:
            holes += stop - i
        before = out[last] if last >= 0 else np.float32(native[stop]) / scale
        after = np.float32(native[stop]) / scale if stop < n else before
        flat = stop - i > _BRIDGE and last >= 0
        for j in range(i, stop):
            share = (j - i + 1) / (stop - i + 1)
            out[j] = before if flat else np.float32(before + share * (after - before))
        i = stop
    return holes / n


@njit()
def _arrival(rec: Any, second: int, hole: float) -> int:
    """When what completed a second came.

    That is the last to come of the second's own samples. Of a second without any it is the first sample that is so far
    beyond it that it was waited for no longer.
    """
    arrived = rec.arrivals[second % ARRIVALS]
    rec.arrivals[second % ARRIVALS] = 0
    if arrived == 0 and hole > 0.5:  # not 1: at other rates a second is made with some samples of its neighbours
        for later in range(second + int(LATENESS), second + _LONGEST_GAP):
            if rec.arrivals[later % ARRIVALS] != 0:
                return int(rec.arrivals[later % ARRIVALS])
    return int(arrived)


@njit()
def _native(rec: Any, ring: NDArray[np.int16], number: int, out: NDArray[np.int16]) -> None:
    """Samples from this number on; before the first was nothing."""
    before = min(max(rec.base - number, 0), out.size)
    out[:before] = MISSING
    at = (number + before) % RING
    first = min(out.size - before, RING - at)
    out[before : before + first] = ring[at : at + first]
    out[before + first :] = ring[: out.size - before - first]


@njit()
def _forget(rec: Any, ring: NDArray[np.int16]) -> None:
    """What is before the next second is not wanted any more."""
    base = max(start(rec), rec.base)
    n, at = min(base - rec.base, RING), rec.base % RING
    first = min(n, RING - at)
    ring[at : at + first] = MISSING
    ring[: n - first] = MISSING
    rec.base = base


@njit()
def _take_all(
    streams: NDArray[np.void],
    rings: NDArray[np.int16],
    rows: NDArray[np.int64],
    taken: NDArray[np.int64],
    seconds: NDArray[np.int64],
    samples: NDArray[np.float32],
    holes: NDArray[np.float32],
    lead_off: NDArray[np.bool_],
    arrived: NDArray[np.int64],
    others: NDArray[np.int64],
    native: NDArray[np.float32],
    first: NDArray[np.float64],
) -> tuple[int, int]:
    """One second of each row that has one; how many, and how many of them are of another rate and lie in `native`."""
    count = other = 0
    buffer = np.empty(native.shape[1], np.int16)
    for r in range(rows.size):
        rec = streams[rows[r]]
        if rec.second == 0 or not ready(rec, rings[rows[r]]):
            continue
        number, size = start(rec), length(rec)
        _native(rec, rings[rows[r]], number, buffer[:size])
        if rec.fs == FS:
            holes[count] = _fill(buffer[:size], samples[count])
        else:
            holes[count] = _fill(buffer[:size], native[other, :size])
            exact = ((rec.second - 1) * MICROSECONDS - rec.anchor) * rec.fs / MICROSECONDS
            first[other] = exact - HALF - number
            others[other] = count
            other += 1
        taken[count] = rows[r]
        seconds[count] = rec.second
        bit = np.uint64(1) << np.uint64(rec.second % 64)
        lead_off[count] = rec.lead_off & bit != np.uint64(0)
        rec.lead_off &= ~bit
        arrived[count] = _arrival(rec, rec.second, holes[count])
        rec.second += 1
        _forget(rec, rings[rows[r]])
        count += 1
    return count, other


def take(streams: NDArray[np.void], rings: NDArray[np.int16], rows: NDArray[np.int64]) -> Taken | None:
    """The next second of each of these rows that has one ready; None when none has.

    Args:
        streams: shape (capacity,), dtype STREAM.
        rings: shape (capacity, RING), int16.
        rows: shape (n,).
    """
    n = len(rows)
    rates = streams["fs"][rows]
    other = rates[rates != FS]
    longest = int(max(other.max(initial=0.0), float(FS))) + 2 * HALF + 2
    taken, seconds, samples = np.empty(n, np.int64), np.empty(n, np.int64), np.empty((n, BLOCK), np.float32)
    holes, lead_off, arrived = np.empty(n, np.float32), np.empty(n, np.bool_), np.empty(n, np.int64)
    others, native, first = np.empty(n, np.int64), np.empty((len(other), longest), np.float32), np.empty(len(other))
    count, m = _take_all(
        streams, rings, rows, taken, seconds, samples, holes, lead_off, arrived, others, native, first
    )  # fmt: skip
    if not count:
        return None
    rates = streams["fs"][taken[others[:m]]]
    for fs in np.unique(rates).tolist():
        interpolate_all(native, first, fs / FS, kernel(fs), np.flatnonzero(rates == fs), samples, others)
    return Taken(taken[:count], seconds[:count], samples[:count], holes[:count], lead_off[:count], arrived[:count])
