"""The streamed filters are scipy's, started in their steady state."""

import numpy as np
import pytest
from scipy.signal import sosfilt, sosfilt_zi

from holter.signal import filters


def filtered(signals):
    """Blocks of LANES signals, shape (blocks, BLOCK, LANES), through all bands."""
    state, got = np.zeros((filters.SECTIONS, 2, filters.LANES)), []
    for lane in range(filters.LANES):
        one = np.zeros((filters.SECTIONS, 2))
        filters.start(one, signals[0, 0, lane])
        state[:, :, lane] = one
    for block in signals:
        out = np.empty((filters.BANDS, filters.BLOCK, filters.LANES), np.float32)
        for band in range(filters.BANDS):
            filters.run(state, block, band, out[band])
        got.append(out)
    return np.concatenate(got, axis=1)


@pytest.mark.parametrize("band", range(filters.BANDS))
def test_blocks_equal_one_pass_of_scipy(band):
    x = (np.random.default_rng(1).normal(0, 1, (4, filters.BLOCK, filters.LANES)) + 3.0).astype(np.float32)
    got = filtered(x)[band]
    sos = filters.SOS[filters.OFFSETS[band] : filters.OFFSETS[band + 1]]
    for lane in range(filters.LANES):
        signal = x[:, :, lane].ravel()
        want, _ = sosfilt(sos, signal, zi=sosfilt_zi(sos) * signal[0])
        np.testing.assert_allclose(got[:, lane], want, atol=2e-4)


def test_a_constant_gives_nothing_but_wander():
    got = filtered(np.full((2, filters.BLOCK, filters.LANES), 2.5, np.float32))
    for band in range(filters.BANDS):
        level = 2.5 if band == filters.WANDER else 0.0
        np.testing.assert_allclose(got[band], level, atol=1e-4)
