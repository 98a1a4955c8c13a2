"""The containers find what docs/architecture.md promises, and the services' own reader of it agrees."""

import pytest

from holter.settings import from_environment
from holter_operator.build.everything import objects


def environment(container):
    return {item["name"]: item.get("value", "pod-3") for item in container["env"]}


@pytest.fixture
def container(make, full, template):
    def pick(component, name="everything"):
        for each in objects(make(name), full):
            pod = template(each)
            if pod and pod["spec"]["containers"][0]["name"] == component:
                return pod["spec"]["containers"][0]
        raise LookupError(component)

    return pick


def test_ingest(container):
    built = container("ingest")
    assert built["command"] == ["holter", "ingest"]
    assert environment(built) == {
        "HOLTER_CONFIG": "/etc/holter/config",
        "HOLTER_STORE": "influxdb:/etc/holter/influxdb",
        "HOLTER_STATE": "/var/lib/holter",
        "HOLTER_DEVICE_KEYS": "/etc/holter/device-key",
        "HOLTER_TLS": "/etc/holter/tls",
        "HOLTER_LISTEN": "0.0.0.0",
        "HOLTER_PORT_HTTP": "8443",
        "HOLTER_PORT_UDP": "8444",
        "HOLTER_PORT_METRICS": "9090",
        "HOLTER_PORT_FEED": "9091",
        "HOLTER_FEED_PEERS": "cardiology-ward-ingest-headless.st-mary.svc:9091",
        "HOLTER_POD": "pod-3",
    }


def test_inference(container):
    built = container("inference")
    assert built["command"] == ["holter", "infer"]
    assert environment(built) == {
        "HOLTER_CONFIG": "/etc/holter/config",
        "HOLTER_STORE": "influxdb:/etc/holter/influxdb",
        "HOLTER_STATE": "/var/lib/holter",
        "HOLTER_MODEL": "/etc/holter/model",
        "HOLTER_WEBHOOKS": "/etc/holter/webhooks",
        "HOLTER_PROFILES": "/etc/holter/profiles/profiles.yaml",
        "HOLTER_DEVICE_KEYS": "/etc/holter/device-key",
        "HOLTER_FEED_PEERS": "cardiology-ward-ingest-headless.st-mary.svc:9091",
        "HOLTER_LISTEN": "0.0.0.0",
        "HOLTER_PORT_METRICS": "9090",
        "HOLTER_POD": "pod-3",
    }


def test_refit(container):
    built = container("refit")
    assert built["command"] == ["holter", "refit"]
    assert environment(built) == {
        "HOLTER_CONFIG": "/etc/holter/config",
        "HOLTER_STORE": "influxdb:/etc/holter/influxdb",
        "HOLTER_MODEL": "/etc/holter/model",
        "HOLTER_LISTEN": "0.0.0.0",
        "HOLTER_CANDIDATE": "configmap:st-mary/cardiology-ward-model-candidate",
    }
    assert "ports" not in built


@pytest.mark.parametrize("component", ["ingest", "inference", "refit", "console"])
def test_variables_lead_into_mounts(container, component):
    built = container(component)
    paths = [mount["mountPath"] for mount in built["volumeMounts"]]
    for name, value in environment(built).items():
        if "/" in value and name != "HOLTER_CANDIDATE":
            path = value.removeprefix("influxdb:")
            assert any(path == mount or path.startswith(f"{mount}/") for mount in paths), name


@pytest.mark.parametrize("component", ["ingest", "inference", "console"])
def test_every_named_port_has_its_variable_and_probes_ask_the_metrics_port(container, component):
    built = container(component)
    ports = {port["name"]: port["containerPort"] for port in built["ports"]}
    found = environment(built)
    assert {name: int(found[f"HOLTER_PORT_{name.upper()}"]) for name in ports} == ports
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert built[probe]["httpGet"] == {"path": path, "port": "metrics"}


@pytest.mark.parametrize("component", ["ingest", "inference", "refit", "console"])
def test_the_services_read_it(container, component):
    built = container(component)
    settings = from_environment(environment(built))
    assert settings.ports == {port["name"]: port["containerPort"] for port in built.get("ports", [])}
    assert str(settings.config) == "/etc/holter/config"


def test_a_service_of_the_namespace_puts_no_variable_beside_ours(make, full, template):
    """One named `holter` would: HOLTER_PORT_8080_TCP=tcp://…, which no service takes for a port."""
    pods = [pod for each in objects(make("everything"), full) if (pod := template(each))]
    assert [pod["spec"]["enableServiceLinks"] for pod in pods] == [False] * 4


def test_only_state_and_scratch_are_writable(container):
    for component in ("ingest", "inference", "refit", "console"):
        writable = {mount["name"] for mount in container(component)["volumeMounts"] if not mount.get("readOnly")}
        assert writable <= {"state", "tmp"}


def test_an_open_cohort_has_no_device_keys(make, bare, find, template):
    built = objects(make(access={"mode": "Open"}), bare)
    pod = template(find(built, "Deployment", "ward-ingest"))["spec"]["containers"][0]
    assert "HOLTER_DEVICE_KEYS" not in environment(pod)
    worker = template(find(built, "StatefulSet", "ward-inference"))["spec"]
    assert "HOLTER_DEVICE_KEYS" not in environment(worker["containers"][0])


def test_a_lost_device_key_keeps_no_worker_from_its_patients(make, bare, find, template):
    built = objects(make(), bare)
    worker = template(find(built, "StatefulSet", "ward-inference"))["spec"]
    (key,) = (v["secret"] for v in worker["volumes"] if v["name"] == "device-key")
    assert (key["secretName"], key["optional"]) == ("ward-device-key", True)
    ingest = template(find(built, "Deployment", "ward-ingest"))["spec"]
    (key,) = (v["secret"] for v in ingest["volumes"] if v["name"] == "device-key")
    assert "optional" not in key


def test_what_a_cohort_leaves_out_is_neither_mounted_nor_named(make, bare, find, template):
    built = objects(make(), bare)
    worker = template(find(built, "StatefulSet", "ward-inference"))["spec"]
    assert {"HOLTER_WEBHOOKS", "HOLTER_PROFILES"}.isdisjoint(environment(worker["containers"][0]))
    assert [volume["name"] for volume in worker["volumes"]] == [
        "config",
        "influxdb",
        "state",
        "model",
        "device-key",
        "tmp",
    ]
    ingest = template(find(built, "Deployment", "ward-ingest"))["spec"]["containers"][0]
    assert "HOLTER_TLS" not in environment(ingest)
