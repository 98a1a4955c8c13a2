"""The chart and the examples before a real API server: schema, Pod Security, rights for each call of the operator."""

import json
import os
import secrets
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from kubernetes import config, dynamic
from kubernetes.dynamic.exceptions import ResourceNotFoundError
from ruamel.yaml import YAML

from holter_operator.api import crd
from holter_operator.reconcile.kinds import CHILDREN, COHORT, EVENT, JOB, POD

ROOT = Path(__file__).parents[2]
VALUES = YAML(typ="safe").load(ROOT / "tests" / "chart" / "values.yaml")
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
MINE = {"crds": {"install": False}, "rbac": {"aggregate": False}, "uninstall": {"cohorts": "Keep"}}
"""Nothing that another release of this cluster may have."""


@pytest.fixture(scope="module")
def client():
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG is not set: a Kubernetes API server is needed")
    if not shutil.which("helm"):
        pytest.skip("helm is not on PATH")
    found = dynamic.DynamicClient(config.new_client_from_config(os.environ["KUBECONFIG"]))
    found.resources.invalidate_cache()  # kept in a file, from before kinds of other tests went
    apply(found, crd.load())
    return found


def apply(client, document, *, namespace=None, dry_run=None):
    kind = client.resources.get(api_version=document["apiVersion"], kind=document["kind"])
    where = (document["metadata"].get("namespace") or namespace) if kind.namespaced else None
    return client.server_side_apply(
        kind,
        body=document,
        namespace=where,
        field_manager="holter-test",
        force_conflicts=True,
        dry_run=dry_run,
        query_params=[("fieldValidation", "Strict")],
        serialize=False,
    )


@pytest.fixture
def namespace(client):
    name = f"holter-chart-{secrets.token_hex(4)}"
    kind = client.resources.get(api_version="v1", kind="Namespace")
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    kind.create(body={"metadata": {"name": name, "labels": labels}})
    yield name
    kind.delete(name=name)


