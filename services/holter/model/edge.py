"""Scores windows on an edge device: numpy alone, this one file, and a `model.npz` as a refit leaves it.

Copy it; nothing else of Holter is needed. A device that computes the eight features of a window (docs/detection.md)
gets the same scores as the service, within 1e-6 of scikit-learn's:

    model = load(Path("model.npz").read_bytes())
    scores = model.score(features)          # shape (n, 8), columns as in model.names, NaN where undefined
    beyond = scores.fused > model.threshold
"""

import io
import zipfile
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

RHYTHM_WEIGHT = 0.9  # of all but the shape features in the ordered score
TYPICAL, SPREAD, ORDERED_WEIGHT = 0.5, 0.12, 2.0
UNIT = 1 << 20  # path lengths are counted in 1 / UNIT of a split
_LEAF, _UNUSED, _MAX_DEPTH, _MAX_BYTES = -1, -1, 16, 900_000
_ARRAYS = {
    "names": "S32", "groups": "S32", "scaling": "<f8", "fill": "<f4", "component": "i1", "weight": "<f8",
    "bias": "<f8", "roots": "<i4", "feature": "i1", "threshold": "<f4", "path": "<i4", "samples": "<i4",
    "decision": "<f8",
}  # fmt: skip


@dataclass(frozen=True)
class Scores:
    """Of n windows, each shape (n,).

    Attributes:
        forest: 0.5 is typical, towards 1 is isolated early.
        ordered: the rule score; NaN where a feature is undefined.
        fused: what alerts are decided by; NaN where `ordered` is.
        flagged: beyond the forest's offset (`contamination`).
    """

    forest: NDArray[np.float32]
    ordered: NDArray[np.float32]
    fused: NDArray[np.float32]
    flagged: NDArray[np.bool_]


