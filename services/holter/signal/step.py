"""One second of a batch of patients: filters, rings, per-second figures, beats, sliding template correlation."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from holter.model.jit import njit
from holter.signal import filters
from holter.signal.beats import own_normal, settle
from holter.signal.filters import BLOCK, COMPLEX, HIGH, LANES, LETHAL, NOISE, QRS, SHAPE, SLOW, WANDER
from holter.signal.patient import BEATS, CLUSTERS, SECONDS, TEMPLATE
from holter.signal.qrs import scan
from holter.signal.ring import append, newest

_LSB = 0.00125
"""mV: neighbours nearer than this are equal (one step of a device's converter, rounded to µV)."""
_HALF = TEMPLATE // 2


@njit(fastmath=True)
def _peak_to_peak(x: NDArray[np.float32]) -> float:
    low, high = x[0], x[0]
    for v in x:
        low = min(low, v)
        high = max(high, v)
    return float(high - low)


@njit(fastmath=True)
def _figures(rec: Any, x: NDArray[np.float32], bands: NDArray[np.float32], s: int) -> None:
    """The per-second figures of one block."""
    rec.pp_raw[s] = _peak_to_peak(x)
    near = 0
    for j in range(1, BLOCK):
        if abs(x[j] - x[j - 1]) <= _LSB:
            near += 1
    rec.equal[s] = near / (BLOCK - 1)
    rec.pp[s] = _peak_to_peak(bands[LETHAL])
    mean = 0.0
    for v in bands[COMPLEX]:
        mean += abs(v)
    mean /= BLOCK
    above = 0
    for v in bands[COMPLEX]:
        if abs(v) >= mean:
            above += 1
    rec.complex[s] = above / BLOCK
    rec.wander[s] = _peak_to_peak(bands[WANDER])
    total, square, high, lethal = 0.0, 0.0, 0.0, 0.0
    for j in range(BLOCK):
        w = bands[WANDER, j]
        total += w
        square += w * w
        high += bands[HIGH, j] ** 2
        lethal += bands[LETHAL, j] ** 2
    rec.wander_sum[s] = total
    rec.wander_sq[s] = square
    rec.high_sq[s] = high
    rec.lethal_sq[s] = lethal
    for k in range(5):
        power = 0.0
        for j in range(50 * k, 50 * k + 50):
            power += bands[NOISE, j] ** 2
        rec.noise[5 * s + k] = np.sqrt(power / 50)


@njit(fastmath=True)
def _template_correlation(rec: Any) -> float:
    """Highest correlation of this second with an own normal beat, sliding over every 8 ms: needs no beat detector.

    A place counts only when its energy is 0.4..2.5 times the template's (in norm).
    """
    n = BLOCK // 2
    if rec.n < 2 * (n + _HALF):
        return 0.0
    recent = np.empty(2 * (n + _HALF), np.float32)
    newest(rec.shape, rec.n, recent)
    x = recent[::2].copy()
    best = 0.0
    t = np.empty(_HALF, np.float32)
    for k in range(CLUSTERS):
        if rec.bank_seen[k] < 2 or not own_normal(rec, k):
            continue
        mean = 0.0
        for j in range(_HALF):
            t[j] = rec.bank[k, 2 * j]
            mean += t[j]
        mean /= _HALF
        norm = 0.0
        for j in range(_HALF):
            t[j] -= mean
            norm += t[j] * t[j]
        norm = np.sqrt(norm)
        total, square = 0.0, 0.0
        for j in range(_HALF - 1):
            total += x[j]
            square += x[j] ** 2
        for i in range(n):
            new = x[i + _HALF - 1]
            total += new
            square += new * new
            own = np.sqrt(max(square - total * total / _HALF, 1e-12))
            if 0.4 * norm < own < 2.5 * norm:
                dot = np.float32(0.0)
                for j in range(_HALF):
                    dot += t[j] * x[i + j]
                best = max(best, dot / (norm * own))
            total -= x[i]
            square -= x[i] ** 2
    return float(best)


@njit()
def _break(rec: Any) -> None:
    """Samples are missing: no R-R interval spans the hole."""
    rec.beats[(rec.beat_n - 1) % BEATS].r = 0
    rec.last_i = rec.n
    rec.last_s = 0.0
    rec.pend_n = 0
    rec.cand_i = 0
    rec.back_h = 0.0


@njit()
def _open(rec: Any, second: int, hole: float, lead_off: bool, first: float) -> None:
    """Begin a second: where it does not follow the last one, filters begin anew and what was lost is a hole."""
    if rec.n == 0:
        filters.start(rec.zi, first)
    if rec.second > 0 and second != rec.second + 1:
        lost = second - rec.second - 1
        if lost < 0 or lost >= SECONDS:  # the clock was set back, or all that the rings tell is long ago
            rec.hole[:] = 1.0
        for k in range(1, min(lost, SECONDS) + 1):
            rec.hole[(rec.second + k) % SECONDS] = 1.0
        filters.start(rec.zi, first)
        _break(rec)
    rec.second = second
    rec.hole[second % SECONDS] = hole
    rec.lead_off[second % SECONDS] = 1 if lead_off else 0
    if hole > 0.1:
        _break(rec)


@njit()
def _take(rec: Any, x: NDArray[np.float32], bands: NDArray[np.float32]) -> None:
    """Take a filtered second in: rings, figures, beats, template correlation."""
    s = rec.second % SECONDS
    append(rec.lethal, rec.n, bands[LETHAL])
    append(rec.shape, rec.n, bands[SHAPE])
    append(rec.slow, rec.n // 2, bands[SLOW, ::2])
    _figures(rec, x, bands, s)
    scan(rec, bands[QRS])
    rec.n += BLOCK
    settle(rec, rec.n)
    rec.ncc[s] = _template_correlation(rec)


@njit()
def advance(
    state: NDArray[np.void],
    slots: NDArray[np.int64],
    blocks: NDArray[np.float32],
    holes: NDArray[np.float32],
    lead_off: NDArray[np.bool_],
    seconds: NDArray[np.int64],
) -> None:
    """Take one second of each patient in.

    Args:
        state: shape (capacity,), dtype PATIENT.
        slots: shape (n,), int64, which records; each at most once.
        blocks: shape (n, BLOCK), float32, mV at 250 Hz; missing samples hold the last value.
        holes: shape (n,), float32, share of missing samples.
        lead_off: shape (n,), what the device says.
        seconds: shape (n,), int64, event time at the end of the block, s since the epoch.
    """
    zi = np.zeros((filters.SECTIONS, 2, LANES))
    x = np.zeros((BLOCK, LANES), np.float32)
    filtered = np.empty((filters.BANDS, BLOCK, LANES), np.float32)
    bands = np.empty((filters.BANDS, BLOCK), np.float32)
    for group in range(0, slots.size, LANES):
        lanes = min(LANES, slots.size - group)
        for lane in range(lanes):
            i = group + lane
            rec = state[slots[i]]
            _open(rec, seconds[i], holes[i], lead_off[i], blocks[i, 0])
            zi[:, :, lane] = rec.zi
            x[:, lane] = blocks[i]
        filters.run(zi, x, filtered)
        for lane in range(lanes):
            i = group + lane
            rec = state[slots[i]]
            rec.zi[:] = zi[:, :, lane]
            bands[:] = filtered[:, :, lane]
            _take(rec, blocks[i], bands)
