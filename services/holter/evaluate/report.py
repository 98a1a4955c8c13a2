"""The figures of a run, put together; `as_json` is what `--json` writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from holter.alert import Category, Priority
from holter.evaluate import alerts as alerting
from holter.evaluate import beats as comparing
from holter.evaluate import episodes as finding
from holter.evaluate import windows as ranking
from holter.evaluate.alerts import Judged, Quiet
from holter.evaluate.beats import Counts
from holter.evaluate.noise import noisy
from holter.evaluate.playing import Outcome
from holter.evaluate.running import Run
from holter.evaluate.windows import Ranking, RecordWindows


@dataclass(frozen=True, slots=True)
class Alerts:
    """Of one record, how many."""

    true: int
    false: int
    false_high: int
    unjudged: int
    technical: int


@dataclass(frozen=True, slots=True)
class RecordReport:
    """One record's figures; None for what its annotations do not say."""

    record: str
    lead: str
    fs: float
    seconds: float
    missing: str
    counts: Counts | None
    rates: dict[str, float | None] | None
    windows: RecordWindows | None
    alerts: Alerts


@dataclass(frozen=True, slots=True)
class Beats:
    """Gross (all beats of all records) and average (over records) figures."""

    counts: Counts
    gross: dict[str, float | None]
    average: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Report:
    """All of it.

    Attributes:
        options: how the run was made.
        hours: patient-hours that were scored.
        model: the fit's numbers; None where there was too little to fit on.
        records: one by one.
        beats: None where no record has any annotated.
        windows: rankings.
        episodes: by group.
        every_episode: one by one.
        alerts: by kind and priority.
        quiet: false alerts by group of records.
        every_alert: one by one.
        failures: records that could not be read, and why.
    """

    options: Mapping[str, object]
    hours: float
    model: Mapping[str, object] | None
    records: tuple[RecordReport, ...]
    beats: Beats | None
    windows: tuple[Ranking, ...]
    episodes: tuple[finding.Summary, ...]
    every_episode: tuple[finding.Found, ...]
    alerts: tuple[alerting.Row, ...]
    quiet: tuple[Quiet, ...]
    every_alert: tuple[Judged, ...]
    failures: Mapping[str, str]


def report(run: Run, options: Mapping[str, object], *, noise: bool) -> Report:
    """Score a run.

    Args:
        run: of at least one record.
        options: to be repeated in the report.
        noise: whether noise was added.
    """
    spans = [noisy(outcome.seconds) if noise else () for outcome in run.outcomes]
    model = run.trained.model if run.trained else None
    scored = ranking.collect(run.outcomes, spans)
    by_record = ranking.by_record(scored)
    judged = [alerting.judged(o, s) for o, s in zip(run.outcomes, spans, strict=True)]
    everything = [alert for found in judged for alert in found]
    counts = [comparing.compare(outcome) for outcome in run.outcomes]
    compared = [c for c in counts if c is not None]
    found = [
        f for outcome, noise_spans in zip(run.outcomes, spans, strict=True) for f in finding.find(outcome, noise_spans)
    ]
    hours = sum(outcome.hours for outcome in run.outcomes)
    return Report(
        options=options,
        hours=hours,
        model={**run.trained.numbers, "threshold": model.threshold} if run.trained and model else None,
        records=tuple(
            _record(o, c, by_record.get(o.name), a) for o, c, a in zip(run.outcomes, counts, judged, strict=True)
        ),
        beats=_beats(compared) if compared else None,
        windows=tuple(ranking.rank(scored, model=model is not None)),
        episodes=tuple(finding.summarise(found)),
        every_episode=tuple(found),
        alerts=tuple(alerting.table(everything, hours)) if hours else (),
        quiet=tuple(alerting.quiet(run.outcomes, everything)),
        every_alert=tuple(everything),
        failures=run.failures,
    )


def as_json(figures: Report) -> bytes:
    """For machines; what is not defined is null."""
    return orjson.dumps(figures, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY) + b"\n"


def _beats(compared: Sequence[Counts]) -> Beats:
    total = comparing.gross(compared)
    return Beats(total, total.rates, comparing.average(compared))


def _record(
    outcome: Outcome, counts: Counts | None, windows: RecordWindows | None, judged: Sequence[Judged]
) -> RecordReport:
    lacks = {"beats": outcome.reference.has_beats, "rhythms": outcome.reference.has_rhythms}
    missing = [name for name, there in lacks.items() if not there]
    too_short = ["too short: nothing after the learning period"] if not outcome.hours else []
    false = [a for a in judged if a.verdict == "false"]
    return RecordReport(
        record=outcome.name,
        lead=outcome.lead,
        fs=outcome.fs,
        seconds=outcome.seconds,
        missing=", ".join([*(f"no {name} annotated" for name in missing), *too_short]),
        counts=counts,
        rates=counts.rates if counts else None,
        windows=windows,
        alerts=Alerts(
            true=sum(a.verdict == "true" and a.told.category is Category.PHYSIOLOGICAL for a in judged),
            false=len(false),
            false_high=sum(a.told.priority is Priority.HIGH for a in false),
            unjudged=sum(a.verdict == "unjudged" and a.told.category is Category.PHYSIOLOGICAL for a in judged),
            technical=sum(a.told.category is Category.TECHNICAL for a in judged),
        ),
    )
