"""Alerts counted: true and false, by kind and priority, for each patient-hour and -day."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import chi2

from holter.alert import Category, Kind, Priority
from holter.evaluate.playing import LEARNING_SECONDS, Outcome, Told
from holter.evaluate.reference import TACHYARRHYTHMIA
from holter.evaluate.truth import Verdict, judge, pauses, runs
from holter.evaluate.windows import ABNORMAL_CODES
from holter.sim.annotations import Episode


@dataclass(frozen=True, slots=True)
class Judged:
    """An alert of a record with its verdict."""

    record: str
    told: Told
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Row:
    """Alerts of one kind and priority.

    Attributes:
        kind: what.
        category: physiological or technical.
        priority: how urgent.
        true: how many.
        false: how many.
        unjudged: the annotations do not say.
        hour: all of them for each patient-hour.
        false_day: false ones for each patient-day.
    """

    kind: Kind
    category: Category
    priority: Priority
    true: int
    false: int
    unjudged: int
    hour: float
    false_day: float


@dataclass(frozen=True, slots=True)
class Quiet:
    """False physiological alerts in a group of records.

    Attributes:
        group: which records.
        records: how many.
        hours: of patients.
        high: false high alerts.
        any: false alerts of any priority.
        high_day: for each patient-day.
        any_day: the same.
        high_day_bound: one-sided 95 % Poisson bound.
        any_day_bound: the same.
    """

    group: str
    records: int
    hours: float
    high: int
    any: int
    high_day: float
    any_day: float
    high_day_bound: float
    any_day_bound: float


def judged(outcome: Outcome, noisy: Sequence[Episode]) -> list[Judged]:
    """The alerts told after the learning period."""
    told = [t for t in outcome.told if t.start >= LEARNING_SECONDS]
    verdicts = judge(told, outcome.reference, noisy)
    return [Judged(outcome.name, t, v) for t, v in zip(told, verdicts, strict=True)]


def table(alerts: Sequence[Judged], hours: float) -> list[Row]:
    """Rows by urgency and kind.

    Args:
        alerts: of all records.
        hours: of patients, above 0.
    """
    counts = Counter((a.told.kind, a.told.priority, a.verdict) for a in alerts)
    rows = []
    for category in Category:
        for priority in Priority:
            for kind in Kind:
                n = {v: counts[kind, priority, v] for v in ("true", "false", "unjudged")}
                if sum(n.values()) and any(a.told.kind == kind and a.told.category == category for a in alerts):
                    hour, day = sum(n.values()) / hours, 24 * n["false"] / hours
                    rows.append(Row(kind, category, priority, n["true"], n["false"], n["unjudged"], hour, day))
    return rows


def poisson_bound(events: int, confidence: float = 0.95) -> float:
    """One-sided upper bound of the mean of a Poisson count (Garwood 1936)."""
    return float(chi2.ppf(confidence, 2 * (events + 1)) / 2)


def quiet(outcomes: Sequence[Outcome], alerts: Sequence[Judged]) -> list[Quiet]:
    """False alerts of all records, of those without a lethal episode, and of those that are normal throughout."""
    groups = {
        "all": [o for o in outcomes if o.reference.has_beats or o.reference.has_rhythms],
        "without VT, VF or asystole": [o for o in outcomes if _harmless(o)],
        "normal throughout": [o for o in outcomes if _normal(o)],
    }
    return [_quiet(name, members, alerts) for name, members in groups.items() if sum(o.hours for o in members) > 0]


def _quiet(name: str, members: Sequence[Outcome], alerts: Sequence[Judged]) -> Quiet:
    names, hours = {o.name for o in members}, sum(o.hours for o in members)
    false = [a for a in alerts if a.record in names and a.verdict == "false"]
    high, everything = sum(a.told.priority is Priority.HIGH for a in false), len(false)
    day = 24 / hours
    return Quiet(
        group=name,
        records=len(members),
        hours=hours,
        high=high,
        any=everything,
        high_day=high * day,
        any_day=everything * day,
        high_day_bound=poisson_bound(high) * day,
        any_day_bound=poisson_bound(everything) * day,
    )


def _harmless(outcome: Outcome) -> bool:
    reference = outcome.reference
    lethal = reference.labelled(TACHYARRHYTHMIA | {"ASYS"}) or runs(reference, 5, 100) or pauses(reference, 4)
    return (reference.has_beats or reference.has_rhythms) and not lethal


def _normal(outcome: Outcome) -> bool:
    reference = outcome.reference
    return reference.has_beats and not reference.abnormal and not len(reference.of(ABNORMAL_CODES))
