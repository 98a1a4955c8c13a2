"""Dashboards in Grafana's JSON model: panels in rows, queries of Prometheus or InfluxDB (Flux)."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]

PROMETHEUS: Json = {"type": "prometheus", "uid": "${datasource}"}
INFLUXDB: Json = {"type": "influxdb", "uid": "${influxdb}"}
_COLUMNS = 24
_RED, _YELLOW, _GREEN = "red", "yellow", "green"


@dataclass(frozen=True, slots=True)
class Query:
    """What a panel asks.

    Attributes:
        text: PromQL, or Flux in a panel of InfluxDB.
        legend: Grafana's template, for PromQL.
    """

    text: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        title: what is shown.
        about: what it means, and what is a bad sign.
        unit: Grafana's.
        queries: at least one.
        kind: Grafana's panel.
        width: of 24 columns.
        height: grid rows.
        source: what is asked.
        bad: for `stat`: from which value on it is red.
        options: further fields of the panel.
    """

    title: str
    about: str
    unit: str
    queries: tuple[Query, ...]
    kind: Literal["timeseries", "stat", "table"] = "timeseries"
    width: int = 8
    height: int = 8
    source: Mapping[str, Any] = field(default_factory=lambda: PROMETHEUS)
    bad: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


def dashboard(
    identity: str,
    title: str,
    rows: Sequence[Row],
    *,
    variables: Sequence[Json],
    annotations: Sequence[Json] = (),
    span: str = "1h",
) -> Json:
    """A dashboard.

    Args:
        identity: what its uid is made of: the same for the same thing, whatever the title.
        title: as people see it.
        rows: from the top.
        variables: Grafana's `templating`.
        annotations: drawn over all graphs.
        span: how much is shown at first.
    """
    panels: list[Json] = []
    y = 0
    for row in rows:
        panels.append(_heading(len(panels) + 1, row.title, y))
        y += 1
        x = tallest = 0
        for panel in row.panels:
            if x + panel.width > _COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            panels.append(_panel(len(panels) + 1, panel, x, y))
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    return {
        "uid": f"holter-{hashlib.sha256(identity.encode()).hexdigest()[:16]}",
        "title": title,
        "tags": ["holter"],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "10s",
        "timezone": "browser",
        "time": {"from": f"now-{span}", "to": "now"},
        "templating": {"list": list(variables)},
        "annotations": {"list": list(annotations)},
        "links": [
            {"type": "dashboards", "title": "Holter", "tags": ["holter"], "asDropdown": True, "includeVars": True}
        ],
        "panels": panels,
    }


def source_variable(name: str, kind: str) -> Json:
    """Which data source of a kind."""
    return {"name": name, "type": "datasource", "query": kind, "label": name.capitalize()}


def query_variable(name: str, label: str, source: Mapping[str, Any], query: str, **more: Any) -> Json:
    """A choice that a query gives."""
    asked: Any = query if source is INFLUXDB else {"query": query, "refId": name}
    return {
        "name": name,
        "type": "query",
        "label": label,
        "datasource": dict(source),
        "query": asked,
        "refresh": 2,  # with the time range
        "sort": 1,
        **more,
    }


def _heading(number: int, title: str, y: int) -> Json:
    return {
        "id": number,
        "type": "row",
        "title": title,
        "collapsed": False,
        "panels": [],
        "gridPos": {"x": 0, "y": y, "w": _COLUMNS, "h": 1},
    }


def _panel(number: int, panel: Panel, x: int, y: int) -> Json:
    source = dict(panel.source)
    defaults: Json = {"unit": panel.unit}
    if panel.kind == "timeseries" and panel.source is PROMETHEUS:
        defaults["min"] = 0
    if panel.bad is not None:
        steps = [{"color": _GREEN, "value": None}, {"color": _RED, "value": panel.bad}]
        defaults |= {"thresholds": {"mode": "absolute", "steps": steps}, "color": {"mode": "thresholds"}}
    built: Json = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": source,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [_target(chr(ord("A") + n), query, panel) for n, query in enumerate(panel.queries)],
    }
    if panel.kind == "stat":
        built["options"] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "background"}
    for key, value in panel.options.items():
        built[key] = _merged(built[key], value) if isinstance(built.get(key), dict) else value
    return built


def _target(letter: str, query: Query, panel: Panel) -> Json:
    common: Json = {"refId": letter, "datasource": dict(panel.source)}
    if panel.source is INFLUXDB:
        return common | {"query": query.text}
    instant = {"instant": True, "range": False} if panel.kind == "table" else {}
    return common | {"expr": query.text, "legendFormat": query.legend} | instant


def _merged(target: Json, more: Mapping[str, Any]) -> Json:
    both = {key: _merged(target[key], value) for key, value in more.items() if isinstance(target.get(key), dict)}
    return {**target, **more, **both}


PRIORITY_COLOURS: Json = {
    "type": "value",
    "options": {
        "high": {"text": "*** high", "color": _RED},
        "medium": {"text": "** medium", "color": _YELLOW},
        "low": {"text": "* low", "color": "blue"},
    },
}
"""Symbol, word and colour, as the console has them."""
