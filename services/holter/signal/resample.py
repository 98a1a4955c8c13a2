"""Any rate to 250 Hz: windowed-sinc interpolation at exact grid times (Smith & Gossett, ICASSP 1984).

Causal by a delay: the kernel reaches `HALF` native samples to each side, so the output at time t is the signal at
t - HALF / fs (33 ms at 360 Hz).
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from holter.model.jit import njit
from holter.signal.filters import BLOCK, FS

HALF = 12
_PHASES = 512


@lru_cache(maxsize=64)
def kernel(fs: float) -> NDArray[np.float32]:
    """Interpolation weights by phase, shape (513, 24), float32, each row of sum 1; cut-off 0.45 of the lower rate."""
    cutoff = 0.9 * min(fs, float(FS)) / fs
    phase = np.arange(_PHASES + 1)[:, None] / _PHASES
    x = np.arange(-HALF + 1, HALF + 1)[None, :] - phase
    weights = cutoff * np.sinc(cutoff * x) * np.kaiser(2001, 6.0)[np.rint(1000 * (1 + x / (HALF + 1))).astype(int)]
    table: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    table.flags.writeable = False
    return table


@njit(fastmath=True)
def interpolate(
    x: NDArray[np.float32], first: float, step: float, table: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """One block of 250 Hz samples.

    Args:
        x: native samples, float32, without gaps.
        first: position of the first output in `x`, at least HALF - 1 and BLOCK steps and HALF from its end.
        step: native samples per output.
        table: from `kernel`.
        out: shape (BLOCK,), overwritten.
    """
    for j in range(BLOCK):
        position = first + j * step
        base = int(position)
        row = table[int((position - base) * _PHASES + 0.5)]
        near = x[base - HALF + 1 : base + HALF + 1]
        total = 0.0
        for k in range(2 * HALF):
            total += row[k] * near[k]
        out[j] = total


@njit()
def interpolate_all(
    x: NDArray[np.float32],
    first: NDArray[np.float64],
    step: float,
    table: NDArray[np.float32],
    rows: NDArray[np.int64],
    out: NDArray[np.float32],
    places: NDArray[np.int64],
) -> None:
    """Blocks of many devices of one rate.

    Args:
        x: shape (any, any), as in `interpolate`, a row each.
        first: shape (any,), for each row.
        step: native samples per output.
        table: from `kernel`.
        rows: shape (n,), which of them.
        out: shape (any, BLOCK), overwritten at `places`.
        places: shape (any,), of each row in `out`.
    """
    for row in rows:
        interpolate(x[row], first[row], step, table, out[places[row]])
