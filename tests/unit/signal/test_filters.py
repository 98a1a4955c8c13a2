"""The streamed filters are scipy's, started in their steady state."""

import numpy as np
import pytest
from scipy.signal import sosfilt, sosfilt_zi

from holter.signal import filters


@pytest.mark.parametrize("band", range(filters.BANDS))
def test_blocks_equal_one_pass_of_scipy(band):
    x = (np.random.default_rng(1).normal(0, 1, 4 * filters.BLOCK) + 3.0).astype(np.float32)
    state, got = np.zeros((filters.SECTIONS, 2)), []
    filters.start(state, x[0])
    for k in range(4):
        out = np.empty((filters.BANDS, filters.BLOCK), np.float32)
        filters.run(state, x[k * filters.BLOCK : (k + 1) * filters.BLOCK], out)
        got.append(out[band])
    sos = filters.SOS[filters.OFFSETS[band] : filters.OFFSETS[band + 1]]
    want, _ = sosfilt(sos, x, zi=sosfilt_zi(sos) * x[0])
    np.testing.assert_allclose(np.concatenate(got), want, atol=2e-4)


def test_a_constant_gives_nothing_but_wander():
    state, out = np.zeros((filters.SECTIONS, 2)), np.empty((filters.BANDS, filters.BLOCK), np.float32)
    filters.start(state, 2.5)
    filters.run(state, np.full(filters.BLOCK, 2.5, np.float32), out)
    for band in range(filters.BANDS):
        level = 2.5 if band == filters.WANDER else 0.0
        np.testing.assert_allclose(out[band], level, atol=1e-4)
