"""Forest and ordered score on one fixed scale, the one that alert thresholds are on."""

import numpy as np
from numpy.typing import NDArray

TYPICAL, SPREAD, WEIGHT = 0.5, 0.12, 2.0

THRESHOLD = 2.4
"""Of the fused score while no model has a calibrated one: the least a calibrated one may be."""


def fuse(forest: NDArray[np.float32], ordered: NDArray[np.float32]) -> NDArray[np.float32]:
    """S = (a − 0.5) / 0.12 + 2 q.

    A trimmed forest saturates: all that is far out gets the same score, and only the ordered score tells those apart.

    Args:
        forest: a, shape (n,); 0.5 is typical, and so counts NaN (no model).
        ordered: q, shape (n,), mean of z-scored features; NaN where undefined.

    Returns:
        Shape (n,), float32, NaN where q is.
    """
    a = np.where(np.isnan(forest), TYPICAL, forest).astype(np.float64)
    return ((a - TYPICAL) / SPREAD + WEIGHT * ordered.astype(np.float64)).astype(np.float32)
