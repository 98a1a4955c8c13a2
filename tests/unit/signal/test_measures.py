"""The life-threatening measures tell a sine from spikes, and the score a fibrillation from a rhythm."""

import numpy as np
import pytest

from holter.signal import lethal, measures
from holter.signal.measures import NAMES, RELATIVE
from holter.signal.patient import allocate

REGULAR = [1.0 + 0.8 * k for k in range(72)]


def _sine(seconds: int, hertz: float, millivolts: float = 0.5) -> np.ndarray:
    return (millivolts * np.sin(2 * np.pi * hertz * np.arange(seconds * 250) / 250)).astype(np.float32)


def _probability(of: np.ndarray) -> np.ndarray:
    out = np.empty(len(of))
    lethal.probability(np.ascontiguousarray(of), out)
    return out


def test_leak_is_small_for_a_sine_and_large_for_spikes(signals):
    got = signals.run([_sine(20, 4.5), signals.train(REGULAR, 20)]).extra[-1][:, RELATIVE.index("leak")]
    assert got[0] < 0.15
    assert got[1] > 0.6


def test_band_share_and_period_of_a_sine(signals):
    got = signals.run([_sine(20, 4.0)]).extra[-1][0]
    assert got[RELATIVE.index("p2.5_5")] > 0.9
    assert got[RELATIVE.index("acmaxL")] > 0.95
    assert got[measures.PERIOD] == pytest.approx(0.25, abs=0.01)  # not the 0.5 s of two


def _wave(n: int, seed: int) -> np.ndarray:
    x = np.cumsum(np.random.default_rng(seed).normal(0, 0.1, n))
    return (x - x.mean()).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_measures_of_a_window_are_those_of_plain_numpy(seed):
    v = _wave(500, seed)
    dv = np.diff(v, prepend=np.float32(0))
    half = int(np.pi * np.abs(v).sum() / np.abs(dv).sum() + 0.5)
    now, then = v[half:], v[:-half]
    assert measures._leak(v, dv) == pytest.approx(
        np.abs(now + then).sum() / (np.abs(now) + np.abs(then)).sum(), rel=1e-5
    )
    steps = np.abs(dv).max() / 1024
    steep = 0.1 * np.quantile(np.abs(dv), 0.98)
    flat = [np.mean(np.abs(dv) < limit) for limit in (steep - 0.1 * steps, steep + 0.1 * steps)]
    assert flat[0] - 0.005 <= measures._slope(dv) <= flat[1] + 0.005


@pytest.mark.parametrize("seed", range(5))
def test_correlation_and_spectrum_are_those_of_plain_numpy(seed):
    v = _wave(250, seed)
    r = [(v[lag:] * v[:-lag]).mean() / (v * v).mean() for lag in range(1, 38)]
    lowest, highest, lag, period = measures._autocorrelation(v, 62.5)
    assert lowest == pytest.approx(min(1.0, *r), abs=1e-5)
    assert highest == pytest.approx(max(r[9:]), abs=1e-5)
    assert lag == pytest.approx((10 + int(np.argmax(r[9:]))) / 62.5)
    assert period <= lag
    power = np.abs(np.fft.rfft(v * np.hanning(251)[:250])) ** 2
    share = power[10:21].sum() / (power[1:-1].sum() + (power[0] + power[-1]) / 2)
    assert measures._share_2_5_5(v) == pytest.approx(share, rel=1e-4)


def test_score_rises_when_a_rhythm_turns_into_fibrillation(signals):
    rng = np.random.default_rng(5)
    rhythm = signals.train(REGULAR, 40)
    drift = np.cumsum(rng.normal(0, 0.25, 20 * 250)) / 250
    n = np.arange(20 * 250)
    waves = 0.45 * np.sin(2 * np.pi * 5.0 * n / 250 + 8 * drift) * (1 + 0.3 * np.sin(n / 400))
    x = np.concatenate([rhythm, waves.astype(np.float32)]) + signals.noise(60, 0.02)
    got = _probability(signals.run([x]).measures[:, 0])
    assert got[10:40].max() < 0.3
    assert got[46:].min() > 0.6


def test_bounds_hold_for_any_finite_measures():
    rng = np.random.default_rng(0)
    x = (rng.normal(0, 1, (100, len(NAMES))) * 10.0 ** rng.integers(-6, 6, (100, 1))).astype(np.float32)
    p = _probability(x)
    assert np.isfinite(p).all()
    assert ((p >= 0) & (p <= 1)).all()


