"""The one-file scorer of an edge device: the service's scores from the same artifact, and nothing but numpy."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from holter.model import edge
from holter.model.artifact import save
from holter.model.fit import FitSettings, fit
from holter.model.fusion import SPREAD, TYPICAL, WEIGHT, fuse
from holter.signal.features import FEATURES, NAMES, RHYTHM_WEIGHT, ordered_score


@pytest.fixture(scope="module")
def windows():
    rng = np.random.default_rng(5)
    scale = np.array([spec.neutral for spec in FEATURES], np.float32)
    features = (np.abs(scale) * rng.lognormal(0, 1, (2500, len(FEATURES)))).astype(np.float32)
    features[::50, 2] = np.nan
    return features


@pytest.fixture(scope="module")
def fitted(windows):
    known = np.isfinite(windows).all(axis=1)
    return fit(FEATURES, windows[known], ordered_score(windows[known]), FitSettings(contamination=0.05)).model


@pytest.fixture(scope="module")
def npz(fitted):
    return save(fitted, {"revision": 1})[0]


def test_the_same_scores_as_the_service(windows, fitted, npz):
    model = edge.load(npz)
    got = model.score(windows)
    ordered, forest = ordered_score(windows), fitted.score(windows)
    np.testing.assert_array_equal(got.forest, forest)
    np.testing.assert_allclose(got.ordered, ordered, atol=1e-6)
    np.testing.assert_allclose(got.fused, fuse(forest, ordered), atol=1e-5)
    np.testing.assert_array_equal(got.flagged, fitted.flagged(forest))
    assert np.isnan(got.fused).sum() == 50
    assert (model.names, model.threshold) == (NAMES, fitted.threshold)


def test_its_constants_are_the_service_s():
    assert (edge.RHYTHM_WEIGHT, edge.TYPICAL, edge.SPREAD, edge.ORDERED_WEIGHT) == (
        RHYTHM_WEIGHT, TYPICAL, SPREAD, WEIGHT,
    )  # fmt: skip


def test_the_file_alone_with_numpy_alone(tmp_path, windows, npz, fitted):
    (tmp_path / "edge.py").write_bytes(Path(edge.__file__).read_bytes())
    (tmp_path / "model.npz").write_bytes(npz)
    np.save(tmp_path / "windows.npy", windows)
    code = (
        "import sys; sys.modules.update(holter=None, numba=None, scipy=None, sklearn=None)\n"
        "import edge, numpy as np\n"
        "scores = edge.load(open('model.npz', 'rb').read()).score(np.load('windows.npy'))\n"
        "np.save('forest.npy', scores.forest)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "forest.npy"), fitted.score(windows))
    assert len(Path(edge.__file__).read_text().splitlines()) <= 200


@pytest.mark.parametrize("at", [0.1, 0.5, 0.99])
def test_a_damaged_model_is_refused(npz, at):
    with pytest.raises(ValueError, match=r"model\.npz"):
        edge.load(npz[: int(at * len(npz))])


def test_a_wrong_shape_is_refused(npz):
    with pytest.raises(ValueError, match=r"\(n, 8\) is expected"):
        edge.load(npz).score(np.zeros((3, 5)))