@dataclass(frozen=True)
class EdgeModel:
    """The arrays of a `model.npz`, ready to score; made by `load`."""

    names: tuple[str, ...]
    shape: NDArray[np.bool_]  # which features are of the group "shape"
    eps: NDArray[np.float64]
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    fill: NDArray[np.float32]
    component: NDArray[np.int8]
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    roots: NDArray[np.int32]
    feature: NDArray[np.int8]
    cut: NDArray[np.float32]
    left: NDArray[np.int32]
    path: NDArray[np.int32]
    depth: int
    samples: int
    offset: float
    threshold: float

    def score(self, features: NDArray[np.floating]) -> Scores:
        """Score windows.

        Args:
            features: shape (n, m), columns as in `names`; NaN where undefined.

        Raises:
            ValueError: another shape.
        """
        if features.ndim != 2 or features.shape[1] != len(self.names):
            raise ValueError(f"features of shape {features.shape}: (n, {len(self.names)}) is expected")
        features = np.asarray(features, np.float32)
        finite = np.isfinite(features)
        forest = self._forest(self._project(self._z(np.where(finite, features, self.fill))))
        z = np.where(finite, self._z(np.where(finite, features, np.float32(0))), np.nan)
        ordered = (z[:, self.shape].mean(axis=1) + RHYTHM_WEIGHT * z[:, ~self.shape].mean(axis=1)).astype(np.float32)
        fused = (forest.astype(np.float64) - TYPICAL) / SPREAD + ORDERED_WEIGHT * ordered.astype(np.float64)
        return Scores(forest, ordered, fused.astype(np.float32), -forest < self.offset)

    def _z(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        z: NDArray[np.float64] = (
            np.log(np.maximum(features.astype(np.float64), 0.0) + self.eps) - self.centre
        ) / self.scale
        return z

    def _project(self, z: NDArray[np.float64]) -> NDArray[np.float32]:
        components = np.tile(-self.bias, (len(z), 1))
        for column, part in enumerate(self.component):
            if part != _UNUSED:
                components[:, part] += self.weight[column] * z[:, column]
        return components.astype(np.float32)

    def _forest(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        trees = len(self.roots) - 1
        total = np.empty(len(x), np.int64)
        for start in range(0, len(x), 1024):  # bounds the memory: rows times trees
            rows = x[start : start + 1024]
            at = np.arange(len(rows))[:, None]
            node = np.broadcast_to(self.roots[:-1], (len(rows), trees))
            for _ in range(self.depth):
                node = self.left[node] + (rows[at, self.feature[node]] > self.cut[node])
            total[start : start + 1024] = self.path[node].sum(axis=1, dtype=np.int64)
        score: NDArray[np.float32] = np.exp2(-total / (UNIT * trees * _average_path(self.samples))).astype(np.float32)
        return score


def load(npz: bytes) -> EdgeModel:
    """A model from the bytes of `model.npz`.

    Raises:
        ValueError: not one, or damaged; the message says where.
    """
    arrays = _unpack(npz)
    scaling = arrays["scaling"].reshape(-1, 3)
    roots, inner = arrays["roots"], arrays["feature"] != _LEAF
    n, m, k = len(inner), len(scaling), len(arrays["bias"])
    lengths = {len(arrays[name]) for name in ("names", "groups", "fill", "component", "weight")}
    if lengths != {m} or len(arrays["threshold"]) != inner.sum() or len(arrays["path"]) != n - inner.sum():
        raise ValueError("model.npz: arrays whose lengths do not agree")
    if len(roots) < 2 or roots[0] != 0 or roots[-1] != n or (np.diff(roots) < 1).any():
        raise ValueError("model.npz: roots that are not ascending from 0 to the number of nodes")
    if not ((arrays["component"] >= _UNUSED) & (arrays["component"] < k)).all() or arrays["feature"].max() >= k:
        raise ValueError("model.npz: a component that there is none of")
    left, depth = _children(roots, inner)
    cut, path = np.full(n, np.inf, np.float32), np.zeros(n, np.int32)
    cut[inner], path[~inner] = arrays["threshold"], arrays["path"]
    return EdgeModel(
        names=tuple(name.decode() for name in arrays["names"]), shape=arrays["groups"] == b"shape",
        eps=scaling[:, 0], centre=scaling[:, 1], scale=scaling[:, 2], fill=arrays["fill"],
        component=arrays["component"], weight=arrays["weight"], bias=arrays["bias"], roots=roots,
        feature=np.where(inner, arrays["feature"], 0).astype(np.int8), cut=cut, left=left, path=path, depth=depth,
        samples=int(arrays["samples"][0]), offset=float(arrays["decision"][0]), threshold=float(arrays["decision"][1]),
    )  # fmt: skip


def _unpack(npz: bytes) -> dict[str, NDArray[Any]]:
    if len(npz) > _MAX_BYTES:
        raise ValueError(f"model.npz: {len(npz)} bytes, at most {_MAX_BYTES} are expected")
    try:
        with zipfile.ZipFile(io.BytesIO(npz)) as archive:
            if sum(member.file_size for member in archive.infolist()) > 2 * _MAX_BYTES:
                raise ValueError("model.npz: larger unpacked than any model is")
        with np.load(io.BytesIO(npz), allow_pickle=False) as found:
            arrays = {name: found[name] for name in _ARRAYS}
    except (zipfile.BadZipFile, KeyError, EOFError, OSError) as error:
        raise ValueError(f"model.npz: {error}") from error
    for name, values in arrays.items():
        if values.ndim != 1 or values.dtype != np.dtype(_ARRAYS[name]):
            raise ValueError(f"model.npz: {name} of type {values.dtype}, one dimension of {_ARRAYS[name]} is expected")
    return arrays


def _children(roots: NDArray[np.int32], inner: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """Left child of each node, a leaf's is itself, and the deepest level; breadth first, split j has child 1 + 2 j."""
    left = np.arange(len(inner), dtype=np.int32)
    deepest = 0
    for first, end in pairwise(roots.tolist()):
        split = np.flatnonzero(inner[first:end])
        children = 1 + 2 * np.arange(len(split))
        if (len(split) and (children <= split).any()) or end - first != 1 + 2 * len(split):
            raise ValueError("model.npz: a tree that is none")
        left[first + split] = first + children
        level = np.zeros(end - first, np.int64)
        for parent, child in zip(split, children, strict=True):
            level[child : child + 2] = level[parent] + 1
        deepest = max(deepest, int(level.max()))
    if deepest > _MAX_DEPTH:
        raise ValueError(f"model.npz: a tree {deepest} levels deep, at most {_MAX_DEPTH} are expected")
    return left, deepest


def _average_path(n: int) -> float:
    """Mean path of an unsuccessful search in a binary tree of n samples (Liu, Ting, Zhou 2008, equation 1)."""
    return 2.0 * (np.log(n - 1.0) + np.euler_gamma) - 2.0 * (n - 1.0) / n if n > 2 else 1.0
