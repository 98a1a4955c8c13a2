"""The operator as a process, a real API server and InfluxDB. Pods find no node: the tests say that they are ready."""

import json
import time
from base64 import b64decode, b64encode, urlsafe_b64decode
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from tests.operating import wait

from holter_operator.api import crd

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
pytestmark = pytest.mark.timeout(180)
COHORT = f"{crd.API_VERSION}/{crd.KIND}"


@pytest.fixture
def ready(cluster, ns, operator):
    """A cohort that is Ready, and its operator."""

    def make(**spec):
        operator.start()
        cluster.cohort(ns, **spec)
        wait(lambda: cluster.run_pods(ns), 40, "Ready")
        return operator

    return make


def settled(cluster, ns, name="ward"):
    """Children's versions, once they stay."""

    def same():
        before = cluster.children(ns, name)
        time.sleep(1.0)
        return before if cluster.children(ns, name) == before else None

    return wait(same, 30)


def test_a_cohort_becomes_ready_and_says_so(cluster, ns, operator, influxdb):
    operator.start()
    cluster.cohort(ns)
    wait(lambda: len(cluster.children(ns)) >= 20, what="children")
    assert wait(lambda: cluster.condition(ns, "Ready"))["status"] != "True"
    wait(lambda: cluster.run_pods(ns), 30, "Ready")
    status = cluster.status(ns)
    assert status["phase"] == "Ready"
    assert status["observedGeneration"] == 1
    assert {c["type"]: c["status"] for c in status["conditions"]} == {
        "Ready": "True",
        "Progressing": "False",
        "Degraded": "False",
        "BucketReady": "True",
        "ModelReady": "False",
        "Paused": "False",
    }
    assert cluster.condition(ns, "ModelReady")["reason"] == "Learning"
    assert status["ingest"] == {
        "replicas": 2,
        "readyReplicas": 2,
        "endpoint": f"http://ward-ingest.{ns}.svc:8080",
    }
    bucket = influxdb.bucket(f"{ns}.ward")
    assert status["bucket"] == {"name": f"{ns}.ward", "id": bucket["id"], "adopted": False}
    assert operator.metric("holter_operator_cohorts", phase="Ready") == 1
    assert operator.get("/healthz") == "ok"
    scale = cluster.get(COHORT, ns, "ward")["status"]["inference"]
    assert scale["selector"].endswith("app.kubernetes.io/component=inference")
    assert operator.faults() == []


def test_fifty_resyncs_write_nothing_and_a_restart_writes_nothing(cluster, ns, operator):
    operator._environment["HOLTER_RESYNC_SECONDS"] = "1"
    operator.start()
    cluster.cohort(ns)
    wait(lambda: cluster.run_pods(ns), 30, "Ready")
    wait(lambda: any("-first-" in j for j in jobs(cluster, ns)), 20, "the first refit")
    before, cohort = settled(cluster, ns), cluster.get(COHORT, ns, "ward")["metadata"]["resourceVersion"]
    writes, reconciles = operator.metric("holter_operator_writes_total"), passes(operator)
    wait(lambda: passes(operator) - reconciles >= 50, 90, "50 resyncs")
    assert operator.metric("holter_operator_writes_total") == writes
    operator.stop()
    operator.start()
    wait(lambda: passes(operator) >= 3, 30)
    assert operator.metric("holter_operator_writes_total") == 0
    assert cluster.children(ns) == before
    assert cluster.get(COHORT, ns, "ward")["metadata"]["resourceVersion"] == cohort
    assert operator.faults() == []


def passes(operator):
    return operator.metric("holter_operator_reconcile_total")


def jobs(cluster, ns):
    return [j.metadata.name for j in cluster.kind("batch/v1/Job").get(namespace=ns).items]


LABELS = {"metadata": {"labels": {"app.kubernetes.io/name": "other"}}}
EDITS = {
    "v1/ServiceAccount": {"automountServiceAccountToken": True},
    "rbac.authorization.k8s.io/v1/Role": {"rules": []},
    "rbac.authorization.k8s.io/v1/RoleBinding": {"subjects": []},
    "networking.k8s.io/v1/NetworkPolicy": {"spec": {"policyTypes": ["Ingress"]}},
    "v1/Secret": {"data": {"bucket": "b3RoZXI="}},
    "v1/ConfigMap": LABELS,
    "v1/Service": {"metadata": {"labels": {"holter.dev/cohort": None}}},
    "policy/v1/PodDisruptionBudget": {"spec": {"maxUnavailable": 2}},
    "apps/v1/Deployment": {"spec": {"replicas": 1}},
    "apps/v1/StatefulSet": {"spec": {"replicas": 5}},
    "batch/v1/CronJob": {"spec": {"suspend": True}},
}


