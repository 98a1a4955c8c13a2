"""From a rate of false alerts to a threshold of the fused score, without labels (docs/model.md tells why)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from holter.model.fusion import THRESHOLD

CEILING = 2 * THRESHOLD
"""No calibrated threshold is above: it would pass the score of the median window with a ventricular beat."""
REFERENCE_WINDOWS, REFERENCE_ALERTS = 0.01, 2.0
"""A share of 0.01 of quiet windows beyond the threshold counts as 2 alerts a day after persistence (6 of 12 windows):
measured were 0 in 9.2 hours, independent hits would make 0.09 a day; the factor of 20 allows for hits in clusters."""
QUIET_SHARE, QUIET_SPREADS = 0.05, 6.0
MIN_DEVICE_WINDOWS, MIN_QUIET_WINDOWS = 20, 400


@dataclass(frozen=True, slots=True)
class Calibration:
    """A threshold and what it rests on.

    Attributes:
        threshold: of the fused score.
        rule: `tail`, or which bound it was held to: `floor`, `ceiling`; `default` where too little was quiet.
        window_rate: the share of quiet windows that is meant to be beyond it.
        quiet_devices: devices that count as quiet.
        quiet_windows: their windows.
    """

    threshold: float
    rule: Literal["tail", "floor", "ceiling", "default"]
    window_rate: float
    quiet_devices: int
    quiet_windows: int


def window_rate(false_alerts_per_patient_day: float) -> float:
    """Share of quiet windows that may be beyond the threshold.

    An ectopic beat lights two overlapping windows, so 6 of 12 takes three separate hits within a minute: while hits are
    independent, alerts go with the cube of the rate.
    """
    return float(REFERENCE_WINDOWS * np.cbrt(false_alerts_per_patient_day / REFERENCE_ALERTS))


def calibrate(
    score: NDArray[np.float32],
    devices: NDArray[np.integer],
    kept: NDArray[np.bool_],
    false_alerts_per_patient_day: float,
) -> Calibration:
    """The threshold at which quiet patients stay below a rate of alerts.

    A device is quiet when less than 5 % of its windows are above m + 6 s, m and s the median and the distance from the
    10 % quantile to it over the windows the forest was trained on. The tail of quiet devices is exponential (measured),
    so that two quantiles give it, neither of which a few abnormal windows move:
    T = q(0.9) + (q(0.975) − q(0.9)) / ln 4 · ln(0.1 / rate).

    Args:
        score: fused scores of all windows of good quality, alerted ones too: else each calibration would lower
                the next.
        devices: shape (n,), a number for each window's device.
        kept: shape (n,), windows the forest was trained on.
        false_alerts_per_patient_day: above 0.
    """
    rate = window_rate(false_alerts_per_patient_day)
    median, low = np.quantile(score[kept], [0.5, 0.1])
    loud = score > median + QUIET_SPREADS * (median - low)
    _, device = np.unique(devices, return_inverse=True)
    windows = np.bincount(device)
    quiet = (windows >= MIN_DEVICE_WINDOWS) & (np.bincount(device, weights=loud) < QUIET_SHARE * windows)
    tail = score[quiet[device]]
    counts = int(quiet.sum()), len(tail)
    if len(tail) < MIN_QUIET_WINDOWS:
        return Calibration(THRESHOLD, "default", rate, *counts)
    near, far = np.quantile(tail, [0.9, 0.975])
    threshold = float(near + (far - near) / np.log(4) * np.log(0.1 / rate))
    if threshold < THRESHOLD:
        return Calibration(THRESHOLD, "floor", rate, *counts)
    if threshold > CEILING:
        return Calibration(CEILING, "ceiling", rate, *counts)
    return Calibration(threshold, "tail", rate, *counts)
