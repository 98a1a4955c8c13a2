"""Conditions, from what a reconcile saw."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from holter_operator.api import crd
from holter_operator.reconcile.diagnosis import Trouble, Workload
from holter_operator.reconcile.status import Bucket, Model, Problem, View, condition, status

NOW = datetime(2026, 1, 1, tzinfo=UTC)
INGEST = Workload("Deployment", "ward-ingest", wanted=2, replicas=2, updated=2, ready=2, observed=True)
INFERENCE = Workload("StatefulSet", "ward-inference", wanted=2, replicas=2, updated=2, ready=2, observed=True)
WELL = View(
    generation=3,
    bucket=Bucket("st-mary.ward", "b1"),
    model=Model(
        revision=7, trained_at="2026-01-01T00:00:00Z", windows=900, threshold=3.0, words="revision 7 is at work"
    ),
    ingest=INGEST,
    inference=INFERENCE,
    endpoint="http://ward-ingest.st-mary.svc:8080",
    selector="a=b",
)
SCHEMA = crd.schema()["properties"]["status"]["properties"]


def short(found):
    return {each["type"]: each["status"] for each in found["conditions"]}


def test_all_is_well():
    found = status(WELL, {}, NOW)
    assert found["phase"] == "Ready"
    assert short(found) == {
        "Ready": "True",
        "Progressing": "False",
        "Degraded": "False",
        "BucketReady": "True",
        "ModelReady": "True",
        "Paused": "False",
    }
    assert {each["observedGeneration"] for each in found["conditions"]} == {3}
    assert found["inference"] == {"replicas": 2, "readyReplicas": 2, "selector": "a=b"}


def test_learning_neither_blocks_ready_nor_degrades():
    found = status(replace(WELL, model=Model(words="no model yet")), {}, NOW)
    assert (condition(found, "ModelReady")["status"], condition(found, "ModelReady")["reason"]) == ("False", "Learning")
    assert found["phase"] == "Ready"
    assert found["model"] == {"revision": 0}


@pytest.mark.parametrize(
    ("view", "reason", "words", "phase"),
    [
        (
            replace(WELL, problems=(Problem("DeviceKeyLost", "put it back"),)),
            "DeviceKeyLost",
            "put it back",
            "Degraded",
        ),
        (
            replace(WELL, bucket=Bucket(problem=Problem("InfluxDBUnavailable", "no answer"))),
            "InfluxDBUnavailable",
            "no answer",
            "Degraded",
        ),
        (replace(WELL, ingest=replace(INGEST, ready=1)), "IngestUnavailable", "1 of 2 pods", "Progressing"),
        (
            replace(WELL, inference=replace(INFERENCE, observed=False)),
            "InferenceUnavailable",
            "not seen",
            "Progressing",
        ),
        (replace(WELL, inference=replace(INFERENCE, updated=1)), "InferenceUnavailable", "1 of 2", "Progressing"),
        (replace(WELL, ingest=Workload("Deployment", "ward-ingest")), "IngestUnavailable", "not seen", "Progressing"),
        (
            replace(
                WELL,
                ingest=replace(INGEST, ready=1),
                troubles={"ward-ingest": Trouble("ImagePullBackOff", "pod x is waiting", waits=False)},
            ),
            "ImagePullBackOff",
            "pod x is waiting",
            "Degraded",
        ),
        (
            replace(
                WELL,
                ingest=replace(INGEST, ready=1),
                troubles={"ward-ingest": Trouble("Starting", "pod x is starting", waits=True)},
            ),
            "Starting",
            "pod x is starting",
            "Progressing",
        ),
    ],
)
def test_not_ready_names_what_fails(view, reason, words, phase):
    found = status(view, {}, NOW)
    ready = condition(found, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", reason)
    assert words in ready["message"]
    assert found["phase"] == phase


def test_a_rolling_workload_progresses_while_the_old_pods_serve():
    found = status(replace(WELL, ingest=replace(INGEST, updated=1)), {}, NOW)
    assert condition(found, "Progressing")["status"] == "True"
    assert "1 of 2" in condition(found, "Progressing")["message"]


def test_all_faults_are_told():
    view = replace(
        WELL,
        problems=(Problem("ChildRefused", "first"), Problem("ChildRefused", "second")),
        bucket=Bucket(problem=Problem("InfluxDBUnavailable", "third")),
    )
    message = condition(status(view, {}, NOW), "Degraded")["message"]
    assert message == "first; second; third"


def test_the_same_view_gives_the_same_status():
    first = status(WELL, {}, NOW)
    assert status(WELL, first, NOW + timedelta(hours=1)) == first


def test_a_transition_is_dated_and_others_keep_their_date():
    first = status(WELL, {}, NOW)
    later = status(replace(WELL, generation=4, ingest=replace(INGEST, ready=1)), first, NOW + timedelta(hours=1))
    assert condition(later, "Ready")["lastTransitionTime"] == "2026-01-01T01:00:00Z"
    assert condition(later, "BucketReady")["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert condition(later, "BucketReady")["observedGeneration"] == 4


def test_what_was_not_looked_at_stays():
    first = status(WELL, {}, NOW)
    paused = status(View(generation=4, paused=True, ingest=INGEST, inference=INFERENCE), first, NOW)
    assert paused["phase"] == "Paused"
    assert paused["bucket"] == first["bucket"]
    assert paused["model"] == first["model"]
    assert condition(paused, "BucketReady") == condition(first, "BucketReady")
    assert condition(paused, "Paused")["status"] == "True"


def test_on_its_way_out():
    found = status(View(generation=4, deleting="2 pods drain"), status(WELL, {}, NOW), NOW)
    assert found["phase"] == "Deleting"
    assert condition(found, "Ready")["message"] == "2 pods drain"
    assert condition(found, "Degraded")["status"] == "False"


@pytest.mark.parametrize("reason", ["", "Create Container:Error", "1st", "-"])
def test_whatever_a_runtime_calls_it_the_api_server_takes_the_reason(reason):
    view = replace(WELL, ingest=replace(INGEST, ready=0), troubles={"ward-ingest": Trouble(reason, "x", waits=False)})
    pattern = SCHEMA["conditions"]["items"]["properties"]["reason"]["pattern"]
    for each in status(view, {}, NOW)["conditions"]:
        assert re.fullmatch(pattern, each["reason"]), each


def test_every_field_is_in_the_schema():
    """The API server prunes others, and the next pass would write them again."""
    view = replace(WELL, model=replace(WELL.model, candidate={"verdict": "Refused", "reason": "x", "trainedAt": "y"}))
    found = status(view, {}, NOW)
    assert set(found) <= set(SCHEMA)
    for name in ("bucket", "model", "ingest", "inference"):
        assert set(found[name]) <= set(SCHEMA[name]["properties"])
    assert set(found["model"]["candidate"]) <= set(SCHEMA["model"]["properties"]["candidate"]["properties"])
    assert found["phase"] in SCHEMA["phase"]["enum"]
