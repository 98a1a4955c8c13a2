"""The life-threatening measures tell a sine from spikes, and the score a fibrillation from a rhythm."""

import numpy as np
import pytest

from holter.signal import lethal, measures
from holter.signal.measures import NAMES

REGULAR = [1.0 + 0.8 * k for k in range(72)]


def _sine(seconds: int, hertz: float, millivolts: float = 0.5) -> np.ndarray:
    return (millivolts * np.sin(2 * np.pi * hertz * np.arange(seconds * 250) / 250)).astype(np.float32)


def test_leak_is_small_for_a_sine_and_large_for_spikes(signals):
    got = signals.run([_sine(20, 4.5), signals.train(REGULAR, 20)]).measures[-1][:, NAMES.index("leak")]
    assert got[0] < 0.15
    assert got[1] > 0.6


def test_band_share_and_mobility_of_a_sine(signals):
    got = signals.run([_sine(20, 4.0)]).measures[-1][0]
    assert got[NAMES.index("p2.5_5")] > 0.9
    assert got[NAMES.index("mobL")] == pytest.approx(4.0, rel=0.05)
    assert got[NAMES.index("acmaxL")] > 0.95


def test_quantiles_of_a_histogram():
    values = np.random.default_rng(3).normal(0, 1, 1000).astype(np.float32)
    want = np.quantile(np.abs(values), (0.5, 0.98))
    assert measures._quantiles_of(values, 0.5, 0.98) == pytest.approx(want, abs=0.01)


def test_score_rises_when_a_rhythm_turns_into_fibrillation(signals):
    rng = np.random.default_rng(5)
    rhythm = signals.train(REGULAR, 40)
    drift = np.cumsum(rng.normal(0, 0.25, 20 * 250)) / 250
    n = np.arange(20 * 250)
    waves = 0.45 * np.sin(2 * np.pi * 5.0 * n / 250 + 8 * drift) * (1 + 0.3 * np.sin(n / 400))
    x = np.concatenate([rhythm, waves.astype(np.float32)]) + signals.noise(60, 0.02)
    got = lethal.probability(signals.run([x]).measures[:, 0])
    assert got[10:40].max() < 0.3
    assert got[46:].min() > 0.6


def test_bounds_hold_for_any_finite_measures():
    rng = np.random.default_rng(0)
    x = (rng.normal(0, 1, (100, len(NAMES))) * 10.0 ** rng.integers(-6, 6, (100, 1))).astype(np.float32)
    p = lethal.probability(x)
    assert np.isfinite(p).all()
    assert ((p >= 0) & (p <= 1)).all()


def test_silence_and_rail_give_finite_measures(signals):
    flat, rail = np.zeros(10 * 250, np.float32), np.full(10 * 250, 32.767, np.float32)
    assert np.isfinite(signals.run([flat, rail]).measures).all()
