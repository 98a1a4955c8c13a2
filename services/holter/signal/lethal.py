"""The VT/VF score: logistic regression on 24 measures of 4 s, and the amplitude rules beside it.

Weights were fitted on named public records with noise mixed into ordinary *and* lethal ones (docs/detection.md); they
are collinear and only mean something together.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holter.model.jit import njit
from holter.signal.measures import NAMES

BIAS = -7.2255
# measure: mean, standard deviation, weight
_WEIGHTS = {
    "slopeL": (0.506, 0.185, -1.808), "count2": (0.313, 0.060, 1.375), "slope": (0.541, 0.220, 1.282),
    "d_leak": (-0.018, 0.107, -0.929), "leak": (0.766, 0.102, 0.915), "p2.5_5": (0.237, 0.161, 0.900),
    "leakL": (0.695, 0.116, -0.739), "d_count2": (0.045, 0.055, 0.702), "mobL": (5.454, 1.314, -0.686),
    "d_slope": (-0.187, 0.198, -0.564), "llf": (-0.432, 1.016, 0.519), "d_mobL": (-0.266, 0.904, 0.502),
    "d_lhf": (0.803, 0.831, -0.467), "nccmed4": (0.880, 0.157, -0.418), "qL": (-1.690, 0.451, 0.357),
    "d_leakL": (0.001, 0.094, -0.318), "d_slopeL": (-0.101, 0.153, 0.307), "dlrr": (-0.289, 0.530, -0.255),
    "acmin": (-0.262, 0.149, -0.244), "nccmax4": (0.935, 0.112, -0.233), "kurtL": (1.496, 0.413, 0.211),
    "acminL": (-0.344, 0.145, -0.151), "acmaxL": (0.235, 0.241, 0.066), "cnt4": (6.788, 2.767, 0.054),
}  # fmt: skip
_TABLE = np.array([_WEIGHTS[name] for name in NAMES])
THRESHOLD = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A fit.

    Attributes:
        table: shape (24, 3), float64: mean, standard deviation and weight of each of `measures.NAMES`.
        bias: of the log odds.
    """

    table: NDArray[np.float64]
    bias: float


@njit()
def weigh(measures: NDArray[np.float32], table: NDArray[np.float64], bias: float, out: NDArray[np.float64]) -> None:
    """Score of ventricular tachycardia or fibrillation by any weights.

    Args:
        measures: shape (n, 24), columns `measures.NAMES`.
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
