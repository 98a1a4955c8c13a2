import io
import json
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holter.model.artifact import _DTYPES, LEAF, MAX_BYTES, _arrays, load, read, save
from holter.model.fit import FitSettings, fit
from holter.model.forest import MAX_DEPTH, UNIT
from holter.model.grow import grow
from holter.model.npz import ArtifactError, pack, unpack


@pytest.fixture(scope="module")
def model(specs, windows):
    fitted = fit(specs, windows.features, windows.ordered, FitSettings(estimators=8)).model
    return replace(fitted, threshold=2.9, revision=7)


@pytest.fixture(scope="module")
def files(model):
    return save(model, {"revision": 7, "windows": 3000})


def refused(npz, text):
    with pytest.raises(ArtifactError) as caught:
        load(npz, text)
    return str(caught.value)


def test_what_is_saved_is_loaded(model, files, windows):
    loaded = load(*files)
    assert np.array_equal(loaded.score(windows.features), model.score(windows.features))
    assert (loaded.specs, loaded.offset, loaded.threshold, loaded.revision) == (model.specs, model.offset, 2.9, 7)
    for field in ("roots", "feature", "threshold", "left", "path"):
        assert np.array_equal(getattr(loaded.forest, field), getattr(model.forest, field))
        assert getattr(loaded.forest, field).dtype == getattr(model.forest, field).dtype
    assert loaded.forest.depth == model.forest.depth
    said = json.loads(files[1])
    assert said["sha256"] == sha256(files[0]).hexdigest()
    assert (said["format"], said["windows"], said["bytes"]) == (1, 3000, len(files[0]))
    assert said["features"] == list(model.names)
    assert said["transforms"][0] == {"name": "resx", "group": "shape", "eps": 0.01, "centre": -2.12, "scale": 1.69}


def test_the_same_model_gives_the_same_bytes_and_loading_changes_nothing(model, files):
    assert save(model, {"revision": 7, "windows": 3000}) == files
    assert save(load(*files), {"revision": 7, "windows": 3000}) == files


def test_numpy_reads_it_without_pickle(model, files):
    with np.load(io.BytesIO(files[0]), allow_pickle=False) as arrays:
        assert np.array_equal(arrays["threshold"], model.forest.threshold[np.isfinite(model.forest.threshold)])


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_change_of_any_byte_of_the_arrays_is_refused(files, data):
    npz, text = files
    at = data.draw(st.integers(0, len(npz) - 1))
    changed = bytearray(npz)
    changed[at] ^= data.draw(st.integers(1, 255))
    assert "sha256" in refused(bytes(changed), text)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_change_of_any_byte_of_the_numbers_is_refused_or_changes_no_score(files, model, data):
    npz, text = files[0], files[1].encode()
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + bytes([text[at] ^ data.draw(st.integers(1, 255))]) + text[at + 1 :]
    try:
        loaded = load(npz, changed)
    except ArtifactError:
        return
    assert (loaded.specs, loaded.offset, loaded.threshold) == (model.specs, model.offset, model.threshold)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_archives_with_a_right_sha256_are_refused_or_score(files, data, windows):
    npz = bytearray(files[0])
    for _ in range(data.draw(st.integers(1, 4))):
        # Half of the changes fall on the first headers, where names, types and shapes are.
        at = data.draw(st.integers(0, 600) | st.integers(0, len(npz) - 1))
        npz[at] = data.draw(st.integers(0, 255))
    try:
        loaded = load(bytes(npz), resign(files[1], bytes(npz)))
    except ArtifactError:
        return
    assert len(loaded.score(windows.features[:10])) == 10


def resign(text, npz, **numbers):
    return json.dumps({**json.loads(text), "sha256": sha256(npz).hexdigest(), **numbers})


def hostile(name, change):
    def damage(arrays):
        arrays[name] = change(arrays[name].copy())

    damage.__name__ = name
    return damage


def put(index, value):
    def change(array):
        array[index] = value
        return array

    return change


def chain(arrays):
    """One tree, a chain one split deeper than allowed."""
    splits = MAX_DEPTH + 1
    arrays.update(
        roots=np.array([0, 2 * splits + 1], "<i4"),
        feature=np.array([0, *[LEAF, 0] * (splits - 1), LEAF, LEAF], "i1"),
        threshold=np.zeros(splits, "<f4"),
        path=np.full(splits + 1, UNIT, "<i4"),
    )


def child_before_parent(arrays):
    """Counts are right, yet a node comes before the split whose child it would be."""
    arrays.update(
        roots=np.array([0, 5], "<i4"),
        feature=np.array([LEAF, LEAF, LEAF, 0, 0], "i1"),
        threshold=np.zeros(2, "<f4"),
        path=np.full(3, UNIT, "<i4"),
    )


