"""The figures of a second are plain numpy's, lane by lane."""

import numpy as np
import pytest

from holter.signal import figures
from holter.signal.filters import BANDS, BLOCK, COMPLEX, HIGH, LANES, LETHAL, NOISE, WANDER
from holter.signal.patient import allocate


@pytest.fixture(scope="module")
def second():
    rng = np.random.default_rng(4)
    bands = (rng.normal(0, 1, (BANDS, BLOCK, LANES)) + rng.normal(0, 2, (BANDS, 1, LANES))).astype(np.float32)
    signal = (np.round(rng.normal(0, 0.002, (BLOCK, LANES)), 3) + 1).astype(np.float32)
    table = np.full((figures.ROWS, LANES), np.nan, np.float32)
    figures.of_signal(signal, table)
    for band in range(BANDS):
        figures.of_band(band, bands[band], table)
    return signal, bands, table


def test_figures_are_those_of_numpy(second):
    signal, bands, table = second
    magnitude = np.abs(bands[COMPLEX])
    want = {
        figures.PP_RAW: np.ptp(signal, axis=0),
        figures.EQUAL: (np.abs(np.diff(signal, axis=0)) <= 0.00125).mean(axis=0),
        figures.PP: np.ptp(bands[LETHAL], axis=0),
        figures.ABOVE: (magnitude >= magnitude.mean(axis=0)).mean(axis=0),
        figures.LETHAL_SQ: (bands[LETHAL] ** 2).sum(axis=0),
        figures.HIGH_SQ: (bands[HIGH] ** 2).sum(axis=0),
        figures.WANDER_PP: np.ptp(bands[WANDER], axis=0),
        figures.WANDER_SUM: bands[WANDER].sum(axis=0, dtype=np.float64),
        figures.WANDER_SQ: (bands[WANDER].astype(np.float64) ** 2).sum(axis=0),
    }
    for row, expected in want.items():
        np.testing.assert_allclose(table[row], expected, rtol=1e-5, atol=1e-5)
    parts = bands[NOISE].reshape(figures.PARTS, -1, LANES)
    np.testing.assert_allclose(table[figures.NOISE_RMS :], np.sqrt((parts**2).mean(axis=1)), rtol=1e-5)


def test_a_patient_keeps_the_figures_of_their_lane(second):
    _, _, table = second
    rec = allocate(1)
    figures.keep(rec[0], 3, table, 5)
    assert rec["pp_raw"][0, 3] == table[figures.PP_RAW, 5]
    assert rec["wander_sq"][0, 3] == table[figures.WANDER_SQ, 5]
    assert rec["noise"][0, 15:20].tolist() == table[figures.NOISE_RMS :, 5].tolist()
    assert not rec["noise"][0, :15].any()
    assert not rec["pp"][0, 4:].any()
