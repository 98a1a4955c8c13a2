"""Quality falls with noise; features are larger where a window is unlike the patient's own."""

import numpy as np

from holter.signal.features import FEATURES, LOOKAHEAD, ordered_score, window_features
from holter.signal.patient import BASELINE, allocate, checkpoint, restore
from holter.signal.quality import GOOD, quality
from holter.signal.rhythm import RHYTHM, describe

REGULAR = [1.0 + 0.8 * k for k in range(72)]


def _quality(state: np.ndarray) -> np.ndarray:
    out = np.empty(len(state), np.float32)
    quality(state, np.arange(len(state)), 10, 0, out)
    return out


def test_quality_of_clean_noisy_and_wandering(signals):
    clean = signals.train(REGULAR, 50) + signals.noise(50, 0.01)
    wander = (1.5 * np.sin(2 * np.pi * 0.3 * np.arange(50 * 250) / 250)).astype(np.float32)
    got = _quality(signals.run([clean, clean + signals.noise(50, 0.4, 1), clean + wander]).state)
    assert got[0] > 0.7
    assert got[1] < GOOD
    assert got[2] < GOOD


def test_a_window_that_has_not_been_seen_has_no_quality(signals):
    assert _quality(signals.run([signals.train(REGULAR, 5)]).state)[0] == 0.0


def test_ordered_score_orders(signals):
    calm = signals.train(REGULAR, 60) + signals.noise(60, 0.015)
    time = REGULAR[66] - 0.3
    times = [*REGULAR[:66], time, *REGULAR[67:]]
    sick = signals.train(times, 60, {time: signals.beat(0.12, -1.4)}) + signals.noise(60, 0.015)
    state = signals.run([calm, sick]).state
    features = window_features(state, np.arange(2), 10)
    score = ordered_score(features)
    assert score[1] > score[0] + 1.0
    assert features.shape == (2, len(FEATURES))
    assert (features[1] >= features[0]).all()


def test_a_window_ends_before_the_newest_seconds(signals):
    """A beat of the last `LOOKAHEAD` seconds belongs to a window that ends later."""
    quiet = []
    for sick in (59.0 - LOOKAHEAD, 60.5 - LOOKAHEAD):
        times = [*[t for t in REGULAR if t < sick - 0.4], sick, *[t for t in REGULAR if t > sick + 0.4]]
        x = signals.train(times, 60, {sick: signals.beat(0.12, -1.4)}) + signals.noise(60, 0.015)
        quiet.append(float(ordered_score(window_features(signals.run([x]).state, np.arange(1), 10))[0]))
    assert quiet[0] > quiet[1] + 1.0


def test_the_quality_of_the_past_is_that_of_then(signals):
    clean = signals.train(REGULAR, 60) + signals.noise(60, 0.01)
    clean[50 * 250 :] += signals.noise(10, 0.4, 1)
    state, slots = signals.run([clean]).state, np.arange(1)
    now, then = np.empty(1, np.float32), np.empty(1, np.float32)
    quality(state, slots, 5, 0, now)
    quality(state, slots, 4, 11, then)
    assert now[0] < GOOD < then[0]


def test_features_are_unknown_until_the_own_normal_is(signals):
    state = signals.run([signals.train(REGULAR, 4)]).state
    features = window_features(state, np.arange(1), 2)
    assert np.isnan(features).all()
    assert np.isnan(ordered_score(features)).all()


def test_rate_and_runs(signals):
    slow = signals.train([1.0 + 1.5 * k for k in range(40)], 60)
    run_of_five = [52.0 + 0.38 * k for k in range(5)]
    times = [t for t in REGULAR if t < 51.5 or t > 54.8] + run_of_five
    run = signals.train(times, 56, {t: signals.beat(0.13, -1.5) for t in run_of_five})
    out = np.zeros(2, RHYTHM)
    describe(signals.run([slow[: 55 * 250], run[: 55 * 250]]).state, np.arange(2), out)
    assert abs(out["rate"][0] - 40) < 2
    assert out["run"].tolist() == [0, 5]
    assert abs(out["run_rate"][1] - 158) < 18
    describe(signals.run([run]).state, np.arange(1), out[:1])
    assert out["run"][0] == 0  # it has been over for 2.5 s


def test_a_checkpoint_brings_everything_back(signals):
    state = signals.run([signals.train(REGULAR, 60) + signals.noise(60, 0.02)]).state
    payload, other = checkpoint(state[0]), allocate(1)
    assert len(payload) < 16_000
    assert restore(other[0], payload)
    for name in BASELINE:
        np.testing.assert_array_equal(other[0][name], state[0][name])


def test_a_damaged_checkpoint_is_refused(signals):
    state = signals.run([signals.train(REGULAR, 20)]).state
    payload = bytearray(checkpoint(state[0]))
    assert not restore(allocate(1)[0], bytes(payload[:-1]))
    payload[:4] = np.float32(np.nan).tobytes()
    fresh = allocate(1)
    assert not restore(fresh[0], bytes(payload))
    assert fresh[0]["rr2_n"] == 0
