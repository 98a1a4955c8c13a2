"""Features of a window: of each, the largest over the window's beats, or the window against the patient's own past.

All are dimensionless, relative to the patient's own normal; the constants (eps, centre, scale) put ln(f + eps) on one
scale for the population. Sources and measured worth: docs/detection.md.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft

from holter.model.jit import njit
from holter.model.spec import FeatureSpec, standardise
from holter.signal.filters import FS
from holter.signal.patient import BEATS
from holter.signal.ring import newest

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
    # the window's spectrum against the patient's own
    FeatureSpec("band_rise", "spectrum", 0.05, -1.44, 1.06),
    FeatureSpec("tilt", "spectrum", 0.05, -1.44, 0.86),
    # the window's moments against the patient's own
    FeatureSpec("spread", "moments", 0.02, -2.39, 0.82),
    FeatureSpec("kurtosis", "moments", 0.02, -1.92, 0.93),
)
NAMES = tuple(f.name for f in FEATURES)
BEAT_FEATURES = 8
_SHAPE, _RHYTHM, _JOINT = slice(0, 4), slice(4, 7), slice(7, 8)
RHYTHM_WEIGHT = 0.3
_EDGES = (0.5, 4.0, 8.0, 15.0, 25.0, 40.0)
_OWN_RATE = 0.02


@njit()
def _beats(rec: Any, samples: int, out: NDArray[np.float32]) -> None:
    out[:] = 0.0
    seen = 0
    for j in range(min(rec.beat_n, BEATS)):
        b = rec.beats[(rec.beat_n - 1 - j) % BEATS]
        if b.r < rec.n - samples:
            break
        seen += 1
        out[0] = max(out[0], b.resx)
        out[1] = max(out[1], b.cnx)
        out[2] = max(out[2], b.wid)
        out[3] = max(out[3], b.res)
        out[4] = max(out[4], b.comp)
        out[5] = max(out[5], b.pm_x)
        out[6] = max(out[6], b.drr)
        out[7] = max(out[7], b.joint)
    if seen < 2 or rec.bank_seen[rec.dominant] < 8:
        out[:] = np.nan


@njit()
def _collect(
    state: NDArray[np.void],
    slots: NDArray[np.int64],
    samples: int,
    beats: NDArray[np.float32],
    raw: NDArray[np.float32],
) -> None:
    for i in range(slots.size):
        rec = state[slots[i]]
        _beats(rec, samples, beats[i])
        newest(rec.raw, rec.n, raw[i])


def _spectrum(raw: NDArray[np.float32]) -> NDArray[np.floating]:
    """The ln power of five bands, tilt, ln SD and ln kurtosis of each window, shape (n, 8)."""
    n = raw.shape[1]
    edges = [round(e * n / FS) for e in _EDGES]
    x = raw - raw.mean(axis=1, keepdims=True)
    spectrum = rfft(x * np.hanning(n).astype(np.float32), axis=1)[:, : edges[-1]]
    power = spectrum.real**2 + spectrum.imag**2
    bands = np.log(np.stack([power[:, a:b].sum(axis=1) for a, b in pairwise(edges)], axis=1) + 1e-9)
    square = x * x
    m2 = square.mean(axis=1) + 1e-12
    m4 = np.einsum("ij,ij->i", square, square) / n
    tilt = bands[:, 0] - bands[:, 2]
    return np.column_stack([bands, tilt, 0.5 * np.log(m2), np.log(m4 / m2**2 + 1e-9)])


def window_features(
    state: NDArray[np.void], slots: NDArray[np.int64], seconds: int, learn: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Features of the window that ends now.

    Args:
        state: shape (capacity,), dtype PATIENT; the own spectrum of the patients in `learn` follows.
        slots: shape (n,).
        seconds: length of the window, at most 10.
        learn: shape (n,), whose window is a clean, quiet one.

    Returns:
        Shape (n, 12), float32, columns NAMES; NaN while a patient's own normal is not known.
    """
    n, samples = len(slots), seconds * FS
    beats, raw = np.empty((n, BEAT_FEATURES), np.float32), np.empty((n, samples), np.float32)
    _collect(state, slots, samples, beats, raw)
    now = _spectrum(raw)
    own, known = state["spec"][slots], state["spec_n"][slots]
    change = np.where((known >= 3)[:, None], now - own, np.nan)
    features = np.column_stack(
        [beats, change[:, :5].max(axis=1), np.abs(change[:, 5]), np.abs(change[:, 6]), np.abs(change[:, 7])]
    ).astype(np.float32)
    rate = np.maximum(1.0 / (known + 1), _OWN_RATE)[:, None] * learn[:, None]
    state["spec"][slots] = own + rate * (now - own)
    state["spec_n"][slots] = known + learn
    return features


def ordered_score(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """The ordered rule score: mean shape and joint z, and 0.3 of the mean rhythm z; needs no fit and no other patient.

    Args:
        features: shape (n, 12), columns NAMES.

    Returns:
        Shape (n,), float32; NaN while a patient's own normal is not known.
    """
    z = standardise(features[:, :BEAT_FEATURES], FEATURES[:BEAT_FEATURES])
    shape = z[:, _SHAPE].mean(axis=1)
    uneven = np.column_stack([z[:, _RHYTHM], z[:, _JOINT]]).mean(axis=1)
    return np.asarray(shape + RHYTHM_WEIGHT * uneven, np.float32)
