import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import IsolationForest

from holter.model.compiled import total_path as compiled
from holter.model.forest import SCORE_BOUND, average_path, total_path
from holter.model.grow import flatten, grow


def data(seed, n, m):
    rng = np.random.default_rng(seed)
    X = rng.standard_t(3, size=(n, m)).astype(np.float32)
    X[:, m // 2] = np.round(X[:, m // 2])  # ties
    return X


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(2, 300),
    m=st.integers(1, 6),
    trees=st.integers(1, 12),
    samples=st.integers(2, 300),
)
def test_compiled_is_numpy_is_scikit_learn_within_the_bound(seed, n, m, trees, samples):
    X = data(seed, n, m)
    grown = IsolationForest(n_estimators=trees, max_samples=min(samples, n), random_state=seed % 1000).fit(X)
    forest = flatten(grown)
    # Rows that were trained on, others, and rows exactly at thresholds, where rounding would tell.
    at = (
        np.resize(forest.threshold[np.isfinite(forest.threshold)], (50, m))
        if np.isfinite(forest.threshold).any()
        else X
    )
    rows = np.concatenate([X, 3 * data(seed + 1, 70, m), at.astype(np.float32), np.nextafter(at, np.float32(np.inf))])
    plain = forest.score(rows, total_path)
    assert np.array_equal(plain, forest.score(rows, compiled))
    assert plain.dtype == np.float32
    assert np.abs(plain + grown.score_samples(rows)).max() <= SCORE_BOUND


def test_a_row_scores_the_same_alone_and_in_any_batch():
    X = data(5, 2100, 3)
    forest = grow(X, 20, 64, 1)
    whole = forest.score(X)
    assert all(forest.score(X[i : i + 1])[0] == whole[i] for i in range(0, 2100, 97))
    assert np.array_equal(forest.score(X[1000:]), whole[1000:])
    assert len(forest.score(X[:0])) == 0


def test_outliers_score_above_typical_rows():
    X = data(6, 1000, 3)
    score = grow(X, 50, 64, 1).score(np.array([[0, 0, 0], [40, 40, 40]], np.float32))
    assert score[0] < 0.5 < 0.65 < score[1]


def test_the_same_seed_grows_the_same_forest_and_another_seed_another():
    X = data(7, 500, 3)
    assert np.array_equal(grow(X, 10, 64, 1).threshold, grow(X, 10, 64, 1).threshold)
    assert not np.array_equal(grow(X, 10, 64, 1).threshold, grow(X, 10, 64, 2).threshold)


def test_wrong_columns_are_refused_with_both_numbers():
    with pytest.raises(ValueError, match=r"\(1, 2\).*\(n, 3\)"):
        grow(data(8, 50, 3), 3, 16, 1).score(np.zeros((1, 2), np.float32))


def test_average_path_is_the_papers():
    # c(256) = 10.24 (Liu et al., section 2); c(2) = 1, c(1) = 0 by definition.
    assert average_path(np.array([0, 1, 2, 256])) == pytest.approx([0, 0, 1, 10.244770920116851])
