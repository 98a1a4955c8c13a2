"""Beats of made-up signals are found where they are, and compared with the patient's own."""

import numpy as np
import pytest

from holter.signal.slow import SLOW_SEGMENT, compare, cut

REGULAR = [1.0 + 0.8 * k for k in range(72)]


def _premature(signals, every=8):
    """Regular rhythm in which each `every`-th beat is wide, inverted and early, with a compensatory pause."""
    times, shapes = [], {}
    for k, time in enumerate(REGULAR):
        if k > 20 and k % every == 0:
            time = time - 0.3
            shapes[time] = signals.beat(0.12, -1.4)
        times.append(time)
    return times, shapes


def test_every_beat_is_found_once_near_its_r(signals):
    got = signals.run([signals.train(REGULAR, 60) + signals.noise(60, 0.02)]).beats[0]
    found = np.array([b["r"] for b in got]) / 250
    distance = np.abs(found[:, None] - np.array(REGULAR)[None, :])
    assert distance.min(axis=1).max() < 0.06
    learnt = [k for k, t in enumerate(REGULAR) if 3.5 < t < 59.0]
    assert (distance[:, learnt] < 0.06).sum(axis=0).tolist() == [1] * len(learnt)


def test_own_beats_are_quiet_and_premature_wide_ones_are_not(signals):
    times, shapes = _premature(signals)
    state = signals.run([signals.train(times, 60, shapes) + signals.noise(60, 0.015)]).state[0]
    got = [state["beats"][k % 64] for k in range(state["beat_n"] - 60, state["beat_n"])]
    ectopic = np.array(sorted(shapes))
    marked = {True: [], False: []}
    for b in got:
        marked[bool(np.abs(b["r"] / 250 - ectopic).min() < 0.15)].append(b)
    assert all(b["ventricular"] == 1 for b in marked[True])
    assert not any(b["ventricular"] for b in marked[False])
    assert min(b["resx"] for b in marked[True]) > 5 * max(b["resx"] for b in marked[False][15:])
    assert all(0.2 < b["prem"] < 0.5 for b in marked[True])
    assert all(b["comp"] > 0.02 for b in marked[True][:-1])


@pytest.mark.parametrize("amplitude", [0.3, 3.0])
def test_amplitude_does_not_matter(signals, amplitude):
    x = amplitude * signals.train(REGULAR, 60)
    got = signals.run([x + amplitude * signals.noise(60, 0.02)]).beats[0]
    assert abs(len(got) - len([t for t in REGULAR if 3.0 < t < 59.5])) <= 1


def test_no_interval_spans_a_hole(signals):
    x = signals.train(REGULAR, 60)
    x[30 * 250 : 31 * 250] = 0.0
    got = signals.run([x], hole=lambda s: 1.0 if s == 30 else 0.0).beats[0]
    after = [b for b in got if b["r"] > 30 * 250]
    assert after[0]["rr"] == 0.0
    assert after[1]["rr"] > 0.7


def test_patients_do_not_disturb_each_other(signals):
    one = signals.train(REGULAR, 40) + signals.noise(40, 0.02)
    two = signals.train([1.0 + 0.5 * k for k in range(78)], 40) + signals.noise(40, 0.05, seed=2)
    alone, together = signals.run([one]), signals.run([two, one])
    np.testing.assert_array_equal([b["r"] for b in alone.beats[0]], [b["r"] for b in together.beats[1]])
    np.testing.assert_array_equal(alone.measures[:, 0], together.measures[:, 1])


def test_a_high_t_wave_after_a_wide_beat_is_no_beat(signals):
    times, shapes = _premature(signals)
    for at in list(shapes):
        t = np.arange(-0.15, 0.45, 1 / 250)
        wave = 0.9 * np.exp(-0.5 * ((t - 0.31) / 0.045) ** 2)
        shapes[at] = wave + np.pad(signals.beat(0.06, -1.2), (0, len(t) - 100))
    got = signals.run([signals.train(times, 60, shapes) + signals.noise(60, 0.015)]).beats[0]
    found = np.array([b["r"] for b in got]) / 250
    assert all(np.abs(found - (at + 0.31)).min() > 0.1 for at in shapes)
    assert all(np.abs(found - at).min() < 0.1 for at in shapes)


def test_muscle_noise_is_not_taken_for_ventricular_beats(signals):
    rng = np.random.default_rng(3)
    muscle = np.convolve(rng.normal(0, 1, 60 * 250), [1, -1], "same").astype(np.float32)
    muscle[: 30 * 250] = 0
    times, shapes = _premature(signals)
    x = signals.train(times, 60, shapes) + 0.12 * muscle + signals.noise(60, 0.015)
    late = [b for b in signals.run([x]).beats[0] if b["r"] > 33 * 250]
    near = np.array([np.abs(b["r"] / 250 - np.array(sorted(shapes))).min() < 0.15 for b in late])
    marked = np.array([b["ventricular"] == 1 for b in late])
    assert marked[near].mean() > 0.7
    assert marked[~near].mean() < 0.05


def test_the_slow_twin_of_a_template_is_the_same_beat(signals):
    state = signals.run([signals.train(REGULAR, 60) + signals.noise(60, 0.015)]).state[0]
    segment = np.empty(SLOW_SEGMENT, np.float32)
    last = state["beats"][(state["beat_n"] - 1) % 64]
    cut(state, int(last["r"]), segment)
    residual, energy, correlation, _ = compare(state, int(state["dominant"]), segment)
    assert residual < 0.05
    assert abs(energy - 1) < 0.2
    assert correlation > 0.97
    assert compare(state, int(state["dominant"]), -segment)[2] < 0.8
