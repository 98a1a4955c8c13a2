"""Why a workload is not well, in words, from what Kubernetes says of it."""

import pytest

from holter_operator.build.meta import COHORT_LABEL
from holter_operator.reconcile.diagnosis import refit_trouble, trouble, workload
from holter_operator.reconcile.kinds import DEPLOYMENT, STATEFUL_SET
from holter_operator.reconcile.live import trim


def live(kind=DEPLOYMENT, generation=2, wanted=2, **status):
    metadata = {
        "name": "ward-ingest",
        "namespace": "st-mary",
        "uid": "u",
        "resourceVersion": "1",
        "generation": generation,
        "labels": {COHORT_LABEL: "ward"},
    }
    return trim(kind, {"kind": kind.name, "metadata": metadata, "spec": {"replicas": wanted}, "status": status})


WELL = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}


@pytest.mark.parametrize(
    ("changes", "available", "rolling"),
    [
        ({}, True, False),
        ({"observedGeneration": 1}, False, True),
        ({"updatedReplicas": 1, "replicas": 3}, False, True),
        ({"replicas": 3}, True, True),
        ({"readyReplicas": 1}, False, False),
    ],
)
def test_numbers_of_a_deployment(changes, available, rolling):
    found = workload("Deployment", "ward-ingest", live(**WELL | changes))
    assert (found.available, found.rolling) == (available, rolling)


def test_a_stateful_set_that_has_rolled_says_nothing_of_updated_pods():
    status = {"observedGeneration": 2, "replicas": 2, "readyReplicas": 2, "currentRevision": "a", "updateRevision": "a"}
    assert workload("StatefulSet", "ward-ingest", live(STATEFUL_SET, **status)).available
    rolling = status | {"updateRevision": "b", "updatedReplicas": 1}
    assert not workload("StatefulSet", "ward-ingest", live(STATEFUL_SET, **rolling)).available


def test_what_is_not_there_is_not_available():
    found = workload("Deployment", "ward-ingest", None)
    assert (found.available, found.rolling, found.wanted) == (False, True, 0)


def pod(name="ward-ingest-1", *, state=None, last=None, conditions=(), phase="Pending"):
    statuses = [{"name": "ingest", "state": state, "lastState": {"terminated": last} if last else {}}] if state else []
    return {
        "metadata": {"name": name},
        "status": {"phase": phase, "containerStatuses": statuses, "conditions": list(conditions)},
    }


def event(reason, message, name="ward-ingest-1", kind="Warning", at="2026-01-01T00:00:00Z"):
    return {
        "type": kind,
        "reason": reason,
        "message": message,
        "involvedObject": {"name": name},
        "lastTimestamp": at,
    }


UNSCHEDULED = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: 3 Insufficient cpu."}
SCHEDULED = {"type": "PodScheduled", "status": "True"}
READY = {"type": "Ready", "status": "True"}
QUOTA = {"type": "ReplicaFailure", "status": "True", "message": "pods is forbidden: exceeded quota: few"}


