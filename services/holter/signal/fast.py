"""Own beats above the band of motion: what is unlike them only below some 5 Hz moved the electrode, not the heart.

x_j - (x_(j-8) + x_(j+8)) / 2 of the shape band has a gain of 1 - cos(2 pi f / 31 Hz): 0.02 at 1 Hz, 0.08 at 2, 0.3 at
4, 1.4 at 10, 2 at 16. It is linear, so a template's is made from the template.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from holter.model.jit import njit
from holter.signal.patient import TEMPLATE

OWN = 0.9
"""Correlation from which a beat is an own one: 98 % of normal beats, 15 % of ventricular ones."""
_STEP = 8  # 32 ms
_N = TEMPLATE - 2 * _STEP


@njit(fastmath=True)
def above_motion(rec: Any, k: int, seg: NDArray[np.float32]) -> tuple[float, int, float]:
    """A beat against template k above the band of motion.

    Args:
        rec: a PATIENT record.
        k: which template.
        seg: shape (TEMPLATE + lags - 1,), float32, the beat with its margins, mV.

    Returns:
        Correlation at the best lag, that lag, energy over the template's.
    """
    template, own = np.empty(_N, np.float32), np.float32(1e-9)
    for j in range(_N):
        template[j] = rec.bank[k, j + _STEP] - np.float32(0.5) * (rec.bank[k, j] + rec.bank[k, j + 2 * _STEP])
        own += template[j] * template[j]
    n = seg.size - 2 * _STEP
    fast, square = np.empty(n, np.float32), np.float32(1e-9)
    for j in range(n):
        fast[j] = seg[j + _STEP] - np.float32(0.5) * (seg[j] + seg[j + 2 * _STEP])
    for j in range(_N):
        square += fast[j] * fast[j]
    best, at, energy = -1.0, 0, 0.0
    for s in range(n - _N + 1):
        dot = np.float32(0.0)
        for j in range(_N):
            dot += template[j] * fast[s + j]
        c = dot / np.sqrt(max(square, np.float32(1e-9)) * own)
        if c > best:
            best, at, energy = float(c), s, float(square / own)
        if s < n - _N:
            square += fast[s + _N] ** 2 - fast[s] ** 2
    return best, at, energy
