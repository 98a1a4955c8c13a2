"""A running ward: `holter up`, simulated patients, sick ones among them, and all that a dashboard shows happening."""

import http.server
import json
import math
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.rules.given import cohort

HOLTER = Path(sys.executable).with_name("holter")
READY_WITHIN = 240.0  # the first start on a machine compiles the hot path
COMPONENTS = ("ingest", "inference", "console")


class Receiver:
    """Takes webhooks, and refuses the first two: a failure to be counted."""

    def __init__(self):
        refusals = iter((503, 503))

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(next(refusals, 200))
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class Ward:
    """See the module; `influxdb` is a (url, org, bucket, token), or None for SQLite."""

    def __init__(self, folder, influxdb):
        self.folder, self.state, self.log = folder, folder / "state", folder / "up.log"
        self.receiver = Receiver()
        self.spec = {
            "storage": {"bucket": influxdb[2]} if influxdb else {},
            "alerting": {"webhooks": [{"name": "ward", "url": self.receiver.url}]},
            "refit": {"minWindows": 50, "lookback": "1h"},
        }
        document = {
            "apiVersion": "holter.dev/v1alpha1",
            "kind": "MonitoredCohort",
            "metadata": {"name": "ward", "namespace": "st-mary"},
            "spec": self.spec,
        }
        (folder / "ward.yaml").write_text(json.dumps(document))
        ports = [f"--port={name}=0" for name in ("http", "udp", "console.http")]
        names = ("url", "org", "bucket", "token")
        connection = [f"--influxdb-{name}={value}" for name, value in zip(names, influxdb or (), strict=False)]
        self.processes = []
        self.up = self._start(self.log, "up", folder / "ward.yaml", "--state", self.state, *ports, *connection)
        self.where = self._wait(self._addresses, READY_WITHIN, "ready")

    @property
    def cohort(self):
        return cohort(self.spec)

    def _start(self, log, *command):
        with log.open("w") as output:
            process = subprocess.Popen([HOLTER, *command], stdout=output, stderr=output, cwd=self.folder)
        self.processes.append(process)
        return process

    def _addresses(self):
        path = self.state / "endpoints.json"
        return json.loads(path.read_bytes()) if path.exists() else None

    def _wait(self, look, seconds, what):
        until = time.monotonic() + seconds
        while not (found := look()):
            assert self.up.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < until, f"not {what} within {seconds:g} s\n{self.log.read_text()[-3000:]}"
            time.sleep(0.3)
        return found

    def targets(self):
        """What a PodMonitor would have Prometheus scrape, with its labels."""
        for component in COMPONENTS:
            labels = {
                "namespace": "st-mary",
                "pod": f"ward-{component}-0",
                "app_kubernetes_io_instance": "ward",
                "app_kubernetes_io_component": component,
            }
            yield int(self.where["metrics"][component].rstrip("/").rpartition(":")[2].partition("/")[0]), labels

    def metric(self, component, pattern):
        with urllib.request.urlopen(f"{self.where['metrics'][component]}", timeout=10) as answer:
            values = re.findall(rf"^{pattern} (\S+)$", answer.read().decode(), re.MULTILINE)
        return sum(float(value) for value in values if not math.isnan(float(value)))

    def live(self):
        """Patients fall sick, a model is fitted, alerts are delivered and acknowledged, and some requests are bad."""
        past = ("--past", "120", "--onset", "15", "--lanes", "2")
        self._start(self.folder / "simulate.log", "simulate", "--state", self.state, *past)
        raised = r'holter_alerts_total\{.*priority="high".*\}'
        self._wait(lambda: self.metric("inference", raised) >= 1, 120, "an alert")
        self.up.send_signal(signal.SIGUSR1)
        delivered = r"holter_alert_delivery_seconds_count\{.*\}"
        self._wait(lambda: self.metric("inference", delivered) >= 1, 60, "delivered")
        for token, body in (("wrong", {"device_id": "bed01", "samples": [0.1]}), (None, {"device_id": "?"})):
            self._post(f"{self.where['ingest']}/ingest", body, token, (400, 401, 403))
        self._wait(lambda: self.metric("inference", r"holter_model_revision\{.*\}") >= 1, 90, "a model")
        time.sleep(3)  # scraped

    def acknowledge(self, alert):
        """As a nurse does at the console."""
        token = (Path(self.where["console_tokens"]) / "acknowledge").read_text().strip()
        url = f"{self.where['console']}/api/alerts/{alert}/acknowledgement"
        self._wait(lambda: self._post(url, {"by": "a nurse", "reason": "seen"}, token, (201, 404)) == 201, 60, "taken")

    def _post(self, url, body, token, expected):
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        request = urllib.request.Request(url, data=json.dumps(body).encode(), headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                code = answer.status
        except urllib.error.HTTPError as error:
            code = error.code
        assert code in expected
        return code

    def close(self):
        """End all of it."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(120)
        self.receiver.close()
