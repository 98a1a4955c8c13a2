"""Features of a window: those of its most abnormal beat, each relative to the patient's own normal.

All are dimensionless; the constants (eps, centre, scale) put ln(f + eps) on one scale for the population. Sources and
measured worth, also of what was left out: docs/detection.md, docs/model.md.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from holter.model.jit import njit
from holter.model.spec import FeatureSpec, standardise
from holter.signal.filters import FS
from holter.signal.patient import BEATS

FEATURES: tuple[FeatureSpec, ...] = (
    # shape: unlike the patient's own normal beats
    FeatureSpec("residual_own", "shape", 0.01, -2.12, 1.69),
    FeatureSpec("decorrelation_own", "shape", 0.005, -3.20, 1.44),
    FeatureSpec("width", "shape", 0.1, -0.82, 1.22),
    FeatureSpec("residual_dominant", "shape", 0.05, -1.36, 1.51),
    # rhythm: early, late, uneven
    FeatureSpec("compensation", "rhythm", 0.01, -3.73, 1.15),
    FeatureSpec("prematurity", "rhythm", 0.05, -2.36, 0.82),
    FeatureSpec("rr_change", "rhythm", 0.05, -1.41, 0.92),
    # early and misshapen at once
    FeatureSpec("premature_residual", "joint", 0.02, -2.69, 1.31),
)
NAMES = tuple(spec.name for spec in FEATURES)
BEAT_FIELDS = ("resx", "cnx", "wid", "res", "comp", "pm_x", "drr", "joint")
"""Where a beat (dtype BEAT) has them."""
LOOKAHEAD = 2
"""Seconds after its end at which a window is judged: by then its last beat is final, and most often the R-R after it is
known, which tells a compensatory pause."""
RHYTHM_WEIGHT = 0.9
_SHAPE = 4
_EPS = np.array([spec.eps for spec in FEATURES])
_CENTRE = np.array([spec.centre for spec in FEATURES])
_SCALE = np.array([spec.scale for spec in FEATURES])


# From `python -m holter.evaluate.constants` on DS1 of the MIT-BIH Arrhythmia Database.
_LOG_ODDS = np.array([0.771, 0.660, 0.809, 1.915, 0.0, 0.664, 0.390, 0.456])
_BIAS = -1.530


@njit()
def _z(f: NDArray[np.float32], k: int) -> float:
    return float((np.log(max(f[k], np.float32(0.0)) + _EPS[k]) - _CENTRE[k]) / _SCALE[k])


@njit()
def ventricular(f: NDArray[np.float32]) -> bool:
    """Whether a beat is rather ventricular than not: logistic regression on its own features, without compensation.

    Args:
        f: shape (8,), columns NAMES; compensation is not known yet when a beat is found, and does not count.
    """
    odds = _BIAS
    for k in range(f.size):
        odds += _LOG_ODDS[k] * _z(f, k)
    return bool(odds > 0)


@njit()
def _severity(f: NDArray[np.float32]) -> float:
    """Ordered score of one beat: mean z of the shape features and `RHYTHM_WEIGHT` of the mean z of the others."""
    shape, uneven = 0.0, 0.0
    for k in range(f.size):
        if k < _SHAPE:
            shape += _z(f, k)
        else:
            uneven += _z(f, k)
    return float(shape / _SHAPE + RHYTHM_WEIGHT * uneven / (f.size - _SHAPE))


@njit()
def of_beat(b: Any, out: NDArray[np.float32]) -> None:
    """Features of one beat, dtype BEAT: shape (8,), columns NAMES, overwritten."""
    out[0], out[1], out[2], out[3] = b.resx, b.cnx, b.wid, b.res
    out[4], out[5], out[6], out[7] = b.comp, b.pm_x, b.drr, b.joint


@njit()
def _worst(rec: Any, first: int, end: int, out: NDArray[np.float32]) -> None:
    """Features of the most abnormal beat with R in first .. end - 1; NaN with fewer than two, or without an own one."""
    one = np.empty(out.size, np.float32)
    out[:] = np.nan
    highest, seen = -np.inf, 0
    for j in range(min(rec.beat_n, BEATS)):
        b = rec.beats[(rec.beat_n - 1 - j) % BEATS]
        if b.r >= end:
            continue
        if b.r < first:
            break
        seen += 1
        of_beat(b, one)
        severity = _severity(one)
        if severity > highest:
            highest = severity
            out[:] = one
    if seen < 2 or rec.bank_seen[rec.dominant] < 8:
        out[:] = np.nan


@njit()
def _collect(state: NDArray[np.void], slots: NDArray[np.int64], samples: int, out: NDArray[np.float32]) -> None:
    for i in range(slots.size):
        rec = state[slots[i]]
        end = rec.n - LOOKAHEAD * FS
        _worst(rec, end - samples, end, out[i])


def window_features(state: NDArray[np.void], slots: NDArray[np.int64], seconds: int) -> NDArray[np.float32]:
    """Features of the window that ended `LOOKAHEAD` seconds ago.

    Args:
        state: shape (capacity,), dtype PATIENT.
        slots: shape (n,).
        seconds: length of the window, at most 10.

    Returns:
        Shape (n, 8), float32, columns NAMES; NaN while a patient's own normal is not known.
    """
    features = np.empty((len(slots), len(FEATURES)), np.float32)
    _collect(state, slots, seconds * FS, features)
    return features


def ordered_score(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """The ordered rule score: mean z of shape, and `RHYTHM_WEIGHT` of the others; needs no fit and no other patient.

    Args:
        features: shape (n, 8), columns NAMES.

    Returns:
        Shape (n,), float32; NaN while a patient's own normal is not known.
    """
    z = standardise(features, FEATURES)
    return np.asarray(z[:, :_SHAPE].mean(axis=1) + RHYTHM_WEIGHT * z[:, _SHAPE:].mean(axis=1), np.float32)