@pytest.mark.parametrize(
    ("pods", "events", "conditions", "reason", "words", "waits"),
    [
        (
            [pod(state={"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}})],
            [],
            [],
            "ImagePullBackOff",
            "Deployment ward-ingest: pod ward-ingest-1 is waiting, ImagePullBackOff: no such image",
            False,
        ),
        (
            [
                pod(
                    state={"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
                    last={"exitCode": 1, "reason": "Error"},
                )
            ],
            [],
            [],
            "CrashLoopBackOff",
            "it last ended with 1 (Error)",
            False,
        ),
        ([pod(conditions=[UNSCHEDULED])], [], [], "Unschedulable", "finds no node: 0/3 nodes", False),
        (
            [pod(conditions=[SCHEDULED], state={"waiting": {"reason": "ContainerCreating"}})],
            [event("FailedMount", 'secret "ward-tls" not found')],
            [],
            "FailedMount",
            'secret "ward-tls" not found',
            False,
        ),
        (
            [pod(conditions=[SCHEDULED], state={"running": {}}, phase="Running")],
            [event("Unhealthy", "Readiness probe failed: the store does not answer")],
            [],
            "Unready",
            "runs but is not ready: Readiness probe failed",
            True,
        ),
        ([pod(conditions=[SCHEDULED])], [], [], "Pending", "is starting", True),
        ([pod()], [], [], "Pending", "is not scheduled yet", True),
        ([], [], [QUOTA], "PodsRefused", "makes no pod: pods is forbidden: exceeded quota: few", False),
        (
            [],
            [event("FailedCreate", "create Pod failed: exceeded quota", name="ward-ingest")],
            [],
            "PodsRefused",
            "exceeded quota",
            False,
        ),
        ([], [], [], "Unready", "0 of 2 pods are ready", True),
        (
            [pod("ward-ingest-0", conditions=[READY]), pod("ward-ingest-1", conditions=[UNSCHEDULED])],
            [],
            [],
            "Unschedulable",
            "pod ward-ingest-1 finds no node",
            False,
        ),
    ],
)
def test_the_reason_is_named(pods, events, conditions, reason, words, waits):
    of = live(observedGeneration=2, replicas=2, updatedReplicas=2, readyReplicas=0, conditions=conditions)
    found = trouble(workload("Deployment", "ward-ingest", of), of, pods, events)
    assert (found.reason, found.waits) == (reason, waits)
    assert words in found.message


def test_the_newest_event_is_told():
    of = live(observedGeneration=2, replicas=2, updatedReplicas=2, readyReplicas=0)
    events = [event("FailedMount", "old"), event("FailedMount", "new", at="2026-01-02T00:00:00Z")]
    found = trouble(workload("Deployment", "ward-ingest", of), of, [pod(conditions=[SCHEDULED])], events)
    assert "new" in found.message


def test_a_long_message_is_cut():
    of = live(observedGeneration=2, replicas=2)
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "x" * 5000}}
    found = trouble(workload("Deployment", "ward-ingest", of), of, [pod(state=waiting)], [])
    assert len(found.message) < 600


def test_an_image_that_cannot_be_pulled_has_one_reason_whatever_the_kubelet_says_at_the_moment():
    told = [
        trouble(workload("Deployment", "ward-ingest", None), None, [pod(state={"waiting": {"reason": reason}})], ())
        for reason in ("ErrImagePull", "ImagePullBackOff")
    ]
    assert {each.reason for each in told} == {"ImagePullBackOff"}


def job(*conditions):
    return {"metadata": {"name": "ward-refit-1"}, "status": {"conditions": list(conditions)}}


FAILED = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too many tries"}


@pytest.mark.parametrize(
    ("found", "pods", "events", "reason", "words"),
    [
        (job(FAILED), [], [], "RefitFailed", "Job ward-refit-1 has failed, BackoffLimitExceeded: too many tries"),
        (job(), [pod(conditions=[UNSCHEDULED])], [], "Unschedulable", "Job ward-refit-1: pod ward-ingest-1 finds no"),
        (job(), [], [event("FailedCreate", "exceeded quota: few", "ward-refit-1")], "PodsRefused", "exceeded quota"),
    ],
)
def test_a_refit_that_does_not_get_on(found, pods, events, reason, words):
    told = refit_trouble(found, pods, events)
    assert (told.reason, told.waits) == (reason, False)
    assert words in told.message


@pytest.mark.parametrize(
    ("found", "pods"),
    [
        (job({"type": "Complete", "status": "True"}), []),
        (job(), []),
        (job(), [pod(conditions=[SCHEDULED])]),
        (job(), [pod(conditions=[SCHEDULED], state={"running": {}}, phase="Running")]),
    ],
)
def test_a_refit_that_is_well(found, pods):
    assert refit_trouble(found, pods, ()) is None
