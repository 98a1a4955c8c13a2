"""The demo on the cluster of KUBECONFIG: the chart with an InfluxDB, a cohort, simulated patients, their alerts.

`python -m scripts.cluster_demo`, with IMAGE_PREFIX and IMAGE_TAG as `scripts/images` had them. DURATION in the
environment ends it after so many seconds, with exit code 0 if every sick patient and no healthy one was alerted on.
"""

import json
import os
import secrets
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from scripts.cluster import RESTRICTED, Kubectl, KubectlError, eventually, receiver, restricted

from holter_operator.local.demo.alerts import Alert, signed
from holter_operator.local.demo.outcome import Truths, rows
from holter_operator.local.demo.summary import table, verdict

ROOT = Path(__file__).parents[1]
SYSTEM, NAMESPACE, COHORT = "holter-system", "holter-demo", "demo"
LITTLE = {"resources": {"requests": {"cpu": "20m", "memory": "128Mi"}}}
"""Eight patients on a laptop's node."""
LEAST = 90
PAST, ONSET, REFIT_AFTER = 300, 35, 25
TRUTH = "/tmp/truth.json"  # noqa: S108 - the pod's own


class Demo:
    """One run."""

    def __init__(self) -> None:
        prefix, tag = os.environ.get("IMAGE_PREFIX", "docker.io/library/holter-"), os.environ.get("IMAGE_TAG", "dev")
        self.images = {half: {"repository": f"{prefix}{half}", "tag": tag} for half in ("operator", "services")}
        self.services = f"{prefix}services:{tag}"
        self.secret = secrets.token_urlsafe(32)
        self.kubectl = Kubectl()
        self.console = Console()
        self.alerts: dict[str, Alert] = {}
        self.refused: set[str] = set()

    def install(self) -> None:
        """The chart, with an InfluxDB that has no disk."""
        values = {
            "image": self.images["operator"],
            "services": {"image": self.images["services"]},
            "influxdb": {"install": True, "persistence": {"enabled": False}},
        }
        self.say("installing the chart")
        chart = str(ROOT / "charts" / "holter")
        command = ["helm", "upgrade", "--install", "holter", chart, "-n", SYSTEM, "--create-namespace", "--wait", "-f-"]
        subprocess.run(command, input=json.dumps(values), text=True, check=True, stdout=subprocess.DEVNULL)  # noqa: S603

    def start(self) -> None:
        """A cohort, a receiver of its alerts, and patients."""
        code = (ROOT / "scripts" / "receiver.py").read_text()
        spec = {
            "description": "Simulated patients",
            "ingest": LITTLE,
            "inference": LITTLE,
            "refit": {"minWindows": 200, **LITTLE},
            "alerting": {
                "webhooks": [
                    {"name": "ward", "url": f"http://receiver.{NAMESPACE}.svc:8080", "secretRef": {"name": "receiver"}}
                ]
            },
        }
        about = {"name": COHORT, "namespace": NAMESPACE}
        self.kubectl.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": RESTRICTED}}
        )
        self.kubectl.run("delete", "pod", "receiver", "patients", "-n", NAMESPACE, "--ignore-not-found")
        self.kubectl.apply(
            *receiver(NAMESPACE, self.services, code, self.secret),
            {"apiVersion": "holter.dev/v1alpha1", "kind": "MonitoredCohort", "metadata": about, "spec": spec},
        )
        self.kubectl.run("wait", "pod/receiver", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=120s")
        self.kubectl.run("wait", f"cohort/{COHORT}", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=180s")
        self.say("the cohort is ready: " + " ".join(self.kubectl.run("get", "cohorts", "-n", NAMESPACE).split()))

    def patients(self, duration: float | None) -> Truths:
        """Simulated patients in a pod of their own, and what is the case with each."""
        url = f"http://{COHORT}-ingest.{NAMESPACE}.svc:8080"
        command = ["holter", "simulate", "--url", url, "--keys", "/keys", "--truth", TRUTH]
        command += ["--past", str(PAST), "--onset", str(ONSET)]
        command += ["--duration", f"{duration:g}"] if duration else []
        mount, volume = {"name": "keys", "mountPath": "/keys"}, {"secretName": f"{COHORT}-device-key"}
        volumes = [{"name": "keys", "secret": volume}]
        self.kubectl.apply(restricted("patients", NAMESPACE, self.services, command, mounts=[mount], volumes=volumes))
        self.say(f"patients: {PAST} s of history first, for a first model; then the sick fall sick after {ONSET} s")

        def truth() -> str:
            return self.kubectl.run("exec", "patients", "-n", NAMESPACE, "--", "cat", TRUTH, check=False)

        return Truths.model_validate_json(eventually("the patients", truth, seconds=90, pause=1))

    def listen(self) -> None:
        """New alerts, from the receiver's log."""
        for line in self.kubectl.run("logs", "receiver", "-n", NAMESPACE).splitlines():
            message = json.loads(line)
            body = message["body"].encode()
            alert = Alert.model_validate_json(body)
            if alert.id in self.alerts or alert.id in self.refused:
                continue
            header = message["headers"].get("Holter-Signature", "")
            if not signed(self.secret.encode(), header, body, datetime.now(UTC)):
                self.refused.add(alert.id)
                continue
            self.alerts[alert.id] = alert
            self.say(f"{alert.device_id}: {alert.event} {alert.priority} {alert.kind}: {alert.reason}")

    def run(self, duration: float | None) -> bool:
        """All of it; whether all was as it should be."""
        self.install()
        self.start()
        truths = self.patients(duration)
        self.where()
        began, refitted = time.monotonic(), False
        try:
            while self.phase() == "Running":
                self.listen()
                if not refitted and time.monotonic() - began > REFIT_AFTER:
                    name = f"first-{secrets.token_hex(3)}"
                    job = ("create", "job", name, f"--from=cronjob/{COHORT}-refit", "-n", NAMESPACE)
                    self.kubectl.run(*job)
                    refitted = True
                time.sleep(1)
            time.sleep(3)  # for the last alerts on their way
        except KeyboardInterrupt:
            self.say("")
        self.listen()
        lines = rows(truths.truths, self.alerts.values(), datetime.now(UTC))
        self.console.print(table(lines))
        faults = [f"{len(self.refused)} alerts had no valid signature"] if self.refused else []
        if self.phase() == "Failed":
            faults.append("`holter simulate` failed: " + self.kubectl.run("logs", "patients", "-n", NAMESPACE)[-500:])
        wrong = verdict(lines, faults)
        for fault in wrong:
            self.console.print(f"[bold red]✗[/] {fault}")
        if not wrong:
            self.console.print("[green]✓[/] every sick patient was alerted on in time, and no healthy one")
        self.say(self.kubectl.run("get", "cohorts", "-n", NAMESPACE).rstrip())
        self.say(f"it runs on; to remove it: helm uninstall holter -n {SYSTEM}; kubectl delete ns {NAMESPACE} {SYSTEM}")
        return not wrong

    def phase(self) -> str:
        """The patients' pod's."""
        found = self.kubectl.get("pod", "patients", namespace=NAMESPACE)
        return str(found["status"]["phase"]) if found else "Failed"

    def where(self) -> None:
        """What to look at."""
        for service in (f"{COHORT}-console", f"{COHORT}-ingest"):
            if self.kubectl.get("service", service, namespace=NAMESPACE):
                self.say(f"kubectl -n {NAMESPACE} port-forward svc/{service} 8080 makes it http://127.0.0.1:8080")

    def say(self, line: str) -> None:
        """Print a line."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def main() -> int:
    """0 when all was as it should be."""
    text = os.environ.get("DURATION")
    duration = float(text) if text else None
    if duration is not None and not duration >= LEAST:
        sys.stderr.write(f"DURATION={text}: {LEAST} is the least\n")
        return 2
    try:
        return 0 if Demo().run(duration) else 1
    except (KubectlError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
