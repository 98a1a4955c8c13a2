"""From objects to processes: commands, variables, ports, probes, mounted files."""

from pathlib import Path

import pytest

from holter_operator.build.given import Component, Connection
from holter_operator.local.manifests import Machine, plan, port_wishes
from holter_operator.local.mounts import ManifestError
from holter_operator.local.specs import Probe

STATE = Path("/state")
PORTS = {
    "ingest.feed": 20003,
    "ingest.http": 8080,
    "ingest.udp": 8081,
    "ingest.metrics": 20001,
    "inference.metrics": 20002,
}
PAGER = {"kind": "Secret", "metadata": {"name": "pager"}, "stringData": {"secret": "s3"}}


def machine(store="sqlite:/state/store.db"):
    return Machine(state=STATE, holter=Path("/venv/bin/holter"), ports=PORTS, store=store)


def workload(kind="Deployment", *, pod=None, **container):
    base = {"name": "c", "command": ["holter", "ingest"]} | container
    spec = {"template": {"spec": {"containers": [base]} | (pod or {})}}
    return {"kind": kind, "metadata": {"name": "w", "namespace": "n"}, "spec": spec}


def only(documents, **kwargs):
    return plan(documents, machine(**kwargs)).processes[0]


def test_a_cohort_becomes_two_processes_and_a_refit(cohort, build):
    made = plan([*build(cohort), PAGER], machine())
    assert [p.name for p in made.processes] == ["ingest", "inference"]
    assert [p.argv for p in made.processes] == [("/venv/bin/holter", "ingest"), ("/venv/bin/holter", "infer")]
    assert [(c.process.argv[1:], c.schedule, c.timezone, c.suspend) for c in made.crons] == [
        (("refit",), "0 */4 * * *", "Etc/UTC", False)
    ]


def test_each_container_port_is_wished_for(cohort, build):
    assert [(w.key, w.number, w.udp) for w in port_wishes(build(cohort))] == [
        ("ingest.http", 8080, False),
        ("ingest.udp", 8081, True),
        ("ingest.metrics", 9090, False),
        ("ingest.feed", 9091, False),
        ("inference.metrics", 9090, False),
    ]


def test_variables_are_the_manifests_with_this_machines_paths(cohort, build):
    made = plan([*build(cohort), PAGER], machine())
    ingest, inference = (p.env for p in made.processes)
    assert ingest["HOLTER_CONFIG"] == "/state/mounts/ingest/etc/holter/config"
    assert ingest["HOLTER_DEVICE_KEYS"] == "/state/mounts/ingest/etc/holter/device-key"
    assert ingest["HOLTER_STATE"] == "/state/data/ingest/var/lib/holter"
    assert ingest["HOLTER_STORE"] == inference["HOLTER_STORE"] == "sqlite:/state/store.db"
    assert ingest["HOLTER_LISTEN"] == "127.0.0.1"
    assert {n: ingest[f"HOLTER_PORT_{n}"] for n in ("HTTP", "UDP", "METRICS")} == {
        "HTTP": "8080",
        "UDP": "8081",
        "METRICS": "20001",
    }
    assert inference["HOLTER_PORT_METRICS"] == "20002"
    assert ingest["HOLTER_PORT_FEED"] == "20003"
    assert inference["HOLTER_FEED_PEERS"] == "127.0.0.1:20003"
    assert inference["HOLTER_DEVICE_KEYS"] == "/state/mounts/inference/etc/holter/device-key"
    assert inference["HOLTER_POD"] == "ward-inference-0"
    assert inference["HOLTER_WEBHOOKS"] == "/state/mounts/inference/etc/holter/webhooks"
    assert made.crons[0].process.env["HOLTER_CANDIDATE"] == "file:/state/candidate"


def test_mounts_become_files_and_folders(cohort, build):
    made = plan([*build(cohort), PAGER], machine())
    volumes = {str(v.folder): v.files for v in made.volumes}
    assert volumes["/state/mounts/ingest/etc/holter/device-key"] == {"current": b"k" * 43}
    assert set(volumes["/state/mounts/inference/etc/holter/config"]) >= {"ingest.json", "inference.json"}
    assert volumes["/state/mounts/inference/etc/holter/webhooks"] == {"pager/secret": b"s3"}
    assert volumes["/state/mounts/inference/etc/holter/model"] == {}, "optional, and no model yet"
    assert Path("/state/data/ingest/var/lib/holter") in made.folders
    assert not any("influxdb" in folder or "serviceaccount" in folder for folder in volumes), "nothing names them"


