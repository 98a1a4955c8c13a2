"""A real Prometheus on 127.0.0.1."""

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

from tests.rules.given import tool

from holter.bench.services import free_port


class Prometheus:
    """Scrapes what it is told to, each second.

    Args:
        folder: its own.
        targets: (port, labels) of each.
        groups: rule groups.
    """

    def __init__(self, folder, targets, groups):
        folder.mkdir(exist_ok=True)
        (folder / "rules.yaml").write_text(json.dumps({"groups": groups}))
        scraped = [{"targets": [f"127.0.0.1:{port}"], "labels": labels} for port, labels in targets]
        document = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(folder / "rules.yaml")],
            "scrape_configs": [{"job_name": "holter", "static_configs": scraped}],
        }
        (folder / "prometheus.yaml").write_text(json.dumps(document))
        self.url = f"http://127.0.0.1:{free_port()}"
        options = {
            "config.file": folder / "prometheus.yaml",
            "storage.tsdb.path": folder / "data",
            "web.listen-address": self.url.removeprefix("http://"),
            "log.level": "warn",
        }
        self.log = folder / "prometheus.log"
        with self.log.open("w") as log:
            command = [tool("prometheus"), *(f"--{name}={value}" for name, value in options.items())]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until = time.monotonic() + 30
        while not self._ready():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.1)

    def _ready(self):
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def get(self, path, **parameters):
        """What its API answers."""
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path} {parameters}: {error.read().decode()}") from error

    def range(self, expression, seconds=60):
        """Every value of every series within the last seconds, by series."""
        end = time.time()
        found = self.get("query_range", query=expression, start=end - seconds, end=end, step=1)["result"]
        return {json.dumps(series["metric"]): [float(value) for _, value in series["values"]] for series in found}

    def close(self):
        """End it."""
        self.process.terminate()
        self.process.wait(30)
