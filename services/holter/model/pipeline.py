"""The frozen model: scaling, one principal component for each feature group, forest."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holter.model.forest import Forest
from holter.model.spec import FeatureSpec, standardise

UNUSED = -1


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """PCA per feature group (block PCA): k components, each of one group, each growing with severity.

    Attributes:
        fill: shape (m,), float32: what an undefined feature counts as, the training median.
        component: shape (m,), int8: which component a feature is part of; `UNUSED` where none.
        weight: shape (m,), float64: its loading.
        bias: shape (k,), float64: the component of the training mean.
    """

    fill: NDArray[np.float32]
    component: NDArray[np.int8]
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]

    def apply(self, features: NDArray[np.float32], specs: Sequence[FeatureSpec]) -> NDArray[np.float32]:
        """Features, shape (n, m), as the worker stores them → components, shape (n, k), without NaN.

        Summed column by column: a window's score does not depend on the batch it is in (a matrix product's may).
        """
        z = standardise(np.where(np.isfinite(features), features, self.fill), specs)
        components = np.tile(-self.bias, (len(features), 1))
        for column, (component, weight) in enumerate(zip(self.component, self.weight, strict=True)):
            if component != UNUSED:
                components[:, component] += weight * z[:, column]
        return components.astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """What scores windows.

    Attributes:
        specs: the m features in the columns' order.
        projection: m features → k components.
        forest: k components → score.
        offset: scikit-learn's `offset_` (a negative number): a window is flagged when −score < offset.
        threshold: of the fused score (`fusion.fuse`), calibrated to a rate of false alerts.
        revision: set when accepted; 0 before.
    """

    specs: tuple[FeatureSpec, ...]
    projection: Projection
    forest: Forest
    offset: float
    threshold: float
    revision: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The features' names in the columns' order."""
        return tuple(spec.name for spec in self.specs)

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The forest's anomaly score: 0.5 is typical, towards 1 is isolated early.

        Args:
            features: shape (n, m), float32, columns as in `names`, as the worker stores them. What is not finite counts
                as the training median.

        Returns:
            Shape (n,), float32, never NaN.

        Raises:
            ValueError: features has another shape.
        """
        if features.ndim != 2 or features.shape[1] != len(self.specs):
            raise ValueError(f"features of shape {features.shape}: (n, {len(self.specs)}) is expected")
        return self.forest.score(self.projection.apply(features, self.specs))

    def flagged(self, score: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which scores are beyond the offset, shape (n,), as scikit-learn's `predict` says −1."""
        return -score < self.offset


def select(names: Sequence[str], features: NDArray[np.float32], wanted: Sequence[str]) -> NDArray[np.float32]:
    """The wanted columns, in that order; a column that is not there is all NaN.

    So a store that holds windows of an older release, with fewer features, still serves.

    Args:
        names: of the columns of `features`.
        features: shape (n, len(names)), float32.
        wanted: m names.

    Returns:
        Shape (n, m), float32.
    """
    place = {name: column for column, name in enumerate(names)}
    out = np.full((len(features), len(wanted)), np.nan, np.float32)
    for column, name in enumerate(wanted):
        if name in place:
            out[:, column] = features[:, place[name]]
    return out
