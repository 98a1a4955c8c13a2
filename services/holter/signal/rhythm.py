"""What the last beats say of rate and rhythm, for a batch of patients."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from holter.model.jit import njit
from holter.signal.filters import FS
from holter.signal.order import nth
from holter.signal.patient import BEATS
from holter.signal.qrs import SETTLE

RHYTHM = np.dtype(
    [
        ("rate", np.float32),  # 1/min, median of the last 5 R-R; 0 without
        ("rate_before", np.float32),  # 1/min, median of the 16 R-R before the last 8
        ("rate_now", np.float32),  # 1/min, median of the last 8 R-R
        ("since", np.float32),  # s since the last R
        ("run", np.int32),  # consecutive ventricular beats, the last of them within `_OVER`
        ("run_rate", np.float32),  # 1/min within that run
        ("run_length", np.float32),  # s from its first R to its last
        ("run_first", np.float32),  # s before now that it began
        ("run_width", np.float32),  # largest QRS width of its beats over the own one's, - 1
        ("ventricular", np.int32),  # of the last 60 s
        ("ventricular_now", np.int32),  # of the last 5 beats
        ("premature", np.int32),  # of the last 60 s, not ventricular
        ("beats", np.int32),  # of the last 60 s
        ("foreign", np.float32),  # s, longest stretch without a beat like the own one, of the last 4 s that are final
        ("own", np.int32),  # of the newest beats, how many in a row are surely own ones
        ("moved", np.float32),  # largest `motion` of a beat of the last 5 s
        ("irregularity", np.float32),  # see `_irregularity`; 0 while fewer than 16 R-R are known
    ],
    align=True,
)


@njit()
def _irregularity(rr: NDArray[np.float32], n: int) -> float:
    """Median |RR_i - RR_(i-1)| or, if smaller, |RR_i - RR_(i-2)|, over median RR: small in bigeminy, large in AF."""
    if n < 16:
        return 0.0
    one, two = np.abs(rr[1:n] - rr[: n - 1]), np.abs(rr[2:n] - rr[: n - 2])
    return float(min(nth(one, n - 1, (n - 1) // 2), nth(two, n - 2, (n - 2) // 2)) / nth(rr, n, n // 2))


_ALIKE = 0.8
"""Correlation above the band of motion from which a beat may be an own one."""
_SURE = 0.95
_FOREIGN, _MOVED = 4 * FS, 5 * FS
_OVER = 2.0
"""Seconds after its last beat that a run is over, whatever the score says of the seconds since."""


@njit()
def _rate(rr: NDArray[np.float32], first: int, last: int) -> float:
    if last - first < 3:
        return 0.0
    middle = nth(rr[first:], last - first, (last - first) // 2)
    return float(60.0 / middle) if middle > 0 else 0.0


@njit()
def _one(rec: Any, out: Any) -> None:
    n = min(rec.beat_n, BEATS - 1)
    rr = np.empty(BEATS, np.float32)
    known = 0
    out.ventricular = out.ventricular_now = out.premature = out.beats = 0
    out.run, out.run_rate, out.run_length, out.run_first, out.run_width = 0, 0.0, 0.0, 0.0, 0.0
    out.since = 1e3
    in_run, run_ended, last_r, first_r = False, False, 0, 0
    final, later = rec.n - SETTLE, rec.n - SETTLE
    oldest = final - _FOREIGN
    out.foreign, out.moved, out.own = 0.0, 0.0, 0
    for j in range(n):  # newest first
        b = rec.beats[(rec.beat_n - 1 - j) % BEATS]
        age = (rec.n - b.r) / FS
        if b.r <= 0 or age > 60.0:
            break
        if j == 0:
            out.since = age
        if b.rr > 0:
            rr[known] = b.rr
            known += 1
        out.beats += 1
        if b.fast > _ALIKE and oldest < b.r < final:
            out.foreign = max(out.foreign, (later - b.r) / FS)
            later = b.r
        if out.own == j and b.fast > _SURE and b.ventricular == 0:
            out.own += 1
        if b.r > rec.n - _MOVED:
            out.moved = max(out.moved, b.motion)
        if b.ventricular == 1:
            out.ventricular += 1
            if j < 5:
                out.ventricular_now += 1
            if not run_ended and (in_run or age < _OVER):
                if not in_run:
                    last_r = b.r
                in_run = True
                first_r = b.r
                out.run += 1
                out.run_width = max(out.run_width, b.wid)
        else:
            if b.prem > 0.13:
                out.premature += 1
            if in_run:
                run_ended = True
    out.foreign = max(out.foreign, (later - oldest) / FS)
    if out.run >= 2:
        out.run_length = (last_r - first_r) / FS
        out.run_rate = 60.0 * (out.run - 1) / max(out.run_length, 0.2)
    if out.run > 0:
        out.run_first = (rec.n - first_r) / FS
    out.rate = _rate(rr, 0, min(known, 5))
    out.rate_now = _rate(rr, 0, min(known, 8))
    out.rate_before = _rate(rr, 8, min(known, 24)) if known >= 20 else 0.0
    out.irregularity = _irregularity(rr, min(known, 40))


@njit()
def describe(state: NDArray[np.void], slots: NDArray[np.int64], out: NDArray[np.void]) -> None:
    """Rate and rhythm of each patient.

    Args:
        state: shape (capacity,), dtype PATIENT.
        slots: shape (n,).
        out: shape (n,), dtype RHYTHM, overwritten.
    """
    for i in range(slots.size):
        _one(state[slots[i]], out[i])
