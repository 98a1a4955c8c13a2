"""An isolation forest in flat quantised arrays (Liu, Ting, Zhou: Isolation Forest, ICDM 2008).

Thresholds are float32, rounded down, so that every float32 row takes the branches it takes in scikit-learn. Paths are
integers in units of 2^-20, so that sums do not depend on their order: compiled and plain scoring agree to the bit.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNIT = 1 << 20
"""Path lengths are counted in 1 / UNIT of a split."""
MAX_DEPTH = 16
"""log2 of the most samples a tree can have (65,536)."""
MAX_PATH = 64 * UNIT
SCORE_BOUND = 1e-6
"""|score − (−score_samples of scikit-learn)|: rounding a path to 2^-21 moves the score by ln 2 · 2^-21 / c(ψ) ≤ 3.4e-7
for ψ ≥ 2 (its derivative is −ln 2 / c(ψ) · score, and score ≤ 1); float32 adds 6e-8."""


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """t trees of k nodes in all. A tree's nodes are adjacent and breadth first: split j has children 1 + 2 j, 2 + 2 j.

    A leaf is its own left child and its threshold is +inf, so that a walk that goes on stays there: no branch.

    Attributes:
        roots: shape (t + 1,), int32: first node of each tree, then k.
        feature: shape (k,), int8: column that a node compares; 0 at a leaf.
        threshold: shape (k,), float32: left when x ≤ threshold.
        left: shape (k,), int32: left child; the right one is the next node.
        path: shape (k,), int32: at a leaf depth + c(samples in it), in 1 / `UNIT`; else 0.
        columns: number of columns of the rows it scores.
        samples: ψ, the number of samples of each tree, at least 2.
        depth: of the deepest leaf.
    """

    roots: NDArray[np.int32]
    feature: NDArray[np.int8]
    threshold: NDArray[np.float32]
    left: NDArray[np.int32]
    path: NDArray[np.int32]
    columns: int
    samples: int
    depth: int

    @property
    def trees(self) -> int:
        """Number of trees."""
        return len(self.roots) - 1

    def score(self, X: NDArray[np.float32], total: "TotalPath | None" = None) -> NDArray[np.float32]:
        """Anomaly scores, 2^(−mean path / c(ψ)): 0.5 is typical, towards 1 is isolated early.

        Args:
            X: shape (n, columns), float32, no NaN.
            total: how paths are summed; compiled where numba is installed, else `total_path`. Both give the same bits.

        Returns:
            Shape (n,), float32: −score_samples of scikit-learn within `SCORE_BOUND`.

        Raises:
            ValueError: X has another shape.
        """
        if X.ndim != 2 or X.shape[1] != self.columns:
            raise ValueError(f"rows of shape {X.shape}: (n, {self.columns}) is expected")
        X = np.ascontiguousarray(X, np.float32)
        paths = (total or _fastest)(X, self.roots, self.feature, self.threshold, self.left, self.path, self.depth)
        exponent = paths / (UNIT * self.trees * average_path(np.array([self.samples]))[0])
        score: NDArray[np.float32] = np.exp2(-exponent).astype(np.float32)
        return score


TotalPath = Callable[
    [
        NDArray[np.float32],
        NDArray[np.int32],
        NDArray[np.int8],
        NDArray[np.float32],
        NDArray[np.int32],
        NDArray[np.int32],
        int,
    ],
    NDArray[np.int64],
]
"""Rows and a forest's arrays → summed path of each row, shape (n,)."""


def average_path(n: NDArray[np.integer]) -> NDArray[np.float64]:
    """c(n): mean path of an unsuccessful search in a binary tree of n samples (the paper's equation 1)."""
    m = np.maximum(n, 3).astype(np.float64)
    c = 2.0 * (np.log(m - 1.0) + np.euler_gamma) - 2.0 * (m - 1.0) / m
    return np.where(n > 2, c, np.where(n == 2, 1.0, 0.0))


def total_path(
    X: NDArray[np.float32],
    roots: NDArray[np.int32],
    feature: NDArray[np.int8],
    threshold: NDArray[np.float32],
    left: NDArray[np.int32],
    path: NDArray[np.int32],
    depth: int,
) -> NDArray[np.int64]:
    """Summed paths with numpy alone: all trees of 1,024 rows walk down together."""
    total = np.empty(len(X), np.int64)
    for start in range(0, len(X), 1024):
        rows = X[start : start + 1024]
        at = np.arange(len(rows))[:, None]
        node = np.broadcast_to(roots[:-1], (len(rows), len(roots) - 1))
        for _ in range(depth):
            node = left[node] + (rows[at, feature[node]] > threshold[node])
        total[start : start + 1024] = path[node].sum(axis=1, dtype=np.int64)
    return total


try:
    from holter.model.compiled import total_path as _compiled

    _fastest: TotalPath = _compiled
except ImportError:  # an edge device has numpy alone
    _fastest = total_path