def test_with_a_connection_the_secrets_values_are_used(cohort, build):
    connection = Connection(url="http://i", org="o", bucket="b", token="t")
    documents = build(cohort, influxdb=dict.fromkeys(Component, connection))
    made = plan(documents, machine(store=None))
    assert made.processes[0].env["HOLTER_STORE"] == "influxdb:/state/mounts/ingest/etc/holter/influxdb"
    volumes = {str(v.folder): v.files for v in made.volumes}
    assert volumes["/state/mounts/ingest/etc/holter/influxdb"] == {
        "url": b"http://i",
        "org": b"o",
        "bucket": b"b",
        "token": b"t",
    }


def test_a_missing_secret_is_named():
    pod = {"volumes": [{"name": "tls", "secret": {"secretName": "ward-tls"}}]}
    document = workload(
        pod=pod,
        env=[{"name": "HOLTER_TLS", "value": "/etc/holter/tls"}],
        volumeMounts=[{"name": "tls", "mountPath": "/etc/holter/tls"}],
    )
    with pytest.raises(ManifestError, match="Secret 'ward-tls' is not there: add it to the cohort's file"):
        plan([document], machine())


def test_probes_and_grace_are_the_manifests():
    document = workload(
        pod={"terminationGracePeriodSeconds": 65},
        ports=[{"name": "metrics", "containerPort": 9090}],
        livenessProbe={"httpGet": {"path": "/healthz", "port": "metrics"}, "periodSeconds": 7, "failureThreshold": 4},
        readinessProbe={"httpGet": {"path": "/readyz", "port": 1234}, "timeoutSeconds": 2, "initialDelaySeconds": 3},
    )
    document["metadata"]["labels"] = {"app.kubernetes.io/component": "ingest"}
    spec = only([document])
    assert spec.liveness == Probe(port=20001, path="/healthz", period=7, failures=4)
    assert spec.readiness == Probe(port=1234, path="/readyz", delay=3, timeout=2)
    assert (spec.startup, spec.grace) == (None, 65)


def test_variables_from_elsewhere():
    others = [
        {"kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "eA=="}},
        {"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"b": "y"}},
    ]
    env = [
        {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "a"}}},
        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "b"}}},
        {"name": "C", "valueFrom": {"secretKeyRef": {"name": "gone", "key": "a", "optional": True}}},
        {"name": "D", "value": "$(A)$(B)$(NONE)"},
        {"name": "E", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": "F", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]
    spec = only([workload(env=env, args=["--x=$(A)"]), *others])
    assert spec.env == {"A": "x", "B": "y", "C": "", "D": "xy$(NONE)", "E": "n", "F": "127.0.0.1"}
    assert spec.argv == ("/venv/bin/holter", "ingest", "--x=x")


@pytest.mark.parametrize(
    ("value", "here"),
    [
        ("/data", "/state/data/w/data"),
        ("--dir=/data/x", "--dir=/state/data/w/data/x"),
        ("influxdb:/secret/influx", "influxdb:/state/mounts/w/secret/influx"),
        ("/secret", "/state/mounts/w/secret"),
        ("/database", "/database"),
        ("http://data/x", "http://data/x"),
        ("a/data", "a/data"),
        ("/", "/"),
        ("", ""),
    ],
)
def test_only_mounted_paths_are_mapped(value, here):
    pod = {"volumes": [{"name": "d", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "s", "optional": True}}]}
    mounts = [{"name": "d", "mountPath": "/data"}, {"name": "s", "mountPath": "/secret/influx"}]
    assert only([workload(pod=pod, volumeMounts=mounts, env=[{"name": "V", "value": value}])]).env["V"] == here


def test_what_this_machine_cannot_run_is_refused_in_words():
    with pytest.raises(ManifestError, match="only `holter` is run"):
        plan([workload(command=["sh", "-c", "true"])], machine())
    with pytest.raises(ManifestError, match="only httpGet"):
        plan([workload(livenessProbe={"exec": {"command": ["true"]}})], machine())
    with pytest.raises(ManifestError, match="one container a pod"):
        plan([workload(pod={"containers": [{}, {}]})], machine())
    with pytest.raises(ManifestError, match="variable A: valueFrom"):
        plan([workload(env=[{"name": "A", "valueFrom": {"resourceFieldRef": {}}}])], machine())


def test_a_secret_that_is_no_base64_is_named():
    secret = {"kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "plain text"}}
    with pytest.raises(ManifestError, match=r"Secret s: data: base64 is expected .*stringData takes plain text"):
        plan([workload(), secret], machine())


def test_no_replicas_no_process():
    document = workload()
    document["spec"]["replicas"] = 0
    assert plan([document], machine()).processes == ()
