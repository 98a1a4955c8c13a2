from itertools import islice, pairwise

import numpy as np
import pytest

from holter.sim.rhythm import (
    NORMAL,
    VENTRICULAR,
    Variability,
    ectopic,
    fibrillating_atria,
    ramp,
    sinus,
    steady,
    tachycardia,
    until,
)


def rng(seed=7):
    return np.random.default_rng(seed)


def times(beats, n):
    return np.array([beat.at for beat in islice(beats, n)])


def still():
    return Variability(rng(), 0.0, 0.25)


def test_resting_rate_and_variability_are_as_asked():
    rr = np.diff(times(sinus(steady(70), Variability(rng(), 0.04, 0.25)), 4000))
    assert 60 / rr.mean() == pytest.approx(70, rel=0.01)
    # ECGSYN's spectrum has the whole variance in its two peaks; the square of RR scales it at 70/min.
    assert rr.std() / rr.mean() == pytest.approx(0.04 * (60 / 70) ** 2, rel=0.25)


def test_variability_has_its_power_at_mayer_and_breathing_frequency():
    at = np.arange(0, 500, 0.5)
    power = np.zeros(len(at) // 2 + 1)
    for seed in range(12):
        variability = Variability(rng(seed), 0.04, 0.25, balance=0.5)
        power += np.abs(np.fft.rfft([variability(t) for t in at] * np.hanning(len(at)))) ** 2
    frequency = np.fft.rfftfreq(len(at), 0.5)
    mayer = power[(frequency > 0.05) & (frequency < 0.15)].sum()
    breath = power[(frequency > 0.2) & (frequency < 0.3)].sum()
    assert (mayer + breath) / power.sum() > 0.98
    assert mayer / breath == pytest.approx(0.5, rel=0.3)


def test_variability_falls_with_the_rate():
    spread = [
        np.std(np.diff(times(sinus(steady(rate), Variability(rng(), 0.04, 0.25)), 500))) * rate / 60
        for rate in (70, 120, 180)
    ]
    assert spread[0] > 2 * spread[1] > 3 * spread[2] > 0


def test_a_runner_follows_the_ramp():
    rate = ramp(70, 180, 100, 75)
    beats = times(until(sinus(rate, Variability(rng(), 0.03, 0.25)), 240), 10_000)
    for first, second in pairwise(beats):
        assert 60 / (second - first) == pytest.approx(rate(first), rel=0.08)
    assert 60 / np.diff(beats)[beats[:-1] > 180].mean() == pytest.approx(180, rel=0.01)


def test_repolarisation_follows_the_rate_slowly():
    beats = list(until(sinus(ramp(60, 120, 50.5, 0.001), still()), 80))
    after = next(i for i, beat in enumerate(beats) if beat.at > 51.1)
    assert beats[after - 2].rr == pytest.approx(1.0)
    assert 0.85 < beats[after].rr < 0.99
    assert beats[-1].rr == pytest.approx(0.5, abs=0.01)


def test_premature_beats_are_isolated_early_and_fully_compensated():
    beats = list(islice(ectopic(sinus(steady(60), still()), rng(), lambda: 3, foci=2), 4000))
    forms = [beat.form for beat in beats]
    assert set(forms) == {NORMAL, VENTRICULAR, VENTRICULAR + 1}
    early = [i for i, form in enumerate(forms) if form != NORMAL and i + 1 < len(beats)]
    assert np.diff(early).tolist() == [4] * (len(early) - 1)
    for i in early:
        assert 0.5 < beats[i].at - beats[i - 1].at < 0.72
        assert beats[i + 1].at - beats[i - 1].at == pytest.approx(2.0)
        assert not beats[i].p_wave
        assert beats[i - 1].p_wave


def test_bigeminy_alternates():
    forms = [beat.form for beat in islice(ectopic(sinus(steady(70), still()), rng(), lambda: 1), 100)]
    assert forms == [NORMAL, VENTRICULAR] * 50


def test_atrial_fibrillation_is_irregular_and_without_p_waves():
    beats = list(islice(fibrillating_atria(95, rng()), 3000))
    rr = np.diff([beat.at for beat in beats])
    assert 60 / rr.mean() == pytest.approx(95, rel=0.03)
    assert 0.17 < rr.std() / rr.mean() < 0.27
    assert abs(np.corrcoef(rr[1:], rr[:-1])[0, 1]) < 0.06
    assert rr.min() > 0.3299
    assert not any(beat.p_wave for beat in beats)


def test_ventricular_tachycardia_is_steady_from_its_onset():
    beats = list(islice(tachycardia(12.5, 180, rng()), 1000))
    rr = np.diff([beat.at for beat in beats])
    assert beats[0].at == 12.5
    assert {beat.form for beat in beats} == {VENTRICULAR}
    assert rr.mean() == pytest.approx(60 / 180, rel=0.01)
    assert rr.std() / rr.mean() == pytest.approx(0.02, rel=0.2)
    gains = np.array([beat.gain for beat in beats])
    assert 0.03 < gains.std() < 0.12
