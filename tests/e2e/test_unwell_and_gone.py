"""Cohorts that cannot be well, and the end of all: the last steps of test_e2e.py."""

import base64
import subprocess
import time

import pytest
from scripts.cluster import eventually
from tests.e2e.steps import LITTLE, SYSTEM, WARD, cohort, said

pytestmark = pytest.mark.timeout(420)
SMALL = {"inference": {"replicas": 1, **LITTLE}, "ingest": {"replicas": 1, **LITTLE}}
UNWELL = {
    "token": ("InfluxDBUnauthorized", "unauthorized"),
    "node": ("Unschedulable", "finds no node"),
    "quota": ("PodsRefused", "exceeded quota: none"),
    "image": ("ImagePullBackOff", ":missing"),
}
"""What keeps a cohort from being well: the reason that is told, and words of the message."""


@pytest.fixture
def unwell(kubectl, helm, request):
    """A cohort that cannot be well for one reason."""
    why = request.param
    spec, quota = (
        {**SMALL},
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": WARD}},
    )
    if why == "token":
        secret = kubectl.get("secret", "ward-influxdb-ingest", namespace=WARD)["data"]
        data = {key: secret[key] for key in ("url", "org")} | {"token": base64.b64encode(b"wrong").decode()}
        meta = {"name": "connection", "namespace": WARD}
        kubectl.apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})
        spec["storage"] = {"influxdb": {"connectionSecretRef": {"name": "connection"}}}
    elif why == "node":
        spec["ingest"] = spec["ingest"] | {"nodeSelector": {"holter.dev/none": "here"}}
    elif why == "quota":
        kubectl.apply(quota | {"spec": {"hard": {"pods": "0"}}})
    else:
        (_, services), _ = request.getfixturevalue("images")
        helm("upgrade", services={"image": {"repository": services, "tag": "missing"}})
    kubectl.apply(cohort(f"unwell-{why}", **spec))  # a bucket that is kept belongs to the cohort it was made for
    yield why
    kubectl.run("delete", f"cohort/unwell-{why}", "-n", WARD, "--timeout=150s")
    kubectl.run("delete", "resourcequota/none", "-n", WARD, "--ignore-not-found")
    if why == "image":
        helm("upgrade")


@pytest.mark.parametrize("unwell", UNWELL, indirect=True)
def test_describe_and_status_tell_why_a_cohort_is_not_well(kubectl, plugin, condition, unwell, capsys):
    (reason, words), name = UNWELL[unwell], f"unwell-{unwell}"

    def told():
        found = condition(name, "Degraded")
        return found if found and found["status"] == "True" and found["reason"] == reason else None

    eventually(f"Degraded, {reason}", told, seconds=60)
    line = next(e for e in kubectl.run("get", "cohorts", "-n", WARD).splitlines() if e.startswith(name))
    assert line.split()[1:3] == ["Degraded", "False"]
    text = kubectl.run("describe", "cohort", name, "-n", WARD)
    assert words in text.partition("Conditions:")[2]
    assert any(reason in each and "Warning" in each for each in text.partition("Events:")[2].splitlines())
    said(capsys, f"{unwell}: {told()['message'][:150]}")
    (fault, *_) = plugin("status", name, "--measure", "0", code=1)["findings"]
    assert fault["what"].startswith(f"{reason}: ")
    assert words in fault["what"]
    assert fault["do"]


def test_deletion_leaves_the_bucket_and_the_device_key(kubectl, buckets):
    kubectl.run("delete", "cohort/ward", "-n", WARD, "--timeout=150s")
    assert f"{WARD}.ward" in buckets()
    labels = "holter.dev/cohort=ward"
    kinds = "deployments,statefulsets,services,configmaps,secrets,cronjobs,networkpolicies,roles,rolebindings,pods"
    left = lambda: {  # noqa: E731
        f"{each['kind']}/{each['metadata']['name']}" for each in kubectl.items(kinds, namespace=WARD, labels=labels)
    }
    eventually("nothing but the key", lambda: left() == {"Secret/ward-device-key"}, seconds=90)


def test_deletion_takes_the_bucket_where_asked(kubectl, settled, buckets):
    kubectl.apply(cohort("study", storage={"deletionPolicy": "Delete"}, **SMALL))
    settled("study", 60)
    assert f"{WARD}.study" in buckets()
    kubectl.run("delete", "cohort/study", "-n", WARD, "--timeout=150s")
    assert f"{WARD}.study" not in buckets()


def test_uninstall_deletes_cohorts_first_and_keeps_what_matters(kubectl, settled, helm, capsys):
    kubectl.apply(cohort("last", **SMALL))
    settled("last", 60)
    began = time.monotonic()
    command = ["helm", "uninstall", "holter", "-n", SYSTEM, "--wait"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said(capsys, f"helm uninstall: {time.monotonic() - began:.1f} s")
    assert kubectl.items("cohorts", namespace=WARD) == []
    assert kubectl.get("crd", "monitoredcohorts.holter.dev")
    assert kubectl.get("secret", "holter-influxdb", namespace=SYSTEM)
    labels = "app.kubernetes.io/managed-by=Helm,app.kubernetes.io/part-of=holter"
    kinds = "deployments,statefulsets,services,serviceaccounts,jobs,secrets"
    left = kubectl.items(kinds, namespace=SYSTEM, labels=labels)
    assert [each["metadata"]["name"] for each in left] == ["holter-influxdb"]
    assert kubectl.items("clusterroles,clusterrolebindings", labels=labels) == []
