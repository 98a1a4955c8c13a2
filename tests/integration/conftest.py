import json
import os
import secrets
import urllib.request
from pathlib import Path

import pytest
from kubernetes.dynamic.exceptions import ResourceNotFoundError
from ruamel.yaml import YAML
from tests.operating import Cluster, Operator, wait

from holter_operator.api import crd

COHORT = f"{crd.API_VERSION}/{crd.KIND}"
CRD = "apiextensions.k8s.io/v1/CustomResourceDefinition"
NEEDED = ("INFLUXDB_URL", "INFLUXDB_TOKEN", "INFLUXDB_ORG")


class InfluxDB:
    """A little of its API."""

    def __init__(self):
        self.url, self.token, self.org = (os.environ[name] for name in NEEDED)

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            f"{self.url}{path}",
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Authorization": f"Token {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")

    def bucket(self, name):
        return next((b for b in self.buckets() if b["name"] == name), None)

    def buckets(self):
        """All: a page has at most 100."""
        found, page = [], None
        while page is None or len(page) == 100:
            after = f"&after={page[-1]['id']}" if page else ""
            page = self.call("GET", f"/api/v2/buckets?limit=100&org={self.org}{after}")["buckets"]
            found += page
        return found

    def forget(self, namespaces):
        """Delete the buckets of these namespaces."""
        for bucket in self.buckets():
            if bucket["name"].startswith(tuple(f"{name}." for name in namespaces)):
                self.call("DELETE", f"/api/v2/buckets/{bucket['id']}")

    def tokens(self, uid):
        """A cohort's; those that were superseded are valid for some minutes still."""
        found = self.call("GET", f"/api/v2/authorizations?org={self.org}")["authorizations"]
        return [a for a in found if uid in a["description"]]

    def tokens_in_use(self, uid):
        return [a for a in self.tokens(uid) if "superseded:" not in a["description"]]


@pytest.fixture(scope="session")
def cluster():
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG is not set: a Kubernetes API server is needed")
    found = Cluster(os.environ["KUBECONFIG"])
    found.dynamic.server_side_apply(
        found.kind("apiextensions.k8s.io/v1/CustomResourceDefinition"),
        body=crd.load(),
        field_manager="holter-operator",
        force_conflicts=True,
        serialize=False,
    )
    return found


class PrometheusKinds:
    """prometheus-operator's own definitions, to be installed and removed."""

    def __init__(self, cluster, folder):
        self._cluster = cluster
        self._kind = cluster.kind("apiextensions.k8s.io/v1/CustomResourceDefinition")
        names = ("podmonitors", "prometheusrules", "servicemonitors")
        self._documents = [YAML(typ="safe").load(Path(folder) / f"monitoring.coreos.com_{name}.yaml") for name in names]

    def there(self):
        return [d for d in self._documents if self._cluster.get(CRD, None, d["metadata"]["name"])]

    def install(self):
        for document in self._documents:
            self._cluster.dynamic.server_side_apply(
                self._kind, body=document, field_manager="test", force_conflicts=True, serialize=False
            )
        wait(self._served, 30, "prometheus-operator's kinds are served")

    def remove(self):
        for document in self.there():
            self._cluster.delete(CRD, None, document["metadata"]["name"])

    def release(self):
        """Let go of what a test holds by a finalizer."""
        self.forget()
        for document in self.there():
            try:
                kind = self._cluster.kind(f"monitoring.coreos.com/v1/{document['spec']['names']['kind']}")
            except ResourceNotFoundError:  # it is on its way out already
                continue
            for held in kind.get(namespace=None).items:
                if held.metadata.finalizers:
                    body = {"metadata": {"finalizers": []}}
                    path = {"namespace": held.metadata.namespace, "name": held.metadata.name}
                    kind.patch(body=body, content_type="application/merge-patch+json", **path)

    def forget(self):
        """The client keeps what kinds there are in a file."""
        self._cluster.dynamic.resources.invalidate_cache()

    def _served(self):
        self.forget()
        try:
            return [
                self._cluster.kind(f"monitoring.coreos.com/v1/{d['spec']['names']['kind']}") for d in self._documents
            ]
        except ResourceNotFoundError:
            return None


@pytest.fixture
def prometheus_kinds():
    """Not installed yet, and gone afterwards."""
    missing = [name for name in ("KUBECONFIG", "HOLTER_PROMETHEUS_CRDS") if not os.environ.get(name)]
    if missing:
        pytest.skip(
            f"{', '.join(missing)} not set: an API server, and prometheus-operator's CRDs (scripts/prometheus-crds)"
        )
    found = PrometheusKinds(Cluster(os.environ["KUBECONFIG"]), os.environ["HOLTER_PROMETHEUS_CRDS"])
    if found.there():
        pytest.skip("prometheus-operator's kinds are installed here already: installing them cannot be tried")
    yield found
    found.release()
    found.remove()
    wait(lambda: not found.there(), 60, "prometheus-operator's kinds are gone")
    found.forget()


@pytest.fixture(scope="session")
def influxdb():
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        pytest.skip(f"{', '.join(missing)} not set: an InfluxDB is needed")
    return InfluxDB()


@pytest.fixture(scope="module")
def namespaces(cluster, influxdb):
    """Two, and nothing of them afterwards: neither in Kubernetes nor in InfluxDB."""
    names = [f"operator-{secrets.token_hex(4)}" for _ in range(2)]
    for name in names:
        cluster.core.create_namespace({"metadata": {"name": name}})
    yield names
    for name in names:
        cluster.core.delete_namespace(name)
    influxdb.forget(names)


@pytest.fixture(scope="module")
def connection(tmp_path_factory, influxdb):
    """The operator's own, as a mounted Secret."""
    folder = tmp_path_factory.mktemp("influxdb")
    for name, value in (("url", influxdb.url), ("org", influxdb.org), ("token", influxdb.token)):
        (folder / name).write_text(value)
    return folder


@pytest.fixture
def ns(namespaces, cluster, influxdb):
    """The first namespace, without cohorts and buckets afterwards."""
    yield namespaces[0]
    for namespace in namespaces:
        for each in cluster.cohorts.get(namespace=namespace).items:
            cluster.patch(COHORT, namespace, each.metadata.name, {"metadata": {"finalizers": []}})
            if not each.metadata.deletionTimestamp:
                cluster.delete(COHORT, namespace, each.metadata.name)
        key = {("Secret", "ward-device-key")}
        wait(lambda here=namespace, key=key: set(cluster.children(here)) <= key, 30, "the children are collected")
        if cluster.get("v1/Secret", namespace, "ward-device-key"):
            cluster.delete("v1/Secret", namespace, "ward-device-key")
    influxdb.forget(namespaces)


@pytest.fixture
def operator(tmp_path, ns, namespaces, connection):
    """Not started; of the two namespaces."""
    found = Operator(
        tmp_path,
        HOLTER_WATCH_NAMESPACES=",".join(namespaces),
        HOLTER_INFLUXDB=str(connection),
        HOLTER_DELETION_SECONDS="6",
    )
    yield found
    if found.process:
        found.kill()
