"""A thousand cohorts, bad ones among them, on nodes that only pretend to run pods. One story, told in order."""

import json
import os
import secrets
import socket
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from tests.operating import Operator, wait

from holter_operator.api import crd

COHORTS = int(os.environ.get("COHORTS", "1000"))
BAD = max(4, COHORTS // 20)
NAMESPACES = 20
COHORTS_PER_NODE = 17
"""That fit a node of 64 CPUs by what their pods ask for."""
HALF_HOUR = 1800
SLOT = 600
"""Seconds: in each such slot of the clock a cohort that has no model yet is given a refit."""

pytestmark = [pytest.mark.timeout(2 * HALF_HOUR)]


@pytest.fixture(scope="module")
def spaces(cluster, influxdb):
    nodes = [n for n in cluster.core.list_node().items if n.metadata.labels.get("type") == "kwok"]
    needed = -(-COHORTS // COHORTS_PER_NODE)
    if len(nodes) < needed:
        pytest.skip(f"{len(nodes)} nodes that pretend to run pods are here, {needed} are needed (KWOK)")
    names = [f"scale-{secrets.token_hex(3)}-{number}" for number in range(NAMESPACES)]
    for name in names:
        cluster.core.create_namespace({"metadata": {"name": name}})
    yield names
    for name in names:
        for each in cluster.cohorts.get(namespace=name).items:
            cluster.patch(f"{crd.API_VERSION}/{crd.KIND}", name, each.metadata.name, {"metadata": {"finalizers": []}})
        cluster.core.delete_namespace(name)
    influxdb.forget(names)


@pytest.fixture(scope="module")
def silence():
    """Addresses that take a connection and never say a word: each its own, as an InfluxDB that hangs is."""
    sockets = []
    for _ in range(BAD):
        one = socket.create_server(("127.0.0.1", 0))
        held = []
        threading.Thread(
            target=lambda s=one, h=held: [h.append(s.accept()) for _ in range(10_000)], daemon=True
        ).start()
        sockets.append(one)
    return [f"http://127.0.0.1:{one.getsockname()[1]}" for one in sockets]


@pytest.fixture(scope="module")
def operator(tmp_path_factory, spaces, connection):
    found = Operator(tmp_path_factory.mktemp("operator"), HOLTER_INFLUXDB=str(connection))
    yield found.start()
    found.kill()


def document(name, **spec):
    return {"apiVersion": crd.API_VERSION, "kind": crd.KIND, "metadata": {"name": name}, "spec": spec}


def bad(number, url):
    """Each kind of bad in turn: InfluxDB hangs, a Secret is missing, another's bucket, one that cannot be served."""
    own = {"storage": {"influxdb": {"connectionSecretRef": {"name": f"bad{number}"}}}}
    kinds = (
        own,
        {"storage": {"influxdb": {"connectionSecretRef": {"name": "missing"}}}},
        {"storage": {"bucket": "x.y"}},
    )
    secret = {"metadata": {"name": f"bad{number}"}, "stringData": {"url": url, "org": "o", "token": "t"}}
    return document(f"bad{number}", **kinds[number % 3]), secret if number % 3 == 0 else None


def statuses(cluster, spaces):
    """Phase by namespace and name."""
    found = {}
    for each in cluster.cohorts.get().items:
        if each.metadata.namespace in spaces:
            found[each.metadata.namespace, each.metadata.name] = (each.to_dict().get("status") or {}).get("phase")
    return found


def say(line):
    sys.stdout.write(f"\n  {line}")
    sys.stdout.flush()


def rss(operator):
    return psutil.Process(operator.process.pid).memory_info().rss / 1e6


def cpu(operator):
    times = psutil.Process(operator.process.pid).cpu_times()
    return times.user + times.system


def calls(operator):
    return operator.metric("holter_operator_api_calls_total")


def test_bad_cohorts_come_first_and_say_what_is_wrong(cluster, spaces, operator, silence):
    for number, url in enumerate(silence):
        made, secret = bad(number, url)
        namespace = spaces[number % NAMESPACES]
        if secret:
            cluster.core.create_namespaced_secret(namespace, secret)
        cluster.cohorts.create(namespace=namespace, body=made)

    def told():
        found = statuses(cluster, spaces)
        return len(found) == BAD and set(found.values()) == {"Degraded"}

    began = time.monotonic()
    wait(told, 300, "all bad cohorts are Degraded")
    say(f"{BAD} bad cohorts say what is wrong: {time.monotonic() - began:.0f} s")


def test_all_good_ones_become_ready(cluster, spaces, operator, results):
    began, before, spent = time.monotonic(), calls(operator), cpu(operator)
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda number: cluster.cohorts.create(
                    namespace=spaces[number % NAMESPACES], body=document(f"ward{number}")
                ),
                range(COHORTS),
            )
        )
    say(f"{COHORTS} cohorts are made: {time.monotonic() - began:.0f} s")

    def ready():
        found = Counter(phase for (_, name), phase in statuses(cluster, spaces).items() if name.startswith("ward"))
        say(f"{time.monotonic() - began:5.0f} s: {dict(found)}")
        time.sleep(10)
        return found["Ready"] == COHORTS

    wait(ready, HALF_HOUR, "all are Ready")
    results |= {
        "cohorts": COHORTS,
        "seconds_to_ready": round(time.monotonic() - began, 1),
        "api_requests_per_cohort": round((calls(operator) - before) / COHORTS, 1),
        "cpu_seconds_per_cohort": round((cpu(operator) - spent) / COHORTS, 3),
        "rss_mb": round(rss(operator), 1),
    }
    say(json.dumps(results))
    assert {p for (_, name), p in statuses(cluster, spaces).items() if name.startswith("bad")} == {"Degraded"}
    assert operator.faults() == []


