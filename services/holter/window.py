"""A scored window: what inference writes and refit reads."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class WindowScores:
    """Scores of n windows with their feature vectors, as columns.

    Attributes:
        device_ids: n device ids.
        ends: shape (n,), int64, end of each window, µs since the epoch.
        names: the m feature names, in the columns' order.
        features: shape (n, m), float32; NaN where a feature is undefined.
        ordered: shape (n,), float32, the ordered rule score.
        forest: shape (n,), float32, the isolation forest's score (0.5 = typical); NaN while there is no model.
        score: shape (n,), float32, the fused score that decisions use.
        quality: shape (n,), float32, 0 (unusable) .. 1 (clean).
        flagged: shape (n,), bool, beyond the forest's offset (`contamination`).
        alerted: shape (n,), bool, a physiological alert was open.
        revision: shape (n,), int32, model revision, 0 without.
    """

    device_ids: tuple[str, ...]
    ends: NDArray[np.int64]
    names: tuple[str, ...]
    features: NDArray[np.float32]
    ordered: NDArray[np.float32]
    forest: NDArray[np.float32]
    score: NDArray[np.float32]
    quality: NDArray[np.float32]
    flagged: NDArray[np.bool_]
    alerted: NDArray[np.bool_]
    revision: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.device_ids)
