"""The operator is killed between any two writes, to Kubernetes and to InfluxDB, and another goes on where it was."""

import asyncio
import sys

import pytest
from tests.operating import wait

from holter_operator import controller
from holter_operator.io.influx import Influx
from holter_operator.io.kube import Kube
from holter_operator.settings import read

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]
ROUNDS = 100
AGAIN = 8
"""Writes after which a successor dies in its turn."""
COMPONENTS = 4
"""That have a token each."""
COHORT = "holter.dev/v1alpha1/MonitoredCohort"


class DeadError(Exception):
    """Nothing that this operator writes arrives any more."""


class Life:
    """So many writes, then none."""

    def __init__(self, writes):
        self.left = writes
        self.over = False

    def spend(self):
        if self.left == 0:
            self.over = True
            raise DeadError
        self.left -= 1


@pytest.fixture
def live(monkeypatch, ns, connection):
    """Run an operator, without watches, until it is dead or a condition holds."""
    settings = read(
        {
            "HOLTER_WATCH_NAMESPACES": ns,
            "HOLTER_INFLUXDB": str(connection),
            "HOLTER_LISTEN": "127.0.0.1",
            "HOLTER_PORT_METRICS": "0",
            "HOLTER_RESYNC_SECONDS": "1",
            "HOLTER_WORKERS": "2",
        }
    )

    async def run(writes, done):
        life = Life(writes)

        class Mortal(Kube):
            def _call(self, method, kind, *args, **options):
                if method != "GET" and kind.name != "Event":
                    life.spend()
                return super()._call(method, kind, *args, **options)

        class MortalInflux(Influx):
            def _do(self, *args):
                life.spend()
                return super()._do(*args)

        monkeypatch.setattr(controller, "Kube", Mortal)
        monkeypatch.setattr(controller, "Influx", MortalInflux)
        operator = controller.Operator(settings)
        await operator.start()
        try:
            for _ in range(300):
                if life.over or await asyncio.to_thread(done):
                    return life.over
                await asyncio.sleep(0.1)
            raise AssertionError(f"not done after 30 s: {done}")
        finally:
            await operator.stop()

    return run


async def test_what_is_made_is_whole_wherever_it_was_cut_short(cluster, ns, live, influxdb, killed):
    expected = None
    for writes in range(-1, ROUNDS):  # -1: never killed, to see what there should be
        name = f"c{writes + 1}"
        uid = cluster.cohort(ns, name).metadata.uid
        made = whole(cluster, influxdb, ns, name, uid, expected)
        over = await live(writes, made)
        if over:
            await survive(live, made, killed)
        expected = expected or shape(cluster, ns, name)
        assert shape(cluster, ns, name) == expected
        buckets = [b["name"] for b in influxdb.buckets() if uid in b.get("description", "")]
        assert buckets == [f"{ns}.{name}"], "nothing doubled in InfluxDB"
        assert len(influxdb.tokens_in_use(uid)) == COMPONENTS
        remove(cluster, influxdb, ns, name)
        if writes >= 0 and not over:
            break
    else:
        pytest.fail(f"still killed after {ROUNDS} writes")
    assert writes > 25, "every write of the making was the last one once"


async def test_a_model_is_accepted_once_wherever_it_was_cut_short(cluster, ns, live, killed):
    for writes in range(ROUNDS):
        name = f"m{writes}"
        cluster.cohort(ns, name)
        await live(-1, lambda here=name: cluster.status(ns, here).get("phase") in ("Pending", "Progressing"))
        cluster.candidate(ns, name)

        def at_work(here=name):
            return cluster.status(ns, here).get("model", {}).get("candidate", {}).get("verdict") is not None

        over = await live(writes, at_work)
        if over:
            await survive(live, at_work, killed)
        assert {n for _, n in cluster.children(ns, name) if "-model" in n} == {
            f"{name}-model",
            f"{name}-model-r1",
            f"{name}-model-candidate",
        }
        assert cluster.status(ns, name)["model"]["candidate"]["verdict"] == "Accepted as revision 1"
        if not over:
            break
    assert writes >= 3


async def test_a_deletion_ends_wherever_it_was_cut_short(cluster, ns, live, influxdb, killed):
    for writes in range(ROUNDS):
        name = f"d{writes}"
        uid = cluster.cohort(ns, name, storage={"deletionPolicy": "Delete"}).metadata.uid
        await live(-1, whole(cluster, influxdb, ns, name, uid, None))
        cluster.delete(COHORT, ns, name)

        def gone(here=name):
            return cluster.get(COHORT, ns, here) is None

        over = await live(writes, gone)
        if over:
            await survive(live, gone, killed)
        assert influxdb.tokens(uid) == []
        assert influxdb.bucket(f"{ns}.{name}") is None
        wait(lambda here=name: not cluster.children(ns, here), 30, "the children are collected")
        if not over:
            break
    assert writes > 5


def test_it_was_killed_a_hundred_times(killed):
    """What the tests before this one did."""
    sys.stdout.write(f"\nkilled {len(killed)} times\n")
    assert len(killed) >= 100


async def survive(live, done, killed):
    """After a death: its successors die too, each after some writes, until the work is done."""
    killed.append("first")
    while await live(AGAIN, done):
        killed.append("successor")


@pytest.fixture(scope="module")
def killed():
    return []


def whole(cluster, influxdb, ns, name, uid, expected):
    def done():
        if (
            cluster.condition(ns, "BucketReady", name).get("status") != "True"
            or len(influxdb.tokens_in_use(uid)) != COMPONENTS
        ):
            return False
        return expected is None or shape(cluster, ns, name) == expected

    return done


def shape(cluster, ns, name):
    return {(kind, found.removeprefix(f"{name}-")) for kind, found in cluster.children(ns, name)}


def remove(cluster, influxdb, ns, name):
    cluster.patch(COHORT, ns, name, {"metadata": {"finalizers": []}})
    cluster.delete(COHORT, ns, name)
    wait(lambda: cluster.get(COHORT, ns, name) is None)
    cluster.delete("v1/Secret", ns, f"{name}-device-key")
    bucket = influxdb.bucket(f"{ns}.{name}")
    influxdb.call("DELETE", f"/api/v2/buckets/{bucket['id']}")
