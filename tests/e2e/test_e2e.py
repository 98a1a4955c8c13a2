"""The whole of it on real pods, step by step: each builds on the one before, so the first that fails ends it.

This file, test_kubectl.py, test_queries.py and test_unwell_and_gone.py are run in this order, on one installation.
"""

import hashlib
import hmac
import json
import time

import pytest
from scripts.cluster import KubectlError, eventually
from tests.e2e.steps import LITTLE, SIGNING_KEY, SYSTEM, WARD, cohort, said

RECEIVER = f"http://receiver.{WARD}.svc:8080"
READY = 30
"""Seconds in which a cohort is to be Ready with the images on the node."""
RELOAD = 150
"""Seconds that a kubelet may take to bring a changed ConfigMap into a pod."""

pytestmark = pytest.mark.timeout(420)


def webhook(name, **more):
    return {"name": name, "url": f"{RECEIVER}/{name}", **more}


@pytest.mark.parametrize(("half", "own", "foreign"), [(0, "validate", "ingest"), (1, "ingest", "validate")])
def test_an_image_holds_its_half_alone(kubectl, images, namespaces, pod, half, own, foreign):
    repositories, tag = images
    libraries = [("kopf", "kubernetes"), ("numba", "sklearn")]
    script = f"""
from importlib.util import find_spec
from shutil import which
import os, subprocess
assert all(find_spec(name) for name in {libraries[half]}), "it lacks its own libraries"
assert not any(find_spec(name) for name in {libraries[1 - half]}), "it has the other half's libraries"
assert not which("cc") and not which("gcc"), "it has a compiler"
assert os.getuid() != 0 and not os.access("/opt/holter", os.W_OK)
print(subprocess.run(["holter", "--help"], capture_output=True, text=True, check=True).stdout)
"""
    name = f"image-{half}"
    kubectl.run("delete", "pod", name, "-n", WARD, "--ignore-not-found")
    kubectl.apply(pod(name, WARD, f"{repositories[half]}:{tag}", ["python", "-c", script]))

    def ended():
        found = kubectl.get("pod", name, namespace=WARD)
        waiting = [each["state"].get("waiting", {}) for each in found["status"].get("containerStatuses", ())]
        if any("Image" in each.get("reason", "") for each in waiting):
            pytest.skip(f"image {repositories[half]}:{tag} cannot be had: make images")
        return found["status"]["phase"] in ("Succeeded", "Failed") and found["status"]["phase"]

    phase = eventually(f"pod {name}", ended, seconds=90)
    log = kubectl.run("logs", name, "-n", WARD)
    assert phase == "Succeeded", log
    assert own in log
    assert foreign not in log


def test_install(kubectl, helm, prometheus, capsys):
    began = time.monotonic()
    notes = helm("install")
    said(capsys, f"helm install --wait: {time.monotonic() - began:.1f} s")
    assert "kubectl apply" in notes
    assert kubectl.get("crd", "monitoredcohorts.holter.dev")


def test_a_cohort_is_ready(kubectl, receiver, settled, capsys):
    spec = {
        "ingest": LITTLE,
        "inference": {"replicas": 2, **LITTLE},
        "refit": {"lookback": "1h", "minWindows": 200, **LITTLE},
        "alerting": {"webhooks": [webhook("ward", secretRef={"name": "receiver"})]},
    }
    began = time.monotonic()
    kubectl.apply(cohort("ward", **spec))
    settled("ward", READY)
    said(capsys, f"apply to Ready: {time.monotonic() - began:.1f} s")
    table = kubectl.run("get", "cohorts", "-n", WARD)
    assert [line.split()[:3] for line in table.splitlines()[1:]] == [["ward", "Ready", "True"]]
    assert kubectl.run("scale", "cohort/ward", "-n", WARD, "--replicas=2")


def test_restricted_pod_security_is_enforced(kubectl, namespaces, pod, images):
    """Or all that went before proves little."""
    (_, services), tag = images
    wrong = pod("wrong", WARD, f"{services}:{tag}", ["true"], hostNetwork=True)
    with pytest.raises(KubectlError, match="violates PodSecurity"):
        kubectl.apply(wrong)


