"""A report as tables for a person."""

from collections.abc import Iterator

from rich.table import Table

from holter.evaluate.report import Report
from holter.sim.comparison import clock


def tables(figures: Report) -> Iterator[Table | str]:
    """What to print, in order."""
    yield _records(figures)
    if figures.beats is None:
        yield "Beats: no record has any annotated."
    yield _windows(figures) if figures.windows else "Windows: no record has beats or rhythms annotated."
    yield (
        _episodes(figures)
        if figures.episodes
        else (
            "Episodes: none of VT, VF, VFL, ASYS, AFIB or SVTA of 5 s or more is annotated after the learning period."
        )
    )
    yield _alerts(figures)
    if figures.quiet:
        yield _quiet(figures)
    yield from _details(figures)


def _records(figures: Report) -> Table:
    table = Table(title="Records: beats at 150 ms; windows at the threshold of 95 % VEB sensitivity; alerts")
    for name in ("record", "lead"):
        table.add_column(name, no_wrap=True)
    for name in (
        *("beats", "Se", "PPV", "V", "V Se", "V PPV", "V FPR"),
        *("windows", "good", "V/E", "missed", "false", "AUROC"),
        *("true", "false", "high", "unjudged", "technical"),
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for record in figures.records:
        c, w, a = record.counts, record.windows, record.alerts
        rates = list(record.rates.values()) if record.rates else [None] * 5
        table.add_row(
            record.record,
            record.lead,
            _n(c.tp + c.fn if c else None),
            *(_p(r) for r in rates[:2]),
            _n(c.v_tp + c.v_fn if c else None),
            *(_p(r) for r in rates[2:]),
            _n(w.windows if w else None),
            _p(w.good / w.windows if w and w.windows else None, 0),
            _n(w.positive if w else None),
            _n(w.missed if w else None),
            _n(w.false if w else None),
            _f(w.auroc if w else None),
            *(_n(n) for n in (a.true, a.false, a.false_high, a.unjudged, a.technical)),
        )
    if figures.beats is not None:
        c = figures.beats.counts
        for title, found in (("gross", figures.beats.gross), ("average", figures.beats.average)):
            values = [_p(v) for v in found.values()]
            n, v = (c.tp + c.fn, c.v_tp + c.v_fn) if title == "gross" else (None, None)
            table.add_row(title, "", _n(n), *values[:2], _n(v), *values[2:], style="bold")
    return table


def _windows(figures: Report) -> Table:
    table = Table(title="Windows of 10 s, every 5 s")
    for name in ("subset", "holds", "score"):
        table.add_column(name)
    for name in ("windows", "positive", "AUROC", "average precision", "FPR at 90 % Se", "FPR at 95 % Se"):
        table.add_column(name, justify="right")
    before: tuple[str, str] | None = None
    for r in figures.windows:
        if before is not None and before[0] != r.subset:
            table.add_section()
        new = before != (r.subset, r.target)
        before = (r.subset, r.target)
        table.add_row(
            r.subset if new else "",
            r.target if new else "",
            r.score,
            *(_n(n) if new else "" for n in (r.windows, r.positive)),
            *(_f(x) for x in (r.auroc, r.average_precision, r.fpr_90, r.fpr_95)),
        )
    return table


def _episodes(figures: Report) -> Table:
    table = Table(title="Episodes of 5 s or more: an alert of fitting kind raised, or updated with a new onset")
    table.add_column("rhythm")
    for name in (
        "episodes",
        "within 10 s",
        "share",
        "95 % interval",
        "under an open one",
        "either",
        "at all",
        "median",
        "p90",
    ):
        table.add_column(name, justify="right")
    for s in figures.episodes:
        table.add_row(
            s.group,
            *(_n(n) for n in (s.episodes, s.within)),
            _p(s.within / s.episodes, 1),
            f"{_p(s.low, 1)}–{_p(s.high, 1)}",
            _n(s.under_open),
            _p((s.within + s.under_open) / s.episodes, 1),
            _n(s.at_all),
            *(f"{d:.1f} s" if d is not None else "–" for d in (s.delay_median, s.delay_p90)),
        )
    return table


def _alerts(figures: Report) -> Table:
    table = Table(title=f"Alerts in {figures.hours:.1f} patient-hours")
    for name in ("category", "priority", "kind"):
        table.add_column(name)
    for name in ("true", "false", "unjudged", "per hour", "false per day"):
        table.add_column(name, justify="right")
    for row in figures.alerts:
        table.add_row(
            row.category,
            row.priority,
            row.kind,
            *(_n(n) for n in (row.true, row.false, row.unjudged)),
            f"{row.hour:.2f}",
            f"{row.false_day:.1f}",
        )
    if not figures.alerts:
        table.add_row("none")
    return table


def _quiet(figures: Report) -> Table:
    table = Table(title="False physiological alerts, with the one-sided 95 % Poisson bound")
    table.add_column("records")
    for name in ("n", "hours", "high", "per day", "at most", "any", "per day", "at most"):
        table.add_column(name, justify="right")
    for q in figures.quiet:
        rates = ((q.high, q.high_day, q.high_day_bound), (q.any, q.any_day, q.any_day_bound))
        table.add_row(
            q.group,
            str(q.records),
            f"{q.hours:.1f}",
            *(text for n, day, bound in rates for text in (str(n), f"{day:.1f}", f"{bound:.1f}")),
        )
    return table


def _details(figures: Report) -> Iterator[Table | str]:
    """Where to look: each episode that was missed and each false alert; what was left out."""
    missed = [f for f in figures.every_episode if not f.within]
    if missed:
        table = Table(title="Episodes without a fitting alert within 10 s")
        for name in ("record", "rhythm", "from", "to", "fitting alert", "under an open one", "other alert"):
            table.add_column(name)
        for f in missed:
            late = f"{f.kind} after {f.delay:.0f} s" if f.delay is not None else "–"
            row = (f.record, f.label, clock(f.start), clock(f.end), late, "yes" if f.under_open else "no")
            table.add_row(*row, f.other or "–")
        yield table
    false = [a for a in figures.every_alert if a.verdict == "false"]
    if false:
        table = Table(title="False alerts")
        for name in ("record", "told", "until", "priority", "kind", "reason"):
            table.add_column(name)
        for a in false:
            t = a.told
            table.add_row(a.record, clock(t.start), clock(t.end), t.priority, t.kind, t.reason)
        yield table
    for record in figures.records:
        if record.missing:
            yield f"{record.record}: {record.missing}"
    for name, why in figures.failures.items():
        yield f"{name}: not read: {why}"
    model = figures.model
    yield (
        f"Model: fitted on {model['kept']} of {model['windows']} windows of the first five minutes, unlabelled; "
        f"threshold {model['threshold']:.2f}"
        if model
        else "Model: too few windows in the first five minutes to fit one; the ordered score alone was at work"
    )


def _n(value: float | None) -> str:
    return "–" if value is None else str(value)


def _p(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def _f(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
