"""Order statistics that count are those of a sort."""

import numpy as np
import pytest

from holter.signal import order


@pytest.mark.parametrize("n", [1, 2, 7, 8, 31, 50, 64])
def test_nth_and_median_are_those_of_a_sort(n):
    rng = np.random.default_rng(n)
    for values in (rng.normal(0, 1, 64), rng.integers(0, 4, 64), np.zeros(64)):
        x = values.astype(np.float32)
        want = np.sort(x[:n])
        assert [order.nth(x, n, k) for k in range(n)] == want.tolist()
        assert order.median(x, n) == pytest.approx(np.median(want))


@pytest.mark.parametrize("size", [1, 31, 500, 1000])
def test_largest_and_below_take_no_notice_of_the_sign(size):
    x = np.random.default_rng(size).normal(0, 1, size).astype(np.float32)
    assert order.largest(x) == np.abs(x).max()
    assert order.below(x, 0.5) == np.sum(np.abs(x) < np.float32(0.5))
    assert order.largest(np.zeros(size, np.float32)) == 0.0


@pytest.mark.parametrize("q", [0.02, 0.5, 0.98])
def test_a_quantile_is_exact_to_a_step(q):
    x = np.random.default_rng(3).normal(0, 1, 1000).astype(np.float32)
    top = order.largest(x)
    want = np.quantile(np.abs(x), q, method="inverted_cdf")
    assert order.quantile(x, top, q) == pytest.approx(want, abs=top / order.LEVELS)
