"""One second of a batch of patients: filters, rings, per-second figures, beats, sliding template correlation."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from holter.model.jit import njit
from holter.signal import figures, filters
from holter.signal.beats import own_normal, settle
from holter.signal.filters import BANDS, BLOCK, LANES, LETHAL, QRS, SECTIONS, SHAPE, SLOW
from holter.signal.pacing import TAIL, without_pulses
from holter.signal.patient import BEATS, CLUSTERS, SECONDS, TEMPLATE
from holter.signal.qrs import scan
from holter.signal.ring import append, newest

_HALF = TEMPLATE // 2
_PLACES = BLOCK // 2
_STEP = 4  # 32 ms at 125 Hz
_FAST = _HALF - 2 * _STEP


@njit(fastmath=True)
def _fast(x: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    for i in range(out.size):
        out[i] = x[i + _STEP] - np.float32(0.5) * (x[i] + x[i + 2 * _STEP])


@njit(fastmath=True)
def _energies(x: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Sum of squares of each stretch of _FAST samples; out[i] is that of x[i : i + _FAST]."""
    total = 0.0
    for j in range(_FAST - 1):
        total += x[j] * x[j]
    for i in range(out.size):
        new, old = np.float64(x[i + _FAST - 1]), np.float64(x[i])
        total += new * new
        out[i] = max(total, 1e-12)
        total -= old * old


@njit(fastmath=True)
def template_correlation(rec: Any) -> float:
    """Highest correlation of this second with an own normal beat above the band of motion (`signal.fast`).

    The template slides over every 8 ms, so no beat detector is needed. A place counts only when its energy is 0.4..2.5
    times the template's (in norm). 0 where none does.
    """
    if rec.n < 2 * (_PLACES + _HALF):
        return 0.0
    recent = np.empty(2 * (_PLACES + _HALF), np.float32)
    newest(rec.shape, rec.n, recent)
    x = np.empty(_PLACES + _FAST, np.float32)
    _fast(recent[::2].copy(), x)
    energies = np.empty(_PLACES, np.float32)
    _energies(x, energies)
    best = np.float32(0.0)
    t = np.empty(_FAST, np.float32)
    for k in range(CLUSTERS):
        if rec.bank_seen[k] < 2 or not own_normal(rec, k):
            continue
        _fast(rec.bank[k, ::2].copy(), t)
        energy = np.float32(1e-9)
        for j in range(_FAST):
            energy += t[j] * t[j]
        low, high = np.float32(0.16) * energy, np.float32(6.25) * energy
        for i in range(_PLACES):
            if low < energies[i] < high:
                part, dot = x[i : i + _FAST], np.float32(0.0)
                for j in range(_FAST):
                    dot += t[j] * part[j]
                best = max(best, dot / np.sqrt(energy * energies[i]))
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
def _anew(rec: Any, first: float) -> None:
    """Nothing follows from the samples before."""
    filters.start(rec.zi, first)
    rec.tail[:] = first


@njit()
def begin(rec: Any, second: int, hole: float, lead_off: bool, first: float) -> None:
    """Begin a second: where it does not follow the last one, filters begin anew and what was lost is a hole."""
    if rec.n == 0:
        _anew(rec, first)
    if rec.second > 0 and second != rec.second + 1:
        lost = second - rec.second - 1
        if lost < 0 or lost >= SECONDS:  # the clock was set back, or all that the rings tell is long ago
            rec.hole[:] = 1.0
        for k in range(1, min(lost, SECONDS) + 1):
            rec.hole[(rec.second + k) % SECONDS] = 1.0
            rec.moved[(rec.second + k) % SECONDS] = 0.0
        _anew(rec, first)
        _break(rec)
    rec.second = second
    rec.hole[second % SECONDS] = hole
    rec.lead_off[second % SECONDS] = 1 if lead_off else 0
    rec.moved[second % SECONDS] = 0.0
    if hole > 0.1:
        _break(rec)


@njit()
def take(rec: Any, band: int, y: NDArray[np.float32]) -> None:
    """Take one band of a second in, shape (BLOCK,): to a ring, or to look for peaks in it."""
    if band == LETHAL:
        append(rec.lethal, rec.n, y)
    elif band == SLOW:
        append(rec.slow, rec.n // 2, y[::2])
    elif band == SHAPE:
        append(rec.shape, rec.n, y)
    elif band == QRS:  # the last one: it looks at the shape
        scan(rec, y)


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
    zi, table = np.zeros((SECTIONS, 2, LANES)), np.empty((figures.ROWS, LANES), np.float32)
    x, y = np.zeros((BLOCK, LANES), np.float32), np.empty((BLOCK, LANES), np.float32)
    block = np.empty(BLOCK, np.float32)
    for group in range(0, slots.size, LANES):
        lanes = min(LANES, slots.size - group)
        for lane in range(lanes):
            i = group + lane
            rec = state[slots[i]]
            begin(rec, seconds[i], holes[i], lead_off[i], blocks[i, 0])
            zi[:, :, lane] = rec.zi
            if rec.paced == 1:
                block[:] = blocks[i]
                without_pulses(rec.tail, block)
                x[:, lane] = block
            else:
                rec.tail[:] = blocks[i, BLOCK - TAIL :]
                x[:, lane] = blocks[i]
        figures.of_signal(x, table)
        for band in range(BANDS):
            filters.run(zi, x, band, y)
            figures.of_band(band, y, table)
            for lane in range(lanes):
                take(state[slots[group + lane]], band, y[:, lane])
        for lane in range(lanes):
            rec = state[slots[group + lane]]
            s = rec.second % SECONDS
            rec.zi[:] = zi[:, :, lane]
            figures.keep(rec, s, table, lane)
            rec.n += BLOCK
            settle(rec, rec.n)
            rec.ncc[s] = template_correlation(rec)
