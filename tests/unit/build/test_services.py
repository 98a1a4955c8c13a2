"""Services and network policies."""

import pytest

from holter_operator.build import networkpolicies, services
from holter_operator.build.everything import objects

NS = "kubernetes.io/metadata.name"


def test_devices_stay_with_one_pod(make, bare):
    built = services.devices(make("everything"), bare)
    assert built["metadata"]["annotations"] == {"example.com/internal": "true"}
    assert built["spec"]["type"] == "LoadBalancer"
    assert built["spec"]["sessionAffinity"] == "ClientIP"
    assert built["spec"]["ports"] == [
        {"name": "http", "port": 8443, "targetPort": "http", "protocol": "TCP"},
        {"name": "udp", "port": 8444, "targetPort": "udp", "protocol": "UDP"},
    ]


def test_metrics_and_feed_are_not_for_devices(make, full):
    names = [port["name"] for port in services.devices(make("everything"), full)["spec"]["ports"]]
    assert names == ["http", "udp"]


def test_no_udp_port_where_udp_is_off(make, bare):
    names = [port["name"] for port in services.devices(make("persistent"), bare)["spec"]["ports"]]
    assert names == ["http"]


def test_headless_services_find_all_pods(make, bare):
    for built in (services.ingest_pods(make(), bare), services.inference_pods(make(), bare)):
        assert built["spec"]["clusterIP"] == "None"
        assert built["spec"]["publishNotReadyAddresses"] is True


def test_every_pod_is_denied_by_default(make, full, template):
    built = objects(make("everything"), full)
    (deny,) = [each for each in built if each["metadata"]["name"].endswith("default-deny")]
    assert deny["spec"].keys() == {"podSelector", "policyTypes"}
    assert all(
        each["spec"]["policyTypes"] == ["Ingress", "Egress"] for each in built if each["kind"] == "NetworkPolicy"
    )
    wanted = deny["spec"]["podSelector"]["matchLabels"]
    for each in built:
        if pod := template(each):
            assert wanted.items() <= pod["metadata"]["labels"].items()


@pytest.mark.parametrize("component", ["ingest", "inference", "refit", "console"])
def test_policies_name_ports_that_pods_have(make, full, template, find, component):
    built = objects(make("everything"), full)
    policy = find(built, "NetworkPolicy", f"cardiology-ward-{component}")["spec"]
    pods = [template(each) for each in built if template(each)]
    (pod,) = [p for p in pods if policy["podSelector"]["matchLabels"].items() <= p["metadata"]["labels"].items()]
    there = {(port["name"], port["protocol"]) for port in pod["spec"]["containers"][0].get("ports", [])}
    allowed = {(port["port"], port["protocol"]) for rule in policy.get("ingress", []) for port in rule["ports"]}
    assert allowed == there


def test_nothing_reaches_a_refit(make, full, find):
    assert "ingress" not in find(objects(make(), full), "NetworkPolicy", "ward-refit")["spec"]


@pytest.mark.parametrize("component", ["ingest", "inference", "console"])
def test_only_refit_reaches_the_api_server(make, full, find, component):
    """With a store and receivers inside the cluster, no rule but DNS goes out of it."""
    webhooks = {"webhooks": [{"name": "x", "url": "http://x.paging.svc"}]}
    policy = find(objects(make(alerting=webhooks), full), "NetworkPolicy", f"ward-{component}")["spec"]
    anywhere = [rule for rule in policy["egress"] if "to" not in rule]
    assert {port["port"] for rule in anywhere for port in rule["ports"]} == {53, 5353}


@pytest.mark.parametrize(
    ("url", "namespaces", "port"),
    [
        ("https://ward.example.org/alerts", [], 443),
        ("https://ward.example.org:8443/alerts", [], 8443),
        ("http://10.0.0.7:8086", [], 8086),
        ("http://[fd00::7]:8086", [], 8086),
        ("http://alertmanager:9093", ["st-mary"], None),
        ("http://influxdb.storage.svc:8086", ["storage"], None),
        ("http://influxdb.storage.svc.cluster.local:8086", ["storage"], None),
        ("http://influxdb.storage:8086", ["storage"], 8086),
        ("https://example.org", ["org"], 443),
        ("https://svc.example.org", [], 443),
    ],
)
def test_destinations(url, namespaces, port):
    rules = networkpolicies.destination(url, "st-mary")
    to = [peer["namespaceSelector"]["matchLabels"][NS] for rule in rules for peer in rule.get("to", [])]
    ports = [each["port"] for rule in rules if "to" not in rule for each in rule["ports"]]
    assert (to, ports) == (namespaces, [port] if port else [])
