"""The operator's dashboard and rules on a real Prometheus that scrapes `holter operate` on a real API server."""

import math
import os
import secrets
import time

import pytest
from tests.operating import Cluster, Operator, wait
from tests.rules.given import NAMESPACE, SERVICE
from tests.rules.influxdb import NEEDED, InfluxDB
from tests.rules.prometheus import Prometheus

from holter_operator.api import crd
from holter_operator.build.monitoring import operator_dashboard, operator_rules
from holter_operator.build.monitoring.rule import group

pytestmark = pytest.mark.timeout(240)
COHORT = f"{crd.API_VERSION}/{crd.KIND}"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    influxdb, kubeconfig = InfluxDB.given(), os.environ.get("KUBECONFIG")
    if not kubeconfig or influxdb is None:
        pytest.skip(f"KUBECONFIG, {', '.join(NEEDED)}: not all set; an API server and an InfluxDB 2 are needed")
    folder, cluster = tmp_path_factory.mktemp("operator"), Cluster(kubeconfig)
    kind = "apiextensions.k8s.io/v1/CustomResourceDefinition"
    if cluster.get(kind, None, crd.load()["metadata"]["name"]) is None:
        cluster.dynamic.server_side_apply(
            cluster.kind(kind), body=crd.load(), field_manager="holter-operator", serialize=False
        )
    namespace = f"{os.environ.get('HOLTER_TEST_PREFIX', '')}rules-{secrets.token_hex(4)}"
    cluster.core.create_namespace({"metadata": {"name": namespace}})
    (folder / "influxdb").mkdir()
    for name in ("url", "org", "token"):
        (folder / "influxdb" / name).write_text(getattr(influxdb, name))
    operator = Operator(
        folder,
        HOLTER_WATCH_NAMESPACES=namespace,
        HOLTER_INFLUXDB=str(folder / "influxdb"),
        HOLTER_DELETION_SECONDS="6",
    )
    made = None
    try:
        operator.start()
        labels = {"namespace": NAMESPACE, "service": SERVICE, "pod": "holter-operator-0"}
        rules = group("holter-operator", SERVICE, operator_rules.rules(NAMESPACE, SERVICE), {})
        made = Prometheus(folder / "prometheus", [(operator.port, labels)], [rules])
        time.sleep(2)
        _live(cluster, namespace, operator)
        yield made
    finally:
        if made:
            made.close()
        _clear(cluster, namespace)
        operator.kill()
        cluster.core.delete_namespace(namespace)


def _live(cluster, namespace, operator):
    """A cohort is made, refitted, and repaired."""
    cluster.cohort(namespace, storage={"deletionPolicy": "Delete"})
    wait(lambda: cluster.condition(namespace, "BucketReady").get("status") == "True", 60, "the bucket")
    wait(lambda: cluster.get("v1/ConfigMap", namespace, "ward-model-candidate"), 30, "the candidate")
    cluster.candidate(namespace, trainedAt=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    wait(lambda: "\nholter_refit_accepted{" in operator.get("/metrics"), 30, "judged")
    cluster.delete("v1/Service", namespace, "ward-ingest")
    wait(lambda: "\nholter_operator_repairs_total{" in operator.get("/metrics"), 30, "repaired")
    time.sleep(8)  # scraped


def _clear(cluster, namespace):
    if cluster.get(COHORT, namespace, "ward"):
        cluster.delete(COHORT, namespace, "ward")
        wait(lambda: cluster.get(COHORT, namespace, "ward") is None, 60, "the cohort is gone")


def _asked(text):
    return text.replace("$__rate_interval", "20s").replace("$namespace", NAMESPACE).replace("$service", SERVICE)


def test_every_panel_has_data(prometheus):
    empty = []
    for panel in operator_dashboard.content()["panels"]:
        for target in panel.get("targets", ()):
            found = prometheus.range(_asked(target["expr"]), seconds=60)
            if not any(math.isfinite(value) for values in found.values() for value in values):
                empty.append((panel["title"], target["expr"], found))
    assert not empty


def test_variables_find_the_operator(prometheus):
    variables = operator_dashboard.content()["templating"]["list"]
    assert [each["name"] for each in variables] == ["datasource", "namespace", "service"]
    labels = prometheus.get("label/service/values", **{"match[]": "holter_operator_queue"})
    assert labels == [SERVICE]


def test_prometheus_evaluates_every_rule_and_nobody_is_paged(prometheus):
    (found,) = prometheus.get("rules")["groups"]
    assert {rule["name"] for rule in found["rules"]} == {r.alert for r in operator_rules.rules(NAMESPACE, SERVICE)}
    assert {rule["name"]: rule.get("lastError") for rule in found["rules"] if rule["health"] != "ok"} == {}
    assert {rule["name"] for rule in found["rules"] if rule["state"] == "firing"} == set()
