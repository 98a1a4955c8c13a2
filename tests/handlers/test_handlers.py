"""What the watches tell, and whom it wakes. No API server: the handlers talk to none."""

import asyncio

import kopf
import pytest

from holter_operator import main
from holter_operator.build.meta import COHORT_LABEL
from holter_operator.controller import HUNG, Operator
from holter_operator.reconcile.credentials import ISSUED
from holter_operator.reconcile.kinds import CHILDREN, CONFIG_MAP, SECRET
from holter_operator.settings import read


class Queue:
    """Who was woken."""

    def __init__(self):
        self.woken = []

    def add(self, key, after=0.0):
        self.woken.append(key)

    def take(self):
        woken, self.woken = self.woken, []
        return woken


@pytest.fixture
def operator():
    found = Operator(read({}))
    found._queue = Queue()
    found._reconciler = type("Reconciler", (), {"forget": lambda self, uid: None, "kinds": frozenset()})()
    yield found
    found._pool.shutdown()


def cohort(version=1, uid="u1", name="ward", **spec):
    metadata = {
        "name": name,
        "namespace": "st-mary",
        "uid": uid,
        "resourceVersion": str(version),
        "managedFields": [{}],
    }
    return {"metadata": metadata, "spec": spec}


def child(name="ward-config", version=5, labels=None, uid="c1"):
    labels = {COHORT_LABEL: "ward"} if labels is None else labels
    metadata = {"name": name, "namespace": "st-mary", "uid": uid, "resourceVersion": str(version), "labels": labels}
    return {"metadata": metadata}


WARD = ("st-mary", "ward")


async def test_a_cohort_wakes_itself_once_for_each_version(operator):
    await operator.cohort(None, cohort(1))
    assert operator._queue.take() == [WARD]
    await operator.cohort("MODIFIED", cohort(1))
    assert operator._queue.take() == [], "our own write, told again"
    await operator.cohort("MODIFIED", cohort(2))
    assert operator._queue.take() == [WARD]
    assert "managedFields" not in operator._cohorts[WARD]["metadata"]


async def test_a_late_deletion_does_not_forget_the_next_cohort_of_the_name(operator):
    await operator.cohort("ADDED", cohort(9, uid="u2"))
    await operator.cohort("DELETED", cohort(4, uid="u1"))
    assert WARD in operator._cohorts
    await operator.cohort("DELETED", cohort(9, uid="u2"))
    assert WARD not in operator._cohorts


async def test_a_child_wakes_its_cohort(operator):
    await operator.child(CONFIG_MAP, "ADDED", child())
    assert operator._queue.take() == [WARD]
    await operator.child(CONFIG_MAP, "MODIFIED", child())
    assert operator._queue.take() == []
    await operator.child(CONFIG_MAP, "DELETED", child(version=6))
    assert operator._queue.take() == [WARD]


async def test_a_secret_that_a_cohort_names_wakes_it(operator):
    await operator.cohort("ADDED", cohort(1, storage={"influxdb": {"connectionSecretRef": {"name": "influxdb"}}}))
    operator._queue.take()
    operator._secrets["st-mary", "influxdb"] = {"token": "old"}
    await operator.child(SECRET, "MODIFIED", child("influxdb", labels={}))
    assert operator._queue.take() == [WARD]
    assert ("st-mary", "influxdb") not in operator._secrets, "and is read again"
    await operator.child(SECRET, "MODIFIED", child("another", labels={}))
    assert operator._queue.take() == []


async def test_a_device_key_without_our_labels_wakes_its_cohort(operator):
    await operator.cohort("ADDED", cohort(1))
    operator._queue.take()
    await operator.child(SECRET, "DELETED", child("ward-device-key", labels={}))
    assert operator._queue.take() == [WARD]


async def test_a_secret_that_loses_its_label_wakes_the_cohort_it_had(operator):
    await operator.child(SECRET, "ADDED", child("ward-influxdb-ingest", 5))
    operator._queue.take()
    await operator.child(SECRET, "MODIFIED", child("ward-influxdb-ingest", 6, labels={}))
    assert operator._queue.take() == [WARD]


def test_nothing_but_events_is_asked_of_kopf(operator):
    """Any other handler would put finalizers or annotations on what it sees."""
    registry = kopf.OperatorRegistry()
    main.register(operator, registry, asyncio.Event())
    seen = {handler.selector.any_name or handler.selector.plural for handler in registry._watching.get_all_handlers()}
    assert seen == {"monitoredcohorts", *(kind.plural for kind in CHILDREN)}
    for kind in ("_changing", "_spawning", "_indexing", "_webhooks"):
        assert getattr(registry, kind).get_all_handlers() == [], kind


def test_watches_ask_for_our_children_alone():
    settings = kopf.OperatorSettings()
    main.configure(settings)
    assert len(settings.watching.label_selectors) == len(CHILDREN) - 1, "all but Secrets, which cohorts name"
    assert set(settings.watching.label_selectors.values()) == {COHORT_LABEL}
    assert not settings.posting.enabled


def test_a_reconcile_that_hangs_is_told_by_healthz(operator):
    assert operator._health() is None
    operator._busy[WARD] = -2 * HUNG
    assert "st-mary/ward" in operator._health()


def test_names_of_annotations_are_ours():
    assert ISSUED.startswith("holter.dev/")
