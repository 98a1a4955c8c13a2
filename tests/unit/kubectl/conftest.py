"""A cohort that is well, as the cluster would show it."""

from datetime import UTC, datetime

import pytest

from holter_operator.api.schema import check
from holter_operator.kubectl.figures import figures
from holter_operator.kubectl.snapshot import Operators, Part, Snapshot
from holter_operator.reconcile.diagnosis import Workload

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def cohort(spec=None, status=None, **metadata):
    defaulted, faults = check(
        {
            "apiVersion": "holter.dev/v1alpha1",
            "kind": "MonitoredCohort",
            "metadata": {"name": "ward", "namespace": "st-mary"},
            "spec": spec or {},
        }
    )
    assert not faults
    defaulted["metadata"] |= {"generation": 1, "creationTimestamp": "2026-02-01T12:00:00Z", "uid": "u"} | metadata
    well = {
        "observedGeneration": 1,
        "phase": "Ready",
        "conditions": [
            {"type": kind, "status": value, "reason": "AsExpected", "message": "all is well"}
            for kind, value in (("Ready", "True"), ("Degraded", "False"), ("BucketReady", "True"), ("Paused", "False"))
        ],
        "bucket": {"name": "st-mary.ward"},
        "model": {"revision": 3, "trainedAt": "2026-03-01T10:00:00Z", "windows": 900},
        "ingest": {"endpoint": "ward-ingest.st-mary.svc:8080"},
    }
    return {**defaulted, "status": well | (status or {})}


def told(kind, value, reason, message):
    """Conditions: this one, and Ready unless it is this one."""
    ready = {"type": "Ready", "status": "True", "reason": "Available", "message": "pods are there"}
    said = {"type": kind, "status": value, "reason": reason, "message": message}
    return {"conditions": [said] if kind == "Ready" else [ready, said]}


METRICS = {
    "ward-ingest-0": """
holter_ingest_requests_total{cohort="ward",transport="http",code="202"} %(good)s
holter_ingest_requests_total{cohort="ward",transport="http",code="503"} %(refused)s
holter_ingest_requests_total{cohort="ward",transport="http",code="401"} %(stranger)s
holter_ingest_samples_total{cohort="ward"} %(samples)s
holter_ingest_wal_bytes{cohort="ward"} %(log)s
holter_store_errors_total{cohort="ward"} %(store)s
""",
    "ward-inference-0": """
holter_inference_patients{cohort="ward"} 12.0
holter_shards_unowned{cohort="ward"} %(unowned)s
holter_inference_windows_total{cohort="ward"} 5.0
holter_sample_to_decision_seconds_sum{cohort="ward",path="life_threatening"} %(waited)s
holter_sample_to_decision_seconds_count{cohort="ward",path="life_threatening"} %(decided)s
holter_alert_delivery_failures_total{cohort="ward",sink="webhook:ward"} %(undelivered)s
holter_model_revision{cohort="ward"} 3.0
holter_alerts_total{cohort="ward",category="physiological",priority="high",kind="asystole"} 2.0
""",
}
BEFORE = dict.fromkeys(
    ("good", "refused", "stranger", "samples", "log", "store", "unowned", "waited", "decided", "undelivered"), 0
)
AFTER = BEFORE | {"good": 24, "samples": 6000, "waited": 3.6, "decided": 24}


def measured(**changes):
    def reading(values):
        return {pod: text % values for pod, text in METRICS.items()}

    return figures(reading(BEFORE), reading(AFTER | changes), 2.0)


@pytest.fixture
def snapshot():
    """One cohort, seen; keywords change what was seen."""

    def make(document=None, **changes):
        whole = document or cohort()
        parts = tuple(
            Part(name, Workload("Deployment", f"ward-{name}", wanted=2, replicas=2, updated=2, ready=2, observed=True))
            for name in ("ingest", "inference", "console")
        )
        seen = {
            "now": NOW,
            "cohort": whole,
            "parts": parts,
            "refit": None,
            "revisions": (2, 3),
            "warnings": (),
            "operator": Operators(1, 1),
            "figures": measured(),
            "alerts": (),
        }
        return Snapshot(**seen | changes)

    return make