def test_every_child_that_is_edited_or_deleted_is_repaired_within_ten_seconds(cluster, ns, ready, record_property):
    operator = ready()
    before = settled(cluster, ns)
    kinds = {name.rpartition("/")[2]: name for name in EDITS}
    content = {key: cluster.get(kinds[key[0]], ns, key[1]) for key in before}
    slowest = 0.0
    for (kind, name), was in content.items():
        if name == "ward-device-key":
            continue
        cluster.patch(kinds[kind], ns, name, LABELS if name == "ward-console" else EDITS[kinds[kind]])
        slowest = max(slowest, repaired(cluster, kinds[kind], ns, name, was, f"{kind} {name} edited"))
        cluster.delete(kinds[kind], ns, name)
        slowest = max(slowest, repaired(cluster, kinds[kind], ns, name, was, f"{kind} {name} deleted"))
    told = " ".join(cluster.events(ns, "DriftRepaired"))
    assert all(f"{kind} {name}: was gone" in told for kind, name in content if name != "ward-device-key")
    assert "Deployment ward-ingest: spec.replicas was changed" in told
    assert operator.faults() == []
    record_property("slowest_repair_seconds", round(slowest, 1))


def repaired(cluster, kind, ns, name, was, what):
    began = time.monotonic()
    wait(lambda: desired(cluster.get(kind, ns, name)) == desired(was), 10, what)
    return time.monotonic() - began


def desired(document):
    """What is ours of an object."""
    if document is None:
        return None
    metadata = document["metadata"]
    kept = {
        key: document[key] for key in ("data", "rules", "subjects", "automountServiceAccountToken") if key in document
    }
    if document["kind"] == "Secret":  # a token that is lost is made anew
        kept["data"] = {k: v for k, v in document["data"].items() if k not in ("token", "view", "acknowledge")}
    spec = {k: v for k, v in (document.get("spec") or {}).items() if k not in ("clusterIP", "clusterIPs")}
    return kept, spec, metadata["labels"], [o["uid"] for o in metadata.get("ownerReferences", ())]


def test_a_field_that_another_manager_applies_is_told_and_taken_back(cluster, ns, ready):
    ready()
    document = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "ward-ingest", "namespace": ns},
        "spec": {"replicas": 7},
    }
    cluster.dynamic.server_side_apply(
        cluster.kind("apps/v1/Deployment"), body=document, namespace=ns, field_manager="argocd", force_conflicts=True
    )
    wait(lambda: cluster.get("apps/v1/Deployment", ns, "ward-ingest")["spec"]["replicas"] == 2, 10)
    (message,) = wait(lambda: cluster.events(ns, "FieldConflict"), 5)
    assert "Deployment ward-ingest" in message
    assert "spec.replicas (argocd)" in message


def test_a_feature_that_is_turned_off_takes_its_child_along(cluster, ns, ready):
    ready(ingest={"autoscaling": {"enabled": True}, "resources": {"requests": {"cpu": "100m"}}})
    assert ("HorizontalPodAutoscaler", "ward-ingest") in cluster.children(ns)
    assert ("ConfigMap", "ward-dashboard") in cluster.children(ns)
    cluster.spec(ns, monitoring={"dashboards": False}, inference={"replicas": 1})
    wait(
        lambda: (
            not {("ConfigMap", "ward-dashboard"), ("PodDisruptionBudget", "ward-inference")} & set(cluster.children(ns))
        )
    )
    assert ("PodDisruptionBudget", "ward-ingest") in cluster.children(ns)


