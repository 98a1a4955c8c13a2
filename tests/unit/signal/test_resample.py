"""Interpolation keeps what is below the band edge, at any rate and phase."""

import numpy as np
import pytest

from holter.signal.filters import BLOCK, FS
from holter.signal.resample import HALF, interpolate, kernel


@pytest.mark.parametrize("fs", [100.0, 130.061, 200.0, 360.0, 512.6, 1000.0])
@pytest.mark.parametrize("hertz", [1.0, 17.0, 35.0])
def test_a_sine_comes_out_at_its_own_times(fs, hertz):
    first = HALF + 0.37
    native = np.sin(2 * np.pi * hertz * np.arange(int(fs) + 3 * HALF) / fs).astype(np.float32)
    out = np.empty(BLOCK, np.float32)
    interpolate(native, first, fs / FS, kernel(fs), out)
    want = np.sin(2 * np.pi * hertz * (first + np.arange(BLOCK) * fs / FS) / fs)
    tolerance = 0.02 if hertz < 0.3 * fs else 0.35  # 35 Hz of 100 is on the filter's slope
    np.testing.assert_allclose(out, want, atol=tolerance)


def test_a_constant_stays():
    out = np.empty(BLOCK, np.float32)
    interpolate(np.full(600, 1.25, np.float32), 20.5, 1.44, kernel(360.0), out)
    np.testing.assert_allclose(out, 1.25, atol=1e-5)
