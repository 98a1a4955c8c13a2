"""NetworkPolicies: nothing but what each component needs.

A policy cannot name a host, and it is judged after a Service's address has become a pod's: so a destination inside the
cluster is allowed by namespace, whatever its pods' port, and one outside by port.
"""

from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from holter_operator.api.cohort import Cohort
from holter_operator.build import console, ingest, names
from holter_operator.build.given import Component, Given
from holter_operator.build.meta import Object, child, selector
from holter_operator.build.pods import METRICS

_PORTS = {"http": 80, "https": 443}
_DNS = {"ports": [{"port": number, "protocol": kind} for number in (53, 5353) for kind in ("UDP", "TCP")]}
"""Anywhere: cluster DNS may be on the node. OpenShift's pods listen on 5353."""
_API_SERVER = {"ports": [{"port": number, "protocol": "TCP"} for number in (443, 6443)]}
_METRICS = {"ports": [{"port": METRICS.name, "protocol": "TCP"}]}


def policies(cohort: Cohort, given: Given) -> tuple[Object, ...]:
    """Deny all, then allow by component."""
    built = [_deny(cohort, given), _ingest(cohort, given), _inference(cohort, given), _refit(cohort, given)]
    if console.wanted(cohort, given):
        built.append(_console(cohort, given))
    return tuple(built)


def destination(url: str, namespace: str) -> list[Object]:
    """Egress rules that let a pod of `namespace` reach a URL."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or _PORTS.get(parts.scheme, 443)
    outside: Object = {"ports": [{"port": port, "protocol": "TCP"}]}
    if _is_address(host):
        return [outside]
    labels = host.removesuffix(".").removesuffix(".cluster.local").split(".")
    if len(labels) == 1:
        return [_namespace(namespace)]
    if labels[2:] == ["svc"]:
        return [_namespace(labels[1])]
    # `alertmanager.monitoring` is a Service, `example.org` a host, and they look alike.
    return [_namespace(labels[1]), outside] if len(labels) == 2 else [outside]


def _deny(cohort: Cohort, given: Given) -> Object:
    built = child("networking.k8s.io/v1", "NetworkPolicy", f"{cohort.name}-default-deny", cohort, given)
    built["spec"] = {
        "podSelector": {"matchLabels": selector(cohort)},
        "policyTypes": ["Ingress", "Egress"],
    }
    return built


def _ingest(cohort: Cohort, given: Given) -> Object:
    devices = {
        "ports": [
            {"port": port.name, "protocol": port.protocol}
            for port in ingest.ports(cohort)
            if port.name in ("http", "udp")
        ]
    }
    rules: list[Object] = [devices, _METRICS]
    egress = _store(cohort, given, Component.INGEST)
    workers, leaving = (
        {"podSelector": {"matchLabels": selector(cohort, kind)}} for kind in (Component.INFERENCE, Component.INGEST)
    )
    feed = [{"port": ingest.FEED_PORT.name, "protocol": "TCP"}]
    rules.append({"from": [workers, leaving], "ports": feed})
    egress.append({"to": [leaving], "ports": feed})
    return _policy(cohort, given, Component.INGEST, rules, egress)


def _inference(cohort: Cohort, given: Given) -> Object:
    alerting = cohort.spec.alerting
    sinks = [webhook.url for webhook in alerting.webhooks]
    if alerting.alertmanager:
        sinks.append(alerting.alertmanager.url)
    egress = _store(cohort, given, Component.INFERENCE)
    for url in sinks:
        egress += destination(url, cohort.namespace)
    pods = {"podSelector": {"matchLabels": selector(cohort, Component.INGEST)}}
    egress.append({"to": [pods], "ports": [{"port": ingest.FEED_PORT.name, "protocol": "TCP"}]})
    return _policy(cohort, given, Component.INFERENCE, [_METRICS], egress)


def _refit(cohort: Cohort, given: Given) -> Object:
    egress = [*_store(cohort, given, Component.REFIT), _API_SERVER]
    return _policy(cohort, given, Component.REFIT, [], egress)


def _console(cohort: Cohort, given: Given) -> Object:
    nurses = {"ports": [{"port": console.HTTP_PORT.name, "protocol": "TCP"}]}
    return _policy(cohort, given, Component.CONSOLE, [nurses, _METRICS], _store(cohort, given, Component.CONSOLE))


def _policy(cohort: Cohort, given: Given, component: Component, ingress: list[Object], egress: list[Object]) -> Object:
    name = names.component(cohort, component)
    built = child("networking.k8s.io/v1", "NetworkPolicy", name, cohort, given, component)
    built["spec"] = {
        "podSelector": {"matchLabels": selector(cohort, component)},
        "policyTypes": ["Ingress", "Egress"],
        "egress": _once(egress),
    }
    if ingress:
        built["spec"]["ingress"] = ingress
    return built


def _store(cohort: Cohort, given: Given, component: Component) -> list[Object]:
    connection = given.influxdb.get(component)
    return [_DNS, *(destination(connection.url, cohort.namespace) if connection else [])]


def _namespace(name: str) -> Object:
    return {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}]}


def _once(rules: Iterable[Object]) -> list[Object]:
    kept: list[Object] = []
    for rule in rules:
        if rule not in kept:
            kept.append(rule)
    return kept


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
