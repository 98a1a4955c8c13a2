"""Pacing pulses taken out before anything looks at the signal: they are no QRS, with a beat after them or without one.

A pulse lasts 0.1–2 ms (IEC 60601-2-27, 201.12.1.101.13, which wants it rejected, and no heart rate counted from pulses
that capture nothing); behind a converter's filter it is one to three samples of 4 ms. No QRS comes and goes in 12 ms.
"""

import numpy as np
from numpy.typing import NDArray

from holter.model.jit import njit

AHEAD = 3
"""Samples that have to be seen behind one to know that it is no pulse: the signal of who is paced is 12 ms late."""
_BEHIND = 2
TAIL = _BEHIND + AHEAD
_SMALLEST = 0.15  # mV: what is smaller is no QRS to anything that looks for one
_ABRUPT = 3.0
_BEGUN, _BACK = 0.1, 0.25


@njit()
def without_pulses(tail: NDArray[np.float32], block: NDArray[np.float32]) -> None:
    """Replace pulses by a straight line, one block after the other.

    A pulse is 0.15 mV high or more and three times the change from sample to sample before it, begins with a tenth of
    its height or 0.15 mV, and at most a quarter is left after one to three samples; it ends where least is left.

    Args:
        tail: shape (TAIL,), float32, mV: the last samples of the block before, brought up to date.
        block: shape (n,), float32, mV at 250 Hz; overwritten by the signal `AHEAD` samples earlier.
    """
    n = block.size
    x = np.empty(n + TAIL, np.float32)
    x[:TAIL] = tail
    x[TAIL:] = block
    for i in range(_BEHIND, n + _BEHIND):
        base, height = x[i - 1], np.float32(0.0)
        least = max(_SMALLEST, _ABRUPT * abs(base - x[i - 2]))
        width, left = 0, np.float32(np.inf)
        for k in range(1, AHEAD + 1):
            height = max(height, abs(x[i + k - 1] - base))
            rest = abs(x[i + k] - base)
            begun = abs(x[i] - base) >= min(_BEGUN * height, _SMALLEST)
            if begun and height >= least and rest < _BACK * height and rest < left:
                width, left = k, rest
        for j in range(width):
            x[i + j] = base + (x[i + width] - base) * np.float32((j + 1) / (width + 1))
    block[:] = x[_BEHIND : n + _BEHIND]
    tail[:] = x[n:]
