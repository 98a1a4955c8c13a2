"""Every device's chunks, in whatever order and rate, to gapless seconds at 250 Hz on the grid of whole event seconds.

A second is ready when all of it is there, or when the device's newest sample is `LATENESS` beyond it: then what is
missing is a hole. Both depend on event time alone, so a replay at any speed makes the same seconds.

Rows of plain arrays, one a device, with the same places as the engine's; samples wait in rings of int16, addressed by
their number since the device's anchor, modulo the ring's length.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holter.batch.chunks import Chunks
from holter.chunk import LEAD_OFF, MICROSECONDS
from holter.model.jit import njit
from holter.signal.filters import BLOCK, FS
from holter.signal.resample import HALF, interpolate, kernel

LATENESS = 2.0
"""Seconds of event time that a missing chunk is waited for."""
RING = 4096
"""Samples that wait at most: 16 s at 250 Hz, 4 s at 1000; 8 kB a device."""
MISSING = -32768
"""Of a sample that has not come; no device can send it."""
_BRIDGE = 5
"""Missing native samples that are bridged by a straight line and are no hole (a clock that drifts)."""
_RESTART_AFTER = 8
"""Chunks in a row from far behind: the device's clock was set back."""
_FAR = 60 * MICROSECONDS
_ARRIVALS = 64
_LONGEST_GAP = 30
"""Seconds in a row without a sample, at most; a ring holds 41 at 100 Hz, but what waits is `LATENESS` beyond a hole."""

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
        (
            "arrivals",
            np.int64,
            (_ARRIVALS,),
        ),  # of each second, modulo 64: of its last sample at ingest; 0 unknown
        ("page", np.int64),  # of which it was heard last
        ("heard", np.float64),  # wall clock of that, s; 0 never
        ("heard_first", np.int64),  # event time of what it brought, µs
        ("heard_end", np.int64),
    ],
    align=True,
)


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
def _start(rec: Any) -> int:
    """Number of the first native sample of the next second; at other rates a filter's length before it."""
    ahead = (rec.second - 1) * MICROSECONDS - rec.anchor
    return int(np.rint(ahead * rec.fs / MICROSECONDS)) - (0 if rec.fs == FS else 2 * HALF)


@njit()
def _length(rec: Any) -> int:
    return BLOCK if rec.fs == FS else int(rec.fs) + 2 * HALF + 2


@njit()
def _end(rec: Any) -> int:
    return _start(rec) + _length(rec) - (0 if rec.fs == FS else 2)


