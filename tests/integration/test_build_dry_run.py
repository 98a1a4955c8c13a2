"""Every object that is built, before a real API server: schema, admission, Pod Security, RBAC, field ownership."""

import os
import secrets
import time
from pathlib import Path

import pytest
from kubernetes import config, dynamic
from kubernetes.dynamic.exceptions import ForbiddenError, NotFoundError, ResourceNotFoundError
from ruamel.yaml import YAML

from holter_operator.api import crd
from holter_operator.api.cohort import parse
from holter_operator.api.schema import check
from holter_operator.build.everything import objects
from holter_operator.build.given import (
    POD_MONITOR,
    PROMETHEUS_RULE,
    Component,
    Connection,
    ConsoleTokens,
    DeviceKey,
    Given,
    ModelFiles,
)

COHORTS = Path(__file__).parents[1] / "unit" / "build" / "cohorts"
NAMES = sorted(path.stem for path in COHORTS.glob("*.yaml"))
MANAGER = "holter-operator"
OPTIONAL = ("PodMonitor", "PrometheusRule")
ENFORCE = "pod-security.kubernetes.io/enforce"


def documents(name, namespace):
    document = YAML(typ="safe").load(COHORTS / f"{name}.yaml")
    document["metadata"]["namespace"] = namespace
    defaulted, faults = check(document)
    assert faults == []
    return document, objects(parse(defaulted), given())


def given():
    connection = Connection("http://influxdb.storage.svc:8086", "hospital", "bucket", "token")
    model = ModelFiles(3, "{}", bytes(800_000))
    return Given(
        images=dict.fromkeys(Component, "holter-services:1"),
        owner_uid="11111111-2222-3333-4444-555555555555",
        kinds=frozenset({POD_MONITOR, PROMETHEUS_RULE}),
        influxdb=dict.fromkeys(Component, connection),
        device_key=DeviceKey("current", "previous"),
        console_tokens=ConsoleTokens("view", "acknowledge"),
        model=model,
        history=(model,),
    )


class Cluster:
    def __init__(self, client):
        self.client = client

    def kind(self, document):
        return self.client.resources.get(api_version=document["apiVersion"], kind=document["kind"])

    def apply(self, document, *, manager=MANAGER, dry_run=None, force=None):
        """Server-side apply as the operator does it, refusing fields that the schema does not know."""
        return self.client.server_side_apply(
            self.kind(document),
            body=document,
            namespace=document["metadata"].get("namespace"),
            field_manager=manager,
            dry_run=dry_run,
            force_conflicts=force,
            query_params=[("fieldValidation", "Strict")],
            serialize=False,
        )

    def create(self, document, **options):
        return self.kind(document).create(body=document, namespace=document["metadata"].get("namespace"), **options)

    def delete(self, document):
        self.kind(document).delete(name=document["metadata"]["name"], namespace=document["metadata"].get("namespace"))


@pytest.fixture(scope="module")
def cluster():
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG is not set: a Kubernetes API server is needed")
    found = Cluster(dynamic.DynamicClient(config.new_client_from_config(os.environ["KUBECONFIG"])))
    found.apply(crd.load(), force=True)
    for _ in range(100):  # an API server that has just taken the CRD does not serve its kind yet
        try:
            found.kind({"apiVersion": crd.API_VERSION, "kind": crd.KIND}).get()
        except (ResourceNotFoundError, NotFoundError):
            time.sleep(0.1)
        else:
            return found
    raise AssertionError(f"the API server does not serve {crd.KIND} 10 s after it took the CRD")


@pytest.fixture(scope="module")
def namespace(cluster):
    """A namespace under the restricted standard, which also warns of workloads that would not meet it."""
    labels = {ENFORCE: "restricted", "pod-security.kubernetes.io/warn": "restricted"}
    name = f"holter-test-{secrets.token_hex(4)}"
    document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    cluster.create(document)
    yield name
    cluster.delete(document)


@pytest.mark.parametrize("name", NAMES)
def test_the_api_server_takes_every_object(cluster, namespace, name):
    document, built = documents(name, namespace)
    cluster.apply(document, dry_run="All")
    core = [each for each in built if each["kind"] not in OPTIONAL]
    assert len(core) > 15
    for each in core:
        response = cluster.apply(each, dry_run="All")
        assert response.headers.get("Warning") is None, (each["kind"], each["metadata"]["name"])


