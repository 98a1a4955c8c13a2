"""Windows ranked: what each of them holds by annotation, and how well the scores tell that."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from holter.evaluate.playing import LEARNING_SECONDS, WINDOW, Outcome
from holter.evaluate.reference import Reference, overlapping
from holter.signal.quality import GOOD
from holter.sim.annotations import Episode

Target = Literal["V or E beat", "abnormal beat", "abnormal beat or rhythm"]
Score = Literal["fused", "ordered", "forest"]
VEB, ABNORMAL, ANY = TARGETS = ("V or E beat", "abnormal beat", "abnormal beat or rhythm")
SCORES = ("fused", "ordered", "forest")
VEB_CODES, ABNORMAL_CODES = "VE", "VESFAaJe!"
UNDEFINED = -9.0
"""What a window without a score counts as, here as in the decision: nothing is unusual about it."""


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Scored windows of several records as columns, each of shape (n,).

    Attributes:
        record: names.
        starts: seconds of record time.
        scores: by name, float64, `UNDEFINED` where undefined.
        labels: by target, bool; missing where the record's annotations do not say: see `known`.
        known: by target, bool.
        good: quality good enough to be judged.
        noisy: noise was added throughout.
    """

    record: NDArray[np.str_]
    starts: NDArray[np.float64]
    scores: dict[str, NDArray[np.float64]]
    labels: dict[str, NDArray[np.bool_]]
    known: dict[str, NDArray[np.bool_]]
    good: NDArray[np.bool_]
    noisy: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well one score ranks windows by one target.

    Attributes:
        target: what the windows hold.
        score: by which they are ranked.
        subset: of which windows.
        windows: how many.
        positive: how many hold it.
        auroc: None where all or none hold it, as for the rest.
        average_precision: see scikit-learn.
        fpr_90: share of the others at or above the highest threshold that 90 % of the positive reach.
        fpr_95: the same at 95 %.
    """

    target: str
    score: str
    subset: str
    windows: int
    positive: int
    auroc: float | None
    average_precision: float | None
    fpr_90: float | None
    fpr_95: float | None


def labels(reference: Reference, starts: NDArray[np.float64], length: float = WINDOW) -> dict[str, NDArray[np.bool_]]:
    """What windows [start, start + length) hold, by target.

    A beat belongs to the window in which its annotation lies; a rhythm to each window it shares time with.
    """
    veb = _holds(reference.of(VEB_CODES), starts, length)
    abnormal = _holds(reference.of(ABNORMAL_CODES), starts, length)
    return {VEB: veb, ABNORMAL: abnormal, ANY: abnormal | overlapping(starts, starts + length, reference.abnormal)}


def _holds(times: NDArray[np.float64], starts: NDArray[np.float64], length: float) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.searchsorted(times, starts + length) > np.searchsorted(times, starts)
    return found


def collect(outcomes: Sequence[Outcome], noisy: Sequence[Sequence[Episode]]) -> Scored:
    """The windows that begin after the learning period.

    Args:
        outcomes: of records.
        noisy: for each of them, where noise was added.
    """
    parts = [_one(outcome, spans) for outcome, spans in zip(outcomes, noisy, strict=True)]

    def column(name: str) -> NDArray[np.generic]:
        return np.concatenate([getattr(part, name) for part in parts])

    def by(name: str, key: str) -> NDArray[np.generic]:
        return np.concatenate([getattr(part, name)[key] for part in parts])

    return Scored(
        record=column("record"),  # type: ignore[arg-type]
        starts=column("starts"),  # type: ignore[arg-type]
        scores={key: by("scores", key) for key in SCORES},  # type: ignore[misc]
        labels={key: by("labels", key) for key in TARGETS},  # type: ignore[misc]
        known={key: by("known", key) for key in TARGETS},  # type: ignore[misc]
        good=column("good"),  # type: ignore[arg-type]
        noisy=column("noisy"),  # type: ignore[arg-type]
    )


def _one(outcome: Outcome, noisy: Sequence[Episode]) -> Scored:
    windows, reference = outcome.windows, outcome.reference
    keep = windows.ends - WINDOW >= LEARNING_SECONDS
    starts = windows.ends[keep] - WINDOW
    n = len(starts)
    return Scored(
        record=np.full(n, outcome.name),
        starts=starts,
        scores={
            name: np.nan_to_num(column[keep].astype(np.float64), nan=UNDEFINED)
            for name, column in zip(SCORES, (windows.score, windows.ordered, windows.forest), strict=True)
        },
        labels=labels(reference, starts),
        known={
            VEB: np.full(n, reference.has_beats),
            ABNORMAL: np.full(n, reference.has_beats),
            ANY: np.full(n, reference.has_beats or reference.has_rhythms),
        },
        good=windows.quality[keep] >= GOOD,
        noisy=np.array([any(s.start <= t and t + WINDOW <= s.end for s in noisy) for t in starts], np.bool_),
    )


def rank(scored: Scored, *, model: bool) -> list[Ranking]:
    """Every target by every score, for all windows, those of good quality, and, where noise was added, those in it.

    Args:
        scored: the windows.
        model: whether there was one; without it the forest says nothing.
    """
    subsets = {"all": np.ones(len(scored.starts), np.bool_), "good": scored.good}
    if scored.noisy.any():
        subsets |= {"in noise": scored.noisy, "in noise, good": scored.noisy & scored.good}
    return [
        ranking(target, score, subset, scored.labels[target][rows], scored.scores[score][rows])
        for subset, mask in subsets.items()
        for target in TARGETS
        for score in SCORES
        if (rows := mask & scored.known[target]).any() and (model or score != "forest")
    ]


def ranking(target: str, score: str, subset: str, truth: NDArray[np.bool_], values: NDArray[np.float64]) -> Ranking:
    """Rank windows, shapes (n,)."""
    n, positive = len(truth), int(truth.sum())
    if positive in (0, n):
        return Ranking(target, score, subset, n, positive, None, None, None, None)
    return Ranking(
        target=target,
        score=score,
        subset=subset,
        windows=n,
        positive=positive,
        auroc=float(roc_auc_score(truth, values)),
        average_precision=float(average_precision_score(truth, values)),
        fpr_90=operating_point(truth, values, 0.90)[0],
        fpr_95=operating_point(truth, values, 0.95)[0],
    )


def operating_point(truth: NDArray[np.bool_], values: NDArray[np.float64], sensitivity: float) -> tuple[float, float]:
    """False-positive rate, and the threshold (inclusive), at which at least this sensitivity is reached first."""
    fpr, tpr, thresholds = roc_curve(truth, values, drop_intermediate=False)
    place = int(np.argmax(tpr >= sensitivity - 1e-12))
    return float(fpr[place]), float(thresholds[place])


@dataclass(frozen=True, slots=True)
class RecordWindows:
    """One record's windows at the one threshold that finds 95 % of all records' V or E windows by the fused score.

    Attributes:
        windows: how many.
        good: of good quality.
        positive: with a V or E beat; None where beats are not annotated, as for the rest.
        missed: of those.
        false: others beyond the threshold.
        auroc: within the record; None where all or none hold one.
    """

    windows: int
    good: int
    positive: int | None
    missed: int | None
    false: int | None
    auroc: float | None


def by_record(scored: Scored) -> dict[str, RecordWindows]:
    """See RecordWindows, by name."""
    truth, values, known = scored.labels[VEB], scored.scores["fused"], scored.known[VEB]
    some = known.any() and 0 < truth[known].sum() < known.sum()
    threshold = operating_point(truth[known], values[known], 0.95)[1] if some else np.inf
    found = {}
    for name in dict.fromkeys(scored.record.tolist()):
        rows = scored.record == name
        n, good = int(rows.sum()), int((rows & scored.good).sum())
        if not known[rows].all() or not some:
            found[name] = RecordWindows(n, good, None, None, None, None)
            continue
        t, v = truth[rows], values[rows]
        auroc = float(roc_auc_score(t, v)) if 0 < t.sum() < n else None
        found[name] = RecordWindows(
            n, good, int(t.sum()), int((t & (v < threshold)).sum()), int((~t & (v >= threshold)).sum()), auroc
        )
    return found
