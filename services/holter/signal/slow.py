"""Own beats in the 1-11 Hz band, which muscle noise hardly reaches: what is unlike them there too is no noise.

Of the Noise Stress Test's muscle artefact 6 % of the power lies in 2-11 Hz, of a ventricular beat most.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from holter.model.jit import njit
from holter.signal.patient import SLOW_TEMPLATE
from holter.signal.ring import newest

_LAG = 6  # 48 ms at 125 Hz
SLOW_SEGMENT = SLOW_TEMPLATE + 2 * _LAG
_DELAY = 6  # the slow band is 48 ms later than the shape band
_BEFORE = 15


@njit(fastmath=True)
def cut(rec: Any, r: int, seg: NDArray[np.float32]) -> None:
    """Copy a beat's slow band with its lag margins.

    Args:
        rec: a PATIENT record.
        r: sample of R in the shape band.
        seg: shape (SLOW_SEGMENT,), float32, 125 Hz, overwritten.
    """
    newest(rec.slow, r // 2 + _DELAY - _BEFORE - _LAG + SLOW_SEGMENT, seg)


@njit(fastmath=True)
def compare(rec: Any, k: int, seg: NDArray[np.float32]) -> tuple[float, float, float, int]:
    """A beat against template k at the lag of best correlation.

    Returns:
        Residual and beat, each as energy over the template's (the residual at most 20), correlation, lag.
    """
    total, square = np.float32(0.0), np.float32(0.0)
    for j in range(SLOW_TEMPLATE):
        total += seg[j]
        square += seg[j] * seg[j]
    own, template = rec.slow_norm[k] ** 2 + 1e-9, rec.slow_bank[k]
    best, residual, energy, at = -1.0, 20.0, 0.0, _LAG
    for s in range(2 * _LAG + 1):
        part, dot = seg[s : s + SLOW_TEMPLATE], np.float32(0.0)
        for j in range(SLOW_TEMPLATE):  # templates have mean zero
            dot += part[j] * template[j]
        norm = max(square - total * total / SLOW_TEMPLATE, 1e-9)
        c = dot / np.sqrt(norm * own)
        if c > best:
            best, at = c, s
            residual, energy = max((norm + own - 2 * dot) / own, 0.0), norm / own
        if s < 2 * _LAG:
            total += seg[s + SLOW_TEMPLATE] - seg[s]
            square += seg[s + SLOW_TEMPLATE] ** 2 - seg[s] ** 2
    return min(residual, 20.0), energy, best, at


@njit(fastmath=True)
def follow(rec: Any, k: int, seg: NDArray[np.float32], s: int, rate: float) -> None:
    """Move template k towards the beat at lag s; a rate of 1 replaces it."""
    mean = np.float32(0.0)
    for j in range(SLOW_TEMPLATE):
        mean += seg[s + j]
    mean /= SLOW_TEMPLATE
    template, energy = rec.slow_bank[k], np.float32(0.0)
    for j in range(SLOW_TEMPLATE):
        value = seg[s + j] - mean
        template[j] = value if rate >= 1.0 else template[j] + np.float32(rate) * (value - template[j])
        energy += template[j] * template[j]
    rec.slow_norm[k] = np.sqrt(energy)
