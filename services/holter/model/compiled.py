"""The forest's inner loop, compiled. `forest.total_path` is the same in numpy and is what it is tested against."""

import numpy as np
from numpy.typing import NDArray

from holter.model.jit import njit

ROWS = 32
"""Rows that walk one tree side by side: their loads do not wait for each other, and the tree stays in the cache."""


@njit()
def total_path(
    X: NDArray[np.float32],
    roots: NDArray[np.int32],
    feature: NDArray[np.int8],
    threshold: NDArray[np.float32],
    left: NDArray[np.int32],
    path: NDArray[np.int32],
    depth: int,
) -> NDArray[np.int64]:
    """Summed path of each row; arguments as in `forest.Forest`."""
    total = np.zeros(len(X), np.int64)
    node = np.empty(ROWS, np.int32)
    for start in range(0, len(X), ROWS):
        rows = min(ROWS, len(X) - start)
        for tree in range(len(roots) - 1):
            for r in range(rows):
                node[r] = roots[tree]
            for _ in range(depth):
                for r in range(rows):
                    i = node[r]
                    node[r] = left[i] + (X[start + r, feature[i]] > threshold[i])
            for r in range(rows):
                total[start + r] += path[node[r]]
    return total
