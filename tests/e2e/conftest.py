"""A cluster with a node, the two images, real records; and what the steps share."""

import base64
import json
import os
import shutil
import subprocess
import sys
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from scripts.cluster import RESTRICTED, Kubectl, eventually, restricted
from scripts.cluster import receiver as webhook
from tests.e2e.prometheus import Prometheus
from tests.e2e.steps import SIGNING_KEY, SYSTEM, WARD

from holter.sim.recording import read

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A step that fails tells what the cluster says, before it is cleared up."""
    report = yield
    if report.failed and "kubectl" in item.funcargs:
        kubectl = Kubectl()
        for namespace in (WARD, SYSTEM):
            report.sections.append((namespace, kubectl.run("get", "pods,cohorts,jobs", "-n", namespace, check=False)))
            for each in kubectl.items("pods", namespace=namespace):
                name = each["metadata"]["name"]
                log = kubectl.run("logs", name, "-n", namespace, "--tail=15", check=False)
                report.sections.append((f"log of {name}", log))
    return report


@pytest.fixture(scope="session")
def kubectl():
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG is not set: a cluster with a node is needed")
    for command in ("kubectl", "helm"):
        if not shutil.which(command):
            pytest.skip(f"{command} is not on PATH")
    found = Kubectl()
    nodes = found.items("nodes")
    ready = [c for n in nodes for c in n["status"]["conditions"] if c["type"] == "Ready" and c["status"] == "True"]
    if not ready:
        pytest.skip(f"a Ready node is needed; this cluster has {len(nodes)} nodes and none is")
    return found


@pytest.fixture(scope="session")
def images():
    """Operator and services."""
    tag = os.environ.get("IMAGE_TAG", "dev")
    prefix = os.environ.get("IMAGE_PREFIX", "docker.io/library/holter-")
    return (f"{prefix}operator", f"{prefix}services"), tag


@pytest.fixture(scope="session")
def records():
    root = Path(os.environ.get("HOLTER_ECG") or ROOT.parent / "shared" / "ecg")
    if not root.is_dir():
        pytest.skip(f"{root} is not there: HOLTER_ECG has to name a folder with the records mitdb/ and vfdb/")
    return root


@pytest.fixture(scope="session")
def namespaces(kubectl):
    """Of the operator and of the cohorts, both under the restricted standard."""
    for name in (SYSTEM, WARD):
        kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}})
    yield SYSTEM, WARD
    if os.environ.get("KEEP"):
        return
    kubectl.run("delete", "cohorts", "--all", "-n", WARD, "--timeout=150s", "--ignore-not-found", check=False)
    subprocess.run(["helm", "uninstall", "holter", "-n", SYSTEM, "--wait"], capture_output=True, check=False)
    kubectl.run("delete", "namespace", SYSTEM, WARD, "--wait=false", "--ignore-not-found")


@pytest.fixture(scope="session")
def helm(images, namespaces):
    """Installs or upgrades the release with the values of these tests."""
    (operator, services), tag = images
    values = {
        "image": {"repository": operator, "tag": tag},
        "services": {"image": {"repository": services, "tag": tag}},
        "influxdb": {"install": True, "persistence": {"enabled": False}},
        "watchNamespaces": [WARD],  # by Roles alone; `make cluster-demo` watches the whole cluster
    }

    def run(command, **more):
        merged = json.dumps({**values, **more})
        done = subprocess.run(
            [
                "helm",
                command,
                "holter",
                ROOT / "charts" / "holter",
                "-n",
                SYSTEM,
                "--wait",
                "--timeout=120s",
                "-f",
                "-",
            ],
            input=merged,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def pod():
    return restricted


@pytest.fixture(scope="session")
def prometheus(kubectl, namespaces, tmp_path_factory):
    """Scrapes all of Holter's pods from now on."""
    if not shutil.which("prometheus"):
        pytest.skip("prometheus is not on PATH: Debian's package of that name")
    kubeconfig = Path(os.environ["KUBECONFIG"]).resolve()
    listed = lambda: [each for name in namespaces for each in kubectl.items("pods", namespace=name)]  # noqa: E731
    found = Prometheus(kubeconfig, tmp_path_factory.mktemp("prometheus"), listed)
    yield found
    found.stop()


@pytest.fixture(scope="session")
def receiver(kubectl, images, namespaces):
    """A webhook receiver; answers the messages that it got so far."""
    (_, services), tag = images
    kubectl.apply(*webhook(WARD, f"{services}:{tag}", (ROOT / "scripts" / "receiver.py").read_text(), SIGNING_KEY))
    kubectl.run("wait", "pod/receiver", "-n", WARD, "--for=condition=Ready", "--timeout=60s")
    return lambda: [json.loads(line) for line in kubectl.run("logs", "receiver", "-n", WARD).splitlines()]


