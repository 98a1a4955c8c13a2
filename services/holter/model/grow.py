"""An isolation forest is grown by scikit-learn and laid flat."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from holter.model.forest import UNIT, Forest, average_path


def grow(X: NDArray[np.float32], estimators: int, max_samples: int, seed: int) -> Forest:
    """Fit a forest.

    Args:
        X: shape (n, m), float32, no NaN; n ≥ 2.
        estimators: number of trees.
        max_samples: samples of each tree, 2 or more; fewer where there are fewer rows.
        seed: the same rows and seed give the same forest.
    """
    grown = IsolationForest(n_estimators=estimators, max_samples=min(max_samples, len(X)), random_state=seed)
    return flatten(grown.fit(X))


def flatten(grown: IsolationForest) -> Forest:
    """The arrays of a fitted scikit-learn forest whose trees see all columns (`max_features=1.0`)."""
    trees = [_flatten_tree(estimator.tree_) for estimator in grown.estimators_]
    feature, threshold, left, path, depths = (list(part) for part in zip(*trees, strict=True))
    roots = np.cumsum([0] + [len(part) for part in feature]).astype(np.int32)
    return Forest(
        roots=roots,
        feature=np.concatenate(feature),
        threshold=np.concatenate(threshold),
        left=np.concatenate([part + root for part, root in zip(left, roots[:-1], strict=True)]).astype(np.int32),
        path=np.concatenate(path),
        columns=int(grown.n_features_in_),
        samples=int(grown.max_samples_),
        depth=max(depths),
    )


def _flatten_tree(
    tree: Any,
) -> tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.int32], NDArray[np.int32], int]:
    """Feature, threshold, left child, path and depth of one scikit-learn tree, breadth first."""
    order, depth = [0], [0]
    left = np.zeros(tree.node_count, np.int32)
    for place, node in enumerate(order):  # grows while it is walked
        if tree.children_left[node] >= 0:
            left[place] = len(order)
            order += [tree.children_left[node], tree.children_right[node]]
            depth += [depth[place] + 1] * 2
        else:
            left[place] = place
    leaf = left == np.arange(tree.node_count)
    length = np.array(depth) + average_path(tree.n_node_samples[order])
    return (
        np.where(leaf, 0, tree.feature[order]).astype(np.int8),
        np.where(leaf, np.float32(np.inf), _round_down(tree.threshold[order])),
        left,
        np.where(leaf, np.rint(length * UNIT), 0).astype(np.int32),
        max(depth),
    )


def _round_down(threshold: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 that is not above: a float32 x is ≤ one exactly when it is ≤ the other."""
    near = threshold.astype(np.float32)
    return np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near)
