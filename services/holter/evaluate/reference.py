"""What is annotated beside a record: each beat with its code, each rhythm with its stretch."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from holter.sim.annotations import BEATS, Episode

NORMAL, SUPRAVENTRICULAR, VENTRICULAR, FUSION, UNKNOWN = "NLRBej", "AaJSn", "VEr", "F", "/fQ?"
"""Codes of each class of ANSI/AAMI EC57."""
FLUTTER_WAVE = "!"
FIBRILLATION = frozenset({"VF", "VFL", "VFIB"})
TACHYARRHYTHMIA = FIBRILLATION | {"VT"}
NORMAL_RHYTHMS = frozenset({"N", "NSR"})
NOISE = "NOISE"
"""A label that tells of the signal, not of the rhythm."""


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A record's annotations.

    Attributes:
        times: shape (n,), float64, seconds of record time, ascending: beats and flutter waves.
        codes: shape (n,), one character each.
        rhythms: annotated rhythms, normal ones too, in order of time.
        fibrillation: stretches of flutter or fibrillation, where EC57 compares no beats.
    """

    times: NDArray[np.float64]
    codes: NDArray[np.str_]
    rhythms: tuple[Episode, ...]
    fibrillation: tuple[Episode, ...]

    @property
    def has_beats(self) -> bool:
        """Whether beats are annotated."""
        return len(self.times) > 0

    @property
    def has_rhythms(self) -> bool:
        """Whether rhythms are annotated."""
        return len(self.rhythms) > 0

    def of(self, codes: Iterable[str]) -> NDArray[np.float64]:
        """Times of the beats with one of these codes."""
        return self.times[np.isin(self.codes, list(codes))]

    def labelled(self, labels: Iterable[str]) -> tuple[Episode, ...]:
        """Rhythms with one of these labels."""
        wanted = frozenset(labels)
        return tuple(rhythm for rhythm in self.rhythms if rhythm.label in wanted)

    @property
    def abnormal(self) -> tuple[Episode, ...]:
        """Rhythms other than normal; noise is none."""
        return tuple(r for r in self.rhythms if r.label not in NORMAL_RHYTHMS and r.label != NOISE)


def parse(times: Sequence[float], symbols: Sequence[str], notes: Sequence[str], end: float) -> Reference:
    """Put annotations in order.

    Args:
        times: seconds of record time, ascending.
        symbols: a code each; `+` changes the rhythm, `[` and `]` begin and end fibrillation.
        notes: of a `+`: the rhythm, as in `(VT`.
        end: of the record, seconds.
    """
    marks = list(zip(times, symbols, (note.strip("\x00 ") for note in notes), strict=True))
    beats = [(t, s) for t, s, _ in marks if s in BEATS]
    changes = [(t, note[1:]) for t, s, note in marks if s == "+" and note.startswith("(")]
    until = [*(t for t, _ in changes), end][1:]
    rhythms = tuple(Episode(label, t, u) for (t, label), u in zip(changes, until, strict=True))
    bracketed: list[Episode] = []
    began: float | None = None
    for t, s, _ in [*marks, (end, "]", "")]:
        if s == "[":
            began = t
        elif s == "]" and began is not None:
            bracketed.append(Episode("[]", began, t))
            began = None
    fibrillation = (*bracketed, *(r for r in rhythms if r.label in FIBRILLATION))
    return Reference(
        np.array([t for t, _ in beats], np.float64), np.array([s for _, s in beats], "U1"), rhythms, fibrillation
    )


def read(path: Path, fs: float, end: float) -> Reference:
    """Read a record's `.atr`; a record without one has an empty reference.

    Args:
        path: of the record, without extension.
        fs: of the record, Hz.
        end: of the record, seconds.

    Raises:
        ValueError: it is damaged; the message names it.
    """
    if not path.with_name(f"{path.name}.atr").exists():
        return parse((), (), (), end)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its dependencies; none is about the record
        import wfdb

        try:
            marks = wfdb.rdann(str(path), "atr")
        except (OSError, ValueError, IndexError) as error:
            raise ValueError(f"{path}.atr: {error}") from error
    return parse((marks.sample / fs).tolist(), marks.symbol, marks.aux_note, end)


def inside(times: NDArray[np.float64], spans: Iterable[Episode]) -> NDArray[np.bool_]:
    """Which times lie in one of the spans, shape of `times`."""
    found = np.zeros(len(times), np.bool_)
    for span in spans:
        found |= (times >= span.start) & (times <= span.end)
    return found


def overlapping(starts: NDArray[np.float64], ends: NDArray[np.float64], spans: Iterable[Episode]) -> NDArray[np.bool_]:
    """Which stretches [start, end) share time with one of the spans, shape of `starts`."""
    found = np.zeros(len(starts), np.bool_)
    for span in spans:
        found |= (starts < span.end) & (ends > span.start)
    return found