@njit()
def _ready(rec: Any, ring: NDArray[np.int16]) -> bool:
    end = _end(rec)
    if rec.newest < end:
        return False
    if rec.newest >= end + LATENESS * rec.fs:
        return True
    start = max(_start(rec), 0)
    at = start % RING
    first = min(end - start, RING - at)
    for i in range(at, at + first):
        if ring[i] == MISSING:
            return False
    for i in range(end - start - first):  # noqa: SIM110 - compiled
        if ring[i] == MISSING:
            return False
    return True


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
def _push(
    rec: Any, ring: NDArray[np.int16], fs: float, t0: int, flags: int, arrived: int, since: int, x: NDArray[np.int16]
) -> int:
    """Take a chunk: 0; 1 when it came too late; -1 when there is no room for it until ready seconds have been taken."""
    if rec.fs != fs:
        if 0 < arrived < rec.arrived:
            return 0  # from before the device changed its rate
        if rec.fs > 0 and _ready(rec, ring):
            return -1
        _restart(rec, ring, fs, t0)
    n = x.size
    at = int(np.rint((t0 - rec.anchor) * fs / MICROSECONDS))
    if at + n > rec.base + RING:
        if _ready(rec, ring):
            return -1
        _restart(rec, ring, fs, t0)
        at = 0
    late = 0
    if at + n <= _start(rec):
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
    skip = max(0, rec.base - at)
    place = (at + skip) % RING
    for i in range(skip, n):
        if ring[place] == MISSING:
            ring[place] = x[i]
        place += 1
        if place == RING:
            place = 0
    rec.newest = max(rec.newest, at + n)
    end = t0 + int(np.rint(n * MICROSECONDS / fs))
    for second in (t0 // MICROSECONDS + 1, (end - 1) // MICROSECONDS + 1):
        if second >= rec.second:
            if arrived > since:
                rec.arrivals[second % _ARRIVALS] = arrived
            if flags & LEAD_OFF:
                rec.lead_off |= np.uint64(1) << np.uint64(second % 64)
    return late


@njit()
def _hear(rec: Any, t0: int, end: int, arrived: int, page: int, now: float) -> None:
    """Note a sign of life; what another way had brought before is none. It comes before the chunk is pushed."""
    if rec.heard > 0 and 0 < arrived <= rec.arrived and end <= rec.heard_end:
        return
    if rec.page != page:
        rec.page = page
        rec.heard_first, rec.heard_end = t0, end
    rec.heard_first = min(rec.heard_first, t0)
    rec.heard_end = max(rec.heard_end, end)
    rec.heard = now


@njit()
def _push_all(
    streams: NDArray[np.void],
    rings: NDArray[np.int16],
    rows: NDArray[np.int64],
    head: NDArray[np.void],
    samples: NDArray[np.int16],
    first: int,
    since: int,
    page: int,
    now: float,
) -> tuple[int, int]:
    """Push chunks from `first` on; the first that found no room (or their number), and how many came too late."""
    late = 0
    for i in range(first, rows.size):
        h = head[i]
        rec = streams[rows[i]]
        x = samples[h.start : h.start + h.n]
        if now > 0:
            _hear(rec, h.t0, h.t0 + int(np.rint(h.n * MICROSECONDS / h.fs)), h.arrived, page, now)
        done = _push(rec, rings[rows[i]], h.fs, h.t0, h.flags, h.arrived, since, x)
        if done < 0:
            return i, late
        late += done
    return rows.size, late


@njit()
def _fill(native: NDArray[np.int16], out: NDArray[np.float32]) -> float:
    """To mV; what is missing is bridged; the share that is a hole, and not just a step of the clock."""
    n = native.size
    scale = np.float32(1000)
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
    arrived = rec.arrivals[second % _ARRIVALS]
    rec.arrivals[second % _ARRIVALS] = 0
    if arrived == 0 and hole > 0.5:  # not 1: at other rates a second is made with some samples of its neighbours
        for later in range(second + int(LATENESS), second + _LONGEST_GAP):
            if rec.arrivals[later % _ARRIVALS] != 0:
                return int(rec.arrivals[later % _ARRIVALS])
    return int(arrived)


@njit()
def _native(rec: Any, ring: NDArray[np.int16], start: int, out: NDArray[np.int16]) -> None:
    """Samples from number `start` on; before the first was nothing."""
    before = min(max(rec.base - start, 0), out.size)
    out[:before] = MISSING
    at = (start + before) % RING
    first = min(out.size - before, RING - at)
    out[before : before + first] = ring[at : at + first]
    out[before + first :] = ring[: out.size - before - first]


@njit()
def _forget(rec: Any, ring: NDArray[np.int16]) -> None:
    """What is before the next second is not wanted any more."""
    start = max(_start(rec), rec.base)
    n, at = min(start - rec.base, RING), rec.base % RING
    first = min(n, RING - at)
    ring[at : at + first] = MISSING
    ring[: n - first] = MISSING
    rec.base = start


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
        if rec.second == 0 or not _ready(rec, rings[rows[r]]):
            continue
        start, length = _start(rec), _length(rec)
        _native(rec, rings[rows[r]], start, buffer[:length])
        if rec.fs == FS:
            holes[count] = _fill(buffer[:length], samples[count])
        else:
            holes[count] = _fill(buffer[:length], native[other, :length])
            exact = ((rec.second - 1) * MICROSECONDS - rec.anchor) * rec.fs / MICROSECONDS
            first[other] = exact - HALF - start
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


@njit()
def _waits(streams: NDArray[np.void], rings: NDArray[np.int16], rows: NDArray[np.int64]) -> bool:
    for row in rows:
        rec = streams[row]
        if rec.second > 0 and rec.newest >= _end(rec) and not _ready(rec, rings[row]):
            return True
    return False


class Streams:
    """All streams of a worker.

    Args:
        capacity: rows to make room for at first.

    Attributes:
        rows: shape (capacity,), dtype STREAM.
        late_chunks: those that came after their second had been taken.
        since: arrivals up to this (µs since the epoch) are not known: somebody else has judged them, and has told.
    """

    def __init__(self, capacity: int) -> None:
        self.rows = np.zeros(capacity, STREAM)
        self._rings = np.full((capacity, RING), MISSING, np.int16)
        self.late_chunks = 0
        self.since = 0
        self._page = 0

    def grow(self, capacity: int) -> None:
        """Make room."""
        old, rings = self.rows, self._rings
        self.rows = np.zeros(capacity, STREAM)
        self.rows[: len(old)] = old
        # Rings are filled when a stream begins: pages that nobody has touched take no memory.
        self._rings = np.empty((capacity, RING), np.int16)
        self._rings[: len(old)] = rings

    def begin(self, row: int) -> None:
        """A new device has this row."""
        self.rows[row] = np.zeros((), STREAM)

    def newest(self, row: int) -> int:
        """Event time just after a row's newest sample, µs."""
        rec = self.rows[row]
        return int(rec["anchor"]) + (round(int(rec["newest"]) * MICROSECONDS / float(rec["fs"])) if rec["fs"] else 0)

    def next_page(self) -> None:
        """What is pushed from now on came together: the length of a device's posts is seen by it."""
        self._page += 1

    def push(self, rows: NDArray[np.int64], chunks: Chunks, first: int, now: float = 0.0) -> int:
        """Take chunks from `first` on.

        Args:
            rows: shape (n,), whose each chunk is.
            chunks: n chunks.
            first: where to begin.
            now: wall clock, s, at which they were heard; 0: they are no sign of life.

        Returns:
            Where to go on once ready seconds have been taken; n at the end.
        """
        done, late = _push_all(
            self.rows, self._rings, rows, chunks.head, chunks.samples, first, self.since, self._page, now
        )
        self.late_chunks += int(late)
        return int(done)

    def take(self, rows: NDArray[np.int64]) -> Taken | None:
        """The next second of each of these rows that has one ready; None when none has."""
        n = len(rows)
        rates = self.rows["fs"][rows]
        other = rates[rates != FS]
        longest = int(max(other.max(initial=0.0), float(FS))) + 2 * HALF + 2
        taken, seconds, samples = np.empty(n, np.int64), np.empty(n, np.int64), np.empty((n, BLOCK), np.float32)
        holes, lead_off, arrived = np.empty(n, np.float32), np.empty(n, np.bool_), np.empty(n, np.int64)
        others, native, first = np.empty(n, np.int64), np.empty((len(other), longest), np.float32), np.empty(len(other))
        count, m = _take_all(
            self.rows, self._rings, rows, taken, seconds, samples, holes, lead_off, arrived, others, native, first
        )
        if not count:
            return None
        for i in range(m):
            place = others[i]
            fs = float(self.rows["fs"][taken[place]])
            interpolate(native[i], float(first[i]), fs / FS, kernel(fs), samples[place])
        return Taken(taken[:count], seconds[:count], samples[:count], holes[:count], lead_off[:count], arrived[:count])

    def waiting(self, rows: NDArray[np.int64]) -> bool:
        """Whether one of these has a hole in its next second and something newer: the rest may be on its way."""
        return bool(_waits(self.rows, self._rings, rows))
