"""Annotated episodes of arrhythmia: which were alerted on, how soon."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from holter.alert import Kind
from holter.evaluate.playing import LEARNING_SECONDS, Outcome
from holter.evaluate.truth import SLACK_SECONDS
from holter.sim.annotations import Episode

LEAST_SECONDS, WITHIN_SECONDS = 5.0, 10.0

_SHOCKABLE = frozenset({Kind.VENTRICULAR_TACHYCARDIA, Kind.VENTRICULAR_FIBRILLATION, Kind.EXTREME_TACHYCARDIA})
GROUPS: dict[str, tuple[frozenset[str], frozenset[Kind]]] = {
    "VT": (frozenset({"VT"}), _SHOCKABLE),
    "VF, VFL": (frozenset({"VF", "VFL", "VFIB"}), _SHOCKABLE),
    "ASYS": (frozenset({"ASYS"}), frozenset({Kind.ASYSTOLE})),
    "AFIB": (frozenset({"AFIB"}), frozenset({Kind.IRREGULAR_RHYTHM})),
    "SVTA": (frozenset({"SVTA"}), frozenset({Kind.TACHYCARDIA, Kind.EXTREME_TACHYCARDIA})),
}
"""Rhythm labels, and the kinds that fit them: a monitor may call VT what is VF, both bring the same people."""


@dataclass(frozen=True, slots=True)
class Found:
    """An episode and what was told of it.

    Attributes:
        record: name.
        label: as annotated.
        group: key of `GROUPS`.
        start: seconds of record time.
        end: seconds of record time.
        delay: from its start to the first fitting alert raised, or updated with a new onset, at most 5 s before it or
            after its end; None without one.
        kind: of that alert.
        within: whether that delay is at most 10 s.
        under_open: none told within 10 s, but the condition of one told before went on into it.
        other: the first physiological alert of any other kind told within 10 s.
        noisy: it begins where noise was added.
    """

    record: str
    label: str
    group: str
    start: float
    end: float
    delay: float | None
    kind: Kind | None
    within: bool
    under_open: bool
    other: Kind | None
    noisy: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """Episodes of one group.

    Attributes:
        group: key of `GROUPS`, or several; `in noise`: those of them that begin where noise was added.
        episodes: how many.
        within: told of within 10 s.
        under_open: not so, but under an open one.
        at_all: told of at any time of the episode.
        low: of the share `within`, 95 % interval (Clopper & Pearson).
        high: the same.
        delay_median: seconds, of those told of at all; None without any.
        delay_p90: seconds.
    """

    group: str
    episodes: int
    within: int
    under_open: int
    at_all: int
    low: float
    high: float
    delay_median: float | None
    delay_p90: float | None


def find(outcome: Outcome, noisy: Sequence[Episode]) -> list[Found]:
    """Episodes of a record that begin after the learning period and last 5 s or more.

    Args:
        outcome: of the record.
        noisy: where noise was added.
    """
    found = []
    for group, (labels, kinds) in GROUPS.items():
        for episode in outcome.reference.labelled(labels):
            long = episode.end - episode.start >= LEAST_SECONDS
            if long and episode.start >= LEARNING_SECONDS and episode.start + LEAST_SECONDS <= outcome.seconds:
                in_noise = any(span.start <= episode.start < span.end for span in noisy)
                found.append(_look(outcome, group, episode, kinds, in_noise))
    return sorted(found, key=lambda f: f.start)


def _look(outcome: Outcome, group: str, episode: Episode, kinds: frozenset[Kind], in_noise: bool) -> Found:
    soon = episode.start + WITHIN_SECONDS
    first, last = episode.start - SLACK_SECONDS, max(episode.end + SLACK_SECONDS, soon)
    told = [t for t in outcome.told if first <= t.start <= last and t.category == "physiological"]
    fitting = [t for t in told if t.kind in kinds]
    within = bool(fitting) and fitting[0].start <= soon
    open_before = any(t.kind in kinds and t.start < first and t.end >= episode.start for t in outcome.told)
    others = [t.kind for t in told if t.kind not in kinds and t.start <= soon]
    return Found(
        record=outcome.name,
        label=episode.label,
        group=group,
        start=episode.start,
        end=episode.end,
        delay=fitting[0].start - episode.start if fitting else None,
        kind=fitting[0].kind if fitting else None,
        within=within,
        under_open=open_before and not within,
        other=others[0] if others else None,
        noisy=in_noise,
    )


def summarise(found: Sequence[Found]) -> list[Summary]:
    """By group, those that have episodes, and VT, VF and asystole together; then those that begin in added noise."""
    groups = {group: [f for f in found if f.group == group] for group in GROUPS}
    groups["VT, VF, ASYS"] = [f for f in found if f.group in ("VT", "VF, VFL", "ASYS")]
    groups |= {f"{group}, in noise": [f for f in members if f.noisy] for group, members in groups.items()}
    return [_sum(group, members) for group, members in groups.items() if members]


def _sum(group: str, members: Sequence[Found]) -> Summary:
    within = sum(f.within for f in members)
    interval = binomtest(within, len(members)).proportion_ci(0.95, method="exact")
    delays = [f.delay for f in members if f.delay is not None]
    return Summary(
        group=group,
        episodes=len(members),
        within=within,
        under_open=sum(f.under_open for f in members),
        at_all=len(delays),
        low=float(interval.low),
        high=float(interval.high),
        delay_median=float(np.median(delays)) if delays else None,
        delay_p90=float(np.quantile(delays, 0.9)) if delays else None,
    )
