import numpy as np
import pytest

from holter.sim.morphology import AFTER, BEFORE, normal, render, ventricular
from holter.sim.rhythm import Beat

FS = 1000
TIMES = np.arange(-0.6, 1.2, 1 / FS)


def duration(qrs):
    """QRS duration as an annotator sees it: where the complex differs from the baseline by 5 % of its peak."""
    v = np.abs(render(qrs, TIMES))
    above = TIMES[v > 0.05 * v.max()]
    return above[-1] - above[0]


@pytest.fixture(params=range(20))
def own(request):
    return normal(np.random.default_rng(request.param))


def test_a_normal_qrs_is_narrow_and_of_normal_height(own):
    assert 0.055 < duration(own.qrs) < 0.105
    v = render(own.qrs, TIMES)
    assert 0.75 < np.ptp(v) < 1.6


@pytest.mark.parametrize("upright", [True, False])
def test_a_ventricular_qrs_is_wide_higher_and_its_t_wave_discordant(own, upright):
    form = ventricular(np.random.default_rng(3), own, upright=upright)
    assert 0.135 < duration(form.qrs) < 0.205
    assert duration(form.qrs) > 1.5 * duration(own.qrs)
    v = render(form.qrs, TIMES)
    peak = v[np.argmax(np.abs(v))]
    assert np.sign(peak) == (1 if upright else -1)
    assert np.sign(form.t[0, 0]) == -np.sign(peak)
    assert np.abs(v).max() > 0.9 * own.qrs[1, 0]
    assert len(form.p) == 0


def test_a_faster_heart_keeps_its_qrs_and_shortens_qt(own):
    slow, fast = own.waves(Beat(0.0, 1.0)), own.waves(Beat(0.0, 1 / 3))
    qrs = slice(len(own.p), len(own.p) + 3)
    assert np.array_equal(slow[qrs], fast[qrs])
    # Bazett: with the root of RR.
    assert fast[-1, 1] / slow[-1, 1] == pytest.approx(np.sqrt(1 / 3))
    assert fast[-1, 2] / slow[-1, 2] == pytest.approx(np.sqrt(1 / 3))
    # The PR interval stays nearly as it is.
    assert 0.75 < fast[0, 1] / slow[0, 1] < 0.9


def test_without_a_p_wave_nothing_precedes_qrs(own):
    with_p, without = (render(own.waves(Beat(0.0, 1.0, p_wave=p)), TIMES) for p in (True, False))
    before = (TIMES > -0.22) & (TIMES < -0.1)
    assert with_p[before].max() > 0.04
    assert np.abs(without[before]).max() < 0.002


def test_a_beat_is_nothing_outside_of_its_span(own):
    for rr in (0.33, 1.0, 1.6):
        v = render(own.waves(Beat(0.0, rr)), TIMES)
        assert np.abs(v[(TIMES < -BEFORE) | (TIMES > AFTER)]).max() < 1e-3


def test_polymorphism_scales_height_and_width(own):
    form = ventricular(np.random.default_rng(3), own, upright=True)
    plain = form.waves(Beat(0.0, 0.33))
    other = form.waves(Beat(0.0, 0.33, gain=1.2, stretch=1.1))
    assert other[0, 0] / plain[0, 0] == pytest.approx(1.2)
    assert other[0, 2] / plain[0, 2] == pytest.approx(1.1)
