"""Every device's chunks, in whatever order and rate, to gapless seconds at 250 Hz on the grid of whole event seconds.

A second is ready when all of it is there, or when the device's newest sample is `LATENESS` beyond it: then what is
missing is a hole. Both depend on event time alone, so a replay at any speed makes the same seconds.

Rows of plain arrays, one a device, with the same places as the engine's.
"""

import numpy as np
from numpy.typing import NDArray

from holter.batch.chunks import Chunks
from holter.batch.seconds import Taken, take
from holter.batch.stream import MISSING, RING, STREAM, end_of, hear, push, ready
from holter.chunk import MICROSECONDS
from holter.model.jit import njit


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
            hear(rec, h.t0, h.t0 + int(np.rint(h.n * MICROSECONDS / h.fs)), h.arrived, page, now)
        done = push(rec, rings[rows[i]], h.fs, h.t0, h.flags, h.arrived, since, x)
        if done < 0:
            return i, late
        late += done
    return rows.size, late


@njit()
def _waits(streams: NDArray[np.void], rings: NDArray[np.int16], rows: NDArray[np.int64]) -> bool:
    for row in rows:
        rec = streams[row]
        if rec.second > 0 and rec.newest >= end_of(rec) and not ready(rec, rings[row]):
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
        return take(self.rows, self._rings, rows)

    def waiting(self, rows: NDArray[np.int64]) -> bool:
        """Whether one of these has a hole in its next second and something newer: the rest may be on its way."""
        return bool(_waits(self.rows, self._rings, rows))