def test_prometheus_operators_kinds(cluster, namespace, prometheus_kinds):
    _, built = documents("everything", namespace)
    optional = [each for each in built if each["kind"] in OPTIONAL]
    assert len(optional) == len(OPTIONAL)
    prometheus_kinds.install()
    for each in optional:
        cluster.apply(each, dry_run="All")


def pods(built, namespace):
    """A Pod of each template."""
    for each in built:
        if each["kind"] not in ("Deployment", "StatefulSet", "CronJob"):
            continue
        spec = each["spec"]
        template = spec["jobTemplate"]["spec"]["template"] if each["kind"] == "CronJob" else spec["template"]
        claims = [
            {"name": claim["metadata"]["name"], "persistentVolumeClaim": {"claimName": "a-claim"}}
            for claim in spec.get("volumeClaimTemplates", ())
        ]
        yield {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": each["metadata"]["name"], "namespace": namespace},
            "spec": {**template["spec"], "volumes": [*template["spec"]["volumes"], *claims]},
        }


@pytest.mark.parametrize("name", NAMES)
def test_restricted_pod_security_admits_every_pod(cluster, namespace, name):
    _, built = documents(name, namespace)
    for each in built:
        if each["kind"] == "ServiceAccount":
            # Without its owner, which is not there: the garbage collector would take it away again.
            cluster.apply({**each, "metadata": {**each["metadata"], "ownerReferences": []}})
    tried = 0
    for pod in pods(built, namespace):
        cluster.create(pod, dry_run="All")
        tried += 1
    assert tried >= 3


def test_restricted_pod_security_is_enforced_here(cluster, namespace):
    """Or the test above could not fail."""
    _, built = documents("minimal", namespace)
    pod = next(pods(built, namespace))
    pod["spec"]["serviceAccountName"] = "default"
    pod["spec"]["hostNetwork"] = True
    with pytest.raises(ForbiddenError, match="violates PodSecurity"):
        cluster.create(pod, dry_run="All")


def access(cluster, namespace, verb, resource, name):
    attributes = {"namespace": namespace, "verb": verb, "resource": resource, "name": name}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "metadata": {},
        "spec": {"user": f"system:serviceaccount:{namespace}:ward-refit", "resourceAttributes": attributes},
    }
    return cluster.create(review).status.allowed


def test_refit_may_patch_its_candidate_and_nothing_else(cluster, namespace):
    _, built = documents("minimal", namespace)
    for each in built:
        if each["kind"] in ("Role", "RoleBinding"):
            cluster.apply({**each, "metadata": {**each["metadata"], "ownerReferences": []}})
    assert access(cluster, namespace, "patch", "configmaps", "ward-model-candidate")
    for verb in ("get", "list", "create", "update", "delete"):
        assert not access(cluster, namespace, verb, "configmaps", "ward-model-candidate"), verb
    assert not access(cluster, namespace, "patch", "configmaps", "ward-model")
    assert not access(cluster, namespace, "get", "secrets", "ward-influxdb-refit")


def test_a_reconcile_leaves_the_candidates_content_alone(cluster, namespace):
    _, built = documents("minimal", namespace)
    (candidate,) = [each for each in built if each["metadata"]["name"] == "ward-model-candidate"]
    candidate["metadata"]["ownerReferences"] = []
    cluster.apply(candidate)
    maps = cluster.kind(candidate)
    maps.patch(
        name="ward-model-candidate",
        namespace=namespace,
        body={"data": {"model.json": "{}"}},
        content_type="application/merge-patch+json",
        field_manager="holter-refit",
    )
    before = maps.get(name="ward-model-candidate", namespace=namespace)
    cluster.apply(candidate)
    after = maps.get(name="ward-model-candidate", namespace=namespace)
    assert after.data.to_dict() == {"model.json": "{}"}
    assert after.metadata.resourceVersion == before.metadata.resourceVersion


def test_a_misspelt_field_would_be_found(cluster, namespace):
    """Or the first test could not fail."""
    _, built = documents("minimal", namespace)
    (service,) = [each for each in built if each["metadata"]["name"] == "ward-ingest" and each["kind"] == "Service"]
    service["spec"]["sessionAfinity"] = "ClientIP"
    with pytest.raises(dynamic.exceptions.InternalServerError, match="sessionAfinity"):
        cluster.apply(service, dry_run="All")


def test_dry_runs_leave_nothing(cluster, namespace):
    with pytest.raises(NotFoundError):
        cluster.client.resources.get(api_version="apps/v1", kind="Deployment").get(
            name="ward-ingest", namespace=namespace
        )