def test_real_ecg_is_taken_in_over_http_and_udp(replay, pods, metrics, capsys):
    over = {
        "http": replay("http", {"vf-426": ("vfdb/426", 590, 110)}, 4),
        "udp": replay("udp", {"vf-424": ("vfdb/424", 1180, 130)}, 4),
    }
    said(capsys, f"samples sent: {over}")
    found = [sample for each in pods("ingest") for sample in metrics(each)]
    assert sum(value for name, _, value in found if name == "holter_ingest_samples_total") == sum(over.values())
    taken = {labels["transport"] for name, labels, value in found if name == "holter_ingest_requests_total" and value}
    assert taken == set(over)


@pytest.mark.parametrize("device", ["vf-426", "vf-424"])
def test_an_alert_reaches_the_receiver_and_influxdb(toolbox, receiver, device, capsys):
    def high():
        for message in receiver():
            body = json.loads(message["body"])
            if (body["device_id"], body["category"], body["priority"]) == (device, "physiological", "high"):
                return message, body
        return None

    message, body = eventually(f"an alert on {device}", high, seconds=90)
    said(capsys, f"{device}: {body['kind']}: {body['reason']}")
    assert (body["cohort"], body["namespace"]) == ("ward", WARD)
    fields = dict(each.split("=") for each in message["headers"]["Holter-Signature"].split(","))
    signed = f"{fields['t']}.{message['body']}".encode()
    assert hmac.new(SIGNING_KEY.encode(), signed, hashlib.sha256).hexdigest() == fields["v1"]
    query = f"""from(bucket: "{WARD}.ward") |> range(start: -2h)
      |> filter(fn: (r) => r._measurement == "ecg_alert" and r.device_id == "{device}" and r._field == "priority")"""
    rows = eventually("the alert in InfluxDB", lambda: toolbox("flux", "/influxdb", query), seconds=30)
    assert "high" in {row["_value"] for row in rows}


def test_a_refit_is_accepted_and_a_worker_takes_it_up(kubectl, replay, pods, metrics, capsys):
    ward = ("101", "106", "109", "112", "114", "115", "119", "122", "124", "203", "207", "208")
    replay("binary", {f"bed-{name}": (f"mitdb/{name}", 300, 300) for name in ward}, 15)
    kubectl.run("create", "job", "by-hand", "--from=cronjob/ward-refit", "-n", WARD)
    kubectl.run("wait", "job/by-hand", "-n", WARD, "--for=condition=Complete", "--timeout=120s")

    def model():
        return (kubectl.get("cohort", "ward", namespace=WARD)["status"].get("model") or {}).get("revision")

    revision = eventually("a revision in status", model, seconds=60)
    assert kubectl.get("configmap", f"ward-model-r{revision}", namespace=WARD)["immutable"] is True

    def taken_up():
        found = [sample for each in pods("inference") for sample in metrics(each)]
        return {value for name, _, value in found if name == "holter_model_revision"} == {float(revision)}

    began = time.monotonic()
    eventually("the revision in a worker", taken_up, seconds=RELOAD, pause=2)
    said(capsys, f"revision {revision} at work {time.monotonic() - began:.0f} s after status said so")


def test_an_edit_takes_effect_and_rolls_only_what_changed(kubectl, settled, running, buckets):
    before = running()
    spec = {
        "ingest": {"replicas": 1},
        "storage": {"retention": "48h"},
        "alerting": {
            "falseAlertsPerPatientDay": 5,
            "webhooks": [webhook("ward", secretRef={"name": "receiver"}), webhook("archive")],
        },
    }
    kubectl.run("patch", "cohort/ward", "-n", WARD, "--type=merge", "-p", json.dumps({"spec": spec}))
    settled("ward", 60)
    rules = lambda: buckets()[f"{WARD}.ward"]["retentionRules"]  # noqa: E731
    eventually("the retention", lambda: rules()[0]["everySeconds"] == 48 * 3600, seconds=15)
    eventually("one ingest pod less", lambda: len(running()) == len(before) - 1, seconds=90)
    assert running() < before, "a pod was rolled"
    config = json.loads(kubectl.get("configmap", "ward-config", namespace=WARD)["data"]["refit.json"])
    assert config["falseAlertsPerPatientDay"] == 5


def test_a_new_webhook_is_told(kubectl, replay, receiver, pods):
    def mounted():
        command = ("-n", WARD, "--", "cat", "/etc/holter/config/inference.json")
        return all("archive" in kubectl.run("exec", each["metadata"]["name"], *command) for each in pods("inference"))

    eventually("the setting in the pods", mounted, seconds=RELOAD, pause=2)
    time.sleep(3)  # they look at their files each second or two
    replay("websocket", {"vf-430": ("vfdb/430", 374, 60)}, 4)

    def paths():
        return {each["path"] for each in receiver() if json.loads(each["body"])["device_id"] == "vf-430"}

    eventually("both webhooks", lambda: paths() == {"/ward", "/archive"}, seconds=60)


