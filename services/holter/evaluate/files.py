"""Windows and alerts one by one, as CSV."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from holter.alert import Category
from holter.evaluate.playing import LEARNING_SECONDS, WINDOW, Outcome
from holter.evaluate.windows import UNDEFINED

WINDOW_COLUMNS = ("record", "start_s", "end_s", "score", "flagged", "quality")
ALERT_COLUMNS = ("record", "start_s", "end_s", "kind", "category", "priority", "score")


def write_windows(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Every scored window: the fused score (−9 where undefined, as in the decision), `flagged` 0 or 1, quality 0..1.

    Raises:
        OSError: it cannot be written.
    """
    _write(
        path,
        WINDOW_COLUMNS,
        (
            (outcome.name, _seconds(end - WINDOW), _seconds(end), f"{score:.6g}", int(flagged), f"{quality:.4g}")
            for outcome in outcomes
            for end, score, flagged, quality in zip(
                outcome.windows.ends,
                np.nan_to_num(outcome.windows.score, nan=UNDEFINED),
                outcome.windows.flagged,
                outcome.windows.quality,
                strict=True,
            )
            if end - WINDOW >= LEARNING_SECONDS
        ),
    )


def write_alerts(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Every alert told after the learning period: raised, or updated with a new onset.

    `start_s` is when it was told, `end_s` the last second at which its condition held.

    Raises:
        OSError: it cannot be written.
    """
    _write(
        path,
        ALERT_COLUMNS,
        (
            (
                outcome.name,
                _seconds(told.start),
                _seconds(told.end),
                told.kind,
                told.category,
                "technical" if told.category is Category.TECHNICAL else told.priority,
                "" if told.score is None else f"{told.score:.6g}",
            )
            for outcome in outcomes
            for told in outcome.told
            if told.start >= LEARNING_SECONDS
        ),
    )


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _seconds(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")
