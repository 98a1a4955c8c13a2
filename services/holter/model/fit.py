"""The trimmed fit: a forest learns what is typical from windows of which many are not."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from holter.model.forest import Forest
from holter.model.fusion import THRESHOLD, WEIGHT
from holter.model.grow import grow
from holter.model.pipeline import UNUSED, Model, Projection
from holter.model.spec import FeatureSpec, standardise

MAX_SAMPLES = 64
"""Of a tree, whatever more is configured: larger samples learn the abnormal windows that trimming left."""
KEEP, KEEP_CLEAN, CLEAN_SHARE = 0.6, 0.8, 0.05
RULE_LIMIT = THRESHOLD / WEIGHT
"""Of the ordered score: beyond it a window counts as abnormal before there is a model."""
MIN_ROWS = 20


@dataclass(frozen=True, slots=True)
class FitSettings:
    """What a cohort says of its model.

    Attributes:
        estimators: number of trees.
        max_samples: samples of each tree, at most; `MAX_SAMPLES` bounds it too.
        components: principal components, at most; there is one a group.
        contamination: share of all windows that `Model.flagged` flags, 0 < c ≤ 0.5.
        seed: the same windows and seed give the same model.
    """

    estimators: int = 100
    max_samples: int = 256
    components: int = 8
    contamination: float = 0.01
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A model and what it was trained on.

    Attributes:
        model: its threshold is the uncalibrated one.
        kept: shape (n,), bool: the windows the last round was trained on.
    """

    model: Model
    kept: NDArray[np.bool_]


def fit(
    specs: Sequence[FeatureSpec],
    features: NDArray[np.float32],
    ordered: NDArray[np.float32],
    settings: FitSettings,
) -> Fit:
    """Fit on the lowest windows by ordered score, then again on the lowest by that forest.

    Keeps 60 % each time, or 80 % where less than 5 % of the windows are abnormal by the ordered score (a clean cohort,
    where 60 % would cut off normal variation).

    Args:
        specs: m features.
        features: shape (n, m), float32, as the worker stores them; NaN where undefined.
        ordered: shape (n,), float32, the ordered score, no NaN.
        settings: see there.

    Raises:
        ValueError: fewer than 20 windows, no feature, or shapes that do not agree.
    """
    if features.shape != (len(ordered), len(specs)) or not specs:
        raise ValueError(f"features of shape {features.shape}: ({len(ordered)}, {len(specs) or 1}) is expected")
    if len(ordered) < MIN_ROWS:
        raise ValueError(f"{len(ordered)} windows: at least {MIN_ROWS} are expected")
    keep = KEEP_CLEAN if (ordered > RULE_LIMIT).mean() < CLEAN_SHARE else KEEP
    first = _lowest(ordered, ordered, keep)
    _, _, score = _round(specs, features, first, settings)
    kept = _lowest(score, ordered, keep)
    projection, forest, score = _round(specs, features, kept, settings)
    model = Model(
        specs=tuple(specs),
        projection=projection,
        forest=forest,
        offset=offset(score, settings.contamination),
        threshold=THRESHOLD,
    )
    return Fit(model, kept)


def offset(score: NDArray[np.float32], contamination: float) -> float:
    """scikit-learn's `offset_`: the quantile of −score at `contamination`, over all windows that fit was given.

    A trimmed forest saturates. Where so many windows tie at its highest score that none is beyond, they are flagged.
    """
    value = np.percentile(-score, 100.0 * contamination)
    return float(value if (-score < value).any() else np.nextafter(np.float32(value), np.float32(0)))


def project(specs: Sequence[FeatureSpec], features: NDArray[np.float32], components: int) -> Projection:
    """One principal component for each feature group, in the groups' order of appearance, at most `components`.

    Its sign is such that its loadings sum to more than 0, and what is still below 0 is set to 0: it falls with none of
    its features, which all grow with severity. A group that does not vary is averaged.

    Args:
        specs: m features.
        features: shape (n, m), float32; NaN where undefined.
        components: at least 1.
    """
    fill = np.array([_median(column, spec) for column, spec in zip(features.T, specs, strict=True)], np.float32)
    z = standardise(np.where(np.isfinite(features), features, fill), specs)
    groups = list(dict.fromkeys(spec.group for spec in specs))[:components]
    component = np.array([groups.index(s.group) if s.group in groups else UNUSED for s in specs], np.int8)
    weight = np.zeros(len(specs))
    for index in range(len(groups)):
        weight[component == index] = _loadings(z[:, component == index])
    mean = weight * z.mean(axis=0)
    bias = np.array([mean[component == index].sum() for index in range(len(groups))])
    return Projection(fill, component, weight, bias)


def _round(
    specs: Sequence[FeatureSpec], features: NDArray[np.float32], rows: NDArray[np.bool_], settings: FitSettings
) -> tuple[Projection, Forest, NDArray[np.float32]]:
    """Fit on some rows, score all."""
    projection = project(specs, features[rows], settings.components)
    components = projection.apply(features, specs)
    samples = max(2, min(settings.max_samples, MAX_SAMPLES))
    forest = grow(components[rows], settings.estimators, samples, settings.seed)
    return projection, forest, forest.score(components)


def _lowest(score: NDArray[np.float32], ordered: NDArray[np.float32], share: float) -> NDArray[np.bool_]:
    """The lowest share of rows; a saturated forest's ties are told apart by the ordered score."""
    rows = np.zeros(len(score), np.bool_)
    rows[np.lexsort((ordered, score))[: max(2, round(share * len(score)))]] = True
    return rows


def _loadings(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """First principal component of one group, shape (features of the group,), of length 1."""
    if not np.ptp(z, axis=0).any():
        return np.full(z.shape[1], z.shape[1] ** -0.5)
    loadings: NDArray[np.float64] = PCA(1, svd_solver="covariance_eigh").fit(z).components_[0]
    upward = np.maximum(loadings if loadings.sum() > 0 else -loadings, 0.0)
    unit: NDArray[np.float64] = upward / np.linalg.norm(upward)
    return unit


def _median(column: NDArray[np.float32], spec: FeatureSpec) -> float:
    finite = column[np.isfinite(column)]
    return float(np.median(finite)) if len(finite) else spec.neutral
