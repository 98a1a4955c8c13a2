"""The peak detector's envelope goes on from block to block as one moving mean."""

import numpy as np

from holter.signal import qrs
from holter.signal.filters import BLOCK
from holter.signal.patient import allocate


def test_the_envelope_is_a_moving_mean_across_blocks():
    x = np.random.default_rng(2).normal(0, 1, 4 * BLOCK).astype(np.float32)
    rec, got = allocate(1), []
    for block in x.reshape(4, BLOCK):
        out = np.empty(BLOCK)
        qrs._envelope(rec[0], block, out)
        got.append(out)
    want = np.convolve(np.abs(x.astype(np.float64)), np.full(30, 1 / 30))[: x.size]
    np.testing.assert_allclose(np.concatenate(got), want, atol=1e-5)
