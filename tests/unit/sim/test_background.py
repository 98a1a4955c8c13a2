from itertools import pairwise

import numpy as np
import pytest
from scipy.signal import welch

from holter.sim.background import Bursts, ColouredNoise, Steps, atrial_waves, fade_in, fibrillation, mains

FS = 250


def play(layer, seconds):
    return np.concatenate([layer(second + np.arange(FS) / FS) for second in range(seconds)])


def rng(seed=5):
    return np.random.default_rng(seed)


def share(x, low, high, fs=FS):
    frequency, power = welch(x, fs, nperseg=4 * fs)
    return power[(frequency >= low) & (frequency <= high)].sum() / power.sum()


@pytest.mark.parametrize("band", [(15, 90), (0, 0.3), (0.5, 15)])
def test_noise_has_its_strength_and_band_from_the_first_second(band):
    strengths = [np.sqrt(np.mean(play(ColouredNoise(rng(seed), FS, band, 0.02), 20) ** 2)) for seed in range(12)]
    assert np.mean(strengths) == pytest.approx(0.02, rel=0.12)
    x = play(ColouredNoise(rng(), FS, band, 0.02), 60)
    assert share(x, 0.7 * band[0], 1.4 * band[1] + 0.25) > 0.8


def test_noise_is_the_same_however_it_is_asked_for():
    one, two = ColouredNoise(rng(), FS, (1, 40), 0.02), ColouredNoise(rng(), FS, (1, 40), 0.02)
    a = np.concatenate([one(np.zeros(n)) for n in (1, 99, 3000, 900)])
    b = np.concatenate([two(np.zeros(n)) for n in (2500, 1500)])
    assert np.array_equal(a, b)


@pytest.mark.parametrize("seed", range(8))
def test_fibrillation_is_coarse_narrow_banded_and_never_the_same(seed):
    x = play(fibrillation(rng(seed), FS, 0.4), 60)
    frequency, power = welch(x, FS, nperseg=4 * FS)
    assert 3 < frequency[np.argmax(power)] < 7
    assert share(x, 2, 9) > 0.8
    peaks = np.ptp(x.reshape(-1, 2 * FS), axis=1)
    assert 0.5 < np.median(peaks) < 2.2  # mV: coarse
    assert peaks.max() > 1.5 * peaks.min()
    # No beat: the next second does not repeat this one at any lag as a rhythm would.
    halves = x.reshape(-1, 5 * FS)
    correlations = [abs(np.corrcoef(a, b)[0, 1]) for a, b in pairwise(halves)]
    assert max(correlations) < 0.7


def test_atrial_waves_are_small_and_fast():
    x = play(atrial_waves(rng(), FS, 0.05), 60)
    frequency, power = welch(x, FS, nperseg=4 * FS)
    assert 4 < frequency[np.argmax(power)] < 9
    assert 0.02 < x.std() < 0.08


def test_mains_is_a_line():
    x = play(mains(rng(), FS, 0.8), 20)
    assert share(x, 49, 51) > 0.97
    assert x.std() == pytest.approx(0.8 / np.sqrt(2), rel=0.15)


def test_steps_follow_the_cadence():
    x = play(Steps(rng(), 2.6, 0.15, 0.0), 60)
    frequency, power = welch(x, FS, nperseg=8 * FS)
    assert frequency[np.argmax(power)] == pytest.approx(2.6, abs=0.3)
    assert 0.05 < np.ptp(x) / 2 < 0.4


def test_steps_begin_when_the_run_does():
    x = play(Steps(rng(), 2.6, 0.15, 4.5), 6)
    assert not x[: int(4.5 * FS)].any()
    assert x[int(4.5 * FS) :].any()


def test_bursts_come_and_go():
    x = np.abs(play(Bursts(lambda t: np.ones_like(t), rng(), FS), 200))
    assert 0.3 < np.mean(x == 0) < 0.7
    assert x.max() > 1


def test_fade_in_grows_in_a_line():
    x = play(fade_in(np.ones_like, 2.0, 4.0), 8)
    assert not x[: 2 * FS].any()
    assert x[4 * FS] == pytest.approx(0.5)
    assert (x[6 * FS :] == 1).all()
