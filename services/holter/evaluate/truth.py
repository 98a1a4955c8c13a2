"""Which annotations make an alert of each kind a true one (the table of docs/evaluation.md)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from holter.alert import TECHNICAL, Kind
from holter.evaluate.playing import Told
from holter.evaluate.reference import (
    FLUTTER_WAVE,
    NOISE,
    SUPRAVENTRICULAR,
    TACHYARRHYTHMIA,
    VENTRICULAR,
    Reference,
    inside,
)
from holter.sim.annotations import Episode

SLACK_SECONDS = 5.0
"""How far an alert and what it tells of may be apart: annotators mark beats, alerts seconds and windows."""
Verdict = Literal["true", "false", "unjudged"]
Spans = Callable[[Reference], list[Episode]]

_RUN_CODES = VENTRICULAR + FLUTTER_WAVE
_ABNORMAL_CODES = VENTRICULAR + FLUTTER_WAVE + "F" + SUPRAVENTRICULAR
_LONGEST_RR = 10.0


@dataclass(frozen=True, slots=True)
class Truth:
    """What an alert has to be near of.

    Attributes:
        rhythms: labels.
        beats: finds stretches in the beats; None where rhythms alone say it.
        said_by: the annotations without which an alert cannot be called false.
    """

    rhythms: frozenset[str]
    beats: Spans | None
    said_by: Literal["beats", "rhythms"]


def runs(reference: Reference, least: int, rate: float) -> list[Episode]:
    """Runs of at least so many ventricular beats in a row, at this mean rate (1/min) or above."""
    found, place = [], 0
    for ventricular, group in groupby(np.isin(reference.codes, list(_RUN_CODES)).tolist()):
        n = len(list(group))
        times = reference.times[place : place + n]
        place += n
        if ventricular and n >= least and 60 * (n - 1) >= rate * (times[-1] - times[0]):
            found.append(Episode(f"run of {n}", float(times[0]), float(times[-1])))
    return found


def paced_between(reference: Reference, beats: int, low: float, high: float) -> list[Episode]:
    """Stretches of so many R-R intervals whose mean rate (1/min) is within [low, high]; none over fibrillation."""
    times = reference.times
    if len(times) <= beats:
        return []
    spans = times[beats:] - times[:-beats]
    rates = 60 * beats / np.maximum(spans, 1e-6)
    broken = inside(times, reference.fibrillation)
    within = (rates >= low) & (rates <= high) & (spans < beats * _LONGEST_RR) & ~broken[beats:] & ~broken[:-beats]
    return [Episode("rate", float(times[i]), float(times[i + beats])) for i in np.flatnonzero(within)]


def pauses(reference: Reference, least: float) -> list[Episode]:
    """Intervals without a beat of at least so many seconds."""
    times = reference.times
    return [Episode("pause", float(times[i]), float(times[i + 1])) for i in np.flatnonzero(np.diff(times) >= least)]


def clusters(reference: Reference, codes: str, count: int, within: float) -> list[Episode]:
    """Stretches of at most `within` seconds that hold `count` beats of these codes."""
    times: NDArray[np.float64] = reference.of(codes)
    return [
        Episode("beats", float(a), float(b)) for a, b in zip(times, times[count - 1 :], strict=False) if b - a <= within
    ]


_VENTRICULAR = Truth(TACHYARRHYTHMIA, lambda r: runs(r, 5, 100), "rhythms")
_SEVERAL = Truth(frozenset(), lambda r: clusters(r, _ABNORMAL_CODES, 3, 60), "beats")

TRUTHS: dict[Kind, Truth] = {
    Kind.VENTRICULAR_TACHYCARDIA: _VENTRICULAR,
    Kind.VENTRICULAR_FIBRILLATION: _VENTRICULAR,
    Kind.ASYSTOLE: Truth(frozenset({"ASYS"}), lambda r: pauses(r, 4), "rhythms"),
    Kind.EXTREME_TACHYCARDIA: Truth(
        TACHYARRHYTHMIA | {"SVTA"}, lambda r: [*runs(r, 5, 100), *paced_between(r, 5, 180, 600)], "rhythms"
    ),
    Kind.EXTREME_BRADYCARDIA: Truth(frozenset({"ASYS", "SBR", "VER"}), lambda r: paced_between(r, 4, 0, 40), "beats"),
    Kind.TACHYCARDIA: Truth(TACHYARRHYTHMIA | {"SVTA"}, lambda r: paced_between(r, 8, 108, 600), "beats"),
    Kind.BRADYCARDIA: Truth(frozenset({"ASYS", "SBR", "VER"}), lambda r: paced_between(r, 4, 0, 45), "beats"),
    Kind.VENTRICULAR_RUN: Truth(TACHYARRHYTHMIA | {"IVR"}, lambda r: runs(r, 3, 90), "beats"),
    Kind.ECTOPY: _SEVERAL,
    Kind.IRREGULAR_RHYTHM: Truth(
        frozenset({"AFIB", "AFL", "B", "T", "BII"}), lambda r: clusters(r, _ABNORMAL_CODES, 6, 60), "beats"
    ),
    Kind.ANOMALY: Truth(frozenset(), lambda r: [*clusters(r, _ABNORMAL_CODES, 3, 60), *r.abnormal], "beats"),
}


def judge(told: Sequence[Told], reference: Reference, noisy: Sequence[Episode]) -> list[Verdict]:
    """A verdict for each alert.

    True: within 5 s of [onset, told] lies something annotated that its kind tells of. Unjudged: the record does not
    have the annotations that would say; a technical alert outside of annotated or added noise.

    Args:
        told: of one record.
        reference: its annotations.
        noisy: where noise was added.
    """
    spans: dict[Kind, list[Episode]] = {}
    verdicts: list[Verdict] = []
    for one in told:
        if one.kind not in spans:
            spans[one.kind] = _spans(one.kind, reference, noisy)
        if any(_near(one, span) for span in spans[one.kind]):
            verdicts.append("true")
        elif one.kind in TECHNICAL:
            verdicts.append("unjudged")
        else:
            by = TRUTHS[one.kind].said_by
            said = reference.has_beats or (by == "rhythms" and reference.has_rhythms)
            verdicts.append("false" if said else "unjudged")
    return verdicts


def _spans(kind: Kind, reference: Reference, noisy: Sequence[Episode]) -> list[Episode]:
    if kind in TECHNICAL:
        return [*reference.labelled({NOISE}), *noisy]
    truth = TRUTHS[kind]
    return [*reference.labelled(truth.rhythms), *(truth.beats(reference) if truth.beats else ())]


def _near(told: Told, span: Episode) -> bool:
    return told.onset - SLACK_SECONDS <= span.end and told.start + SLACK_SECONDS >= span.start