def test_a_setting_that_needs_a_restart_rolls_its_component(kubectl, settled, running):
    ingest, inference = running("ingest"), running("inference")
    spec = {"inference": {"resources": {"requests": {"cpu": "20m", "memory": "200Mi"}}}}
    kubectl.run("patch", "cohort/ward", "-n", WARD, "--type=merge", "-p", json.dumps({"spec": spec}))
    settled("ward", 120)
    assert running("ingest") == ingest
    assert not running("inference") & inference


def test_an_operator_upgrade_rolls_no_cohorts_pod(kubectl, helm, pods, running, settled):
    secret = kubectl.get("secret", "holter-influxdb", namespace=SYSTEM)["data"]
    operator, before = pods("operator", SYSTEM), running()
    helm("upgrade", operator={"logLevel": "debug"})
    settled("ward", 60)
    now = {each["metadata"]["uid"] for each in pods("operator", SYSTEM)}
    assert now.isdisjoint(each["metadata"]["uid"] for each in operator)
    time.sleep(5)  # a first pass over what it found
    assert running() == before
    assert kubectl.get("secret", "holter-influxdb", namespace=SYSTEM)["data"] == secret


EVERYWHERE = {"process_resident_memory_bytes", "process_cpu_seconds_total"}
EXPECTED = {
    "ingest": {
        "holter_ingest_requests_total",
        "holter_ingest_samples_total",
        "holter_ingest_request_seconds_count",
        "holter_ingest_wal_bytes",
        "holter_ingest_datagrams_dropped_total",
        "holter_ingest_rejected_total",
        "holter_gap_samples_total",
        "holter_late_chunks_total",
        "holter_store_write_seconds_count",
        "holter_store_errors_total",
        "holter_feed_dropped_chunks_total",
    },
    "inference": {
        "holter_inference_cycle_seconds_count",
        "holter_inference_windows_total",
        "holter_inference_patients",
        "holter_shards_unowned",
        "holter_sample_to_decision_seconds_count",
        "holter_alerts_total",
        "holter_alert_delivery_seconds_count",
        "holter_alert_delivery_failures_total",
        "holter_model_revision",
        "holter_model_age_seconds",
    },
    "operator": {
        "holter_operator_reconcile_total",
        "holter_operator_reconcile_seconds_count",
        "holter_operator_cohorts",
        "holter_operator_api_calls_total",
        "holter_operator_writes_total",
        "holter_refit_seconds",
        "holter_refit_windows",
    },
    "console": set(),
}


@pytest.mark.parametrize("component", EXPECTED)
def test_prometheus_has_every_series(prometheus, component):
    found = prometheus.names(component)
    assert (EXPECTED[component] | EVERYWHERE) - found == set()
    series = prometheus.get("series", **{"match[]": f'{{app_kubernetes_io_component="{component}"}}'})
    assert not {label for each in series for label in each} & {"device", "device_id"}


def test_prometheus_scrapes_every_pod_and_tells_what_went_through(prometheus, pods, capsys):
    running = {each["metadata"]["name"] for part in ("ingest", "inference", "console") for each in pods(part)}
    running |= {each["metadata"]["name"] for each in pods("operator", SYSTEM)}
    eventually(
        "all pods are scraped",
        lambda: {p for p, (h, _) in prometheus.targets().items() if h == "up"} >= running,
        seconds=20,
    )
    # Pods that have ended count too: their series were scraped while they were there.
    ((_, samples),) = prometheus.query("sum(max_over_time(holter_ingest_samples_total[30m]))")
    ((_, alerts),) = prometheus.query('sum(max_over_time(holter_alerts_total{priority="high"}[30m]))')
    said(capsys, f"Prometheus: {samples:.0f} samples taken in, {alerts:.0f} high alerts")
    assert samples > 100_000
    assert alerts > 0


def test_the_operators_rights_were_enough(kubectl, pods, metrics):
    (operator,) = pods("operator", SYSTEM)
    refused = {
        (labels["kind"], labels["verb"])
        for name, labels, _ in metrics(operator)
        if name == "holter_operator_api_calls_total" and labels["code"] in ("401", "403")
    }
    assert refused == set()
    log = kubectl.run("logs", "deployment/holter-operator", "-n", SYSTEM)
    assert "forbidden" not in log.lower(), log