def test_replicas_stay_when_an_autoscaler_takes_over(cluster, ns, ready):
    ready(ingest={"replicas": 3, "resources": {"requests": {"cpu": "100m"}}})
    seen = set()
    cluster.spec(ns, ingest={"autoscaling": {"enabled": True, "minReplicas": 3}})

    def scaled():
        seen.add(cluster.get("apps/v1/Deployment", ns, "ward-ingest")["spec"]["replicas"])
        return ("HorizontalPodAutoscaler", "ward-ingest") in cluster.children(ns)

    wait(scaled)
    for _ in range(10):
        scaled()
        time.sleep(0.1)
    assert seen == {3}, "let go of, replicas would have been 1 for a moment"
    cluster.spec(ns, ingest={"replicas": 2, "autoscaling": {"enabled": False}})
    wait(lambda: cluster.get("apps/v1/Deployment", ns, "ward-ingest")["spec"]["replicas"] == 2)


def test_only_what_an_edit_concerns_is_rolled(cluster, ns, ready):
    ready()
    before = settled(cluster, ns)
    templates = [cluster.get(*each)["spec"]["template"] for each in workloads(ns)]
    cluster.spec(ns, alerting={"falseAlertsPerPatientDay": 4})
    wait(lambda: cluster.status(ns)["observedGeneration"] == 2)
    after = settled(cluster, ns)
    assert {key for key in before if before[key] != after[key]} == {("ConfigMap", "ward-config")}
    assert [cluster.get(*each)["spec"]["template"] for each in workloads(ns)] == templates


def workloads(ns):
    return (("apps/v1/Deployment", ns, "ward-ingest"), ("apps/v1/StatefulSet", ns, "ward-inference"))


