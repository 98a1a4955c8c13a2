"""prometheus-operator's kinds: not there, installed while the operator runs, and gone again."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from kubernetes.dynamic.exceptions import ResourceNotFoundError
from ruamel.yaml import YAML
from tests.operating import wait

pytestmark = pytest.mark.timeout(240)
CHART = Path(__file__).parents[2] / "charts" / "holter"
MONITOR, RULE = "monitoring.coreos.com/v1/PodMonitor", "monitoring.coreos.com/v1/PrometheusRule"


def there(cluster, kind, ns, name):
    cluster.dynamic.resources.invalidate_cache()
    try:
        return cluster.get(kind, ns, name)
    except ResourceNotFoundError:  # the kind is not served yet
        return None


def healthy(operator):
    try:
        return operator.get("/healthz") == "ok"
    except OSError:  # between two rounds
        return False


def test_what_the_chart_watches_the_operator_with_is_taken(cluster, prometheus_kinds):
    if not shutil.which("helm"):
        pytest.skip("helm is not on PATH")
    prometheus_kinds.install()
    on = {"enabled": True, "labels": {"release": "prometheus"}}
    command = ["helm", "template", "holter", CHART, "-n", "default", "--kube-version=1.35.0", "-f-"]
    values = json.dumps({"monitoring": {"serviceMonitor": on, "rules": on}})
    text = subprocess.run(command, input=values, capture_output=True, text=True, check=True).stdout
    found = [d for d in YAML(typ="safe").load_all(text) if d and d["apiVersion"] == "monitoring.coreos.com/v1"]
    assert {each["kind"] for each in found} == {"ServiceMonitor", "PrometheusRule"}
    cluster.dynamic.resources.invalidate_cache()
    for document in found:
        answer = cluster.dynamic.server_side_apply(
            cluster.kind(f"{document['apiVersion']}/{document['kind']}"),
            body=document,
            namespace="default",
            field_manager="test",
            dry_run="All",
            query_params=[("fieldValidation", "Strict")],
        )
        assert answer.metadata.labels["release"] == "prometheus"


def test_kinds_come_and_go(cluster, ns, operator, prometheus_kinds):
    operator.start()
    cluster.cohort(ns)
    wait(lambda: cluster.run_pods(ns), 40, "Ready without the kinds")
    prometheus_kinds.install()
    monitor = wait(lambda: there(cluster, MONITOR, ns, "ward"), 60, "the PodMonitor")
    assert monitor["metadata"]["labels"]["holter.dev/cohort"] == "ward"
    wait(lambda: there(cluster, RULE, ns, "ward"), 10, "the PrometheusRule")
    operator.stop()
    operator.start()
    wait(lambda: operator.metric("holter_operator_reconcile_total") >= 1)
    assert operator.metric("holter_operator_writes_total") == 0
    cluster.delete(MONITOR, ns, "ward")
    wait(lambda: there(cluster, MONITOR, ns, "ward"), 10, "repaired")
    cluster.spec(ns, monitoring={"podMonitor": False})
    wait(lambda: there(cluster, MONITOR, ns, "ward") is None, 10, "turned off")
    rule = there(cluster, RULE, ns, "ward")
    held = rule | {"metadata": {"name": "held", "namespace": ns, "finalizers": ["example.org/held"]}}
    cluster.dynamic.server_side_apply(cluster.kind(RULE), body=held, namespace=ns, field_manager="test")
    prometheus_kinds.remove()
    wait(lambda: there(cluster, RULE, ns, "ward") is None, 10, "removed with its kind, which a finalizer holds")
    cluster.spec(ns, description="a kind is on its way out")
    wait(lambda: cluster.status(ns)["observedGeneration"] == 3, 20)
    assert cluster.status(ns)["phase"] == "Ready"
    prometheus_kinds.release()
    wait(lambda: not prometheus_kinds.there(), 20, "the kinds are gone")
    cluster.spec(ns, description="still at work")
    wait(lambda: cluster.status(ns)["observedGeneration"] == 4, 20)
    assert cluster.status(ns)["phase"] == "Ready"
    wait(lambda: healthy(operator), 20, "it has begun anew")
    assert operator.process.poll() is None
