import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.ensemble import IsolationForest

from holter.model.artifact import save
from holter.model.fit import KEEP, KEEP_CLEAN, MAX_SAMPLES, FitSettings, fit, offset
from holter.model.fusion import fuse
from holter.model.grow import grow


def auroc(score, label):
    ranks = rankdata(score)
    positive = label.sum()
    return (ranks[label].sum() - positive * (positive + 1) / 2) / (positive * (len(label) - positive))


@pytest.mark.parametrize("seed", [1, 2])
def test_a_trimmed_fit_holds_where_a_third_of_the_windows_is_abnormal_and_a_plain_one_does_not(
    specs, make_windows, seed
):
    past, future = make_windows(seed=seed), make_windows(seed=seed + 10)
    trimmed = fit(specs, past.features, past.ordered, FitSettings(seed=seed)).model
    components = trimmed.projection.apply(past.features, specs)
    plain = grow(components, 100, 256, seed).score(trimmed.projection.apply(future.features, specs))
    assert auroc(trimmed.score(future.features), future.abnormal) > 0.98
    assert auroc(plain, future.abnormal) < auroc(trimmed.score(future.features), future.abnormal) - 0.03


def test_training_leaves_the_abnormal_out(specs, windows):
    kept = fit(specs, windows.features, windows.ordered, FitSettings()).kept
    assert kept.mean() == pytest.approx(KEEP, abs=0.001)
    assert windows.abnormal[kept].mean() < 0.01


def test_a_nearly_clean_cohort_keeps_more(specs, make_windows):
    clean = make_windows(share=0.01)
    assert fit(specs, clean.features, clean.ordered, FitSettings()).kept.mean() == pytest.approx(KEEP_CLEAN, abs=0.001)


def test_the_same_windows_and_seed_give_the_same_bytes(specs, windows):
    def artifact(seed):
        return save(fit(specs, windows.features, windows.ordered, FitSettings(estimators=10, seed=seed)).model, {})

    assert artifact(3) == artifact(3)
    assert artifact(3) != artifact(4)


def test_the_configured_samples_are_an_upper_bound(specs, windows):
    def samples(configured):
        settings = FitSettings(estimators=3, max_samples=configured)
        return fit(specs, windows.features, windows.ordered, settings).model.forest.samples

    assert (samples(16), samples(256)) == (16, MAX_SAMPLES)


def test_the_offset_is_scikit_learns(windows):
    X = windows.features
    grown = IsolationForest(n_estimators=20, max_samples=64, contamination=0.03, random_state=1).fit(X)
    assert offset(-grown.score_samples(X), 0.03) == grown.offset_


def test_contamination_is_the_share_flagged_of_all_windows(specs, make_windows):
    clean = make_windows(share=0)
    model = fit(specs, clean.features, clean.ordered, FitSettings(contamination=0.05)).model
    assert model.flagged(model.score(clean.features)).mean() == pytest.approx(0.05, abs=0.002)


def test_windows_that_tie_at_the_top_of_a_saturated_forest_are_flagged(specs, windows):
    model = fit(specs, windows.features, windows.ordered, FitSettings(contamination=0.01)).model
    flagged = model.flagged(model.score(windows.features))
    assert flagged[windows.abnormal].mean() > 0.5
    assert flagged[~windows.abnormal].mean() < 0.01


def test_the_fused_score_orders_what_the_forest_ties(specs, windows):
    forest = fit(specs, windows.features, windows.ordered, FitSettings()).model.score(windows.features)
    assert auroc(fuse(forest, windows.ordered), windows.abnormal) > 0.99


def test_undefined_features_do_not_break_training(specs, windows):
    holed = np.where(np.random.default_rng(0).random(windows.features.shape) < 0.2, np.nan, windows.features)
    model = fit(specs, holed.astype(np.float32), windows.ordered, FitSettings(estimators=30)).model
    assert auroc(model.score(windows.features), windows.abnormal) > 0.95


@pytest.mark.parametrize(("rows", "columns", "fault"), [(19, 8, "19 windows"), (30, 7, r"\(30, 8\)")])
def test_what_cannot_be_trained_on_is_named(specs, rows, columns, fault):
    with pytest.raises(ValueError, match=fault):
        fit(specs, np.zeros((rows, columns), np.float32), np.zeros(rows, np.float32), FitSettings())


def test_windows_that_are_all_the_same_train_a_model_that_still_scores(specs):
    model = fit(specs, np.zeros((40, 8), np.float32), np.zeros(40, np.float32), FitSettings(estimators=5)).model
    assert np.isfinite(model.score(np.ones((2, 8), np.float32))).all()
