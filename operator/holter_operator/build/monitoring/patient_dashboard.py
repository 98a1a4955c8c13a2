"""The dashboard of a cohort's patients, read from its bucket: strips, scores, features, alerts.

Strips are drawn sample by sample (20 s each); all else is aggregated to what a graph can show.
"""

import json

from holter_operator.api.cohort import Cohort
from holter_operator.build import names
from holter_operator.build.monitoring.grafana import (
    INFLUXDB,
    PRIORITY_COLOURS,
    Json,
    Panel,
    Query,
    Row,
    dashboard,
    query_variable,
    source_variable,
)

_RANGE = "|> range(start: v.timeRangeStart, stop: v.timeRangeStop)"
_DEVICE = 'r.device_id == "${device}"'
_VOLTAGE = 'r._field == "voltage"'
FEATURES = ("residual_own", "width", "prematurity", "rr_change")
"""Those that people ask for first; `feature` offers all."""
STATES = ("alerted", "flagged", "revision")
"""Fields of a window that are no features: InfluxDB refuses the mean of a boolean."""


def content(cohort: Cohort) -> Json:
    """In Grafana's JSON model."""
    where, bucket = f"{cohort.namespace}/{cohort.name}", names.bucket(cohort)
    return dashboard(
        f"{where}/patient",
        f"Holter / Patient of {where}",
        (_alerts(bucket), _scores(bucket), _signal(cohort, bucket)),
        variables=_variables(bucket),
        annotations=[_annotation(bucket)],
        span="30m",
    )


def _read(bucket: str, measurement: str, *conditions: str) -> str:
    wanted = " and ".join((f'r._measurement == "{measurement}"', *conditions))
    return f"from(bucket: {json.dumps(bucket)})\n  {_RANGE}\n  |> filter(fn: (r) => {wanted})"


def _tag_values(bucket: str, tag: str, measurement: str, *conditions: str) -> str:
    wanted = " and ".join((f'r._measurement == "{measurement}"', *conditions))
    return (
        'import "influxdata/influxdb/schema"\n'
        f'schema.tagValues(bucket: {json.dumps(bucket)}, tag: "{tag}", predicate: (r) => {wanted}, '
        "start: v.timeRangeStart, stop: v.timeRangeStop)"
    )


def _variables(bucket: str) -> list[Json]:
    wanted = " and ".join(('r._measurement == "ecg_score"', *(f'r._field != "{state}"' for state in STATES)))
    fields = (
        'import "influxdata/influxdb/schema"\n'
        f"schema.fieldKeys(bucket: {json.dumps(bucket)}, predicate: (r) => {wanted}, "
        "start: v.timeRangeStart, stop: v.timeRangeStop)"
    )
    feature = query_variable("feature", "Feature", INFLUXDB, fields, multi=True)
    feature["current"] = {"text": list(FEATURES), "value": list(FEATURES)}
    return [
        source_variable("influxdb", "influxdb"),
        query_variable("device", "Device", INFLUXDB, _tag_values(bucket, "device_id", "ecg_score")),
        query_variable("alert", "Alert", INFLUXDB, _tag_values(bucket, "alert", "ecg_strip", _DEVICE)),
        feature,
    ]


def _events(bucket: str, *conditions: str) -> str:
    return (
        f"{_read(bucket, 'ecg_alert', _DEVICE, *conditions)}\n"
        '  |> pivot(rowKey: ["_time", "alert", "kind", "event"], columnKey: ["_field"], valueColumn: "_value")\n'
        "  |> group()"
    )


def _annotation(bucket: str) -> Json:
    raised = _events(bucket, 'r.event == "raised"')
    text = f'{raised}\n  |> map(fn: (r) => ({{_time: r._time, text: r.kind + ": " + r.reason, tags: r.priority}}))'
    return {
        "name": "Alerts",
        "datasource": dict(INFLUXDB),
        "enable": True,
        "iconColor": "red",
        "target": {"refId": "alerts", "query": text},
        "mappings": {
            "time": {"source": "field", "value": "_time"},
            "text": {"source": "field", "value": "text"},
            "tags": {"source": "field", "value": "tags"},
        },
    }


