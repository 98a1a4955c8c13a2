import numpy as np
import pytest

from holter.model.fit import FitSettings, fit, project
from holter.model.fusion import fuse
from holter.model.pipeline import UNUSED, select
from holter.model.spec import FeatureSpec, standardise


@pytest.fixture(scope="module")
def model(specs, windows):
    return fit(specs, windows.features, windows.ordered, FitSettings(estimators=30)).model


def test_z_is_zero_at_the_centre_and_one_a_scale_above(specs):
    spec = specs[0]
    column = np.array([[spec.neutral], [np.exp(spec.centre + spec.scale) - spec.eps], [-1.0], [0.0]], np.float32)
    z = standardise(column, [spec])[:, 0]
    assert z[:2] == pytest.approx([0, 1], abs=1e-5)
    assert z[2] == z[3] == (np.log(spec.eps) - spec.centre) / spec.scale


@pytest.mark.parametrize("undefined", [np.nan, np.inf, -np.inf])
def test_an_undefined_feature_counts_as_the_training_median(model, windows, undefined):
    holed, filled = windows.features[:50].copy(), windows.features[:50].copy()
    holed[:, 2] = undefined
    filled[:, 2] = model.projection.fill[2]
    assert np.array_equal(model.score(holed), model.score(filled))
    assert np.isfinite(model.score(np.full((1, 8), undefined, np.float32))).all()


def test_fill_is_the_median_of_the_defined_training_values(specs, windows):
    features = windows.features.copy()
    features[::2, 0] = np.nan
    features[:, 1] = np.nan
    projection = project(specs, features, 8)
    assert projection.fill[0] == np.median(windows.features[1::2, 0])
    assert projection.fill[1] == pytest.approx(specs[1].neutral)


def test_a_window_scores_the_same_alone_and_in_any_batch(model, windows):
    whole = model.score(windows.features)
    assert all(model.score(windows.features[i : i + 1])[0] == whole[i] for i in range(0, 3000, 101))


def test_one_component_a_group_and_the_cap_leaves_out_the_last_groups(specs, windows):
    groups = [0, 0, 0, 0, 1, 1, 1, 2]
    assert project(specs, windows.features, 8).component.tolist() == groups
    capped = project(specs, windows.features, 2)
    assert capped.component.tolist() == [*groups[:7], UNUSED]
    assert capped.apply(windows.features, specs).shape == (3000, 2)


def test_components_are_centred_unit_loadings_that_never_fall_with_severity(specs, windows):
    projection = project(specs, windows.features, 8)
    assert (projection.weight >= 0).all()
    for group in range(3):
        assert np.linalg.norm(projection.weight[projection.component == group]) == pytest.approx(1)
    assert projection.apply(windows.features, specs).mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-5)
    opposed = np.exp(np.random.default_rng(0).normal(size=(500, 1)) * np.array([[1.0, -1.0]]))
    pair = [FeatureSpec("a", "g", 0.01, 0, 1), FeatureSpec("b", "g", 0.01, 0, 1)]
    assert (project(pair, opposed.astype(np.float32), 1).weight >= 0).all()


def test_a_group_that_does_not_vary_is_averaged(specs, windows):
    features = windows.features.copy()
    features[:, :4] = 0.0
    assert project(specs, features, 8).weight[:4] == pytest.approx([0.5] * 4)


def test_select_orders_by_name_and_leaves_missing_columns_undefined():
    features = np.array([[1, 2, 3]], np.float32)
    np.testing.assert_array_equal(select("abc", features, ["c", "new", "a"]), [[3, np.nan, 1]])


def test_fusion_is_on_the_fixed_scale_and_works_without_a_forest():
    forest = np.array([0.5, 0.62, np.nan, 0.5], np.float32)
    ordered = np.array([1.0, 1.0, 1.5, np.nan], np.float32)
    np.testing.assert_allclose(fuse(forest, ordered), [2.0, 3.0, 3.0, np.nan], rtol=1e-6)


def test_wrong_columns_are_refused_with_both_numbers(model):
    with pytest.raises(ValueError, match=r"\(1, 7\).*\(n, 8\)"):
        model.score(np.zeros((1, 7), np.float32))


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", ""), ("name", "é"), ("group", "x" * 33), ("eps", 0), ("scale", -1), ("centre", np.nan)],
)
def test_a_wrong_spec_names_its_field(field, value):
    with pytest.raises(ValueError, match=field):
        FeatureSpec(**{"name": "a", "group": "g", "eps": 0.1, "centre": 0.0, "scale": 1.0, field: value})