HOSTILE = {
    "a split too many": hostile("feature", put(-1, 0)),
    "a split too few": hostile("feature", put(0, -1)),
    "a child before its parent": child_before_parent,
    "a chain deeper than any tree": chain,
    "a column that is not there": hostile("feature", put(0, 3)),
    "a negative column": hostile("feature", put(0, -2)),
    "a threshold that is NaN": hostile("threshold", put(0, np.nan)),
    "a threshold that is infinite": hostile("threshold", put(0, np.inf)),
    "thresholds cut off": hostile("threshold", lambda a: a[:-1]),
    "a path that is negative": hostile("path", put(-1, -5)),
    "a path that overflows": hostile("path", put(-1, np.iinfo(np.int32).max)),
    "roots that go back": hostile("roots", put(1, 0)),
    "roots that wrap around": hostile("roots", put(slice(1, 3), [np.iinfo(np.int32).max, -2])),
    "roots beyond the nodes": hostile("roots", put(-1, 1 << 30)),
    "no trees": hostile("roots", lambda a: a[:1]),
    "paths cut off": hostile("path", lambda a: a[:-1]),
    "one sample a tree": hostile("samples", put(0, 1)),
    "no sample size": hostile("samples", lambda a: a[:0]),
    "a component that is not there": hostile("component", put(0, 3)),
    "no components": hostile("bias", lambda a: a[:0]),
    "a weight that is infinite": hostile("weight", put(0, np.inf)),
    "a feature too few": hostile("names", lambda a: a[:-1]),
    "a feature twice": hostile("names", put(0, b"cnx")),
    "a name that is not ASCII": hostile("names", put(0, "é".encode())),
    "eps of 0": hostile("scaling", put(0, 0.0)),
    "a threshold that is not a number": hostile("decision", put(1, np.nan)),
    "another type": hostile("path", lambda a: a.astype("<i8")),
    "two dimensions": hostile("path", lambda a: a[None]),
    "an array missing": lambda arrays: arrays.pop("path"),
    "an array too many": lambda arrays: arrays.update(more=np.zeros(1)),
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_hostile_arrays_are_refused(model, files, fault):
    arrays = dict(_arrays(model))
    HOSTILE[fault](arrays)
    npz = pack(arrays)
    refused(npz, resign(files[1], npz))


def test_a_header_that_promises_more_than_there_is_allocates_nothing(model):
    npz = pack(_arrays(model))
    shape = f"({len(model.forest.left)},)".encode()
    huge = b"(9" + b"9" * (len(shape) - 4) + b",)"
    with pytest.raises(ArtifactError):
        unpack(npz.replace(shape, huge), _DTYPES)


def test_compressed_and_pickled_archives_are_refused(model, files):
    compressed, pickled = io.BytesIO(), io.BytesIO()
    np.savez_compressed(compressed, **_arrays(model))
    np.savez(pickled, **{name: np.array([{}], dtype=object) for name in _DTYPES})
    assert "compressed" in refused(compressed.getvalue(), resign(files[1], compressed.getvalue()))
    refused(pickled.getvalue(), resign(files[1], pickled.getvalue()))


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"format": 2}, "format 2: 1 is expected"),
        ({"threshold": 0.1}, "threshold"),
        ({"offset": float("nan")}, "offset"),
        ({"features": ["a"]}, "features"),
        ({"transforms": []}, "transforms"),
        ({"revision": -1}, "revision -1"),
        ({"revision": "7"}, "revision '7'"),
        ({"revision": True}, "revision True"),
    ],
)
def test_numbers_that_are_wrong_are_named(files, numbers, said):
    assert said in refused(files[0], resign(files[1], files[0], **numbers))


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, '{"format": ' + "9" * 5000 + "}", b"\xff"])
def test_what_is_not_a_json_object_is_refused(files, text):
    refused(files[0], text)


def test_a_model_without_arrays_is_refused_with_the_reason(files):
    assert "sha256" in refused(b"", json.dumps({"format": 1, "sha256": None}))


def test_what_is_too_large_is_refused_with_the_settings_to_lower(model, specs, windows):
    components = model.projection.apply(windows.features, specs)
    with pytest.raises(ArtifactError, match=r"lower estimators \(now 1800\) or maxSamples \(now 256\)"):
        save(replace(model, forest=grow(components, 1800, 256, 1)), {})
    assert "900000" in refused(bytes(MAX_BYTES), "{}")


def test_the_default_cohort_fits_with_room(specs, windows):
    npz, text = save(fit(specs, windows.features, windows.ordered, FitSettings()).model, {})
    assert len(npz) + len(text) < 64_000


def test_a_folder_is_read_and_an_empty_one_holds_no_model(tmp_path, files):
    assert read(tmp_path) is None
    (tmp_path / "model.npz").write_bytes(files[0])
    assert read(tmp_path) is None
    (tmp_path / "model.json").write_text(files[1])
    assert read(tmp_path).revision == 7


def test_an_edge_device_scores_the_same_with_numpy_alone(tmp_path, files, model, windows):
    (tmp_path / "model.npz").write_bytes(files[0])
    (tmp_path / "model.json").write_text(files[1])
    np.save(tmp_path / "features.npy", windows.features[:500])
    program = """
import sys
for name in ("numba", "sklearn", "scipy", "pydantic", "orjson"):
    sys.modules[name] = None  # importing it fails
from pathlib import Path
import numpy as np
from holter.model.artifact import read
folder = Path(sys.argv[1])
np.save(folder / "scores.npy", read(folder).score(np.load(folder / "features.npy")))
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    assert np.array_equal(np.load(tmp_path / "scores.npy"), model.score(windows.features[:500]))