def _alerts(bucket: str) -> Row:
    columns = '["_time", "event", "priority", "kind", "reason", "score", "threshold", "model_revision", "alert"]'
    # The strip of an alert is 10 s before and after it: the link takes the time range there.
    link = {
        "title": "Its strip",
        "url": "/d/${__dashboard.uid}?${influxdb:queryparam}&var-device=${device}"
        "&var-alert=${__data.fields.alert}&time=${__data.fields._time.numeric}&time.window=24000",
    }
    overrides = [
        {
            "matcher": {"id": "byName", "options": "priority"},
            "properties": [
                {"id": "mappings", "value": [PRIORITY_COLOURS]},
                {"id": "custom.cellOptions", "value": {"type": "color-background"}},
            ],
        },
        {"matcher": {"id": "byName", "options": "alert"}, "properties": [{"id": "links", "value": [link]}]},
    ]
    acknowledged = (
        f"{_read(bucket, 'ecg_ack', _DEVICE)}\n"
        '  |> pivot(rowKey: ["_time", "alert"], columnKey: ["_field"], valueColumn: "_value")\n'
        '  |> group()\n  |> keep(columns: ["_time", "alert", "by", "reason"])\n'
        '  |> sort(columns: ["_time"], desc: true)\n  |> limit(n: 100)'
    )
    strip = _read(bucket, "ecg_strip", _DEVICE, 'r.alert == "${alert}"', _VOLTAGE)
    return Row(
        "Alerts",
        (
            Panel(
                "Strip of ${alert}",
                "10 s before and after the alert, in mV. Choose an alert below: its id leads to its strip.",
                "mvolt",
                (Query(f'{strip}\n  |> keep(columns: ["_time", "_value"])\n  |> limit(n: 20000)'),),
                width=24,
                height=9,
                source=INFLUXDB,
                options={"fieldConfig": {"defaults": {"custom": {"lineWidth": 1, "showPoints": "never"}}}},
            ),
            Panel(
                "Alerts",
                "Each event in an alert's life: raised, updated, cleared. Times are when it was decided.",
                "short",
                (
                    Query(
                        f"{_events(bucket)}\n  |> keep(columns: {columns})\n"
                        '  |> sort(columns: ["_time"], desc: true)\n  |> limit(n: 200)'
                    ),
                ),
                "table",
                width=16,
                source=INFLUXDB,
                options={"fieldConfig": {"overrides": overrides}},
            ),
            Panel(
                "Acknowledged",
                "By whom, and why.",
                "short",
                (Query(acknowledged),),
                "table",
                source=INFLUXDB,
            ),
        ),
    )


def _scores(bucket: str) -> Row:
    def graph(fields: str, function: str) -> str:
        return (
            f"{_read(bucket, 'ecg_score', _DEVICE, fields)}\n"
            f"  |> aggregateWindow(every: v.windowPeriod, fn: {function}, createEmpty: false)\n"
            '  |> keep(columns: ["_time", "_value", "_field"])'
        )

    scores = 'contains(value: r._field, set: ["ordered", "forest", "score"])'
    return Row(
        "Scores",
        (
            Panel(
                "Score",
                "Of each window: ordered (rules against the patient's own normal beats), forest, and both fused. "
                "The greatest of what a point stands for.",
                "short",
                (Query(graph(scores, "max")),),
                width=12,
                source=INFLUXDB,
            ),
            Panel(
                "Features",
                "What the score is made of; choose others above.",
                "short",
                (Query(graph("contains(value: r._field, set: ${feature:json})", "mean")),),
                width=12,
                source=INFLUXDB,
            ),
        ),
    )


def _signal(cohort: Cohort, bucket: str) -> Row:
    quality = (
        _read(bucket, "ecg_score", _DEVICE, 'r._field == "quality"') + "\n"
        "  |> aggregateWindow(every: v.windowPeriod, fn: min, createEmpty: false)\n"
        '  |> keep(columns: ["_time", "_value", "_field"])'
    )
    chunks = cohort.spec.storage.layout == "Chunks"
    counted = 'r._field == "n"' if chunks else _VOLTAGE
    stored = (
        f"{_read(bucket, 'ecg_chunk' if chunks else 'ecg_signal', _DEVICE, counted)}\n"
        f"  |> aggregateWindow(every: 10s, fn: {'sum' if chunks else 'count'}, createEmpty: true)\n"
        "  |> map(fn: (r) => ({r with _value: float(v: if exists r._value then r._value else 0) / 10.0}))\n"
        '  |> keep(columns: ["_time", "_value"])'
    )
    voltage = (
        _read(bucket, "ecg_signal", _DEVICE, _VOLTAGE) + "\n"
        "  |> aggregateWindow(every: v.windowPeriod, fn: max, createEmpty: false)\n"
        '  |> keep(columns: ["_time", "_value"])'
    )
    panels = [
        Panel(
            "Quality",
            "1 is a clean signal; the least of what a point stands for. Poor windows are not judged.",
            "percentunit",
            (Query(quality),),
            width=12,
            source=INFLUXDB,
        ),
        Panel(
            "Samples stored",
            "Per second; below the device's rate some are missing.",
            "cps",
            (Query(stored),),
            width=12,
            source=INFLUXDB,
        ),
    ]
    if not chunks:
        panels.append(
            Panel(
                "Voltage",
                "The highest of what a point stands for, in mV; every sample from about 8 s downwards.",
                "mvolt",
                (Query(voltage),),
                width=24,
                source=INFLUXDB,
            )
        )
    return Row("Signal", tuple(panels))
