"""Whether a window can be judged: high-frequency noise and wander, each against the patient's own QRS amplitude.

Limits reject 2 % of clean MIT-BIH windows and most of those with muscle noise at 12 dB or worse (docs/detection.md).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from holter.model.jit import njit
from holter.signal.filters import BLOCK
from holter.signal.order import median
from holter.signal.patient import SECONDS

HF_LIMIT = 0.055
WANDER_LIMIT = 0.6
MOTION_LIMIT = 0.45
"""Of two beats of a window: below 5 Hz they are unlike the own one, above they are it (`signal.fast`)."""
GOOD = 0.5
"""Quality from which a window may raise physiological alerts and is fit for learning."""


@njit()
def own_amplitude(rec: Any) -> float:
    """What noise is set against, mV: the own QRS amplitude, 0.1 at least, and 1 while it is not known."""
    return float(max(rec.amp, 0.1)) if rec.amp > 0 else 1.0


@njit()
def quality(
    state: NDArray[np.void], slots: NDArray[np.int64], seconds: int, ago: int, out: NDArray[np.float32]
) -> None:
    """Quality of the `seconds` that ended `ago` seconds ago, 15 at most together: 1 clean, `GOOD` at a limit, 0 bad.

    Args:
        state: shape (capacity,), dtype PATIENT.
        slots: shape (n,).
        seconds: length of the window.
        ago: seconds since its end.
        out: shape (n,), float32, overwritten.
    """
    noise = np.empty(5 * SECONDS, np.float32)
    for i in range(slots.size):
        rec = state[slots[i]]
        total, square, holes = 0.0, 0.0, 0.0
        most, motion = np.float32(0.0), np.float32(0.0)  # largest and second largest
        for k in range(seconds):
            s = (rec.second - ago - k) % SECONDS
            total += rec.wander_sum[s]
            square += rec.wander_sq[s]
            holes += rec.hole[s]
            if rec.moved[s] > most:
                most, motion = rec.moved[s], most
            else:
                motion = max(motion, rec.moved[s])
            for j in range(5):
                noise[5 * k + j] = rec.noise[5 * s + j]
        n = seconds * BLOCK
        own = own_amplitude(rec)
        hf = median(noise, 5 * seconds) / own
        wander = np.sqrt(max(square / n - (total / n) ** 2, 0.0)) / own
        worst = max(hf / HF_LIMIT, wander / WANDER_LIMIT, motion / MOTION_LIMIT)
        index = min(max(1.0 - 0.5 * worst, 0.0), 1.0)
        if holes > 0.2 * seconds or rec.n < n + ago * BLOCK:
            index = 0.0
        out[i] = index
