"""A snapshot on one screen, and as JSON."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, OverflowMethod, RenderableType
from rich.table import Table
from rich.text import Text

from holter_operator.api.cohort import size_in_bytes
from holter_operator.build.config import LOG_SHARE
from holter_operator.build.meta import Object
from holter_operator.kubectl.access import Unseen
from holter_operator.kubectl.figures import Figures
from holter_operator.kubectl.findings import Finding, Level, exit_code, model_age, words
from holter_operator.kubectl.snapshot import Part, Refit, Snapshot
from holter_operator.reconcile.status import condition

_GOOD, _BAD, _UNKNOWN, _NOTE = ("✓", "green"), ("✗", "red"), ("?", "yellow"), ("·", "cyan")
_LEVELS = {Level.FAULT: _BAD, Level.UNKNOWN: _UNKNOWN, Level.NOTE: _NOTE}
_VERDICTS = {0: ("well", "green"), 1: ("not well", "red"), 2: ("cannot tell", "yellow")}
_PRIORITIES = {"high": ("***", "red"), "medium": ("**", "yellow"), "low": ("*", "blue")}


def screen(seen: Snapshot, found: tuple[Finding, ...], *, whole_lines: bool = True) -> RenderableType:
    """One screen.

    Args:
        seen: what was seen.
        found: what is to be known of it.
        whole_lines: commands are not broken into lines, so that they can be copied; a screen that is drawn over must.
    """
    parts: list[RenderableType] = [_headline(seen, found), _table(seen)]
    if isinstance(seen.alerts, tuple):
        parts += [Text("\nLast alerts", style="bold"), _alerts(seen.alerts)]
    if found:
        parts += [Text("\nTo know", style="bold"), *(_finding(each, whole_lines=whole_lines) for each in found)]
    return Group(*parts)


def overview(cohorts: Sequence[Object], now: datetime) -> RenderableType:
    """All cohorts, a line each."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("NAMESPACE", "NAME", "PHASE", "MODEL", "AGE", "WHAT"):
        table.add_column(column, overflow="fold")
    for each in cohorts:
        status, metadata = each.get("status") or {}, each["metadata"]
        phase = status.get("phase", "Unknown")
        style = {"Ready": "green", "Paused": "cyan", "Degraded": "red"}.get(phase, "yellow")
        ready, revision = condition(status, "Ready"), (status.get("model") or {}).get("revision") or 0
        age = (now - datetime.fromisoformat(metadata["creationTimestamp"])).total_seconds()
        table.add_row(
            metadata["namespace"],
            metadata["name"],
            Text(phase, style=style),
            f"r{revision}" if revision else "learning",
            words(age),
            ready.get("message", "the operator has not looked at it yet"),
        )
    return table


def document(seen: Snapshot, found: tuple[Finding, ...]) -> dict[str, Any]:
    """For programs."""
    status, code = seen.cohort.get("status") or {}, exit_code(found)
    metadata = seen.cohort["metadata"]
    return {
        "cohort": metadata["name"],
        "namespace": metadata["namespace"],
        "generation": metadata["generation"],
        "at": seen.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "verdict": _VERDICTS[code][0],
        "exitCode": code,
        "phase": status.get("phase"),
        "conditions": {
            each["type"]: {key: each[key] for key in ("status", "reason", "message")}
            for each in status.get("conditions", ())
        },
        "workloads": _seen(seen.parts, lambda parts: [_part(part) for part in parts]),
        "bucket": status.get("bucket"),
        "model": status.get("model"),
        "revisions": _seen(seen.revisions, list),
        "refit": _seen(seen.refit, lambda refit: refit and _refit(refit)),
        "figures": _seen(seen.figures, lambda figures: figures and _figures(figures)),
        "alerts": _seen(seen.alerts, lambda alerts: None if alerts is None else list(alerts)),
        "refused": _seen(seen.refused, lambda found: None if found is None else [asdict(one) for one in found]),
        "findings": [
            {"level": each.level.name.lower(), "what": each.what, "do": each.do, "runbook": each.link or None}
            for each in found
        ],
    }


def _seen(value: Any, shown: Any) -> Any:
    return {"unseen": value.why} if isinstance(value, Unseen) else shown(value)


def _part(part: Part) -> dict[str, Any]:
    numbers = part.workload
    return {
        "component": part.component,
        "kind": numbers.kind,
        "name": numbers.name,
        "ready": numbers.ready,
        "wanted": numbers.wanted,
        "available": numbers.available,
        "trouble": {"reason": part.trouble.reason, "message": part.trouble.message} if part.trouble else None,
    }


def _refit(refit: Refit) -> dict[str, Any]:
    return {"job": refit.name, "state": refit.state, "started": refit.started, "why": refit.why or None}


def _figures(now: Figures) -> dict[str, Any]:
    return {name: getattr(now, name) for name in Figures.__slots__}


