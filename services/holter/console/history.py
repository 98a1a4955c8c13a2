"""Scored windows of the last half hour, by patient. Pure."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holter.chunk import MICROSECONDS
from holter.window import WindowScores

KEPT = 30 * 60 * MICROSECONDS
_MOST_ROWS = 120_000
"""Rows over all patients: 200 patients × 360 windows are 72,000."""


@dataclass(frozen=True, slots=True)
class Row:
    """One window of one patient; features in the order of `History.names`."""

    end: int
    score: float
    quality: float
    flagged: bool
    revision: int
    features: NDArray[np.float32]


@dataclass(slots=True)
class History:
    """Windows by device, in order of time."""

    names: tuple[str, ...] = ()
    rows: dict[str, deque[Row]] = field(default_factory=dict)

    def per_device(self, devices: int) -> int:
        """How many windows of each device are worth reading."""
        return max(12, min(360, _MOST_ROWS // max(1, devices)))

    def take(self, windows: WindowScores) -> None:
        """Enter windows, known ones too."""
        if len(windows) and windows.names != self.names:
            self.names = windows.names
            self.rows.clear()
        most = self.per_device(len(self.rows) or len(set(windows.device_ids)))
        for i, (device_id, end) in enumerate(zip(windows.device_ids, windows.ends.tolist(), strict=True)):
            rows = self.rows.setdefault(device_id, deque())
            if rows and end <= rows[-1].end:
                continue
            rows.append(
                Row(
                    end,
                    float(windows.score[i]),
                    float(windows.quality[i]),
                    bool(windows.flagged[i]),
                    int(windows.revision[i]),
                    windows.features[i].copy(),
                )
            )
            while len(rows) > most or rows[0].end < end - KEPT:
                rows.popleft()

    def forget(self, devices: set[str]) -> None:
        """Keep these devices alone."""
        for device_id in self.rows.keys() - devices:
            del self.rows[device_id]

    def newest(self, device_id: str) -> Row | None:
        """The newest window of a device."""
        rows = self.rows.get(device_id)
        return rows[-1] if rows else None

    def describe(self, device_id: str) -> dict[str, Any]:
        """A device's history as columns; ends in ms since the epoch, features by name; NaN is null in JSON."""
        rows = tuple(self.rows.get(device_id, ()))
        return {
            "ends": [row.end / 1000 for row in rows],
            "score": [row.score for row in rows],
            "quality": [row.quality for row in rows],
            "flagged": [row.flagged for row in rows],
            "revision": [row.revision for row in rows],
            "features": {name: [float(row.features[i]) for row in rows] for i, name in enumerate(self.names)},
        }
