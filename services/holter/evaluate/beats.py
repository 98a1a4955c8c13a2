"""Beats compared one by one, as ANSI/AAMI EC57 says and WFDB's `bxb` does: matched at 150 ms, after five minutes."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from holter.evaluate.playing import LEARNING_SECONDS, Outcome
from holter.evaluate.reference import FLUTTER_WAVE, FUSION, UNKNOWN, VENTRICULAR, inside

MATCH_SECONDS = 0.15
SETTLE_SECONDS = 1.0
"""A beat is final this much later: what the end of a record cuts off is not compared."""


@dataclass(frozen=True, slots=True)
class Counts:
    """A record's beats, or the sum of several records'. V is a ventricular ectopic beat, QRS any beat.

    As in `bxb`: V beats of the detector at fusion or unknown beats are neither true nor false, and an extra beat that
    is not called V is a true negative of V.

    Attributes:
        tp: QRS found.
        fn: QRS missed.
        fp: QRS where there is none.
        v_tp: V found and called V.
        v_fn: V missed or called otherwise.
        v_fp: called V, but normal, supraventricular or no beat at all.
        v_tn: neither V nor called V.
    """

    tp: int = 0
    fn: int = 0
    fp: int = 0
    v_tp: int = 0
    v_fn: int = 0
    v_fp: int = 0
    v_tn: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def rates(self) -> dict[str, float | None]:
        """The five ratios; None where there is nothing to divide by."""
        return {
            "sensitivity": ratio(self.tp, self.tp + self.fn),
            "ppv": ratio(self.tp, self.tp + self.fp),
            "veb_sensitivity": ratio(self.v_tp, self.v_tp + self.v_fn),
            "veb_ppv": ratio(self.v_tp, self.v_tp + self.v_fp),
            "veb_fpr": ratio(self.v_fp, self.v_fp + self.v_tn),
        }


def ratio(part: float, whole: float) -> float | None:
    """A share, None of nothing."""
    return part / whole if whole else None


def match(
    reference: NDArray[np.float64], test: NDArray[np.float64], width: float = MATCH_SECONDS
) -> list[tuple[int, int]]:
    """Pair beats as `bxb` does.

    The earlier of the next two is paired with the other one, if that is near enough and no further away than that
    one's successor; else it stays alone.

    Args:
        reference: shape (n,), seconds, ascending.
        test: shape (m,), seconds, ascending.
        width: of the match window, seconds, to each side.

    Returns:
        Places in `reference` and `test`, ascending.
    """
    pairs: list[tuple[int, int]] = []
    i = j = 0
    while i < len(reference) and j < len(test):
        gap = abs(reference[i] - test[j])
        if test[j] < reference[i]:
            nearer = j + 1 < len(test) and abs(reference[i] - test[j + 1]) <= gap
        else:
            nearer = i + 1 < len(reference) and abs(reference[i + 1] - test[j]) <= gap
        if gap <= width + 1e-9 and not nearer:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif test[j] < reference[i]:
            j += 1
        else:
            i += 1
    return pairs


@dataclass(frozen=True, slots=True, eq=False)
class _Matched:
    """Annotated beats, and which of the detector's are theirs."""

    codes: NDArray[np.str_]
    partner: NDArray[np.int64]
    """Place of the detector's beat, -1 without."""
    compared: NDArray[np.bool_]
    extra: NDArray[np.bool_]
    """Which of the detector's beats are none."""


def _matched(outcome: Outcome) -> _Matched:
    reference = outcome.reference
    counted = reference.codes != FLUTTER_WAVE
    times, codes = reference.times[counted], reference.codes[counted]
    first, last = LEARNING_SECONDS, outcome.seconds - SETTLE_SECONDS
    compared = (times >= first) & (times < last) & ~inside(times, reference.fibrillation)
    extra = (outcome.beats >= first) & (outcome.beats < last) & ~inside(outcome.beats, reference.fibrillation)
    partner = np.full(len(times), -1)
    for i, j in match(times, outcome.beats):
        partner[i] = j
        extra[j] = False
    return _Matched(codes, partner, compared, extra)


def paired(outcome: Outcome) -> tuple[NDArray[np.int64], NDArray[np.str_], NDArray[np.int64]]:
    """Places of the detector's beats that are annotated ones, those ones' codes, and places of those that are none."""
    m = _matched(outcome)
    both = m.compared & (m.partner >= 0)
    return m.partner[both], m.codes[both], np.flatnonzero(m.extra)


def compare(outcome: Outcome) -> Counts | None:
    """Compare one record's beats; None where none are annotated."""
    if not outcome.reference.has_beats:
        return None
    m = _matched(outcome)
    codes, partner, extra = m.codes, m.partner, m.extra
    found = m.compared & (partner >= 0)
    missed = m.compared & (partner < 0)
    called = np.zeros(len(codes), np.bool_)
    called[partner >= 0] = outcome.ventricular[partner[partner >= 0]]
    is_v = np.isin(codes, list(VENTRICULAR))
    neither = np.isin(codes, list(FUSION + UNKNOWN))

    def n(mask: NDArray[np.bool_]) -> int:
        return int(mask.sum())

    return Counts(
        tp=n(found),
        fn=n(missed),
        fp=n(extra),
        v_tp=n(found & is_v & called),
        v_fn=n(found & is_v & ~called) + n(missed & is_v),
        v_fp=n(found & ~is_v & ~neither & called) + n(extra & outcome.ventricular),
        v_tn=n(found & ~is_v & ~called) + n(extra & ~outcome.ventricular),
    )


def gross(counts: Sequence[Counts]) -> Counts:
    """All beats of all records."""
    return sum(counts, Counts())


def average(counts: Sequence[Counts]) -> dict[str, float | None]:
    """The mean over records of each rate, of the records that have it."""
    rates = [c.rates for c in counts]
    present = {name: [value for r in rates if (value := r[name]) is not None] for name in Counts().rates}
    return {name: ratio(sum(values), len(values)) for name, values in present.items()}
