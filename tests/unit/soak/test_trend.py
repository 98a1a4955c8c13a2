"""The soak's verdict: a leak is told from noise."""

import numpy as np
import pytest
from tests.soak import trend

SECONDS = np.arange(180) * 10.0  # half an hour
MB = 1e6


def make_memory(per_hour, rng):
    """A worker of 300 MB that fills up in 8 minutes, wobbles by 0.5 MB, and leaks."""
    warm = 300 * MB * (1 - 0.3 * np.exp(-SECONDS / 120))
    return warm + 300 * MB * per_hour * SECONDS / 3600 + rng.normal(0, 0.5 * MB, 180)


@pytest.mark.parametrize("seed", range(20))
def test_a_leak_is_told_from_noise(seed):
    rng = np.random.default_rng(seed)
    assert trend(SECONDS, make_memory(0.0, rng)).flat
    assert not trend(SECONDS, make_memory(0.07, rng)).flat


def test_a_line_is_found():
    line = trend(SECONDS, 300 * MB * (1 + 0.1 * (SECONDS - 1195) / 3600))  # the middle of what is judged
    assert line.per_hour == pytest.approx(0.1)
    assert line.error == pytest.approx(0, abs=1e-9)
    assert line.grown == pytest.approx(300 * MB * 0.1 * 1190 / 3600)
    assert line.mean == pytest.approx(300 * MB)


def test_an_arena_in_a_short_run_is_no_leak():
    line = trend(SECONDS[:80], 64 * MB + np.maximum(SECONDS[:80] - 600, 0) / 190 * 0.9 * MB)
    assert line.per_hour > 0.05
    assert line.flat


def test_too_few_samples():
    with pytest.raises(ValueError, match="5 samples after the warm-up of 10 minutes; 6 make a line"):
        trend(SECONDS[:65], SECONDS[:65])
