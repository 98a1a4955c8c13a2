"""Annotated episodes beside the alerts that were raised: pure functions from both to lines of text."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from holter.alert import TECHNICAL, AlertEvent, Transition
from holter.chunk import MICROSECONDS
from holter.sim.annotations import Annotations, Episode

SLACK_SECONDS = 5.0
"""An alert belongs to an episode when its onset is at most this far outside: annotators mark beats, alerts windows."""


@dataclass(frozen=True, slots=True)
class Call:
    """An alert's onset as it was told: when raised, and anew with each update that carries another onset.

    Attributes:
        event: the alert event that told it.
        onset: seconds of record time.
        decided: seconds of record time.
        cleared: seconds of record time; None while the alert is open.
    """

    event: AlertEvent
    onset: float
    decided: float
    cleared: float | None = None

    @property
    def technical(self) -> bool:
        """Whether it is about the equipment."""
        return self.event.kind in TECHNICAL


@dataclass(frozen=True, slots=True)
class Row:
    """An episode with the calls that belong to it, and the physiological ones that were still open when it began."""

    episode: Episode
    calls: tuple[Call, ...]
    open: tuple[Call, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """A record's episodes with their calls, and the calls that belong to none."""

    rows: tuple[Row, ...]
    others: tuple[Call, ...]


def calls(events: Iterable[AlertEvent], base: int, start: float) -> tuple[Call, ...]:
    """The distinct onsets of a device's alerts.

    Args:
        events: of one device, in order of decision.
        base: event time of the first sample, µs since the epoch.
        start: record time of the first sample, seconds.
    """
    told: dict[tuple[str, int, str], AlertEvent] = {}
    cleared: dict[str, float] = {}

    def record_time(at: int) -> float:
        return start + (at - base) / MICROSECONDS

    for event in events:
        if event.event is Transition.CLEARED:
            cleared[event.alert_id] = record_time(event.decided_at)
        else:
            told.setdefault((event.alert_id, event.onset, event.priority), event)
    return tuple(
        Call(e, record_time(e.onset), record_time(e.decided_at), cleared.get(e.alert_id)) for e in told.values()
    )


def compare(annotations: Annotations, found: Sequence[Call]) -> Comparison:
    """Put each call beside every episode that holds its onset, give or take `SLACK_SECONDS`."""
    rows: list[Row] = []
    matched: set[int] = set()
    for episode in annotations.episodes:
        near = [c for c in found if episode.start - SLACK_SECONDS <= c.onset <= episode.end + SLACK_SECONDS]
        matched.update(id(c) for c in near)
        still = {
            c.event.kind: c
            for c in found
            if c.decided <= episode.start and (c.cleared is None or c.cleared > episode.start) and not c.technical
        }
        rows.append(Row(episode, tuple(near), tuple(still.values())))
    return Comparison(tuple(rows), tuple(c for c in found if id(c) not in matched))


def clock(seconds: float) -> str:
    """Record time as m:ss.s."""
    tenths = round(seconds * 10)
    return f"{tenths // 600}:{tenths % 600 / 10:04.1f}"


def table(name: str, annotations: Annotations, comparison: Comparison) -> list[str]:
    """The comparison as lines of text."""
    counted = ", ".join(f"{n} {code}" for code, n in sorted(annotations.beats.items(), key=lambda item: -item[1]))
    lines = [f"{name}: annotated beats: {counted or 'none'}"]
    if comparison.rows:
        lines.append(f"  {'annotated':<14} {'from':>8} {'to':>8}   alerts within {SLACK_SECONDS:g} s, after its start")
        for row in comparison.rows:
            e = row.episode
            told = "; ".join(f"{_what(c)} {c.decided - e.start:+.1f} s" for c in row.calls) or _open(row)
            lines.append(f"  {e.label:<14} {clock(e.start):>8} {clock(e.end):>8}   {told}")
    if comparison.others:
        lines.append(f"  alerts outside of annotated episodes: {'onset':>8} {'delay':>8}")
        for c in comparison.others:
            delay = f"{c.decided - c.onset:+.1f} s"
            lines.append(f"    {_what(c):<36} {clock(c.onset):>8} {delay:>8}   {c.event.reason}")
    return [*lines, *_counts(comparison)]


def _counts(comparison: Comparison) -> list[str]:
    lines = []
    by_label: dict[str, list[Row]] = {}
    for row in comparison.rows:
        label = "ventricular run" if row.episode.label.startswith("run of") else row.episode.label
        by_label.setdefault(label, []).append(row)
    for label, rows in by_label.items():
        called = sum(any(not c.technical for c in row.calls) for row in rows)
        high = sum(any(c.event.priority == "high" and not c.technical for c in row.calls) for row in rows)
        covered = sum(bool(row.open) and all(c.technical for c in row.calls) for row in rows)
        under = f"; {covered} more under an open one" if covered else ""
        lines.append(
            f"  {label}: {len(rows)} annotated, {called} with a physiological alert, {high} of them high{under}"
        )
    everything = {id(c): c for row in comparison.rows for c in row.calls} | {id(c): c for c in comparison.others}
    counted = Counter((str(c.event.priority), str(c.event.kind)) for c in everything.values())
    told = ", ".join(f"{n} {priority} {kind}" for (priority, kind), n in sorted(counted.items()))
    outside = sum(c.event.priority == "high" and not c.technical for c in comparison.others)
    lines.append(f"  alerts: {told or 'none'}; high and outside of annotated episodes: {outside}")
    return lines


def _open(row: Row) -> str:
    return f"(still open: {', '.join(_what(c) for c in row.open)})" if row.open else "–"


def _what(call: Call) -> str:
    return f"{call.event.priority} {call.event.kind}"
