"""PodMonitor, rules and dashboard: there when asked for and known, with metrics that exist (design, section 7)."""

import json
import re
from dataclasses import replace

import pytest
from scripts.chart_files import FOLDER, files

from holter.console.measures import Measures as ConsoleMeasures
from holter.inference.sinks.delivery import DeliveryMetrics
from holter.inference.telemetry import Telemetry
from holter.ingest.measures import Measures
from holter.metrics import Metrics
from holter.signal.features import NAMES
from holter_operator.build.dashboards import dashboards
from holter_operator.build.given import POD_MONITOR, PROMETHEUS_RULE
from holter_operator.build.monitoring.cohort_rules import longest_wait
from holter_operator.build.monitoring.patient_dashboard import FEATURES
from holter_operator.build.podmonitor import pod_monitor
from holter_operator.build.prometheusrule import prometheus_rule
from holter_operator.observe.metrics import Metrics as OperatorMetrics


def expressions(make, full):
    """Each PromQL, and whether it is a rule's."""
    cohort = make("everything", refit={"suspend": False}, model={"pinnedRevision": None})
    for rule in prometheus_rule(cohort, full)["spec"]["groups"][0]["rules"]:
        yield rule["expr"]
    for board in boards(cohort, full).values():
        for panel in board["panels"]:
            yield from (target["expr"] for target in panel.get("targets", ()) if "expr" in target)


def boards(cohort, full):
    return {name: json.loads(text) for name, text in dashboards(cohort, full)["data"].items()}


def declared():
    """The metrics of all services, by name."""
    found = set()
    for made in (Measures("c"), ConsoleMeasures("c")):
        found |= {sample.name for family in made.metrics.registry.collect() for sample in family.samples}
    metrics = Metrics("c")
    Telemetry(metrics)
    DeliveryMetrics(metrics, ["s"])
    found |= {sample.name for family in metrics.registry.collect() for sample in family.samples}
    operator = OperatorMetrics()
    operator.refitted("n", "c", {"seconds": 1, "windows": 2, "trainedAt": "2026-01-01T00:00:00Z"}, True)
    return found | {sample.name for family in operator.registry.collect() for sample in family.samples} | {"up"}


def test_expressions_ask_for_metrics_that_exist_of_this_cohort_alone(make, full):
    asked, there = set(), declared()
    for expression in expressions(make, full):
        series = re.findall(r"\b(up|holter_\w+|process_\w+)(\{[^}]*\})", expression)
        assert series, expression
        for name, matchers in series:
            assert name in there, name
            assert 'namespace="st-mary"' in matchers
            assert '"cardiology-ward"' in matchers
            asked.add(name)
    assert asked >= {"holter_store_errors_total", "holter_model_revision", "holter_alert_delivery_failures_total", "up"}


def test_rules_say_what_is_wrong_and_what_to_do(make, full):
    (group,) = prometheus_rule(make(), full)["spec"]["groups"]
    names = [rule["alert"] for rule in group["rules"]]
    assert len(names) == len(set(names))
    assert {"HolterIngestDown", "HolterStoreErrors", "HolterNoModel", "HolterConsoleDown"} <= set(names)
    for rule in group["rules"]:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"].startswith("st-mary/ward: ")
        assert rule["annotations"]["description"]


@pytest.mark.parametrize("held", [{"refit": {"suspend": True}}, {"model": {"pinnedRevision": 3}}])
def test_nobody_is_paged_for_an_old_model_that_is_held(make, full, held):
    (group,) = prometheus_rule(make(**held), full)["spec"]["groups"]
    assert {"HolterNoModel", "HolterModelOld", "HolterRefitFailing", "HolterCandidateRefused"}.isdisjoint(
        rule["alert"] for rule in group["rules"]
    )


def test_kinds_that_the_server_does_not_know_are_not_built(make, full):
    cohort = make("everything")
    assert pod_monitor(cohort, replace(full, kinds=frozenset({PROMETHEUS_RULE}))) is None
    assert prometheus_rule(cohort, replace(full, kinds=frozenset({POD_MONITOR}))) is None


def test_what_is_turned_off_is_not_built(make, full):
    cohort = make("persistent")
    assert [built(cohort, full) for built in (pod_monitor, prometheus_rule, dashboards)] == [None, None, None]


def test_labels_are_added_and_never_replace_ours(make, full):
    cohort = make(monitoring={"labels": {"release": "prometheus"}})
    for built in (pod_monitor(cohort, full), prometheus_rule(cohort, full), dashboards(cohort, full)):
        assert built["metadata"]["labels"]["release"] == "prometheus"
        assert built["metadata"]["labels"]["holter.dev/cohort"] == "ward"


def test_only_what_a_cohort_has_is_watched(make, full):
    def names(**spec):
        (group,) = prometheus_rule(make(**spec), full)["spec"]["groups"]
        return {rule["alert"] for rule in group["rules"]}

    assert "HolterConsoleDown" not in names(console={"enabled": False})
    assert "HolterAlertsUndelivered" not in names()
    assert "HolterAlertsUndelivered" in names(alerting={"alertmanager": {"url": "http://alertmanager.svc:9093"}})


@pytest.mark.parametrize(
    ("schedule", "seconds"),
    [("0 */4 * * *", 4 * 3600), ("*/10 * * * *", 600), ("0 3 * * 1-5", 72 * 3600), ("0 1,5 * * *", 20 * 3600)],
)
def test_the_longest_wait_between_refits(schedule, seconds):
    assert longest_wait(schedule) == seconds


def test_dashboards_are_found_by_grafana_and_fit_its_grid(make, full):
    built = dashboards(make(), full)
    assert built["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert set(built["data"]) == {"holter.st-mary.ward.json", "holter.st-mary.ward.patient.json"}
    for found in boards(make(), full).values():
        assert len(found["uid"]) <= 40
        taken = set()
        for panel in found["panels"]:
            at = panel["gridPos"]
            cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
            assert not cells & taken, panel["title"]
            assert max(x for x, _ in cells) < 24
            taken |= cells
            assert panel["type"] == "row" or (panel["description"] and panel["fieldConfig"]["defaults"]["unit"])
        assert len({panel["id"] for panel in found["panels"]}) == len(found["panels"])


def test_no_two_dashboards_replace_each_other(make, full):
    uids = [board["uid"] for name in ("a", "b") for board in boards(make(called=name), full).values()]
    assert len(uids) == len(set(uids)) == 4


def test_voltage_is_shown_where_it_is_kept(make, full):
    def titles(layout):
        board = boards(make(storage={"layout": layout}), full)["holter.st-mary.ward.patient.json"]
        return {panel["title"] for panel in board["panels"]}

    assert titles("Samples") - titles("Chunks") == {"Voltage"}


def test_the_features_shown_first_are_there():
    assert set(FEATURES) <= set(NAMES)


def test_the_charts_files_are_up_to_date():
    for name, content in files().items():
        assert (FOLDER / name).read_text() == content, "python -m scripts.chart_files writes them"
