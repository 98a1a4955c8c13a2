"""Beat detection, streamed: peaks of the 120 ms mean of |6-16 Hz|, an adaptive threshold, search-back, pruning.

Thresholds after Pan & Tompkins (IEEE TBME 1985;32:230) and Christov (BioMed Eng OnLine 2004;3:28), with constants
measured on the development records (docs/detection.md). A peak is final about 0.45 s after R.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from holter.model.jit import njit
from holter.signal.filters import BLOCK, FS

_MEAN = 30  # 120 ms
_REFRACTORY = 50  # 200 ms
_NEAR = 90  # 360 ms: a T wave may come
_THRESHOLD = 0.42
SETTLE = 108
"""Samples after a peak until no later one can undo it and its whole beat has been seen."""


@njit()
def _level(peaks: NDArray[np.float32]) -> float:
    order = np.sort(peaks)
    return float(0.5 * (order[3] + order[4]))


@njit()
def _accept(rec: Any, i: int, h: float, level: float) -> None:
    """A peak is found: prune its neighbours, follow the level, queue it."""
    k = rec.pend_n
    if k > 0:
        gap = i - rec.pend_i[k - 1]
        before = rec.pend_h[k - 1]
        if gap < 75 and before < 0.6 * h:
            rec.pend_n -= 1
            k -= 1
        elif gap < 100 and h < 0.5 * before:
            return
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
    rec.last_h = h
    rec.back_h = 0.0


@njit()
def scan(rec: Any, qrs: NDArray[np.float32]) -> None:
    """Look for peaks in one block; they are queued in `pend_i`, `pend_h`.

    Args:
        rec: a PATIENT record; `n` is the number of the block's first sample.
        qrs: shape (BLOCK,), float32, the QRS band, mV.
    """
    level = _level(rec.peaks) if rec.peak_n > 0 else 0.0
    for j in range(BLOCK):
        i = rec.n + j
        slot = i % _MEAN
        a = abs(qrs[j])
        rec.env_sum += a - rec.env[slot]
        rec.env[slot] = a
        e = max(rec.env_sum, 0.0) / _MEAN
        if rec.peak_n == 0:  # two seconds to know how high a beat is
            if i > 100:
                rec.peak_max = max(rec.peak_max, e)
            if i > 600 and rec.peak_max > 0.005:
                rec.peaks[:] = 0.7 * rec.peak_max
                rec.peak_n = 8
                level = _level(rec.peaks)
                rec.last_i = i
            continue
        silence = i - rec.last_i
        if silence >= 3 * FS and silence % FS == 0:
            for q in range(8):
                rec.peaks[q] = max(0.6 * rec.peaks[q], 0.004)
            level = _level(rec.peaks)
        threshold = _THRESHOLD * level
        if rec.cand_i == 0:
            if e > threshold and silence > _REFRACTORY:
                rec.cand_i = i
                rec.cand_h = e
        elif e > rec.cand_h:
            rec.cand_i = i
            rec.cand_h = e
        elif i - rec.cand_i >= _MEAN:
            if not (rec.cand_i - rec.last_i < _NEAR and rec.cand_h < 0.6 * rec.last_h):
                _accept(rec, rec.cand_i, rec.cand_h, level)
                level = _level(rec.peaks)
            rec.cand_i = 0
        # the best peak below the threshold, should a beat be missing
        if rec.env_1 > rec.env_2 and rec.env_1 >= e and silence > _NEAR and rec.env_1 > rec.back_h:
            rec.back_h = rec.env_1
            rec.back_i = i - 1
        rec.env_2 = rec.env_1
        rec.env_1 = e
        if rec.mean_rr > 0 and silence > 1.6 * rec.mean_rr * FS and rec.cand_i == 0 and rec.back_h > 0.5 * threshold:
            _accept(rec, rec.back_i, rec.back_h, level)
            level = _level(rec.peaks)
