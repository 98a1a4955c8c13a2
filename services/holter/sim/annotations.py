"""What cardiologists wrote beside a record: beats counted, ventricular runs and rhythm episodes with their times."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

VENTRICULAR = frozenset("VE!")
"""Premature and escape ventricular beats, and flutter waves (codes of the MIT-BIH databases)."""
BEATS = frozenset("NLRBAaJSVrFejnE/fQ?!")
_SHORTEST_RUN = 3


@dataclass(frozen=True, slots=True)
class Episode:
    """Something that lasts.

    Attributes:
        label: a rhythm (`VT`, `VF`, `ASYS`, `AFIB` …) or `run of 4 V`.
        start: seconds of record time.
        end: seconds of record time.
    """

    label: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Annotations:
    """What is annotated in a stretch of a record.

    Attributes:
        beats: how many of each code.
        episodes: in order of time: rhythms other than normal, and ventricular runs outside of annotated ones.
    """

    beats: dict[str, int]
    episodes: tuple[Episode, ...]


def summarise(
    times: Sequence[float], symbols: Sequence[str], notes: Sequence[str], start: float, end: float
) -> Annotations:
    """Sum up annotations.

    Args:
        times: seconds of record time, ascending.
        symbols: a code each; `+` marks a change of rhythm.
        notes: of a `+`: the rhythm, as in `(VT`.
        start: of the stretch, seconds of record time.
        end: of the stretch, seconds of record time.
    """
    beats = [(t, s) for t, s in zip(times, symbols, strict=True) if s in BEATS and start <= t < end]
    rhythms = [e for e in _rhythms(times, symbols, notes, end) if e.end > start and e.start < end]
    runs = [
        run for run in _runs(beats) if not any(r.start - 1 <= run.start <= r.end + 1 for r in rhythms if _lethal(r))
    ]
    clipped = [Episode(e.label, max(e.start, start), min(e.end, end)) for e in (*rhythms, *runs)]
    return Annotations(dict(Counter(s for _, s in beats)), tuple(sorted(clipped, key=lambda e: (e.start, e.label))))


def _rhythms(times: Sequence[float], symbols: Sequence[str], notes: Sequence[str], end: float) -> list[Episode]:
    changes = [
        (t, note.strip("\x00 ").removeprefix("("))
        for t, symbol, note in zip(times, symbols, notes, strict=True)
        if symbol == "+" and note.strip("\x00 ").startswith("(")
    ]
    ends = [t for t, _ in changes[1:]] + [end]
    return [Episode(label, t, until) for (t, label), until in zip(changes, ends, strict=False) if _abnormal(label)]


def _abnormal(label: str) -> bool:
    return label not in {"N", "NSR"}


def _lethal(episode: Episode) -> bool:
    return episode.label in {"VT", "VFL", "VF", "VFIB", "IVR"}


def _runs(beats: Sequence[tuple[float, str]]) -> list[Episode]:
    runs = []
    for ventricular, group in groupby(beats, key=lambda beat: beat[1] in VENTRICULAR):
        members = list(group)
        if ventricular and len(members) >= _SHORTEST_RUN:
            codes = "".join(sorted({symbol for _, symbol in members}))
            runs.append(Episode(f"run of {len(members)} {codes}", members[0][0], members[-1][0]))
    return runs