def helm(*arguments, values=None):
    done = subprocess.run(
        ["helm", *map(str, arguments)], input=json.dumps(values or {}), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(namespace, values):
    text = helm(
        "template",
        "holter",
        ROOT / "charts" / "holter",
        "-n",
        namespace,
        "--kube-version=1.35.0",
        "-f-",
        values={**values, "watchNamespaces": [namespace] if values.get("watchNamespaces") else []},
    )
    return [each for each in YAML(typ="safe").load_all(text) if each]


@pytest.mark.parametrize("name", VALUES)
def test_the_api_server_takes_what_the_chart_renders(client, namespace, name):
    for document in rendered(namespace, VALUES[name]):
        try:
            answer = apply(client, document, namespace=namespace, dry_run="All")
        except ResourceNotFoundError:
            assert document["apiVersion"] == "monitoring.coreos.com/v1"
            continue
        # Of Pod Security, for one.
        assert answer.headers.get("Warning") is None, document["metadata"]["name"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_api_server_takes_every_example(client, namespace, path):
    for document in YAML(typ="safe").load_all(path):
        if document["kind"] != "Namespace":
            # A cohort's rules look at its own namespace's name in the bucket; the server does not know it.
            document["metadata"]["namespace"] = namespace
        apply(client, document, dry_run="All")


def may(client, account, namespace, group, resource, verb):
    name, _, sub = resource.partition("/")
    attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": name, "subresource": sub}
    review = client.resources.get(api_version="authorization.k8s.io/v1", kind="SubjectAccessReview").create(
        body={
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "metadata": {},
            "spec": {"user": f"system:serviceaccount:{account}", "resourceAttributes": attributes},
        }
    )
    return review.status.allowed


def calls():
    """What `io.kube` and kopf's watches ask for, by the code's own table of kinds."""
    for kind in CHILDREN:
        for verb in ("list", "watch", "create", "patch", "delete"):
            yield kind.group, kind.plural, verb
    for plural in ("configmaps", "secrets"):
        yield "", plural, "get"
    for verb in ("list", "watch", "patch"):
        yield COHORT.group, COHORT.plural, verb
    yield COHORT.group, f"{COHORT.plural}/status", "patch"
    yield COHORT.group, f"{COHORT.plural}/finalizers", "update"
    yield POD.group, POD.plural, "list"
    yield from ((EVENT.group, EVENT.plural, verb) for verb in ("list", "create"))
    yield from ((JOB.group, JOB.plural, verb) for verb in ("list", "create"))


@pytest.fixture(params=["cluster", "namespaces"])
def installed(request, client, namespace):
    """A release's rights: the account, a namespace that it watches, one that it does not."""
    other = f"{namespace}-other"
    kind = client.resources.get(api_version="v1", kind="Namespace")
    kind.create(body={"metadata": {"name": other}})
    values = MINE | {"watchNamespaces": [namespace] if request.param == "namespaces" else []}
    release = f"t{secrets.token_hex(4)}"
    helm("install", release, ROOT / "charts" / "holter", "-n", namespace, "-f-", values=values)
    yield f"{namespace}:{release}-holter-operator", namespace, other, request.param
    helm("uninstall", release, "-n", namespace)
    kind.delete(name=other)


def test_every_call_is_allowed_and_no_more(client, installed):
    account, watched, other, scope = installed
    asked = set(calls())
    assert len(asked) > 60
    assert {call for call in asked if not may(client, account, watched, *call)} == set()
    assert may(client, account, other, "", "secrets", "get") == (scope == "cluster")
    assert may(client, account, "", "apiextensions.k8s.io", "customresourcedefinitions", "watch") == (
        scope == "cluster"
    )
    verbs = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "bind", "escalate")
    resources = {(group, resource) for group, resource, _ in asked} | {
        ("", "nodes"),
        ("", "namespaces"),
        ("", "pods/exec"),
        ("", "pods/log"),
        ("", "serviceaccounts/token"),
        ("rbac.authorization.k8s.io", "clusterroles"),
    }
    beyond = {(group, resource, verb) for group, resource in resources for verb in verbs} - asked
    assert {call for call in beyond if may(client, account, watched, *call)} == set()


def test_an_upgrade_keeps_the_secret(client, namespace):
    values = MINE | {"influxdb": {"install": True, "persistence": {"enabled": False}}}
    kind = client.resources.get(api_version="v1", kind="Secret")

    def secret():
        return kind.get(name="holter-influxdb", namespace=namespace)

    helm("install", "holter", ROOT / "charts" / "holter", "-n", namespace, "-f-", values=values)
    first = secret()
    values["operator"] = {"logLevel": "debug"}
    helm("upgrade", "holter", ROOT / "charts" / "holter", "-n", namespace, "-f-", values=values)
    assert secret().data.to_dict() == first.data.to_dict()
    helm("uninstall", "holter", "-n", namespace)
    assert secret().metadata.uid == first.metadata.uid
    helm("install", "holter", ROOT / "charts" / "holter", "-n", namespace, "-f-", values=values)
    assert secret().data.to_dict() == first.data.to_dict()
    helm("uninstall", "holter", "-n", namespace)


def test_the_notes_name_a_command_that_works(client, namespace):
    text = helm("install", "notes", ROOT / "charts" / "holter", "-n", namespace, "--dry-run=server", "-f-", values=MINE)
    manifest = text.partition("kubectl apply -f - <<EOF")[2].partition("EOF")[0]
    (document,) = YAML(typ="safe").load_all(manifest)
    document["metadata"]["namespace"] = namespace
    apply(client, document, dry_run="All")


def test_the_built_in_roles_take_ours_in(client):
    for document in rendered("default", {}):
        if document["metadata"]["name"] in ("holter-view", "holter-edit"):
            kind = client.resources.get(api_version=document["apiVersion"], kind=document["kind"])
            document["metadata"]["name"] += f"-{secrets.token_hex(4)}"
            apply(client, document)
            try:
                aggregated(client, document)
            finally:
                kind.delete(name=document["metadata"]["name"])


def aggregated(client, document):
    kind = client.resources.get(api_version=document["apiVersion"], kind=document["kind"])
    to = [
        label.rpartition("-to-")[2]
        for label, on in document["metadata"]["labels"].items()
        if "aggregate-to" in label and on == "true"
    ]
    assert to
    end = time.monotonic() + 20
    while True:
        missing = [
            name
            for name in to
            if not all(rule in [each.to_dict() for each in kind.get(name=name).rules] for rule in document["rules"])
        ]
        if not missing:
            return
        assert time.monotonic() < end, f"not in {missing}"
        time.sleep(0.2)
