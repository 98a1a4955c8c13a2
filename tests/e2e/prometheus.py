"""A Prometheus of the tests' own, which finds pods by the labels that the PodMonitor goes by.

It scrapes through the API server's proxy, so that it needs no address of a pod: it works wherever kubectl does.
"""

import base64
import json
import subprocess
import urllib.parse
import urllib.request

from ruamel.yaml import YAML
from scripts.cluster import eventually

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


def configuration(kubeconfig, folder, namespaces):
    server, access = credentials(kubeconfig, folder)
    meta = "__meta_kubernetes_pod"
    path = "/api/v1/namespaces/${1}/pods/${2}:${3}/proxy/metrics"
    relabel = [
        {"source_labels": [f"{meta}_label_app_kubernetes_io_part_of"], "regex": "holter", "action": "keep"},
        {"source_labels": [f"{meta}_container_port_name"], "regex": PORT_NAME, "action": "keep"},
        {
            "source_labels": ["__meta_kubernetes_namespace", f"{meta}_name", f"{meta}_container_port_number"],
            "separator": ";",
            "regex": "(.+);(.+);(.+)",
            "target_label": "__metrics_path__",
            "replacement": path,
        },
        {"target_label": "__address__", "replacement": urllib.parse.urlsplit(server).netloc},
        {"source_labels": [f"{meta}_name"], "target_label": "pod"},
        {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
        *(
            {
                "source_labels": [f"{meta}_label_app_kubernetes_io_{name}"],
                "target_label": f"app_kubernetes_io_{name}",
            }
            for name in ("instance", "component")
        ),
    ]
    job = {
        "job_name": "pods",
        "scheme": "https",
        **access,
        "kubernetes_sd_configs": [
            {"role": "pod", "kubeconfig_file": str(kubeconfig), "namespaces": {"names": list(namespaces)}}
        ],
        "relabel_configs": relabel,
    }
    return {"global": {"scrape_interval": "2s", "scrape_timeout": "2s"}, "scrape_configs": [job]}


class Prometheus:
    """The process."""

    def __init__(self, kubeconfig, folder, namespaces):
        (folder / "prometheus.json").write_text(json.dumps(configuration(kubeconfig, folder, namespaces)))
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
        eventually("Prometheus", self._ready, seconds=30)

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

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