def test_silence_and_rail_give_finite_measures(signals):
    flat, rail = np.zeros(10 * 250, np.float32), np.full(10 * 250, 32.767, np.float32)
    assert np.isfinite(signals.run([flat, rail]).measures).all()


def test_an_own_mean_begins_as_the_populations_and_moves_towards_the_patients(signals):
    """A wide rhythm of 109/min: what is odd in the population is less so in the patient."""
    times = [1.0 + 0.55 * k for k in range(360)]
    got = signals.run([signals.train(times, 200, {t: signals.beat(0.2, 1.0) for t in times})])
    leak = NAMES.index("d_leak")
    assert got.measures[6, 0, leak] == pytest.approx(got.extra[6, 0, 0] - measures.POPULATION[0], abs=1e-6)
    assert abs(got.measures[6, 0, leak]) > 0.3
    assert got.state[0]["learn_n"] > measures.PRIOR + 150
    assert abs(got.measures[6, 0, leak]) - abs(got.measures[-1, 0, leak]) > 2 * measures.REACH[0]


def _learnt(weight, organised, seconds=100, off=1.0):
    state, slots = allocate(1), np.arange(1)
    state["base"], state["learn_n"] = measures.POPULATION, measures.PRIOR
    extra = np.zeros((1, measures.EXTRA), np.float32)
    extra[0, : len(measures.POPULATION)] = measures.POPULATION + off * measures.REACH
    extra[0, measures.ORGANISED] = organised
    for _ in range(seconds):
        measures.learn(state, slots, extra, np.array([weight], np.float32))
    return (state["base"][0] - measures.POPULATION) / measures.REACH


def test_no_arrhythmia_and_nothing_without_weight_is_learnt():
    assert (_learnt(1.0, organised=0.0) == 0).all()
    assert (_learnt(0.0, organised=1.0) == 0).all()
    assert _learnt(1.0, organised=1.0) == pytest.approx(100 / 110, abs=0.01)
    assert _learnt(0.25, organised=1.0) == pytest.approx(25 / 35, abs=0.01)


def test_one_second_pulls_no_further_than_its_reach():
    assert _learnt(1.0, organised=1.0, seconds=1, off=50.0) == pytest.approx(1 / 11, abs=1e-4)


def test_an_interval_that_is_not_known_moves_nothing():
    state, slots = allocate(1), np.arange(1)
    state["base"], state["learn_n"] = measures.POPULATION, measures.PRIOR
    extra = np.zeros((1, measures.EXTRA), np.float32)
    extra[0, measures.LRR], extra[0, measures.ORGANISED] = np.nan, 1.0
    measures.learn(state, slots, extra, np.ones(1, np.float32))
    assert state["base"][0, measures.LRR] == measures.POPULATION[measures.LRR]
    assert np.isfinite(state["base"]).all()


def test_fibrillation_is_not_organised_and_a_slow_wide_rhythm_is(signals):
    n = np.arange(30 * 250) / 250
    wide = signals.train(
        [1.0 + 0.55 * k for k in range(50)], 30, {1.0 + 0.55 * k: signals.beat(0.2, 1.0) for k in range(50)}
    )
    fast = (np.sin(2 * np.pi * 4.6 * n) + 0.4 * np.sin(2 * np.pi * 5.7 * n)).astype(np.float32)
    got = signals.run([wide, fast]).extra[10:, :, measures.ORGANISED]
    assert got[:, 0].mean() > 0.9
    assert got[:, 1].mean() < 0.1


def test_own_beats_are_seen_through_motion(signals):
    """Sliding correlation above the band of motion: 1 mV of 1 Hz below the beats changes next to nothing."""
    times = [1.0 + 0.8 * k for k in range(70)]
    clean = signals.train(times, 56)
    moved = clean.copy()
    t = np.arange(20 * 250) / 250
    moved[36 * 250 :] += np.sin(2 * np.pi * 1.0 * t).astype(np.float32)
    waves = clean.copy()
    waves[36 * 250 :] = np.sin(2 * np.pi * 5.0 * t).astype(np.float32)
    own = signals.run([clean, moved, waves]).extra[42:, :, measures.OWN]
    assert own[:, 0].min() > 0.97
    assert own[:, 1].min() > 0.95
    assert own[:, 2].max() < 0.8
