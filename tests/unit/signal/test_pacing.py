"""Pacing pulses are taken out, and nothing else is."""

import numpy as np
import pytest
from tests.unit.signal.conftest import beat, noise, train

from holter.signal.filters import BLOCK, FS
from holter.signal.pacing import AHEAD, TAIL, without_pulses


def through(x, block=BLOCK):
    """A signal through it, block by block, put back to where it was."""
    tail, out = np.full(TAIL, x[0], np.float32), []
    for first in range(0, len(x), block):
        piece = x[first : first + block].copy()
        without_pulses(tail, piece)
        out.append(piece)
    return np.concatenate(out)[AHEAD:]


def pulses(at, n, millivolts):
    """One or two samples each, as a converter's filter leaves them."""
    times = np.arange(n) / FS
    return sum(millivolts * np.maximum(0.0, 1 - np.abs(times - t) * FS) for t in at).astype(np.float32)


RHYTHM = train(
    [0.5 + 0.8 * k for k in range(10)], 10, dict.fromkeys((0.5 + 0.8 * k for k in range(10)), beat(0.12, 1.2))
)


@pytest.mark.parametrize("millivolts", [0.6, -0.6, 3.0, -20.0])
def test_a_pulse_anywhere_between_two_samples_leaves_no_qrs(millivolts):
    # 140 ms before R, and in the silence at the end, at every phase; the silence spans ends of blocks.
    at = [0.36 + 0.8 * k + 0.0004 * k for k in range(10)] + [8.3 + 0.0994 * k for k in range(16)]
    x = RHYTHM + noise(10, 0.004)
    out = through(x + pulses(at, len(x), millivolts))
    assert np.abs(out - x[: len(out)]).max() < 0.15


@pytest.mark.parametrize("offset", range(-4, 5))
def test_a_pulse_on_the_edge_of_two_blocks_is_found(offset):
    x = noise(4, 0.004)
    spiked = x.copy()
    spiked[2 * BLOCK + offset] += 2.0
    spiked[2 * BLOCK + offset + 1] += 1.0
    assert np.abs(through(spiked) - x[: len(x) - AHEAD]).max() < 0.05


@pytest.mark.parametrize("millivolts", [0.3, 1.0, 5.0])
@pytest.mark.parametrize("width", [0.03, 0.04, 0.12])
def test_a_qrs_is_left_as_it_is(width, millivolts):
    times = [0.5 + 0.7031 * k for k in range(12)]
    x = train(times, 10, dict.fromkeys(times, beat(width, millivolts)))
    assert np.array_equal(through(x), x[: len(x) - AHEAD])


def test_it_is_the_same_in_any_blocks():
    x = RHYTHM + noise(10, 0.05) + pulses([0.4 + 0.31 * k for k in range(30)], len(RHYTHM), 1.5)
    assert np.array_equal(through(x), through(x, 50))
