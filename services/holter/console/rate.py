"""Heart rate for the eye: from the last seconds of one lead, apart from what alarms are decided on.

The worker's beats are not in the store, and a number on a tile must not cost a second worker. The recipe is that of
docs/detection.md in small: QRS band, mean of the rectified band, a threshold relative to the patient's own peaks.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, find_peaks, sosfilt, sosfilt_zi

SPAN = 10.0
"""Seconds that are looked at."""
_BAND = (6.0, 16.0)
_MEAN = 0.12
_REFRACTORY = 0.25
_SHARE = 0.42
_FLOOR = 0.015
"""mV of the mean rectified band: about a QRS of 0.15 mV (IEC 60601-2-27's floor)."""
_SETTLING = 0.5
_BEATS = 8
_LEAST = 3.0


def heart_rate(samples: NDArray[np.int16], fs: float) -> float | None:
    """Median heart rate of the last beats.

    Args:
        samples: shape (n,), int16, microvolts, without a gap; only the last `SPAN` seconds count.
        fs: Hz, 100..1000.

    Returns:
        1/min; None with fewer than three beats, or when the last one is long past.
    """
    samples = samples[-round(SPAN * fs) :]
    if len(samples) < _LEAST * fs:
        return None
    sos, steady = _filter(fs)
    millivolts = samples.astype(np.float64) / 1000
    band, _ = sosfilt(sos, millivolts, zi=steady * millivolts[0])
    width = round(_MEAN * fs)
    level = np.convolve(np.abs(band), np.full(width, 1 / width))[: len(band)][round(_SETTLING * fs) :]
    seconds = len(level) // round(fs)
    tops = level[-seconds * round(fs) :].reshape(seconds, -1).max(axis=1)
    peaks, _ = find_peaks(level, height=max(_SHARE * float(np.median(tops)), _FLOOR), distance=round(_REFRACTORY * fs))
    if len(peaks) < 3:
        return None
    intervals = np.diff(peaks[-_BEATS - 1 :]) / fs
    typical = float(np.median(intervals))
    since = (len(level) - peaks[-1]) / fs
    return 60 / typical if since < max(2.5 * typical, 2.0) else None


@lru_cache(16)
def _filter(fs: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    sos = butter(2, _BAND, "bandpass", fs=fs, output="sos")
    return sos, sosfilt_zi(sos)
