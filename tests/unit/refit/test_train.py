from dataclasses import replace

import numpy as np
import pytest

from holter.config import RefitConfig
from holter.model.artifact import load, save
from holter.model.fusion import fuse
from holter.refit.train import train


@pytest.fixture
def options():
    return RefitConfig(cohort="ward", namespace="st-mary", estimators=20, min_windows=500)


def test_the_numbers_describe_the_model(make_windows, specs, options):
    windows = make_windows()
    trained = train(windows, specs, options, None, 3)
    score = fuse(trained.model.score(windows.features), windows.ordered)
    said = trained.numbers
    assert (said["windows"], said["usable"], said["devices"], said["seed"]) == (1800, 1800, 9, 3)
    assert said["kept"] == round(0.6 * 1800)
    assert said["flagRate"] == pytest.approx((score > trained.model.threshold).mean())
    assert said["scoreQuantiles"]["p90"] == pytest.approx(np.quantile(score, 0.9), abs=1e-5)
    assert (said["estimators"], said["maxSamples"], said["components"]) == (20, 64, 3)
    assert said["currentFlagRate"] is said["currentScoreQuantiles"] is said["currentRevision"] is None
    assert set(said["versions"]) == {"holter", "numpy", "scikit-learn"}
    assert said["calibration"]["quietDevices"] == 6


def test_alerted_poor_and_unscored_windows_do_not_train(make_windows, specs, options):
    windows = make_windows()
    out = np.arange(1800) % 6 == 0
    wild = np.where(out[:, None], np.float32(50), windows.features)
    reference = train(replace(windows, alerted=out), specs, options, None, 0)
    alerted = train(replace(windows, features=wild, alerted=out), specs, options, None, 0)
    assert alerted.numbers["usable"] == 1500
    assert np.array_equal(alerted.model.forest.threshold, reference.model.forest.threshold)
    poor = train(replace(windows, features=wild, quality=np.where(out, 0.4, 1).astype("f4")), specs, options, None, 0)
    unscored = replace(windows, features=wild, ordered=np.where(out, np.nan, windows.ordered).astype("f4"))
    for left_out in (poor, train(unscored, specs, options, None, 0)):
        assert (left_out.numbers["windows"], left_out.numbers["usable"]) == (1800, 1500)
        assert np.array_equal(left_out.model.forest.threshold, reference.model.forest.threshold)


def test_alerted_windows_count_in_rates_and_quantiles(make_windows, specs, options):
    windows = make_windows()
    alerted = replace(windows, alerted=windows.ordered > 1)
    assert train(alerted, specs, options, None, 0).numbers["flagRate"] > 0.15


def test_the_model_in_use_is_compared_on_the_same_windows(make_windows, specs, options):
    past, windows = make_windows(seed=1), make_windows(seed=2)
    current = replace(train(past, specs, options, None, 0).model, revision=4, threshold=3.3)
    said = train(windows, specs, options, current, 0).numbers
    score = fuse(current.score(windows.features), windows.ordered)
    assert said["currentRevision"] == 4
    assert said["currentFlagRate"] == pytest.approx((score > 3.3).mean())
    assert said["currentScoreQuantiles"]["p50"] == pytest.approx(np.median(score), abs=1e-5)


def test_a_population_that_moves_is_noticed_feature_by_feature(make_windows, specs, options):
    past, same = make_windows(seed=1), make_windows(seed=2)
    wild = same.features.copy()
    wild[:, 3] = (wild[:, 3] + 0.02) * np.exp(1.5) - 0.02  # + 1.5 in z
    current = train(past, specs, options, None, 0).model
    still = train(same, specs, options, current, 0).numbers["populationShift"]
    moved = train(replace(same, features=wild), specs, options, current, 0).numbers["populationShift"]
    assert set(still) == {s.name for s in specs}
    assert max(abs(z) for z in still.values()) < 0.2
    assert moved["d"] == pytest.approx(1.5, abs=0.2)
    assert max(abs(moved[name]) for name in "abce") < 0.2
    assert train(past, specs, options, None, 0).numbers["populationShift"] is None


def test_columns_are_found_by_name_and_new_features_are_filled(make_windows, specs, options):
    windows = make_windows()
    order = [4, 2, 0, 1, 3]
    shuffled = replace(windows, names=tuple(windows.names[i] for i in order), features=windows.features[:, order])
    assert save(train(shuffled, specs, options, None, 0).model, {}) == save(
        train(windows, specs, options, None, 0).model, {}
    )
    older = replace(windows, names=windows.names[:4], features=windows.features[:, :4])
    model = train(older, specs, options, None, 0).model
    assert model.projection.fill[4] == pytest.approx(specs[4].neutral)


@pytest.mark.parametrize(("each", "needed"), [(2, 10), (55, 500)])
def test_too_few_windows_train_nothing_and_say_how_many_there_were(make_windows, specs, options, each, needed):
    few = train(make_windows(each=each), specs, options.model_copy(update={"min_windows": needed}), None, 0)
    assert few.model is None
    assert few.numbers["usable"] == few.numbers["windows"] == 9 * each


def test_the_same_windows_and_seed_give_the_same_artifact_and_it_loads(make_windows, specs, options):
    one, two = (train(make_windows(), specs, options, None, 5) for _ in range(2))
    assert save(one.model, one.numbers) == save(two.model, two.numbers)
    assert load(*save(one.model, one.numbers)).threshold == one.model.threshold
