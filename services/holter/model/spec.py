"""What a model has to know of a feature: its name, its group, and the fixed constants that scale it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """One feature, as the worker stores it, and how it enters score and model: z = (ln(f + eps) − centre) / scale.

    The constants are fixed for the population, not fitted: a score then means the same in every cohort.

    Attributes:
        name: the column's name, ASCII, at most 32 characters.
        group: features of one group share a principal component; the same bounds as `name`.
        eps: added before the logarithm, above 0, in the feature's own unit.
        centre: of ln(f + eps).
        scale: of ln(f + eps), above 0.
    """

    name: str
    group: str
    eps: float
    centre: float
    scale: float

    def __post_init__(self) -> None:
        for field, text in (("name", self.name), ("group", self.group)):
            if not (text.isascii() and text.isprintable() and 1 <= len(text) <= 32):
                raise ValueError(f"feature {field} {text!r}: 1..32 printable ASCII characters are expected")
        for field, number in (("eps", self.eps), ("scale", self.scale)):
            if not (np.isfinite(number) and number > 0):
                raise ValueError(f"feature {self.name}: {field} {number!r}: a finite number above 0 is expected")
        if not np.isfinite(self.centre):
            raise ValueError(f"feature {self.name}: centre {self.centre!r}: a finite number is expected")

    @property
    def neutral(self) -> float:
        """The feature's value at z = 0."""
        return float(np.exp(self.centre) - self.eps)


def standardise(features: NDArray[np.float32], specs: Sequence[FeatureSpec]) -> NDArray[np.float64]:
    """z-scored logarithms.

    Args:
        features: shape (n, m), columns as in `specs`; below 0 counts as 0; NaN and infinity are undefined.
        specs: m features.

    Returns:
        Shape (n, m), float64, NaN where the feature is undefined.
    """
    eps = np.array([spec.eps for spec in specs])
    centre = np.array([spec.centre for spec in specs])
    scale = np.array([spec.scale for spec in specs])
    f = np.where(np.isfinite(features), features, np.nan).astype(np.float64)
    z: NDArray[np.float64] = (np.log(np.maximum(f, 0.0) + eps) - centre) / scale
    return z
