"""Causal filters, one pass a sample: eight Butterworth bands of the 250 Hz signal, as biquad cascades with kept state.

Group delays at the bands' centres, ms: lethal 9, slow 60, complex 60, high 16, wander 320, qrs 45, shape 12, noise 14.
Bands and orders are those of docs/detection.md; each filter starts in its steady state for the first sample.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt_zi

from holter.model.jit import njit

FS = 250
BLOCK = 250
"""Samples of one step: one second."""
LANES = 16
"""Patients that are filtered side by side."""

LETHAL, SLOW, COMPLEX, HIGH, WANDER, NOISE, SHAPE, QRS = range(8)
BANDS = 8
_DESIGNS: tuple[tuple[int, float | tuple[float, float], str], ...] = (
    (2, (1.0, 30.0), "bandpass"),  # lethal: the band of the life-threatening measures
    (3, (1.0, 11.0), "bandpass"),  # slow: the same measures where muscle noise cannot reach
    (1, (13.0, 16.5), "bandpass"),  # complex: Jekova & Krasteva 2004, count2
    (2, (35.0, 60.0), "bandpass"),  # high: muscle and mains
    (2, 0.7, "lowpass"),  # wander: electrode and breathing
    (2, (25.0, 45.0), "bandpass"),  # noise: the quality index's
    (2, (1.0, 25.0), "bandpass"),  # shape: templates
    (2, (6.0, 16.0), "bandpass"),  # qrs: the beat detector's
)


def _design() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    sections, starts, offsets = [], [], [0]
    for order, corner, kind in _DESIGNS:
        sos = butter(order, corner, kind, fs=FS, output="sos")
        sections.append(sos)
        starts.append(sosfilt_zi(sos))
        offsets.append(offsets[-1] + len(sos))
    return np.vstack(sections), np.vstack(starts), np.asarray(offsets)


SOS, STEADY, OFFSETS = _design()
SECTIONS = len(SOS)


@njit(fastmath=True)
def start(state: NDArray[np.float64], first: float) -> None:
    """Put every filter into its steady state for a constant input.

    Args:
        state: shape (SECTIONS, 2), the filters' memory, overwritten.
        first: the input, mV.
    """
    for s in range(SECTIONS):
        state[s, 0] = STEADY[s, 0] * first
        state[s, 1] = STEADY[s, 1] * first


@njit(fastmath=True)
def run(state: NDArray[np.float64], x: NDArray[np.float32], band: int, y: NDArray[np.float32]) -> None:
    """Filter one block of LANES patients through one band (direct form II transposed).

    A recursion cannot be vectorised along time, so patients go side by side: enough of them that one's next step need
    not wait for its last.

    Args:
        state: shape (SECTIONS, 2, LANES), of all bands, carried from block to block.
        x: shape (BLOCK, LANES), float32, mV.
        band: which.
        y: shape (BLOCK, LANES), float32, overwritten.
    """
    for j in range(BLOCK):
        for lane in range(LANES):
            y[j, lane] = x[j, lane]
    z = np.empty((2, LANES))  # an array of its own: the compiler knows that it is not y
    for s in range(OFFSETS[band], OFFSETS[band + 1]):
        b0, b1, b2 = SOS[s, 0], SOS[s, 1], SOS[s, 2]
        a1, a2 = SOS[s, 4], SOS[s, 5]
        z[:] = state[s]
        for j in range(BLOCK):
            for lane in range(LANES):
                v = np.float64(y[j, lane])
                w = b0 * v + z[0, lane]
                z[0, lane] = b1 * v - a1 * w + z[1, lane]
                z[1, lane] = b2 * v - a2 * w
                y[j, lane] = w
        state[s] = z
