"""`holter operate` as a process against a real API server, and what the tests do to its cohorts."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from kubernetes import client, config, dynamic
from kubernetes.dynamic.exceptions import NotFoundError

from holter_operator.api import crd

ROOT = Path(__file__).parents[1]
HOLTER = ROOT / ".venv" / "bin" / "holter"
KINDS = (
    "v1/ServiceAccount",
    "rbac.authorization.k8s.io/v1/Role",
    "rbac.authorization.k8s.io/v1/RoleBinding",
    "networking.k8s.io/v1/NetworkPolicy",
    "v1/Secret",
    "v1/ConfigMap",
    "v1/Service",
    "policy/v1/PodDisruptionBudget",
    "apps/v1/Deployment",
    "apps/v1/StatefulSet",
    "autoscaling/v2/HorizontalPodAutoscaler",
    "batch/v1/CronJob",
)


def candidate_numbers(arrays, **changes):
    """`model.json` of a candidate that the gate accepts, but for `changes`."""
    return {
        "format": 1,
        "revision": 0,
        "trainedAt": "2026-01-01T00:00:00Z",
        "windows": 900,
        "usable": 800,
        "kept": 780,
        "features": ["hr"],
        "threshold": 3.0,
        "offset": -0.5,
        "bytes": len(arrays),
        "flagRate": 0.01,
        "scoreQuantiles": {"p50": 0.1, "p90": 0.5, "p99": 1.0},
        "sha256": sha256(arrays).hexdigest(),
        "refitSeconds": 12.5,
    } | changes


class Cluster:
    """What the tests do."""

    def __init__(self, kubeconfig):
        self.api = config.new_client_from_config(kubeconfig)
        self.dynamic = dynamic.DynamicClient(self.api)
        self.core = client.CoreV1Api(self.api)

    def kind(self, name):
        api_version, _, kind = name.rpartition("/")
        return self.dynamic.resources.get(api_version=api_version, kind=kind)

    @property
    def cohorts(self):
        return self.kind(f"{crd.API_VERSION}/{crd.KIND}")

    def get(self, kind, namespace, name):
        try:
            return self.kind(kind).get(namespace=namespace, name=name).to_dict()
        except NotFoundError:
            return None

    def patch(self, kind, namespace, name, body, manager="somebody", **options):
        return self.kind(kind).patch(
            namespace=namespace,
            name=name,
            body=body,
            content_type="application/merge-patch+json",
            field_manager=manager,
            **options,
        )

    def delete(self, kind, namespace, name):
        self.kind(kind).delete(namespace=namespace, name=name)

    def cohort(self, namespace, name="ward", **spec):
        """Make one whose pods find no node, so that the tests say how they are."""
        for component in ("ingest", "inference", "refit", "console"):
            spec[component] = {"nodeSelector": {"holter.dev/none": "here"}, **spec.get(component, {})}
        document = {
            "apiVersion": crd.API_VERSION,
            "kind": crd.KIND,
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
        made = self.cohorts.create(namespace=namespace, body=document)
        self.uid = made.metadata.uid
        return made

    def spec(self, namespace, name="ward", **spec):
        self.patch(f"{crd.API_VERSION}/{crd.KIND}", namespace, name, {"spec": spec})

    def status(self, namespace, name="ward"):
        found = self.get(f"{crd.API_VERSION}/{crd.KIND}", namespace, name)
        return (found or {}).get("status") or {}

    def condition(self, namespace, kind, name="ward"):
        return next((c for c in self.status(namespace, name).get("conditions", ()) if c["type"] == kind), {})

    def children(self, namespace, name="ward"):
        """Resource versions by kind and name, of all children."""
        found = {}
        for kind in KINDS:
            for each in self.kind(kind).get(namespace=namespace, label_selector=f"holter.dev/cohort={name}").items:
                found[kind.rpartition("/")[2], each.metadata.name] = each.metadata.resourceVersion
        return found

    def events(self, namespace, reason):
        """What was told of the cohort that was made last."""
        listed = self.core.list_namespaced_event(namespace, field_selector=f"involvedObject.uid={self.uid}").items
        return [each.message for each in listed if each.reason == reason]

    def run_pods(self, namespace, name="ward"):
        """No node runs pods here: say that they are ready, as their controllers would."""
        ready = ("Ready", "ContainersReady", "PodScheduled")
        conditions = [{"type": each, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"} for each in ready]
        selector = f"holter.dev/cohort={name},app.kubernetes.io/component!=refit"
        for pod in self.core.list_namespaced_pod(namespace, label_selector=selector).items:
            if pod.status.phase != "Running":
                body = {"status": {"phase": "Running", "conditions": conditions}}
                self.core.patch_namespaced_pod_status(pod.metadata.name, namespace, body)
        return self.condition(namespace, "Ready", name).get("status") == "True"

    def candidate(self, namespace, name="ward", *, arrays=b"arrays", **changes):
        """Leave a candidate as the refit Job does."""
        document = candidate_numbers(arrays, **changes)
        body = {"data": {"model.json": json.dumps(document)}, "binaryData": {"model.npz": b64encode(arrays).decode()}}
        self.patch("v1/ConfigMap", namespace, f"{name}-model-candidate", body, manager="holter-refit")

    def pods(self, namespace, component, name="ward"):
        selector = f"app.kubernetes.io/component={component},app.kubernetes.io/instance={name}"
        return [p.metadata.name for p in self.core.list_namespaced_pod(namespace, label_selector=selector).items]


def wait(until, seconds=15.0, what=""):
    """Wait until a function gives something true, and give it."""
    end = time.monotonic() + seconds
    while True:
        found = until()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what or until}; last {found!r}")
        time.sleep(0.1)


class Operator:
    """The process. `stop` ends it as Kubernetes does, `kill` as a crash does."""

    def __init__(self, folder, **environment):
        self._folder = folder
        self._environment = environment
        self._runs = 0
        self.process = None

    def start(self):
        self._runs += 1
        self.log = self._folder / f"operator-{self._runs}.log"
        environment = {
            **os.environ,
            "HOLTER_LISTEN": "127.0.0.1",
            "HOLTER_PORT_METRICS": "0",
            **self._environment,
        }
        with self.log.open("w") as log:
            self.process = subprocess.Popen([HOLTER, "operate"], stderr=log, stdout=log, env=environment)
        wait(lambda: self.port, 30, "the operator serves")
        return self

    @property
    def port(self):
        """Of its metrics and probes: another after it began anew; None before it serves."""
        assert self.process.poll() is None, self.log.read_text()
        told = [
            json.loads(line) for line in self.log.read_text().splitlines() if '"serving"' in line and line[-1] == "}"
        ]
        return told[-1]["port"] if told else None

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, self.log.read_text()[-3000:]

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(10)

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return answer.read().decode()

    def metric(self, name, **labels):
        """The sum of all series with these labels."""
        total, found = 0.0, False
        for line in self.get("/metrics").splitlines():
            match = re.fullmatch(rf"{name}(?:{{(.*)}})? (\S+)", line)
            if match and all(f'{k}="{v}"' in (match[1] or "") for k, v in labels.items()):
                total, found = total + float(match[2]), True
        assert found, f"no series {name} {labels}"
        return total

    def faults(self):
        """What the operator says is its own fault."""
        return [line for line in self.log.read_text().splitlines() if '"level": "error"' in line or "Traceback" in line]
