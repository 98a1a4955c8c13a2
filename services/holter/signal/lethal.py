"""The VT/VF score: logistic regression on the measures of 4 s."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holter.model.jit import njit
from holter.signal.fitted import BIAS, WEIGHTS
from holter.signal.measures import NAMES

_TABLE = np.array([WEIGHTS[name] for name in NAMES])
THRESHOLD = 0.7


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A fit.

    Attributes:
        table: shape (N, 3), float64: mean, standard deviation and weight of each of `measures.NAMES`.
        bias: of the log odds.
    """

    table: NDArray[np.float64]
    bias: float


@njit()
def weigh(measures: NDArray[np.float32], table: NDArray[np.float64], bias: float, out: NDArray[np.float64]) -> None:
    """Score of ventricular tachycardia or fibrillation by any weights.

    Args:
        measures: shape (n, N), columns `measures.NAMES`.
        table: see `Weights`.
        bias: likewise.
        out: shape (n,), 0..1, overwritten.
    """
    for i in range(out.size):
        total = bias
        for k in range(table.shape[0]):
            mean, sd, weight = table[k]
            total += weight * min(max((measures[i, k] - mean) / sd, -4.0), 4.0)
        out[i] = 1.0 / (1.0 + np.exp(-total))


@njit()
def probability(measures: NDArray[np.float32], out: NDArray[np.float64]) -> None:
    """The same by the weights of this release."""
    weigh(measures, _TABLE, BIAS, out)
