import json
import os
import secrets
import urllib.request

import pytest
from tests.operating import Cluster, Operator, wait

from holter_operator.api import crd

COHORT = f"{crd.API_VERSION}/{crd.KIND}"
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