def test_a_claim_template_that_changes_makes_the_stateful_set_anew_and_keeps_its_pods(cluster, ns, ready):
    ready(ingest={"log": {"volume": "Persistent", "size": "1Gi"}})
    pods = cluster.pods(ns, "ingest")
    uid = cluster.get("apps/v1/StatefulSet", ns, "ward-ingest")["metadata"]["uid"]
    cluster.spec(ns, ingest={"log": {"size": "2Gi"}})

    def anew():
        live = cluster.get("apps/v1/StatefulSet", ns, "ward-ingest")
        return live and live["metadata"]["uid"] != uid and live

    live = wait(anew, 20)
    assert live["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] == "2Gi"
    assert set(pods) <= set(cluster.pods(ns, "ingest"))
    assert cluster.events(ns, "Recreated")


def test_paused_nothing_is_changed(cluster, ns, ready):
    ready()
    cluster.spec(ns, paused=True, inference={"replicas": 4})
    wait(lambda: cluster.condition(ns, "Paused").get("status") == "True")
    cluster.delete("v1/ConfigMap", ns, "ward-config")
    time.sleep(2)
    assert cluster.get("v1/ConfigMap", ns, "ward-config") is None
    assert cluster.get("apps/v1/StatefulSet", ns, "ward-inference")["spec"]["replicas"] == 2
    status = cluster.status(ns)
    assert (status["phase"], status["observedGeneration"]) == ("Paused", 2)
    cluster.spec(ns, paused=False)
    wait(lambda: cluster.get("v1/ConfigMap", ns, "ward-config"))
    wait(lambda: cluster.get("apps/v1/StatefulSet", ns, "ward-inference")["spec"]["replicas"] == 4)


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_deleted_everything_goes_and_the_bucket_as_asked(cluster, ns, ready, influxdb, policy):
    operator = ready(storage={"deletionPolicy": policy})
    uid = cluster.get(COHORT, ns, "ward")["metadata"]["uid"]
    assert len(influxdb.tokens(uid)) == 4
    cluster.delete(COHORT, ns, "ward")
    wait(lambda: cluster.get(COHORT, ns, "ward") is None, 30, "the cohort is gone")
    left = {("Secret", "ward-device-key")} if policy == "Retain" else set()
    wait(lambda: set(cluster.children(ns)) == left, 30, "only what is kept is there")
    assert influxdb.tokens(uid) == []
    assert (influxdb.bucket(f"{ns}.ward") is not None) == (policy == "Retain")
    wait(lambda: operator.metric("holter_operator_cohorts") == 0)
    if policy == "Retain":
        bucket = influxdb.bucket(f"{ns}.ward")
        influxdb.call("DELETE", f"/api/v2/buckets/{bucket['id']}")
    assert operator.faults() == []


def test_deleted_while_influxdb_is_gone_it_still_goes_and_says_what_is_left(cluster, ns, ready, connection, influxdb):
    ready(storage={"deletionPolicy": "Delete"})
    url = (connection / "url").read_text()
    (connection / "url").write_text("http://127.0.0.1:9")
    try:
        cluster.delete(COHORT, ns, "ward")
        wait(lambda: cluster.status(ns).get("phase") == "Deleting", 10)
        wait(lambda: cluster.get(COHORT, ns, "ward") is None, 40, "the cohort is gone")
        (message,) = cluster.events(ns, "LeftBehind")
        assert f"{ns}.ward" in message
        assert "127.0.0.1:9" in message
    finally:
        (connection / "url").write_text(url)
    influxdb.call("DELETE", f"/api/v2/buckets/{influxdb.bucket(f'{ns}.ward')['id']}")


def test_two_cohorts_in_two_namespaces_do_not_meet(cluster, ns, namespaces, operator, influxdb):
    operator.start()
    for namespace in namespaces:
        cluster.cohort(namespace)
    for namespace in namespaces:
        wait(lambda here=namespace: cluster.run_pods(here), 40, "Ready")
    other = settled(cluster, namespaces[1])
    assert influxdb.bucket(f"{namespaces[0]}.ward")["id"] != influxdb.bucket(f"{namespaces[1]}.ward")["id"]
    keys = [cluster.get("v1/Secret", each, "ward-device-key")["data"]["current"] for each in namespaces]
    assert keys[0] != keys[1]
    cluster.delete(COHORT, namespaces[0], "ward")
    wait(lambda: cluster.get(COHORT, namespaces[0], "ward") is None, 30)
    assert settled(cluster, namespaces[1]) == other
    assert cluster.status(namespaces[1])["phase"] == "Ready"


def test_a_bucket_of_another_namespace_is_refused(cluster, ns, namespaces, operator, influxdb):
    operator.start()
    cluster.cohort(ns, storage={"bucket": f"{namespaces[1]}.ward"})
    found = wait(lambda: (c := cluster.condition(ns, "Ready")) and c["status"] == "False" and c)
    assert f"begins with {ns}." in found["message"]
    assert cluster.status(ns)["phase"] == "Degraded"
    assert influxdb.bucket(f"{namespaces[1]}.ward") is None


def test_the_device_key_is_made_once(cluster, ns, ready):
    ready()
    wait(lambda: "holter.dev/device-key-issued" in cluster.get(COHORT, ns, "ward")["metadata"].get("annotations", {}))
    key = cluster.get("v1/Secret", ns, "ward-device-key")
    assert len(urlsafe_b64decode(b64decode(key["data"]["current"]) + b"=")) == 32
    assert "ownerReferences" not in key["metadata"]
    rotated = {"previous": key["data"]["current"], "current": b64encode(b64encode(bytes(32)).rstrip(b"=")).decode()}
    cluster.patch("v1/Secret", ns, "ward-device-key", {"data": rotated})
    time.sleep(2)
    assert cluster.get("v1/Secret", ns, "ward-device-key")["data"] == rotated, "a rotation is left as it is"
    assert cluster.status(ns)["phase"] == "Ready"
    cluster.patch("v1/Secret", ns, "ward-device-key", {"data": {"current": b64encode(b"short").decode()}})
    wait(lambda: cluster.condition(ns, "Degraded").get("reason") == "DeviceKeyInvalid")
    cluster.delete("v1/Secret", ns, "ward-device-key")
    wait(lambda: cluster.condition(ns, "Degraded").get("reason") == "DeviceKeyLost")
    time.sleep(2)
    assert cluster.get("v1/Secret", ns, "ward-device-key") is None
    assert cluster.events(ns, "DeviceKeyLost")
    cluster.patch(COHORT, ns, "ward", {"metadata": {"annotations": {"holter.dev/device-key-issued": None}}})
    wait(lambda: cluster.get("v1/Secret", ns, "ward-device-key"), what="a new key, when it is asked for")
    wait(lambda: cluster.status(ns)["phase"] == "Ready")


def test_the_consoles_tokens_are_made_once_rotated_by_an_edit_and_go_with_it(cluster, ns, ready):
    def tokens():
        found = cluster.get("v1/Secret", ns, "ward-console")
        return {key: b64decode(value).decode() for key, value in found["data"].items()} if found else None

    operator = ready()
    made = tokens()
    assert set(made) == {"view", "acknowledge"}
    assert len(set(made.values())) == 2
    assert min(map(len, made.values())) >= 40
    operator.stop()
    operator.start()
    wait(lambda: passes(operator) >= 1)
    assert tokens() == made
    new = b64encode(b"a token that a hospital has chosen").decode()
    cluster.patch("v1/Secret", ns, "ward-console", {"data": {"view": new, "acknowledge": None}})
    wait(lambda: (tokens() or {}).get("acknowledge"), 10, "what is lacking is made anew")
    assert tokens()["view"] == "a token that a hospital has chosen"
    assert tokens()["acknowledge"] != made["acknowledge"]
    cluster.spec(ns, console={"enabled": False})
    gone = {(kind, "ward-console") for kind in ("Secret", "Deployment", "Service", "ServiceAccount")}
    wait(lambda: not gone & set(cluster.children(ns)), 10, "all of the console is gone")
    assert operator.faults() == []


def test_bucket_retention_and_tokens_are_repaired_within_ten_seconds(cluster, ns, ready, influxdb):
    ready()
    uid = cluster.get(COHORT, ns, "ward")["metadata"]["uid"]
    bucket = influxdb.bucket(f"{ns}.ward")
    rules = [{"type": "expire", "everySeconds": 7 * 86400}]
    influxdb.call("PATCH", f"/api/v2/buckets/{bucket['id']}", {"retentionRules": rules})

    def retention():
        return influxdb.bucket(f"{ns}.ward")["retentionRules"][0]["everySeconds"]

    wait(lambda: retention() == 720 * 3600, 10, "retention")
    before = cluster.get("v1/Secret", ns, "ward-influxdb-ingest")["data"]["token"]
    (ingest,) = [t for t in influxdb.tokens(uid) if "/ingest/" in t["description"]]
    influxdb.call("DELETE", f"/api/v2/authorizations/{ingest['id']}")
    wait(lambda: cluster.get("v1/Secret", ns, "ward-influxdb-ingest")["data"]["token"] != before, 10, "token")
    influxdb.call("DELETE", f"/api/v2/buckets/{bucket['id']}")
    anew = wait(lambda: influxdb.bucket(f"{ns}.ward"), 10, "bucket")

    def fits():
        permitted = [{p["resource"].get("id") for p in t["permissions"]} for t in influxdb.tokens_in_use(uid)]
        return permitted == [{anew["id"]}] * 4

    wait(fits, 20, "tokens are for the new bucket")
    wait(lambda: cluster.status(ns)["bucket"]["id"] == anew["id"])


def test_a_cohort_without_influxdb_says_so_and_recovers(cluster, ns, operator, connection):
    url = (connection / "url").read_text()
    (connection / "url").write_text("http://127.0.0.1:9")
    try:
        operator.start()
        cluster.cohort(ns)
        found = wait(lambda: (c := cluster.condition(ns, "BucketReady")).get("status") == "False" and c)
        assert "127.0.0.1:9" in found["message"]
        assert cluster.condition(ns, "Ready")["reason"] == found["reason"]
        assert ("Deployment", "ward-ingest") in cluster.children(ns)
    finally:
        (connection / "url").write_text(url)
    wait(lambda: cluster.run_pods(ns), 40, "Ready")


def test_an_edit_while_influxdb_is_gone_takes_effect_when_it_is_back(cluster, ns, ready, connection, influxdb):
    ready()
    url = (connection / "url").read_text()
    (connection / "url").write_text("http://127.0.0.1:9")
    try:
        cluster.spec(ns, storage={"retention": "48h"}, inference={"replicas": 1})
        found = wait(lambda: (c := cluster.condition(ns, "BucketReady")).get("status") == "False" and c)
        assert found["reason"] == "InfluxDBUnavailable"
        assert "127.0.0.1:9" in found["message"]
        wait(lambda: cluster.get("apps/v1/StatefulSet", ns, "ward-inference")["spec"]["replicas"] == 1, 10, "the rest")
        assert ("Secret", "ward-influxdb-ingest") in cluster.children(ns), "what is there is kept"
    finally:
        (connection / "url").write_text(url)
    rules = lambda: influxdb.bucket(f"{ns}.ward")["retentionRules"][0]["everySeconds"]  # noqa: E731
    wait(lambda: rules() == 48 * 3600, 30, "the retention")
    wait(lambda: cluster.run_pods(ns), 40, "Ready")
    assert cluster.condition(ns, "BucketReady")["status"] == "True"


def test_one_bad_child_does_not_hold_up_the_others(cluster, ns, operator):
    """A quota refuses what the Services need: the rest is applied, and the condition names what is refused."""
    quota = {"metadata": {"name": "few"}, "spec": {"hard": {"services": "1"}}}
    cluster.core.create_namespaced_resource_quota(ns, quota)
    try:
        wait(lambda: cluster.core.read_namespaced_resource_quota("few", ns).status.used)
        operator.start()
        cluster.cohort(ns)
        found = wait(lambda: (c := cluster.condition(ns, "Ready")).get("reason") == "ChildRefused" and c)
        assert "exceeded quota: few" in found["message"]
        assert ("StatefulSet", "ward-inference") in cluster.children(ns)
    finally:
        cluster.core.delete_namespaced_resource_quota("few", ns)
    wait(lambda: cluster.run_pods(ns), 60, "Ready")


def test_pods_that_cannot_be_made_are_told_of(cluster, ns, operator):
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    cluster.core.create_namespaced_resource_quota(ns, quota)
    try:
        wait(lambda: cluster.core.read_namespaced_resource_quota("none", ns).status.used)
        operator.start()
        cluster.cohort(ns)
        found = wait(lambda: (c := cluster.condition(ns, "Degraded")).get("reason") == "PodsRefused" and c, 30)
        assert "Deployment ward-ingest makes no pod" in found["message"]
        assert "StatefulSet ward-inference makes no pod" in found["message"]
        assert "exceeded quota: none" in found["message"]
    finally:
        cluster.core.delete_namespaced_resource_quota("none", ns)


def test_a_pod_without_its_image_is_told_of(cluster, ns, operator):
    operator.start()
    cluster.cohort(ns)
    (pod, *_) = wait(lambda: cluster.pods(ns, "inference"))
    waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "holter-services:9"'}
    container = {
        "name": "inference",
        "image": "x",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"waiting": waiting},
    }
    cluster.core.patch_namespaced_pod_status(pod, ns, {"status": {"containerStatuses": [container]}})
    found = wait(lambda: (c := cluster.condition(ns, "Degraded")) and "ImagePull" in c["message"] and c, 30)
    assert f"StatefulSet ward-inference: pod {pod} is waiting, ImagePullBackOff: Back-off pulling" in found["message"]


