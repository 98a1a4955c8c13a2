"""The artifact: `model.npz` (flat arrays, all that scoring needs) and `model.json` (numbers for gate and people).

Read with bounds checks and without pickle: a hostile artifact is refused, it cannot crash, loop or fill the memory.
Needs numpy alone, so that an edge device can score.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holter.model.forest import MAX_DEPTH, MAX_PATH, Forest
from holter.model.npz import ArtifactError, pack, unpack
from holter.model.pipeline import UNUSED, Model, Projection
from holter.model.spec import FeatureSpec

FORMAT = 1
MAX_BYTES = 900_000
"""Of both files together: they have to fit a ConfigMap (1 MiB)."""
NPZ, JSON = "model.npz", "model.json"
LEAF = -1

_TEXT = np.dtype("S32")
_DTYPES: dict[str, np.dtype[np.generic]] = {
    "names": _TEXT,
    "groups": _TEXT,
    "scaling": np.dtype("<f8"),  # eps, centre and scale of each feature, one after the other
    "fill": np.dtype("<f4"),
    "component": np.dtype("i1"),
    "weight": np.dtype("<f8"),
    "bias": np.dtype("<f8"),
    "roots": np.dtype("<i4"),
    "feature": np.dtype("i1"),  # of each node, `LEAF` at a leaf; five bytes a node with the two below
    "threshold": np.dtype("<f4"),  # of each split
    "path": np.dtype("<i4"),  # of each leaf
    "samples": np.dtype("<i4"),
    "decision": np.dtype("<f8"),  # offset, threshold of the fused score
}


def save(model: Model, meta: Mapping[str, object]) -> tuple[bytes, str]:
    """Both files' content; the same model and meta give the same bytes.

    Args:
        model: what scores.
        meta: the other keys of `model.json` (docs/architecture.md); `format`, `features`, `transforms`, `offset`,
            `threshold`, `bytes` and `sha256` are set here.

    Raises:
        ArtifactError: too large for a ConfigMap; the message says which settings to lower.
    """
    npz = pack(_arrays(model))
    text = json.dumps(
        {
            **meta,
            "format": FORMAT,
            **_repeated(model),
            "bytes": len(npz),
            "sha256": sha256(npz).hexdigest(),
        },
        indent=1,
        allow_nan=False,
    )
    size = len(npz) + len(text.encode())
    if size > MAX_BYTES:
        raise ArtifactError(
            f"the model is {size} bytes, at most {MAX_BYTES} fit: lower estimators (now {model.forest.trees})"
            f" or maxSamples (now {model.forest.samples})"
        )
    return npz, text


def load(npz: bytes, text: str | bytes) -> Model:
    """A model from both files' content.

    Raises:
        ArtifactError: a file is damaged, of another format, or not what `save` writes.
    """
    if len(npz) + len(text) > MAX_BYTES:
        raise ArtifactError(f"the artifact is {len(npz) + len(text)} bytes: at most {MAX_BYTES} are expected")
    try:
        meta = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{JSON} is not JSON: {error}") from error
    if not isinstance(meta, dict):
        raise ArtifactError(f"{JSON} is not a JSON object")
    if meta.get("format") != FORMAT:
        raise ArtifactError(f"format {meta.get('format')!r}: {FORMAT} is expected")
    if meta.get("sha256") != sha256(npz).hexdigest():
        raise ArtifactError(f"sha256 of {NPZ} is not the {meta.get('sha256')!r} that {JSON} says")
    revision = meta.get("revision", 0)
    if type(revision) is not int or not 0 <= revision < 1 << 31:
        raise ArtifactError(f"revision {revision!r}: an integer of 0 or more is expected")
    model = _model(unpack(npz, _DTYPES), revision)
    for key, value in _repeated(model).items():
        if meta.get(key) != value:
            raise ArtifactError(f"{key} in {JSON} is not what {NPZ} holds")
    return model


def read(folder: Path) -> Model | None:
    """The model in a folder (a mounted ConfigMap), None where there is none yet.

    Raises:
        ArtifactError: as `load`; also for a moment while the files are replaced, so try again before you complain.
        OSError: a file is there and cannot be read.
    """
    if not (folder / JSON).exists() or not (folder / NPZ).exists():
        return None
    return load((folder / NPZ).read_bytes(), (folder / JSON).read_bytes())


def _repeated(model: Model) -> dict[str, object]:
    """What `model.json` says again, for people and the gate."""
    return {
        "features": list(model.names),
        "transforms": [asdict(spec) for spec in model.specs],
        "offset": model.offset,
        "threshold": model.threshold,
    }


def _arrays(model: Model) -> dict[str, NDArray[Any]]:
    forest, projection, specs = model.forest, model.projection, model.specs
    leaf = forest.left == np.arange(len(forest.left))
    arrays: dict[str, object] = {
        "names": [spec.name for spec in specs],
        "groups": [spec.group for spec in specs],
        "scaling": [number for spec in specs for number in (spec.eps, spec.centre, spec.scale)],
        "fill": projection.fill,
        "component": projection.component,
        "weight": projection.weight,
        "bias": projection.bias,
        "roots": forest.roots,
        "feature": np.where(leaf, LEAF, forest.feature),
        "threshold": forest.threshold[~leaf],
        "path": forest.path[leaf],
        "samples": [forest.samples],
        "decision": [model.offset, model.threshold],
    }
    return {name: np.asarray(values, _DTYPES[name]) for name, values in arrays.items()}


def _model(arrays: Mapping[str, NDArray[Any]], revision: int) -> Model:
    """Check every array against the others, then build."""
    m, k = len(arrays["names"]), len(arrays["bias"])
    for name, length in (("groups", m), ("scaling", 3 * m), ("fill", m), ("component", m), ("weight", m)):
        _require(len(arrays[name]) == length, f"array {name} has {len(arrays[name])} elements: {length} are expected")
    _require(1 <= k <= m <= 127, f"{k} components of {m} features: 1 <= components <= features <= 127 is expected")
    _require(len(arrays["samples"]) == 1 and len(arrays["decision"]) == 2, "samples and decision: 1 and 2 are expected")
    for name in ("scaling", "fill", "weight", "bias", "decision"):
        _require(bool(np.isfinite(arrays[name]).all()), f"array {name} is not finite")
    component = arrays["component"]
    _require(bool(((component >= UNUSED) & (component < k)).all()), f"array component: {UNUSED}..{k - 1} is expected")
    try:
        specs = tuple(
            FeatureSpec(name.decode("ascii"), group.decode("ascii"), *map(float, scaling))
            for name, group, scaling in zip(
                arrays["names"], arrays["groups"], arrays["scaling"].reshape(m, 3), strict=True
            )
        )
    except ValueError as error:
        raise ArtifactError(str(error)) from error
    _require(len({spec.name for spec in specs}) == m, "a feature's name is there twice")
    offset, threshold = map(float, arrays["decision"])
    return Model(
        specs=specs,
        projection=Projection(*(arrays[name] for name in ("fill", "component", "weight", "bias"))),
        forest=_forest(arrays, k),
        offset=offset,
        threshold=threshold,
        revision=revision,
    )


def _forest(arrays: Mapping[str, NDArray[Any]], columns: int) -> Forest:
    """Trees again, breadth first: a tree's j-th split has its children at 1 + 2 j, so that no index can lead astray.

    Refused are arrays that do not tell whole trees, at most `MAX_DEPTH` deep.
    """
    roots, feature, threshold, path = (arrays[name] for name in ("roots", "feature", "threshold", "path"))
    nodes = len(feature)
    samples = int(arrays["samples"][0])
    _require(2 <= samples <= 1 << MAX_DEPTH, f"samples {samples}: 2..{1 << MAX_DEPTH} is expected")
    _require(
        len(roots) >= 2 and roots[0] == 0 and roots[-1] == nodes and bool((roots[1:] > roots[:-1]).all()),
        "array roots does not divide the nodes into trees",
    )
    _require(bool(((feature >= LEAF) & (feature < columns)).all()), f"a node compares no column of 0..{columns - 1}")
    inner = feature != LEAF
    splits = np.add.reduceat(inner, roots[:-1], dtype=np.int64)
    _require(bool((np.diff(roots) == 1 + 2 * splits).all()), "a tree has not one leaf more than splits")
    _require(len(threshold) == splits.sum() and len(path) == nodes - splits.sum(), "splits or leaves are missing")
    _require(bool(np.isfinite(threshold).all()), "a threshold is not finite")
    _require(bool(((path >= 0) & (path <= MAX_PATH)).all()), f"a path length is outside 0..{MAX_PATH}")
    at = np.arange(nodes)
    before = np.cumsum(inner) - inner
    left = np.where(inner, 1 + 2 * before - np.repeat(2 * before[roots[:-1]] - roots[:-1], np.diff(roots)), at)
    _require(bool((left > at)[inner].all()), "a child is not behind its parent")
    depth, front = 0, roots[:-1][inner[roots[:-1]]]
    while len(front):
        _require(depth < MAX_DEPTH, f"a tree is more than {MAX_DEPTH} splits deep")
        depth += 1
        front = np.concatenate([left[front], left[front] + 1])
        front = front[inner[front]]
    return Forest(
        roots=roots,
        feature=np.where(inner, feature, 0).astype(np.int8),
        threshold=_spread(inner, threshold, np.float32(np.inf)),
        left=left.astype(np.int32),
        path=_spread(~inner, path, np.int32(0)),
        columns=columns,
        samples=samples,
        depth=depth,
    )


def _spread(where: NDArray[np.bool_], values: NDArray[Any], elsewhere: np.float32 | np.int32) -> NDArray[Any]:
    out = np.full(len(where), elsewhere)
    out[where] = values
    return out


def _require(holds: bool, fault: str) -> None:
    if not holds:
        raise ArtifactError(f"{NPZ}: {fault}")
