"""prometheus-operator's kinds: not there, installed while the operator runs, and gone again."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from kubernetes.dynamic.exceptions import ResourceNotFoundError
from ruamel.yaml import YAML
from tests.operating import wait

pytestmark = pytest.mark.timeout(240)
CHART = Path(__file__).parents[2] / "charts" / "holter"
NAMES = ("podmonitors", "prometheusrules", "servicemonitors")
MONITOR, RULE = "monitoring.coreos.com/v1/PodMonitor", "monitoring.coreos.com/v1/PrometheusRule"
CRD = "apiextensions.k8s.io/v1/CustomResourceDefinition"


@pytest.fixture
def crds(cluster):
    """prometheus-operator's own definitions; not installed yet."""
    folder = os.environ.get("HOLTER_PROMETHEUS_CRDS")
    if not folder:
        pytest.skip("HOLTER_PROMETHEUS_CRDS is not set: prometheus-operator's folder example/prometheus-operator-crd")
    if cluster.get(CRD, None, "podmonitors.monitoring.coreos.com"):
        pytest.skip("prometheus-operator's kinds are installed here already: installing them cannot be tried")
    found = [YAML(typ="safe").load(Path(folder) / f"monitoring.coreos.com_{name}.yaml") for name in NAMES]
    yield found
    for document in found:
        if cluster.get(CRD, None, document["metadata"]["name"]):
            cluster.delete(CRD, None, document["metadata"]["name"])


def install(cluster, crds):
    for document in crds:
        cluster.dynamic.server_side_apply(cluster.kind(CRD), body=document, field_manager="test", serialize=False)
    cluster.dynamic.resources.invalidate_cache()


def there(cluster, kind, ns, name):
    cluster.dynamic.resources.invalidate_cache()
    try:
        return cluster.get(kind, ns, name)
    except ResourceNotFoundError:  # the kind is not served yet
        return None


def test_the_charts_service_monitor_is_taken(cluster, crds):
    if not shutil.which("helm"):
        pytest.skip("helm is not on PATH")
    install(cluster, crds)
    values = json.dumps({"monitoring": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}}})
    command = ["helm", "template", "holter", CHART, "-n", "default", "--kube-version=1.35.0", "-f-"]
    text = subprocess.run(command, input=values, capture_output=True, text=True, check=True).stdout
    (found,) = [each for each in YAML(typ="safe").load_all(text) if each and each["kind"] == "ServiceMonitor"]
    cluster.dynamic.resources.invalidate_cache()
    answer = wait(lambda: taken(cluster, found), 20, "the kind is served")
    assert answer["metadata"]["labels"]["release"] == "prometheus"


def taken(cluster, document):
    cluster.dynamic.resources.invalidate_cache()
    try:
        kind = cluster.kind(f"{document['apiVersion']}/{document['kind']}")
    except ResourceNotFoundError:
        return None
    strict = [("fieldValidation", "Strict")]
    return cluster.dynamic.server_side_apply(
        kind, body=document, namespace="default", field_manager="test", dry_run="All", query_params=strict
    ).to_dict()


def test_kinds_come_and_go(cluster, ns, operator, crds):
    operator.start()
    cluster.cohort(ns)
    wait(lambda: cluster.run_pods(ns), 40, "Ready without the kinds")
    install(cluster, crds)
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
    assert there(cluster, RULE, ns, "ward")
    for document in crds:
        cluster.delete(CRD, None, document["metadata"]["name"])
    cluster.spec(ns, description="still at work")
    wait(lambda: cluster.status(ns)["observedGeneration"] == 3, 20)
    assert cluster.status(ns)["phase"] == "Ready"
    assert operator.get("/healthz") == "ok"
