"""A Prometheus of the tests' own, which finds pods by the labels that the PodMonitor goes by.

It scrapes through the API server's proxy, so that it needs no address of a pod: it works wherever kubectl does.
"""

import base64
import contextlib
import json
import subprocess
import threading
import time
import urllib.parse
import urllib.request

from ruamel.yaml import YAML
from scripts.cluster import KubectlError, eventually

PORT = 19090
PORT_NAME = "metrics"


def credentials(kubeconfig, folder):
    """Of the kubeconfig's current context: how Prometheus says it."""
    document = YAML(typ="safe").load(kubeconfig.read_text())
    named = lambda kind, name: next(e[kind] for e in document[f"{kind}s"] if e["name"] == name)  # noqa: E731
    context = named("context", document["current-context"])
    cluster, user = named("cluster", context["cluster"]), named("user", context["user"])
    tls, token = {}, user.get("token")
    for source, name, target in (
        (cluster, "certificate-authority", "ca_file"),
        (user, "client-certificate", "cert_file"),
        (user, "client-key", "key_file"),
    ):
        if f"{name}-data" in source:
            tls[target] = str(folder / name)
            (folder / name).write_bytes(base64.b64decode(source[f"{name}-data"]))
        elif name in source:
            tls[target] = source[name]
    return cluster["server"], {"tls_config": tls} | ({"authorization": {"credentials": token}} if token else {})


def configuration(kubeconfig, folder):
    server, access = credentials(kubeconfig, folder)
    host = urllib.parse.urlsplit(server).netloc
    job = {
        "job_name": "pods",
        "scheme": "https",
        **access,
        "file_sd_configs": [{"files": [str(folder / "targets.json")], "refresh_interval": "1s"}],
        "relabel_configs": [{"target_label": "__address__", "replacement": host}],
    }
    return {"global": {"scrape_interval": "2s", "scrape_timeout": "2s"}, "scrape_configs": [job]}


def targets(pods):
    """Of the pods that a PodMonitor would scrape: its port by name, and the labels that it copies."""
    found = []
    for pod in pods:
        ports = [p for c in pod["spec"]["containers"] for p in c.get("ports", ()) if p.get("name") == PORT_NAME]
        metadata = pod["metadata"]
        labels = metadata.get("labels", {})
        if ports and labels.get("app.kubernetes.io/part-of") == "holter":
            path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}:{ports[0]['containerPort']}"
            copied = {f"app_kubernetes_io_{n}": labels[f"app.kubernetes.io/{n}"] for n in ("instance", "component")}
            own = {
                "pod": metadata["name"],
                "namespace": metadata["namespace"],
                "__metrics_path__": f"{path}/proxy/metrics",
            }
            if labels["app.kubernetes.io/component"] == "operator":
                own["service"] = "holter-operator"  # the chart's ServiceMonitor goes by its Service
            # The address stands for the pod until it is replaced by the API server's.
            found.append({"targets": [f"{metadata['name']}:9090"], "labels": own | copied})
    return found


class Prometheus:
    """The process, and a thread that tells it which pods there are: Debian's finds none by itself."""

    def __init__(self, kubeconfig, folder, pods):
        (folder / "prometheus.json").write_text(json.dumps(configuration(kubeconfig, folder)))
        with (folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={folder / 'prometheus.json'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{PORT}",
                ],
                stdout=log,
                stderr=log,
            )
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell, args=(folder / "targets.json", pods), daemon=True)
        self._thread.start()
        try:
            eventually("Prometheus", self._ready, seconds=30)
        except AssertionError as error:
            self.stop()
            raise AssertionError((folder / "log").read_text()[-1000:]) from error

    def _tell(self, file, pods):
        while not self._over.wait(2):
            with contextlib.suppress(KubectlError):
                file.with_suffix(".new").write_text(json.dumps(targets(pods())))
                file.with_suffix(".new").rename(file)

    def _ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/-/ready", timeout=2):
                return True
        except OSError:
            return False

    def get(self, path, **query):
        url = f"http://127.0.0.1:{PORT}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def targets(self):
        """Pod: health, and why it is not well."""
        return {t["labels"]["pod"]: (t["health"], t["lastError"]) for t in self.get("targets")["activeTargets"]}

    def names(self, component):
        """Of all metrics that a component has had."""
        return set(self.get("label/__name__/values", **{"match[]": f'{{app_kubernetes_io_component="{component}"}}'}))

    def query(self, text):
        """Labels and value of each series of an instant query."""
        return [(each["metric"], float(each["value"][1])) for each in self.get("query", query=text)["result"]]

    def range(self, text, seconds):
        """Values of all series of a query over the last seconds."""
        now = time.time()
        found = self.get("query_range", query=text, start=now - seconds, end=now, step=10)["result"]
        return [float(value) for series in found for _, value in series["values"]]

    def stop(self):
        self._over.set()
        self._thread.join()
        self.process.terminate()
        self.process.wait(20)
