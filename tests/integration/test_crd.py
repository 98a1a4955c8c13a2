"""The CRD on a real API server: it is accepted, and judges every manifest of the table as `holter validate` does."""

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config
from kubernetes.client import ApiException
from ruamel.yaml import YAML

from holter_operator.api import crd, documents
from holter_operator.api.schema import check

ROOT = Path(__file__).resolve().parents[2]
ROWS: list[dict[str, Any]] = YAML(typ="safe").load(ROOT / "tests/unit/api/manifests.yaml")
NEIGHBOURS = [row for row in ROWS if "accepted" in row]
WHERE = (crd.GROUP, crd.VERSION)

pytestmark = pytest.mark.skipif(not os.environ.get("KUBECONFIG"), reason="KUBECONFIG is not set: a cluster is needed")


@pytest.fixture(scope="module")
def api() -> Iterator[client.ApiClient]:
    config.load_kube_config()
    with client.ApiClient() as opened:
        yield opened


@pytest.fixture(scope="module")
def established(api) -> dict[str, Any]:
    """The CRD, applied, as the server has it once it serves it."""
    document = crd.load()
    definitions = client.CustomObjectsApi(api)
    where = ("apiextensions.k8s.io", "v1", "customresourcedefinitions", document["metadata"]["name"])
    definitions.patch_cluster_custom_object(
        *where,
        document,
        field_manager="holter-test",
        force=True,
        field_validation="Strict",
        _content_type="application/apply-patch+yaml",
    )
    for _ in range(600):
        found: dict[str, Any] = definitions.get_cluster_custom_object(*where)
        conditions = {c["type"]: c for c in found.get("status", {}).get("conditions", ())}
        if conditions.get("Established", {}).get("status") == "True":
            return found
    raise AssertionError(f"the CRD is not served: {conditions}")


@pytest.fixture(scope="module")
def namespace(api, established) -> Iterator[str]:
    name = f"holter-crd-{uuid.uuid4().hex[:8]}"
    core = client.CoreV1Api(api)
    core.create_namespace({"metadata": {"name": name}})
    yield name
    core.delete_namespace(name)


@pytest.fixture
def cohorts(api) -> client.CustomObjectsApi:
    return client.CustomObjectsApi(api)


def why(row: dict[str, Any]) -> str:
    return row["why"]


def manifest(namespace: str, spec: Any, document: dict[str, Any] | None = None) -> dict[str, Any]:
    base = {"apiVersion": crd.API_VERSION, "kind": crd.KIND, "metadata": {"name": "ward"}, "spec": spec}
    whole = {**base, **(document or {})}
    return {**whole, "metadata": {**whole["metadata"], "namespace": namespace}}


@pytest.fixture
def submit(cohorts, namespace):
    """Send a manifest as a dry run, in place of the row's old cohort where it has one."""
    made = []

    def send(row: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
        options = {"dry_run": "All", "field_validation": "Strict"}
        if "old" not in row:
            return cohorts.create_namespaced_custom_object(*WHERE, namespace, crd.PLURAL, document, **options)
        place = (*WHERE, namespace, crd.PLURAL, "ward")
        stored = cohorts.create_namespaced_custom_object(*place[:-1], manifest(namespace, row["old"]))
        made.append(place)
        if "oldStatus" in row:
            stored["status"] = row["oldStatus"]
            stored = cohorts.replace_namespaced_custom_object_status(*place, stored)
        document["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"]
        return cohorts.replace_namespaced_custom_object(*place, document, **options)

    yield send
    for place in made:
        cohorts.delete_namespaced_custom_object(*place)


def blamed(error: ApiException) -> set[str]:
    """The fields that the server blames."""
    status = json.loads(error.body)
    if "strict decoding error" in status["message"]:
        return {part for part in status["message"].split('"') if part.startswith("spec.")}
    causes = {cause.get("field", "") for cause in status["details"]["causes"]}
    # Said beside other causes: that some rules were not checked, that none of anyOf holds.
    return {cause for cause in causes if cause not in ("", "<nil>")}


def test_the_server_accepts_the_crd_without_a_warning(established):
    conditions = {c["type"]: c["status"] for c in established["status"]["conditions"]}
    assert conditions["NamesAccepted"] == "True"
    assert conditions.get("NonStructuralSchema", "False") == "False"


@pytest.mark.parametrize("row", ROWS, ids=why)
def test_offline_and_server_agree_on_what_is_refused(row, submit, namespace):
    document = manifest(namespace, row.get("spec", {}), row.get("document"))
    if row.get("server") == "accepts":
        assert submit(row, document)["spec"]["storage"]["bucket"] == row["spec"]["storage"]["bucket"]
        return
    with pytest.raises(ApiException) as refusal:
        submit(row, document)
    assert refusal.value.status in (400, 422), refusal.value.body
    blames = blamed(refusal.value)
    # Where a group stands for a list, the server blames the group's fields.
    within = {b: next((f for f in row["faults"] if b == f or b.startswith((f"{f}.", f"{f}["))), None) for b in blames}
    assert set(within.values()) == set(row["faults"]), refusal.value.body


@pytest.mark.parametrize("row", NEIGHBOURS, ids=why)
def test_offline_and_server_agree_on_what_is_accepted_and_on_defaults(row, submit, namespace):
    # A bucket's prefix is the namespace's; the server does not look at it, offline does.
    offline, faults = check(manifest("st-mary", row["accepted"]))
    assert faults == []
    assert submit(row, manifest(namespace, row["accepted"]))["spec"] == offline["spec"]


def test_the_example_is_accepted(submit, namespace):
    (document,) = documents.read((ROOT / "examples/ward.yaml").read_text())
    offline, faults = check(document.value)
    assert faults == []
    accepted = submit({}, manifest(namespace, document.value["spec"]))
    assert accepted["spec"] == offline["spec"]


def test_scale_and_columns(cohorts, namespace):
    place = (*WHERE, namespace, crd.PLURAL)
    cohorts.create_namespaced_custom_object(*place, manifest(namespace, {}, {"metadata": {"name": "scaled"}}))
    cohorts.patch_namespaced_custom_object_status(
        *place, "scaled", {"status": {"inference": {"replicas": 2, "selector": "holter.dev/cohort=scaled"}}}
    )
    scale = cohorts.get_namespaced_custom_object_scale(*place, "scaled")
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"] == {"replicas": 2, "selector": "holter.dev/cohort=scaled"}
    cohorts.patch_namespaced_custom_object_scale(*place, "scaled", {"spec": {"replicas": 3}})
    assert cohorts.get_namespaced_custom_object(*place, "scaled")["spec"]["inference"]["replicas"] == 3
    with pytest.raises(ApiException) as refusal:
        cohorts.patch_namespaced_custom_object_scale(*place, "scaled", {"spec": {"replicas": 65}})
    assert "spec.inference.replicas" in refusal.value.body
    table = cohorts.list_namespaced_custom_object(
        *place, _headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    )
    assert [c["name"] for c in table["columnDefinitions"] if c["priority"] == 0] == [
        "Name",
        "Phase",
        "Ready",
        "ModelReady",
        "Revision",
        "Age",
    ]