def test_a_refit_that_does_not_start_or_fails_is_told_of(cluster, ns, ready):
    """Its pod finds no node; no scheduler may be here, so the test says so."""
    operator = ready()
    name = wait(lambda: jobs(cluster, ns))[0]
    (pod,) = wait(lambda: cluster.pods(ns, "refit"), what="the refit's pod")
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes fit"}
    cluster.core.patch_namespaced_pod_status(pod, ns, {"status": {"conditions": [unscheduled]}})
    found = wait(lambda: (c := cluster.condition(ns, "Degraded")) and c["status"] == "True" and c, 90)
    assert found["reason"] == "Unschedulable"
    assert f"Job {name}: pod {name}-" in found["message"]
    model = cluster.condition(ns, "ModelReady")
    assert (model["status"], model["reason"], model["message"]) == ("False", "Unschedulable", found["message"])
    assert cluster.condition(ns, "Ready")["status"] == "True", "patients are looked after without a model"
    version = cluster.get(COHORT, ns, "ward")["metadata"]["resourceVersion"]
    operator.stop()
    operator.start()
    wait(lambda: passes(operator) >= 2)
    assert cluster.get(COHORT, ns, "ward")["metadata"]["resourceVersion"] == version, "it is not taken back meanwhile"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_becomes_its_objects(cluster, ns, operator, path):
    """Applied for real, the namespace apart: no child is refused, whatever InfluxDB of its own it may wait for."""
    operator.start()
    for document in YAML(typ="safe").load_all(path):
        if document["kind"] == "Namespace":
            continue
        document["metadata"]["namespace"] = ns
        storage = document.get("spec", {}).get("storage", {})
        if "influxdb" not in storage:
            storage.pop("bucket", None)  # begins with another namespace's name
        kind = cluster.kind(f"{document['apiVersion']}/{document['kind']}")
        cluster.dynamic.server_side_apply(kind, body=document, namespace=ns, field_manager="test", serialize=False)
        if document["kind"] == "MonitoredCohort":
            name = document["metadata"]["name"]
            found = wait(lambda here=name: cluster.status(ns, here).get("conditions"), 20, f"status of {name}")
            reasons = {each["reason"] for each in found}
            assert not reasons & {"InvalidSpec", "ChildRefused", "DeviceKeyInvalid"}, found
            children = 0 if document["spec"].get("paused") else 15
            wait(lambda here=name, least=children: len(cluster.children(ns, here)) >= least, 20, "its children")
    assert operator.faults() == []


