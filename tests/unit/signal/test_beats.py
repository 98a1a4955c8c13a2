"""Beats of made-up signals are found where they are, and compared with the patient's own."""

import numpy as np
import pytest

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
