"""PodMonitor, rules and dashboard: there when asked for and known, with metrics that exist (design, section 7)."""

import json
import re
from dataclasses import replace

import pytest

from holter_operator.build.dashboard import dashboard
from holter_operator.build.given import POD_MONITOR, PROMETHEUS_RULE
from holter_operator.build.podmonitor import pod_monitor
from holter_operator.build.prometheusrule import prometheus_rule

HISTOGRAMS = {
    "holter_ingest_request_seconds",
    "holter_store_write_seconds",
    "holter_inference_cycle_seconds",
    "holter_sample_to_decision_seconds",
    "holter_alert_delivery_seconds",
}
METRICS = {
    "up": {"namespace", "app_kubernetes_io_instance", "app_kubernetes_io_component"},
    "holter_ingest_requests_total": {"transport", "code"},
    "holter_ingest_samples_total": set(),
    "holter_ingest_wal_bytes": {"pod"},
    "holter_ingest_rejected_total": {"reason"},
    "holter_gap_samples_total": {"reason"},
    "holter_store_errors_total": set(),
    "holter_inference_patients": set(),
    "holter_shards_unowned": set(),
    "holter_alerts_total": {"category", "priority", "kind"},
    "holter_alert_delivery_failures_total": {"sink"},
    "holter_model_revision": set(),
    "holter_model_age_seconds": set(),
} | {f"{name}_bucket": {"le", "stage", "path", "sink"} for name in HISTOGRAMS}


def expressions(make, full):
    cohort = make("everything", refit={"suspend": False}, model={"pinnedRevision": None})
    for rule in prometheus_rule(cohort, full)["spec"]["groups"][0]["rules"]:
        yield rule["expr"]
    (text,) = dashboard(cohort, full)["data"].values()
    for panel in json.loads(text)["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


def test_expressions_ask_for_metrics_that_exist_of_this_cohort_alone(make, full):
    asked = set()
    for expression in expressions(make, full):
        series = re.findall(r"\b(up|holter_\w+)(\{[^}]*\})?", expression)
        assert series, expression
        for name, matchers in series:
            assert name in METRICS, name
            assert 'namespace="st-mary"' in matchers
            assert '"cardiology-ward"' in matchers
            labels = set(re.findall(r"(\w+)=~?\"", matchers)) - {"namespace", "cohort"}
            assert labels <= METRICS[name], (name, labels)
            asked.add(name)
        assert "SERIES" not in expression
        assert expression.count("(") == expression.count(")")
    assert asked >= {"holter_store_errors_total", "holter_model_revision", "holter_alert_delivery_failures_total", "up"}


def test_rules_say_what_is_wrong_and_what_to_do(make, full):
    (group,) = prometheus_rule(make(), full)["spec"]["groups"]
    names = [rule["alert"] for rule in group["rules"]]
    assert len(names) == len(set(names))
    assert {"HolterIngestDown", "HolterStoreErrors", "HolterNoModel", "HolterAlertsUndelivered"} <= set(names)
    for rule in group["rules"]:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"].startswith("st-mary/ward: ")
        assert rule["annotations"]["description"]


@pytest.mark.parametrize("held", [{"refit": {"suspend": True}}, {"model": {"pinnedRevision": 3}}])
def test_nobody_is_paged_for_an_old_model_that_is_held(make, full, held):
    (group,) = prometheus_rule(make(**held), full)["spec"]["groups"]
    assert {"HolterNoModel", "HolterModelOld"}.isdisjoint(rule["alert"] for rule in group["rules"])


def test_kinds_that_the_server_does_not_know_are_not_built(make, full):
    cohort = make("everything")
    assert pod_monitor(cohort, replace(full, kinds=frozenset({PROMETHEUS_RULE}))) is None
    assert prometheus_rule(cohort, replace(full, kinds=frozenset({POD_MONITOR}))) is None


def test_what_is_turned_off_is_not_built(make, full):
    cohort = make("persistent")
    assert [built(cohort, full) for built in (pod_monitor, prometheus_rule, dashboard)] == [None, None, None]


def test_labels_are_added_and_never_replace_ours(make, full):
    cohort = make(monitoring={"labels": {"release": "prometheus"}})
    for built in (pod_monitor(cohort, full), prometheus_rule(cohort, full), dashboard(cohort, full)):
        assert built["metadata"]["labels"]["release"] == "prometheus"
        assert built["metadata"]["labels"]["holter.dev/cohort"] == "ward"


def test_the_dashboard_is_found_by_grafana_and_fits_its_grid(make, full):
    built = dashboard(make(), full)
    assert built["metadata"]["labels"]["grafana_dashboard"] == "1"
    ((file, text),) = built["data"].items()
    assert file == "holter.st-mary.ward.json"
    found = json.loads(text)
    assert len(found["uid"]) <= 40
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in found["panels"]]
    assert len(places) == len(set(places))
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in found["panels"])


def test_dashboards_of_two_cohorts_do_not_replace_each_other(make, full):
    one, other = (json.loads(*dashboard(make(called=name), full)["data"].values()) for name in ("a", "b"))
    assert one["uid"] != other["uid"]
