"""Motion of the electrode and a ventricular beat are told apart by what is above 5 Hz."""

import numpy as np
from scipy.signal import butter, sosfilt

from holter.signal.fast import OWN
from holter.signal.quality import GOOD, MOTION_LIMIT, quality

REGULAR = [1.0 + 0.8 * k for k in range(87)]
SECONDS = 70


def _motion(rms: float, begin: int) -> np.ndarray:
    """0.3-4 Hz from a second on, mV."""
    white = np.random.default_rng(2).normal(0, 1, SECONDS * 250)
    x = sosfilt(butter(2, (0.3, 4.0), "band", fs=250, output="sos"), white)
    x *= rms / x.std()
    x[: begin * 250] = 0.0
    return x.astype(np.float32)


def _last(run, patient, count):
    state = run.state[patient]
    return [state["beats"][k % 64] for k in range(state["beat_n"] - count, state["beat_n"])]


def _quality(run):
    out = np.empty(len(run.state), np.float32)
    quality(run.state, np.arange(len(run.state)), 10, 0, out)
    return out


def test_own_beats_in_motion_are_own_above_it_and_their_window_is_not_judged(signals):
    calm = signals.train(REGULAR, SECONDS) + signals.noise(SECONDS, 0.01)
    run = signals.run([calm, calm + _motion(0.25, 55)])
    still, moved = _quality(run)
    assert still > 0.7
    assert moved < GOOD
    beats = _last(run, 1, 12)
    assert np.median([b["fast"] for b in beats]) > OWN
    assert sorted(b["motion"] for b in beats)[-2] > MOTION_LIMIT
    assert sum(b["ventricular"] for b in beats) <= 3
    assert max(b["motion"] for b in _last(run, 0, 12)) < 0.5 * MOTION_LIMIT


def test_ventricular_beats_are_no_motion(signals):
    sick = {REGULAR[k] - 0.3: signals.beat(0.12, -1.4) for k in range(24, 87, 4)}
    times = [t for k, t in enumerate(REGULAR) if k < 24 or k % 4] + list(sick)
    run = signals.run([signals.train(sorted(times), SECONDS, sick) + signals.noise(SECONDS, 0.01)])
    beats = _last(run, 0, 40)
    ventricular = [b for b in beats if b["ventricular"]]
    assert len(ventricular) >= 8
    assert max(b["fast"] for b in ventricular) < OWN
    assert max(b["motion"] for b in beats) < MOTION_LIMIT
    assert _quality(run)[0] > 0.7
