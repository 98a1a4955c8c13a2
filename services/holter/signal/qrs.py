"""Beat detection, streamed: peaks of the 120 ms mean of |6-16 Hz|, an adaptive threshold, search-back, pruning.

Thresholds after Pan & Tompkins (IEEE TBME 1985;32:230) and Christov (BioMed Eng OnLine 2004;3:28), with constants
measured on the development records (docs/detection.md). Of two peaks that are too near, slope tells the QRS from a T or
P wave (Pan & Tompkins), and energy with it. A peak is final about 0.45 s after R.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from holter.model.jit import njit
from holter.signal.filters import BLOCK, FS
from holter.signal.order import nth
from holter.signal.patient import RING

_MEAN = 30  # 120 ms
_REFRACTORY = 50  # 200 ms
_NEAR = 90  # 360 ms: no beat is searched for that soon after one
_T_WAVE = 105  # 420 ms: nor does one come later
_P_WAVE = 75  # 300 ms
_SHORTEST = 62  # 248 ms: no heart beats twice within, but in flutter
_THRESHOLD = 0.42
SETTLE = 108
"""Samples after a peak until no later one can undo it and its whole beat has been seen."""


@njit()
def _level(peaks: NDArray[np.float32]) -> float:
    return 0.5 * (nth(peaks, 8, 3) + nth(peaks, 8, 4))


@njit(fastmath=True)
def _slope(rec: Any, i: int) -> float:
    """Steepest change within 12 ms of the shape band, mV, of the beat whose envelope has its peak at i."""
    steepest = np.float32(0.0)
    for j in range(i - 40, i + 6):
        steepest = max(steepest, abs(rec.shape[j % RING] - rec.shape[(j - 3) % RING]))
    return float(steepest)


@njit()
def _accept(rec: Any, i: int, h: float, level: float) -> bool:
    """A peak is found: prune its neighbours, follow the level, queue it; False when it is no beat itself."""
    s = _slope(rec, i)
    gap = i - rec.last_i
    if rec.last_s > 0:
        higher, steeper = h / rec.last_h, s / rec.last_s
        if gap < _T_WAVE and (higher < 0.3 or (higher < 1.0 and steeper < 0.5)):
            return False
        both = gap < _P_WAVE and higher > 1.5 and steeper > 1.5
        if gap < _SHORTEST:
            if higher * steeper < 1.0:
                return False
            both = True
        if both and rec.pend_n > 0:
            rec.pend_n -= 1
    k = rec.pend_n
    if k == 4:  # cannot be with the refractory time, but a queue is bounded
        for q in range(3):
            rec.pend_i[q] = rec.pend_i[q + 1]
            rec.pend_h[q] = rec.pend_h[q + 1]
        k = 3
        rec.pend_n = 3
    rec.pend_i[k] = i
    rec.pend_h[k] = h
    rec.pend_n = k + 1
    rec.peaks[rec.peak_n % 8] = min(h, 2.5 * level)
    rec.peak_n += 1
    if rec.last_i > 0:
        rr = (i - rec.last_i) / FS
        if 0.24 < rr < 2.5:
            rec.mean_rr = rr if rec.mean_rr == 0 else rec.mean_rr + 0.125 * (rr - rec.mean_rr)
    rec.last_i = i
    rec.last_h, rec.last_s = h, s
    return True


@njit()
def _envelope(rec: Any, qrs: NDArray[np.float32], out: NDArray[np.float64]) -> None:
    """Mean of the last _MEAN |samples|, each time: shape (BLOCK,), overwritten."""
    x = np.empty(_MEAN + BLOCK, np.float32)
    x[:_MEAN] = rec.env
    for j in range(BLOCK):
        x[_MEAN + j] = abs(qrs[j])
    rec.env[:] = x[BLOCK:]
    total, new = rec.env_sum, x[_MEAN:]
    for j in range(BLOCK):
        total += new[j] - x[j]
        out[j] = max(total, 0.0) / _MEAN
    rec.env_sum = total


@njit()
def _begin(rec: Any, env: NDArray[np.float64]) -> int:
    """Of a patient who is new: two seconds to know how high a beat is; how many samples of the block that took."""
    for j in range(BLOCK):
        i = rec.n + j
        if i > 100:
            rec.peak_max = max(rec.peak_max, env[j])
        if i > 600 and rec.peak_max > 0.005:
            rec.peaks[:] = 0.7 * rec.peak_max
            rec.peak_n = 8
            rec.last_i = i
            return j + 1
    return BLOCK


@njit()
def _overdue(rec: Any) -> float:
    """Samples after the last beat from which one is missing."""
    return 1.6 * rec.mean_rr * FS if rec.mean_rr > 0 else np.inf


@njit()
def _wane(rec: Any) -> float:
    """Nothing for seconds: beats may have become small."""
    for q in range(8):
        rec.peaks[q] = max(0.6 * rec.peaks[q], 0.004)
    return float(_level(rec.peaks))


@njit()
def scan(rec: Any, qrs: NDArray[np.float32]) -> None:
    """Look for peaks in one block; they are queued in `pend_i`, `pend_h`.

    Args:
        rec: a PATIENT record; `n` is the number of the block's first sample.
        qrs: shape (BLOCK,), float32, the QRS band, mV.
    """
    env = np.empty(BLOCK)
    _envelope(rec, qrs, env)
    first = _begin(rec, env) if rec.peak_n == 0 else 0
    if rec.peak_n == 0:
        return
    # What each sample looks at is kept out of the record: a register is faster than memory.
    level, overdue, last_i = _level(rec.peaks), _overdue(rec), rec.last_i
    cand_i, cand_h, back_i, back_h = rec.cand_i, rec.cand_h, rec.back_i, rec.back_h
    env_1, env_2 = rec.env_1, rec.env_2
    for j in range(first, BLOCK):
        i, e = rec.n + j, env[j]
        silence = i - last_i
        if silence >= 3 * FS and silence % FS == 0:
            level = _wane(rec)
        threshold = _THRESHOLD * level
        if cand_i == 0:
            if e > threshold and silence > _REFRACTORY:
                cand_i, cand_h = i, np.float32(e)
        elif e > cand_h:
            cand_i, cand_h = i, np.float32(e)
        elif i - cand_i >= _MEAN:
            if _accept(rec, cand_i, cand_h, level):
                level, overdue, last_i, back_h = _level(rec.peaks), _overdue(rec), cand_i, np.float32(0.0)
            cand_i = 0
        # the best peak below the threshold, should a beat be missing
        if env_1 > env_2 and env_1 >= e and silence > _NEAR and env_1 > back_h:
            back_i, back_h = i - 1, env_1
        env_2, env_1 = env_1, np.float32(e)
        if silence > overdue and cand_i == 0 and back_h > 0.5 * threshold and _accept(rec, back_i, back_h, level):
            level, overdue, last_i, back_h = _level(rec.peaks), _overdue(rec), back_i, np.float32(0.0)
    rec.cand_i, rec.cand_h, rec.back_i, rec.back_h = cand_i, cand_h, back_i, back_h
    rec.env_1, rec.env_2 = env_1, env_2
