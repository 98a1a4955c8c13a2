import numpy as np
import pytest

from holter.model.calibrate import CEILING, calibrate, window_rate
from holter.model.fusion import THRESHOLD


def cohort(scale, seed=0, devices=20, each=500):
    """Quiet devices: a bulk around 0 and an exponential tail, fused scores."""
    rng = np.random.default_rng(seed)
    score = rng.normal(0, 0.5, devices * each)
    tail = rng.random(len(score)) < 0.15
    score[tail] = 0.6 + rng.exponential(scale, tail.sum())
    return score.astype(np.float32), np.repeat(np.arange(devices), each)


def run(score, devices, rate=2.0):
    return calibrate(score, devices, score < np.quantile(score, 0.6), rate)


def test_two_alerts_a_day_are_one_window_in_a_hundred_and_rates_go_with_the_cube_root():
    assert window_rate(2.0) == 0.01
    assert window_rate(16.0) == pytest.approx(0.02)
    assert window_rate(0.25) == pytest.approx(0.005)


@pytest.mark.parametrize("rate", [0.25, 2.0, 4.0])
def test_the_threshold_leaves_the_wanted_share_of_quiet_windows_beyond_it(rate):
    score, devices = cohort(0.8)
    found = run(score, devices, rate)
    assert found.rule == "tail"
    assert (score > found.threshold).mean() == pytest.approx(window_rate(rate), rel=0.35)


def test_fewer_false_alerts_mean_a_higher_threshold():
    score, devices = cohort(0.8)
    assert run(score, devices, 0.5).threshold > run(score, devices, 8).threshold


def test_a_sick_device_does_not_move_the_threshold():
    score, devices = cohort(0.8)
    loud = score.copy()
    loud[devices < 4] = np.random.default_rng(1).normal(8, 1, (devices < 4).sum())
    well, mixed = run(score, devices), run(loud, devices)
    assert mixed.quiet_devices == 16
    assert mixed.threshold == pytest.approx(well.threshold, abs=0.35)


def test_bounds_hold_a_quiet_and_a_noisy_cohort():
    assert (run(*cohort(0.05)).rule, run(*cohort(0.05)).threshold) == ("floor", THRESHOLD)
    assert (run(*cohort(2.5)).rule, run(*cohort(2.5)).threshold) == ("ceiling", CEILING)


def test_too_few_quiet_windows_fall_back_to_the_fixed_threshold():
    score, devices = cohort(0.8, devices=2, each=150)
    assert (run(score, devices).rule, run(score, devices).threshold) == ("default", THRESHOLD)