def _headline(seen: Snapshot, found: tuple[Finding, ...]) -> Text:
    status = seen.cohort.get("status") or {}
    verdict, style = _VERDICTS[exit_code(found)]
    text = Text(seen.name, style="bold")
    text.append(f"  {verdict}", style=f"bold {style}")
    age = (seen.now - datetime.fromisoformat(seen.cohort["metadata"]["creationTimestamp"])).total_seconds()
    generation = seen.cohort["metadata"]["generation"]
    text.append(f"  {status.get('phase', 'not looked at yet')}, generation {generation}, {words(age)} old", style="dim")
    if description := seen.cohort["spec"].get("description"):
        text.append(f"\n{description}", style="dim")
    return text


def _table(seen: Snapshot) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for _ in range(3):
        table.add_column(overflow="fold")
    for mark, name, words_ in (*_workloads(seen), *_rest(seen)):
        table.add_row(Text(mark[0], style=mark[1]), name, words_)
    return table


def _workloads(seen: Snapshot) -> Iterable[tuple[tuple[str, str], str, str]]:
    status = seen.cohort.get("status") or {}
    now = seen.figures if isinstance(seen.figures, Figures) else None
    if isinstance(seen.parts, Unseen):
        yield _UNKNOWN, "workloads", seen.parts.why
        return
    room = size_in_bytes(seen.cohort["spec"]["ingest"]["log"]["size"]) * LOG_SHARE
    for part in seen.parts:
        said = [f"{part.workload.ready}/{part.workload.wanted} ready"]
        if part.component == "ingest":
            if now:
                said += [f"{now.samples:,.0f} samples/s", f"log {now.log_bytes / room:.1%} full"]
                said += [f"{now.refused:.1f}/s refused"] if now.refused else []
            said += [endpoint] if (endpoint := (status.get("ingest") or {}).get("endpoint")) else []
        if part.component == "inference" and now:
            said.append(f"{now.patients} patients")
            if now.delay is not None:
                said.append(f"{now.delay:.2f} s from sample to decision")
            said.append(f"{now.unowned} shards unowned" if now.unowned else "all shards owned")
        yield _GOOD if part.workload.available else _BAD, part.component, ", ".join(said)


def _rest(seen: Snapshot) -> Iterable[tuple[tuple[str, str], str, str]]:
    status, spec = seen.cohort.get("status") or {}, seen.cohort["spec"]
    bucket = condition(status, "BucketReady")
    mark = {"True": _GOOD, "False": _BAD}.get(bucket.get("status", ""), _UNKNOWN)
    name = (status.get("bucket") or {}).get("name") or "none yet"
    kept = f"{name}, kept for {spec['storage']['retention']}"
    yield mark, "bucket", kept if mark is _GOOD else bucket.get("message", name)
    model, age = status.get("model") or {}, model_age(seen)
    said = []
    if age is not None:
        said.append(f"revision {model['revision']}, fitted {words(age)} ago to {model.get('windows', 0):,} windows")
    else:
        said.append("learning: the ordered score and alarms work without")
    if isinstance(seen.refit, Refit):
        said.append(f"last refit {seen.refit.state} ({seen.refit.name})")
    if isinstance(seen.revisions, tuple) and seen.revisions:
        said.append("kept: " + " ".join(f"r{number}" for number in seen.revisions))
    yield _GOOD if age is not None else _NOTE, "model", ", ".join(said)
    sinks = [f"webhook {each['name']}" for each in spec["alerting"]["webhooks"]]
    sinks += ["Alertmanager"] if spec["alerting"].get("alertmanager") else []
    now = seen.figures if isinstance(seen.figures, Figures) else None
    failing = bool(now and now.undelivered)
    yield _BAD if failing else _GOOD if sinks else _NOTE, "told", ", ".join(sinks) or "nobody but the console"
    if now:
        raised = ", ".join(f"{number} {priority}" for priority, number in now.raised.items())
        yield _NOTE, "alerts", f"{raised} since the workers began"


def _alerts(alerts: Sequence[Object]) -> RenderableType:
    if not alerts:
        return Text("  none", style="dim")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 2))
    for each in alerts:
        mark, style = _PRIORITIES[each["priority"]]
        at = datetime.fromtimestamp(each["raised"] / 1000, UTC).strftime("%d %b %H:%M:%S")
        state = "open" if each["active"] else "over"
        if each["priority"] == "high" and each["active"]:
            state += ", acknowledged" if each["acknowledged"] else ", not acknowledged"
        table.add_row(
            Text(mark, style=style), at, each["device"], each["kind"].replace("_", " "), state, each["reason"]
        )
    return table


def _finding(found: Finding, *, whole_lines: bool) -> RenderableType:
    mark, style = _LEVELS[found.level]
    overflow: OverflowMethod = "ignore" if whole_lines else "fold"
    lines = [
        Text(f"{mark} {found.what}", style=style),
        Text(f"  next: {found.do}", no_wrap=whole_lines, overflow=overflow),
    ]
    if found.link:
        lines.append(Text(f"  more: {found.link}", style="dim", no_wrap=whole_lines, overflow=overflow))
    return Group(*lines)