def test_a_late_good_one_does_not_wait_for_bad_ones(cluster, spaces, operator, results):
    took = []
    for number in range(5):
        began = time.monotonic()
        cluster.cohorts.create(namespace=spaces[0], body=document(f"late{number}"))
        wait(lambda here=number: cluster.status(spaces[0], f"late{here}").get("phase") == "Ready", 60, "Ready")
        took.append(round(time.monotonic() - began, 1))
    results["late_seconds_to_ready"] = took


def versions(cluster, spaces):
    """resourceVersion of every cohort and child."""
    found = {}
    for kind in (
        "v1/Secret",
        "v1/ConfigMap",
        "v1/Service",
        "apps/v1/Deployment",
        "apps/v1/StatefulSet",
        "batch/v1/CronJob",
    ):
        for each in cluster.kind(kind).get(label_selector="holter.dev/cohort").items:
            found[kind, each.metadata.namespace, each.metadata.name] = each.metadata.resourceVersion
    for each in cluster.cohorts.get().items:
        found["cohort", each.metadata.namespace, each.metadata.name] = each.metadata.resourceVersion
    return {key: version for key, version in found.items() if key[1] in spaces}


def test_a_restart_writes_nothing(cluster, spaces, operator, results):
    left = SLOT - time.time() % SLOT
    if left < SLOT / 2:  # the next refits would be started meanwhile
        time.sleep(left + 30)

    def settled():
        writes = operator.metric("holter_operator_writes_total")
        time.sleep(15)
        return operator.metric("holter_operator_writes_total") == writes

    wait(settled, 240, "nothing is written any more")
    before = versions(cluster, spaces)
    operator.stop()
    began = time.monotonic()
    operator.start()
    good = COHORTS + 5
    wait(lambda: operator.metric("holter_operator_reconcile_total") >= good + BAD, 300, "each was looked at")
    results |= {
        "restart_seconds": round(time.monotonic() - began, 1),
        "restart_cpu_seconds": round(cpu(operator), 1),
        "restart_api_requests_per_cohort": round(calls(operator) / good, 2),
        "restart_writes": operator.metric("holter_operator_writes_total"),
        "restart_rss_mb": round(rss(operator), 1),
    }
    say(json.dumps(results))
    assert results["restart_writes"] == 0
    assert versions(cluster, spaces) == before


@pytest.fixture(scope="module")
def results():
    found = {}
    yield found
    Path("scale.json").write_text(json.dumps(found, indent=1) + "\n")