def revision(cluster, ns, name="ward-model"):
    found = cluster.get("v1/ConfigMap", ns, name)
    return json.loads(found["data"]["model.json"])["revision"] if found else None


def test_candidates_are_judged_numbered_kept_and_rolled_back(cluster, ns, ready):
    operator = ready(refit={"keepRevisions": 2, "minWindows": 500})
    cluster.candidate(ns)
    wait(lambda: revision(cluster, ns) == 1, what="revision 1 at work")
    wait(lambda: cluster.condition(ns, "ModelReady")["status"] == "True")
    model = cluster.status(ns)["model"]
    assert (model["revision"], model["windows"], model["threshold"]) == (1, 900, 3.0)
    assert model["candidate"]["verdict"] == "Accepted as revision 1"
    assert cluster.get("v1/ConfigMap", ns, "ward-model-r1")["immutable"] is True
    assert operator.metric("holter_refit_seconds", cohort="ward", cohort_namespace=ns) == 12.5
    assert operator.metric("holter_refit_windows", cohort="ward") == 900

    cluster.candidate(ns, usable=3)
    wait(lambda: cluster.status(ns)["model"]["candidate"]["verdict"] == "Refused")
    assert "TooFewWindows: 3 of 900" in cluster.status(ns)["model"]["candidate"]["reason"]
    assert revision(cluster, ns) == 1

    for number in (2, 3):
        cluster.candidate(ns, arrays=b"%d" % number)
        wait(lambda n=number: revision(cluster, ns) == n)
    wait(lambda: revision(cluster, ns, "ward-model-r1") is None, what="the oldest is removed")
    assert [revision(cluster, ns, f"ward-model-r{n}") for n in (2, 3)] == [2, 3]

    cluster.spec(ns, model={"pinnedRevision": 2})
    wait(lambda: revision(cluster, ns) == 2, what="rolled back")
    cluster.candidate(ns, arrays=b"4")
    wait(lambda: revision(cluster, ns, "ward-model-r4") == 4)
    time.sleep(1)
    assert revision(cluster, ns) == 2, "held"
    cluster.spec(ns, model={"pinnedRevision": 9})
    wait(lambda: cluster.condition(ns, "Degraded").get("reason") == "PinnedRevisionMissing")
    assert revision(cluster, ns) == 2
    cluster.spec(ns, model={"pinnedRevision": None})
    wait(lambda: revision(cluster, ns) == 4)

    cluster.delete("v1/ConfigMap", ns, "ward-model")
    wait(lambda: revision(cluster, ns) == 4, 10, "the model at work is repaired")
    cluster.patch("v1/ConfigMap", ns, "ward-model", {"data": {"model.json": '{"revision": 77}'}})
    wait(lambda: revision(cluster, ns) == 4, 10, "and its content")
    cluster.delete("v1/ConfigMap", ns, "ward-model-r4")
    wait(lambda: revision(cluster, ns, "ward-model-r4") == 4, 10, "and its revision")
    assert cluster.events(ns, "ModelAccepted")
    assert cluster.events(ns, "ModelRefused")
    assert operator.faults() == []


def test_without_a_model_a_refit_is_started_once_in_ten_minutes(cluster, ns, ready):
    operator = ready()
    (name,) = wait(lambda: jobs(cluster, ns))
    assert name.startswith("ward-refit-first-")
    job = cluster.get("batch/v1/Job", ns, name)
    assert job["metadata"]["ownerReferences"][0]["kind"] == "CronJob"
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["command"] == ["holter", "refit"]
    operator.kill()
    operator.start()
    wait(lambda: passes(operator) >= 1)
    time.sleep(2)
    assert jobs(cluster, ns) == [name]
