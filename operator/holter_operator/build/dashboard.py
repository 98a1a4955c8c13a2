"""The Grafana dashboard of a cohort, in a ConfigMap that Grafana's sidecar finds by its label."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from holter_operator.api.cohort import Cohort
from holter_operator.build.given import Given
from holter_operator.build.meta import Object, child

SIDECAR_LABEL = {"grafana_dashboard": "1"}
_COLUMNS, _WIDTH, _HEIGHT = 3, 8, 8
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Panel:
    """A graph: a title, Grafana's unit, and PromQL by legend; `SERIES` stands for the cohort's matchers."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]


def _p99(metric: str, *by: str) -> str:
    labels = ", ".join(("le", *by))
    return f"histogram_quantile(0.99, sum by ({labels}) (rate({metric}_bucket{{SERIES}}[5m])))"


PANELS = (
    Panel("Patients", "short", (("patients", "sum(holter_inference_patients{SERIES})"),)),
    Panel(
        "Alerts per hour",
        "short",
        (("{{priority}} {{kind}}", "sum by (priority, kind) (increase(holter_alerts_total{SERIES}[1h])) > 0"),),
    ),
    Panel("Sample to decision, p99", "s", (("{{path}}", _p99("holter_sample_to_decision_seconds", "path")),)),
    Panel("Samples", "cps", (("accepted", "sum(rate(holter_ingest_samples_total{SERIES}[5m]))"),)),
    Panel(
        "Requests",
        "reqps",
        (
            (
                "{{transport}} {{code}}",
                "sum by (transport, code) (rate(holter_ingest_requests_total{SERIES}[5m])) > 0",
            ),
        ),
    ),
    Panel(
        "Rejected and lost",
        "cps",
        (
            ("rejected: {{reason}}", "sum by (reason) (rate(holter_ingest_rejected_total{SERIES}[5m])) > 0"),
            ("gap: {{reason}}", "sum by (reason) (rate(holter_gap_samples_total{SERIES}[5m])) > 0"),
        ),
    ),
    Panel("Write-ahead log", "bytes", (("{{pod}}", "max by (pod) (holter_ingest_wal_bytes{SERIES})"),)),
    Panel(
        "Store",
        "s",
        (("write, p99", _p99("holter_store_write_seconds")),),
    ),
    Panel("Store errors", "cps", (("errors", "sum(rate(holter_store_errors_total{SERIES}[5m]))"),)),
    Panel("Inference cycle, p99", "s", (("{{stage}}", _p99("holter_inference_cycle_seconds", "stage")),)),
    Panel(
        "Alert delivery",
        "short",
        (
            ("p99 of {{sink}}, s", _p99("holter_alert_delivery_seconds", "sink")),
            (
                "failures of {{sink}}, 1/s",
                "sum by (sink) (rate(holter_alert_delivery_failures_total{SERIES}[5m]))",
            ),
        ),
    ),
    Panel(
        "Model",
        "short",
        (
            ("revision", "max(holter_model_revision{SERIES})"),
            ("age, h", "max(holter_model_age_seconds{SERIES}) / 3600"),
        ),
    ),
)


def dashboard(cohort: Cohort, given: Given) -> Object | None:
    """The ConfigMap."""
    if not cohort.spec.monitoring.dashboards:
        return None
    labels = {**cohort.spec.monitoring.labels, **SIDECAR_LABEL}
    built = child("v1", "ConfigMap", f"{cohort.name}-dashboard", cohort, given, extra_labels=labels)
    # The sidecar puts the dashboards of all namespaces into one folder.
    file = f"holter.{cohort.namespace}.{cohort.name}.json"
    built["data"] = {file: json.dumps(content(cohort), indent=1) + "\n"}
    return built


def content(cohort: Cohort) -> dict[str, Any]:
    """The dashboard, as Grafana reads it."""
    where = f"{cohort.namespace}/{cohort.name}"
    matchers = f'namespace="{cohort.namespace}",cohort="{cohort.name}"'
    return {
        "uid": f"holter-{hashlib.sha256(where.encode()).hexdigest()[:16]}",
        "title": f"Holter: {where}",
        "tags": ["holter"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]},
        "panels": [_panel(number, panel, matchers) for number, panel in enumerate(PANELS)],
    }


def _panel(number: int, panel: Panel, matchers: str) -> dict[str, Any]:
    row, column = divmod(number, _COLUMNS)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _SOURCE,
                "legendFormat": legend,
                "expr": query.replace("SERIES", matchers),
            }
            for index, (legend, query) in enumerate(panel.queries)
        ],
    }
