"""The figures of one second, of LANES patients side by side: plain sums and extremes of a signal and its bands."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from holter.model.jit import njit
from holter.signal.filters import BLOCK, COMPLEX, HIGH, LANES, LETHAL, NOISE, WANDER

PP_RAW, EQUAL, PP, ABOVE, LETHAL_SQ, HIGH_SQ, WANDER_PP, WANDER_SUM, WANDER_SQ, NOISE_RMS = range(10)
PARTS = 5
"""Of a second, each with a noise of its own."""
ROWS = NOISE_RMS + PARTS
_PART = BLOCK // PARTS
_LSB = np.float32(0.00125)
"""mV: neighbours nearer than this are equal (one step of a device's converter, rounded to µV)."""


@njit(fastmath=True)
def _peak_to_peak(x: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    low, high = x[0].copy(), x[0].copy()
    for j in range(BLOCK):
        for lane in range(LANES):
            low[lane] = min(low[lane], x[j, lane])
            high[lane] = max(high[lane], x[j, lane])
    for lane in range(LANES):
        out[lane] = high[lane] - low[lane]


@njit(fastmath=True)
def _equal(x: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Share of neighbours that are equal."""
    out[:] = 0.0
    for j in range(1, BLOCK):
        for lane in range(LANES):
            out[lane] += np.float32(abs(x[j, lane] - x[j - 1, lane]) <= _LSB)
    for lane in range(LANES):
        out[lane] /= np.float32(BLOCK - 1)


@njit(fastmath=True)
def _above(x: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Share of |x| that is not below their mean."""
    mean = np.zeros(LANES, np.float32)
    for j in range(BLOCK):
        for lane in range(LANES):
            mean[lane] += abs(x[j, lane])
    for lane in range(LANES):
        mean[lane] /= np.float32(BLOCK)
    out[:] = 0.0
    for j in range(BLOCK):
        for lane in range(LANES):
            out[lane] += np.float32(abs(x[j, lane]) >= mean[lane])
    for lane in range(LANES):
        out[lane] /= np.float32(BLOCK)


@njit(fastmath=True)
def _sums(x: NDArray[np.float32], total: NDArray[np.float32], square: NDArray[np.float32]) -> None:
    """Sum and sum of squares, added up in double precision: of a slow band far from 0 a mean is taken off later."""
    one, two = np.zeros(LANES), np.zeros(LANES)
    for j in range(BLOCK):
        for lane in range(LANES):
            v = np.float64(x[j, lane])
            one[lane] += v
            two[lane] += v * v
    for lane in range(LANES):
        total[lane] = one[lane]
        square[lane] = two[lane]


@njit(fastmath=True)
def _squares(x: NDArray[np.float32], first: int, end: int, out: NDArray[np.float32]) -> None:
    out[:] = 0.0
    for j in range(first, end):
        for lane in range(LANES):
            out[lane] += x[j, lane] * x[j, lane]


@njit()
def of_signal(x: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Figures of the signal itself.

    Args:
        x: shape (BLOCK, LANES), mV.
        out: shape (ROWS, LANES), float32; its rows for this are overwritten.
    """
    _peak_to_peak(x, out[PP_RAW])
    _equal(x, out[EQUAL])


@njit()
def of_band(band: int, y: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Figures of a band; arguments as in `of_signal`."""
    if band == LETHAL:
        _peak_to_peak(y, out[PP])
        _squares(y, 0, BLOCK, out[LETHAL_SQ])
    elif band == COMPLEX:
        _above(y, out[ABOVE])
    elif band == HIGH:
        _squares(y, 0, BLOCK, out[HIGH_SQ])
    elif band == WANDER:
        _peak_to_peak(y, out[WANDER_PP])
        _sums(y, out[WANDER_SUM], out[WANDER_SQ])
    elif band == NOISE:
        for k in range(PARTS):
            rms = out[NOISE_RMS + k]
            _squares(y, k * _PART, (k + 1) * _PART, rms)
            for lane in range(LANES):
                rms[lane] = np.sqrt(rms[lane] / np.float32(_PART))


@njit()
def keep(rec: Any, s: int, table: NDArray[np.float32], lane: int) -> None:
    """Put a patient's figures in their places of second s of the rings."""
    rec.pp_raw[s], rec.equal[s] = table[PP_RAW, lane], table[EQUAL, lane]
    rec.pp[s], rec.lethal_sq[s] = table[PP, lane], table[LETHAL_SQ, lane]
    rec.complex[s], rec.high_sq[s] = table[ABOVE, lane], table[HIGH_SQ, lane]
    rec.wander[s], rec.wander_sum[s] = table[WANDER_PP, lane], table[WANDER_SUM, lane]
    rec.wander_sq[s] = table[WANDER_SQ, lane]
    for k in range(PARTS):
        rec.noise[PARTS * s + k] = table[NOISE_RMS + k, lane]
