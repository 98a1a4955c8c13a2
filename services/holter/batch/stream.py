"""One device's chunks, in whatever order, as samples numbered from an anchor: a row of STREAM and a ring of int16.

Samples wait in the ring at their number modulo its length.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from holter.chunk import LEAD_OFF, MICROSECONDS
from holter.model.jit import njit
from holter.signal.filters import BLOCK, FS
from holter.signal.resample import HALF

LATENESS = 2.0
"""Seconds of event time that a missing chunk is waited for."""
RING = 4096
"""Samples that wait at most: 16 s at 250 Hz, 4 s at 1000; 8 kB a device."""
MISSING = -32768
"""Of a sample that has not come; no device can send it."""
_RESTART_AFTER = 8
"""Chunks in a row from far behind: the device's clock was set back."""
_FAR = 60 * MICROSECONDS
ARRIVALS = 64

STREAM = np.dtype(
    [
        ("fs", np.float64),
        ("anchor", np.int64),  # event time of sample 0, µs
        ("base", np.int64),  # number of the oldest sample that may still be wanted
        ("newest", np.int64),  # number just after the newest sample
        ("second", np.int64),  # the next to be taken, by its end, s since the epoch; 0 before the first
        ("late", np.int64),  # chunks in a row from far behind
        ("arrived", np.int64),  # the newest at ingest, µs
        ("lead_off", np.uint64),  # a bit for each second, modulo 64
        ("arrivals", np.int64, (ARRIVALS,)),  # of each second, modulo 64: of its last sample at ingest; 0 unknown
        ("page", np.int64),  # of which it was heard last
        ("heard", np.float64),  # wall clock of that, s; 0 never
        ("heard_first", np.int64),  # event time of what it brought, µs
        ("heard_end", np.int64),
    ],
    align=True,
)


@njit()
def start(rec: Any) -> int:
    """Number of the first native sample of the next second; at other rates a filter's length before it."""
    ahead = (rec.second - 1) * MICROSECONDS - rec.anchor
    return int(np.rint(ahead * rec.fs / MICROSECONDS)) - (0 if rec.fs == FS else 2 * HALF)


@njit()
def length(rec: Any) -> int:
    """Native samples that the next second is made of."""
    return BLOCK if rec.fs == FS else int(rec.fs) + 2 * HALF + 2


@njit()
def end_of(rec: Any) -> int:
    """Number just after the last native sample of the next second."""
    return start(rec) + length(rec) - (0 if rec.fs == FS else 2)


@njit()
def missing(samples: NDArray[np.int16]) -> int:
    """How many have not come."""
    count = np.int32(0)
    for i in range(samples.size):
        count = np.int32(count + np.int32(samples[i] == MISSING))
    return int(count)


@njit()
def ready(rec: Any, ring: NDArray[np.int16]) -> bool:
    """Whether the next second is all there, or is not waited for any longer."""
    end = end_of(rec)
    if rec.newest < end:
        return False
    if rec.newest >= end + LATENESS * rec.fs:
        return True
    begin = max(start(rec), 0)
    at = begin % RING
    first = min(end - begin, RING - at)
    return missing(ring[at : at + first]) + missing(ring[: end - begin - first]) == 0


@njit()
def _restart(rec: Any, ring: NDArray[np.int16], fs: float, t0: int) -> None:
    rec.fs = fs
    rec.anchor = t0
    rec.base = 0
    rec.newest = 0
    ring[:] = MISSING
    first = -(-t0 // MICROSECONDS) + 1
    if rec.second > 0 and t0 // MICROSECONDS + 1 >= rec.second - 1:  # the clock goes on: no second twice
        first = max(first, rec.second)
    rec.second = first
    rec.late = 0
    rec.lead_off = np.uint64(0)
    rec.arrivals[:] = 0


@njit()
def _fill_in(ring: NDArray[np.int16], new: NDArray[np.int16], n: int) -> None:
    """Put n samples where there are none yet."""
    for i in range(n):
        ring[i] = new[i] if ring[i] == MISSING else ring[i]


@njit()
def push(
    rec: Any, ring: NDArray[np.int16], fs: float, t0: int, flags: int, arrived: int, since: int, x: NDArray[np.int16]
) -> int:
    """Take a chunk: 0; 1 when it came too late; -1 when there is no room for it until ready seconds have been taken."""
    if rec.fs != fs:
        if 0 < arrived < rec.arrived:
            return 0  # from before the device changed its rate
        if rec.fs > 0 and ready(rec, ring):
            return -1
        _restart(rec, ring, fs, t0)
    n = x.size
    at = int(np.rint((t0 - rec.anchor) * fs / MICROSECONDS))
    if at + n > rec.base + RING:
        if ready(rec, ring):
            return -1
        _restart(rec, ring, fs, t0)
        at = 0
    late = 0
    if at + n <= start(rec):
        if 0 < arrived <= rec.arrived:
            return 0  # the store repeats what the feed has brought; a clock that was set back arrives now
        rec.arrived = max(rec.arrived, arrived)
        late = 1
        newest = rec.anchor + int(np.rint(rec.newest * MICROSECONDS / rec.fs))
        rec.late = rec.late + 1 if newest - t0 > _FAR else 0
        if rec.late < _RESTART_AFTER:
            return late
        rec.second = 0
        _restart(rec, ring, fs, t0)
        at = 0
    rec.late = 0
    rec.arrived = max(rec.arrived, arrived)
    new = x[min(max(0, rec.base - at), n) :]
    place = (at + n - new.size) % RING
    first = min(new.size, RING - place)
    _fill_in(ring[place:], new, first)
    _fill_in(ring, new[first:], new.size - first)
    rec.newest = max(rec.newest, at + n)
    end = t0 + int(np.rint(n * MICROSECONDS / fs))
    for second in (t0 // MICROSECONDS + 1, (end - 1) // MICROSECONDS + 1):
        if second >= rec.second:
            if arrived > since:
                rec.arrivals[second % ARRIVALS] = arrived
            if flags & LEAD_OFF:
                rec.lead_off |= np.uint64(1) << np.uint64(second % 64)
    return late


@njit()
def hear(rec: Any, t0: int, end: int, arrived: int, page: int, now: float) -> None:
    """Note a sign of life; what another way had brought before is none. It comes before the chunk is pushed."""
    if rec.heard > 0 and 0 < arrived <= rec.arrived and end <= rec.heard_end:
        return
    if rec.page != page:
        rec.page = page
        rec.heard_first, rec.heard_end = t0, end
    rec.heard_first = min(rec.heard_first, t0)
    rec.heard_end = max(rec.heard_end, end)
    rec.heard = now
