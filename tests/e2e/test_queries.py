"""Every query of the dashboards, as they are in the cluster, on what the steps before have left: no panel is empty."""

import base64
import json
import math
import time

import pytest
from scripts.cluster import eventually
from tests.e2e.steps import SYSTEM, WARD
from tests.rules.influxdb import as_grafana_does

from holter_operator.build.monitoring import operator_dashboard

pytestmark = pytest.mark.timeout(420)
SPAN = 2400
"""Seconds back to before the first step."""
DEVICE = "vf-426"


def queries(board, key):
    return [(p["title"], target[key]) for p in board["panels"] for target in p.get("targets", ())]


@pytest.fixture(scope="module")
def board(kubectl):
    """A dashboard as the operator has put it into the cohort's ConfigMap."""
    data = kubectl.get("configmap", "ward-dashboard", namespace=WARD)["data"]
    return lambda kind: json.loads(data[f"holter.{WARD}.ward{kind}.json"])


@pytest.mark.parametrize("which", ["cohort", "operator"])
def test_every_panel_of_prometheus_has_data(prometheus, board, which):
    found = board("") if which == "cohort" else operator_dashboard.content()
    empty = []
    for title, text in queries(found, "expr"):
        for name, value in (("$__rate_interval", "1m"), ("$namespace", SYSTEM), ("$service", "holter-operator")):
            text = text.replace(name, value)
        if not any(map(math.isfinite, prometheus.range(text, SPAN))):
            empty.append((title, text))
    assert empty == []


def test_every_panel_of_influxdb_has_data(kubectl, toolbox, board):
    patient, chosen = board(".patient"), {"device": DEVICE}
    variables = {each["name"]: each["query"] for each in patient["templating"]["list"] if each["type"] == "query"}

    def run(query):
        now = time.time()
        return toolbox("flux", "/influxdb", as_grafana_does(query, chosen, now - SPAN, now))

    assert DEVICE in {row["_value"] for row in run(variables["device"])}
    chosen["feature"] = sorted(row["_value"] for row in run(variables["feature"]))
    chosen["alert"] = run(variables["alert"])[0]["_value"]
    token = base64.b64decode(kubectl.get("secret", "ward-console", namespace=WARD)["data"]["acknowledge"]).decode()
    url = f"http://ward-console.{WARD}.svc:8088/api/alerts/{chosen['alert']}/acknowledgement"
    assert toolbox("acknowledge", url, token) == 201

    asked = queries(patient, "query")
    (acknowledged,) = [text for title, text in asked if title == "Acknowledged"]
    eventually("the acknowledgement", lambda: run(acknowledged), seconds=20)
    assert [(title, text) for title, text in asked if not run(text)] == []
    (annotation,) = patient["annotations"]["list"]
    assert run(annotation["target"]["query"])
