"""Every query of every dashboard on a running ward: a panel without data is a failing test."""

import math
import re
import time

import pytest
from tests.rules.given import cohort
from tests.rules.influxdb import NEEDED, InfluxDB, as_grafana_does
from tests.rules.prometheus import Prometheus
from tests.rules.ward import Ward

from holter_operator.build.monitoring import cohort_dashboard, cohort_rules, patient_dashboard
from holter_operator.build.monitoring.patient_dashboard import FEATURES
from holter_operator.build.monitoring.rule import group

pytestmark = pytest.mark.timeout(600)
SICK = "bed05-vt"


@pytest.fixture(scope="module")
def influxdb():
    """The bucket that the ward writes to; None without an InfluxDB, and the ward has SQLite."""
    found = InfluxDB.given()
    if found is None:
        yield None
        return
    with found.bucket() as found.name:
        yield found


@pytest.fixture(scope="module")
def ward(tmp_path_factory, influxdb):
    folder = tmp_path_factory.mktemp("ward")
    made = Ward(folder, (influxdb.url, influxdb.org, influxdb.name, influxdb.token) if influxdb else None)
    try:
        rules = group("holter", "st-mary/ward", cohort_rules.rules(made.cohort), {"cohort": "ward"})
        made.prometheus = Prometheus(folder / "prometheus", list(made.targets()), [rules])
        try:
            made.live()
            yield made
        finally:
            made.prometheus.close()
    finally:
        made.close()


def panels(board):
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def test_every_panel_of_the_cohort_has_data(ward):
    empty = []
    for panel in panels(cohort_dashboard.content(ward.cohort)):
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "30s")
            found = ward.prometheus.range(expression, seconds=90)
            if not any(math.isfinite(value) for values in found.values() for value in values):
                empty.append((panel["title"], expression, found))
    assert not empty


def test_legends_name_labels_that_are_there(ward):
    for panel in panels(cohort_dashboard.content(ward.cohort)):
        for target in panel["targets"]:
            wanted = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            for series in ward.prometheus.range(target["expr"].replace("$__rate_interval", "30s")):
                assert all(f'"{label}"' in series for label in wanted), (panel["title"], series)


def test_prometheus_evaluates_every_rule(ward):
    """As it does in a cluster; and a ward that is well has nobody paged."""
    (found,) = ward.prometheus.get("rules")["groups"]
    assert {rule["name"] for rule in found["rules"]} == {rule.alert for rule in cohort_rules.rules(ward.cohort)}
    assert {rule["name"]: rule.get("lastError") for rule in found["rules"] if rule["health"] != "ok"} == {}
    firing = {rule["name"] for rule in found["rules"] if rule["state"] == "firing"}
    # No refit is scheduled within the test, and the operator's metrics are not scraped here.
    assert firing == set()


def test_annotations_are_valid(ward):
    for annotation in cohort_dashboard.content(ward.cohort)["annotations"]["list"]:
        ward.prometheus.range(annotation["expr"])


@pytest.fixture(scope="module")
def look(ward, influxdb):
    """Run a query with what Grafana puts in; the choices are those that the dashboard's own variables offer."""
    if influxdb is None:
        pytest.skip(f"{', '.join(NEEDED)}: not all set; an InfluxDB 2 is needed")
    board = patient_dashboard.content(ward.cohort)
    variables = {each["name"]: each["query"] for each in board["templating"]["list"] if each["type"] == "query"}
    chosen = {"device": SICK, "feature": list(FEATURES)}

    def run(query):
        now = time.time()
        return influxdb.flux(as_grafana_does(query, chosen, now - 900, now))

    assert SICK in {row["_value"] for row in run(variables["device"])}
    offered = {row["_value"] for row in run(variables["feature"])}
    assert set(FEATURES) <= offered
    chosen["feature"] = sorted(offered)
    until = time.monotonic() + 60  # a strip is there 10 s after its alert
    while not (strips := run(variables["alert"])):
        assert time.monotonic() < until, "no alert with a strip"
        time.sleep(1)
    chosen["alert"] = strips[0]["_value"]
    ward.acknowledge(chosen["alert"])
    time.sleep(1)
    return run


def test_every_panel_of_a_patient_has_data(ward, look):
    empty = []
    for panel in panels(patient_dashboard.content(ward.cohort)):
        for target in panel["targets"]:
            rows = look(target["query"])
            columns = {column for row in rows for column, value in row.items() if value}
            if not rows or not {"_time"} <= columns:
                empty.append((panel["title"], target["query"], rows[:2]))
    assert not empty


def test_the_strip_is_whole(ward, look):
    (strip,) = [p for p in panels(patient_dashboard.content(ward.cohort)) if p["title"].startswith("Strip")]
    rows = look(strip["targets"][0]["query"])
    assert len(rows) >= 10 * 250
    assert max(abs(float(row["_value"])) for row in rows) < 33


def test_alerts_have_what_the_table_shows(ward, look):
    (table,) = [p for p in panels(patient_dashboard.content(ward.cohort)) if p["title"] == "Alerts"]
    rows = look(table["targets"][0]["query"])
    assert {"raised"} <= {row["event"] for row in rows}
    worst = [row for row in rows if row["priority"] == "high"]
    assert worst
    assert worst[0]["reason"]


def test_a_patients_annotations_have_time_text_and_tags(ward, look):
    (annotation,) = patient_dashboard.content(ward.cohort)["annotations"]["list"]
    rows = look(annotation["target"]["query"])
    assert rows
    assert all(row["_time"] and ": " in row["text"] and row["tags"] for row in rows)


def test_voltage_and_samples_stored(influxdb):
    if influxdb is None:
        pytest.skip(f"{', '.join(NEEDED)}: not all set; an InfluxDB 2 is needed")
    board = patient_dashboard.content(cohort({"storage": {"layout": "Samples", "bucket": influxdb.name}}))
    now = time.time()
    lines = [
        f"ecg_signal,device_id=s1,shard=1 voltage=0.{i % 9} {round((now - 60) * 1e9) + i * 4_000_000}"
        for i in range(5000)
    ]
    influxdb.call("POST", f"/api/v2/write?org={influxdb.org}&bucket={influxdb.name}", "\n".join(lines), "text/plain")
    for title in ("Voltage", "Samples stored"):
        (panel,) = [p for p in panels(board) if p["title"] == title]
        rows = influxdb.flux(as_grafana_does(panel["targets"][0]["query"], {"device": "s1"}, now - 120, now))
        assert rows, title
        assert max(float(row["_value"]) for row in rows) == pytest.approx(0.8 if title == "Voltage" else 250, rel=0.1)