@pytest.fixture(scope="session")
def toolbox(kubectl, images, namespaces):
    """Runs a command of toolbox.py in a pod with the cohort's device key and the worker's connection to InfluxDB."""
    (_, services), tag = images
    secrets = {"keys": "ward-device-key", "influxdb": "ward-influxdb-inference"}
    kubectl.apply(
        restricted(
            "toolbox",
            WARD,
            f"{services}:{tag}",
            ["sleep", "infinity"],
            mounts=[{"name": name, "mountPath": f"/{name}", "readOnly": True} for name in secrets],
            volumes=[{"name": name, "secret": {"secretName": secret}} for name, secret in secrets.items()],
        )
    )
    kubectl.run("wait", "pod/toolbox", "-n", WARD, "--for=condition=Ready", "--timeout=60s")

    def put(path, content):
        kubectl.run("exec", "-i", "toolbox", "-n", WARD, "--", "sh", "-c", f"cat > {path}", stdin=content)

    def run(*arguments, stdin=None):
        command = ("toolbox", "-n", WARD, "--", "python", "/tmp/toolbox.py", *arguments)
        # What was logged on the way comes before the answer.
        return json.loads(kubectl.run("exec", "-i", *command, stdin=stdin).splitlines()[-1])

    put("/tmp/toolbox.py", (HERE / "toolbox.py").read_text())
    run.put = put
    return run


@pytest.fixture(scope="session")
def replay(toolbox, records):
    """Sends stretches of records through the Service: {device: (record, start, seconds)}."""

    def run(transport, stretches, speed):
        content = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of wfdb's dependencies
            for device, (record, start, seconds) in stretches.items():
                found = read(records / record, start=start, seconds=seconds)
                content[device] = np.rint(np.nan_to_num(found.millivolts) * 1000).astype(np.int16)
                content[f"{device}.fs"] = np.float64(found.fs)
        buffer = BytesIO()
        np.savez(buffer, **content)
        toolbox.put("/tmp/records.npz", buffer.getvalue())
        counts = toolbox("replay", transport, f"ward-ingest.{WARD}.svc", speed, "/tmp/records.npz")
        chunks = sum(-(-len(content[each]) // int(content[f"{each}.fs"])) for each in stretches)
        samples = sum(len(content[each]) for each in stretches)
        assert counts == {"acknowledged": chunks, "refused": 0, "waiting": 0}
        return samples

    return run


@pytest.fixture(scope="session")
def metrics(toolbox):
    """Samples of a pod's /metrics, as (name, labels, value)."""

    def run(pod):
        address = pod["status"]["podIP"]
        host = f"[{address}]" if ":" in address else address
        families = text_string_to_metric_families(toolbox("get", f"http://{host}:9090/metrics"))
        return [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]

    return run


@pytest.fixture(scope="session")
def plugin(kubectl):
    """`kubectl holter …` as JSON, with the exit code that it has to have; None: whichever."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # where kubectl finds its plugins

    def run(*arguments, code=0):
        command = ["kubectl", "holter", *map(str, arguments), "-n", WARD, "-o", "json"]
        done = subprocess.run(
            command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False, timeout=240
        )
        assert code is None or done.returncode == code, (
            f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def buckets(kubectl, toolbox):
    """InfluxDB's buckets, by name."""

    def run():
        secret = kubectl.get("secret", "holter-influxdb", namespace=SYSTEM)["data"]
        connection = {key: base64.b64decode(secret[key]).decode() for key in ("url", "token")}
        found = toolbox("influxdb", "/api/v2/buckets?limit=100", stdin=json.dumps(connection))
        return {bucket["name"]: bucket for bucket in found["buckets"]}

    return run


@pytest.fixture(scope="session")
def condition(kubectl):
    """A cohort's condition at its newest generation, or None."""

    def run(cohort, kind):
        found = kubectl.get("cohort", cohort, namespace=WARD) or {}
        return next(
            (
                each
                for each in found.get("status", {}).get("conditions", ())
                if each["type"] == kind and each["observedGeneration"] == found["metadata"]["generation"]
            ),
            None,
        )

    return run


@pytest.fixture(scope="session")
def settled(condition):
    """Waits until a cohort is Ready as it is written."""

    def run(cohort, seconds):
        def look():
            found = condition(cohort, "Ready")
            return found if found and found["status"] == "True" else None

        return eventually(f"cohort {cohort} Ready", look, seconds=seconds, pause=0.25)

    return run


@pytest.fixture(scope="session")
def pods(kubectl):
    """A component's pods that are not on their way out."""

    def run(component, namespace=WARD):
        found = kubectl.items("pods", namespace=namespace, labels=f"app.kubernetes.io/component={component}")
        return [each for each in found if "deletionTimestamp" not in each["metadata"]]

    return run


@pytest.fixture(scope="session")
def running(pods):
    """UIDs of components' pods; of all that keep running, where none is named."""

    def run(*components):
        parts = components or ("ingest", "inference")
        return {each["metadata"]["uid"] for component in parts for each in pods(component)}

    return run
