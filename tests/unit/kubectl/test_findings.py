"""What is wrong, what to do next, and the exit code that says so."""

import io
import json
import re

import pytest
from rich.console import Console
from tests.unit.kubectl.conftest import cohort, measured, told

from holter_operator.kubectl.access import Unseen
from holter_operator.kubectl.figures import figures
from holter_operator.kubectl.findings import exit_code, findings
from holter_operator.kubectl.refused import refused
from holter_operator.kubectl.render import document, screen
from holter_operator.kubectl.snapshot import Operators, Part, Refit
from holter_operator.reconcile.diagnosis import Trouble, Workload


def shown(seen, width=160):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(screen(seen, findings(seen)))
    return console.file.getvalue()


def test_a_cohort_that_is_well(snapshot):
    seen = snapshot()
    assert findings(seen) == ()
    assert exit_code(()) == 0
    text = shown(seen)
    assert "st-mary/ward  well" in text
    assert "3,000 samples/s" in text
    assert "12 patients, 0.15 s from sample to decision, all shards owned" in text
    assert "revision 3, fitted 2 h ago to 900 windows, kept: r2 r3" in text
    assert "2 high, 0 medium, 0 low since the workers began" in text


LINE = (
    '{"service": "ingest", "device_id": "wearable-7", "code": 403, "field": "Authorization", "count": %d,'
    ' "reason": "is not this device\'s token", "event": "refused", "level": "warning"}'
)


def test_refused_devices_are_named_with_what_to_do_and_the_cohort_is_well(snapshot):
    other = LINE.replace("wearable-7", "wearable-8").replace("403", "400").replace("Authorization", "fs")
    assert refused([(LINE % 1).replace("Authorization", "\\u001b[2J")])[0].field == "?[2J"
    logs = [f"{LINE % 3}\nno JSON\n{other % 2}", LINE % 4, '{"event": "refused", "service": "console"}']
    found = refused(logs)
    assert [(one.device, one.code, one.count) for one in found] == [("wearable-7", 403, 7), ("wearable-8", 400, 2)]
    seen = snapshot(refused=found)
    assert exit_code(findings(seen)) == 0, "a stranger makes nobody unwell"
    text = shown(seen)
    assert "ingest refuses wearable-7 (7 times, 403): Authorization is not this device's token" in text
    assert "next: kubectl holter token wearable-7 ward -n st-mary" in text
    assert json.loads(json.dumps(document(seen, findings(seen))))["refused"][0]["device"] == "wearable-7"
    many = refused([LINE.replace("wearable-7", f"w{n}") % 1 for n in range(30)])
    assert "27 more faults of devices" in shown(snapshot(refused=many))


FAULTS = [
    ({"figures": measured(unowned=32)}, "32 of 64 shards have no worker", "HolterShardsUnowned"),
    ({"figures": measured(samples=0)}, "12 patients are known, and no sample came", "HolterNoSamples"),
    ({"figures": measured(refused=6)}, "20% of requests are refused", "HolterIngestRefusing"),
    ({"figures": measured(stranger=6)}, "20% of requests have no valid token", "HolterDevicesUnauthorized"),
    ({"figures": measured(log=2.4e9)}, "62% full", "HolterLogFilling"),
    ({"figures": measured(log=3.8e9)}, "98% full", "HolterLogFull"),
    ({"figures": measured(store=3)}, "calls of the store fail", "HolterStoreErrors"),
    ({"figures": measured(waited=240)}, "take 10.0 s on average", "HolterDecisionsLate"),
    ({"figures": measured(undelivered=2)}, "alerts do not reach webhook:ward: 2 attempts", "HolterAlertsUndelivered"),
    ({"operator": Operators(1, 0)}, "no operator runs", "HolterOperatorDown"),
    (
        {"refit": Refit("ward-refit-1", "failed", None, "OOMKilled")},
        "ward-refit-1, has failed: OOM",
        "HolterRefitFailing",
    ),
    (
        {"document": cohort(status={"model": {"revision": 3, "trainedAt": "2026-02-26T12:00:00Z", "windows": 1}})},
        "the model is 3 d old, more than two look-backs",
        "HolterModelOld",
    ),
    (
        {"document": cohort(status=told("Degraded", "True", "DeviceKeyLost", "Secret ward-device-key is missing"))},
        "DeviceKeyLost: Secret ward-device-key is missing",
        "",
    ),
    (
        {"document": cohort(status=told("Ready", "False", "InfluxDBUnavailable", "connection refused"))},
        "InfluxDBUnavailable: connection refused",
        "",
    ),
    (
        {"document": cohort(deletionTimestamp="2026-03-01T11:59:00Z")},
        "it is being deleted: all is well",
        "HolterDeletionStuck",
    ),
]


@pytest.mark.parametrize(("changes", "words", "runbook"), FAULTS, ids=[words for _, words, _ in FAULTS])
def test_a_fault_is_told_with_its_next_step_and_runbook(snapshot, changes, words, runbook):
    seen = snapshot(**changes)
    (found,) = findings(seen)
    assert words in found.what
    assert found.do
    assert found.runbook == runbook
    assert exit_code((found,)) == 1
    text = " ".join(shown(seen).split())
    assert "not well" in text
    assert " ".join(f"✗ {found.what} next: {found.do}".split()) in text
    if runbook:
        assert re.search(rf"more: https://\S+/{runbook}/", text)


def test_a_pod_that_does_not_start_is_told_once(snapshot):
    message = "Deployment ward-ingest: pod ward-ingest-1 waits: ImagePullBackOff"
    numbers = Workload("Deployment", "ward-ingest", wanted=2, replicas=2, updated=2, ready=0, observed=True)
    part = Part("ingest", numbers, Trouble("ImagePullBackOff", message, waits=False))
    alone = snapshot(parts=(part,))
    (found,) = findings(alone)
    assert message in found.what
    status = told("Ready", "False", "ImagePullBackOff", message)
    (found,) = findings(snapshot(cohort(status=status), parts=(part,)))
    assert "imagePullSecrets" in found.do
    assert "✗ ingest 0/2 ready" in " ".join(shown(alone).split())


UNKNOWN = [
    {"figures": Unseen("pods is forbidden")},
    {"parts": Unseen("deployments is forbidden")},
    {"document": cohort(generation=2)},
    {"document": cohort(status={"conditions": []})},
]


@pytest.mark.parametrize("changes", UNKNOWN)
def test_what_cannot_be_seen_is_not_called_well(snapshot, changes):
    seen = snapshot(**changes)
    assert exit_code(findings(seen)) == 2
    assert "cannot tell" in shown(seen)


NOTES = [
    ({"document": cohort({"paused": True})}, "paused", "kubectl holter resume ward -n st-mary"),
    ({"document": cohort({"refit": {"suspend": True}})}, "suspended", "false"),
    ({"document": cohort({"model": {"pinnedRevision": 2}})}, "held at revision 2", "--release"),
    ({"operator": Operators(0, 0)}, "no Deployment of an operator", "install"),
    ({"alerts": Unseen("secrets is forbidden")}, "secrets is forbidden", "--alerts 0"),
    ({"document": cohort(status=told("ModelReady", "False", "Learning", "no model yet"))}, "no model yet", "alarms"),
]


@pytest.mark.parametrize(("changes", "words", "do"), NOTES)
def test_a_note_is_no_fault(snapshot, changes, words, do):
    (found,) = findings(snapshot(**changes))
    assert words in found.what
    assert do in found.do
    assert exit_code((found,)) == 0


def test_a_fault_goes_before_what_is_unknown(snapshot):
    found = findings(snapshot(operator=Operators(1, 0), figures=Unseen("no")))
    assert [f.level.name for f in found] == ["FAULT", "UNKNOWN"]
    assert exit_code(found) == 1


def test_the_same_for_programs(snapshot):
    alert = {
        "id": "a1", "device": "bed1", "kind": "asystole", "priority": "high", "active": True, "acknowledged": False,
        "raised": 1772366400000, "reason": "no QRS of 0.15 mV for 4 s",
    }  # fmt: skip
    seen = snapshot(figures=measured(unowned=1), alerts=(alert,), revisions=Unseen("forbidden"))
    told_ = json.loads(json.dumps(document(seen, findings(seen))))
    assert (told_["verdict"], told_["exitCode"]) == ("not well", 1)
    assert told_["figures"]["samples"] == 3000
    assert told_["figures"]["raised"] == {"high": 2, "medium": 0, "low": 0}
    assert told_["revisions"] == {"unseen": "forbidden"}
    assert told_["workloads"][0] == {
        "component": "ingest", "kind": "Deployment", "name": "ward-ingest", "ready": 2, "wanted": 2, "available": True,
        "trouble": None,
    }  # fmt: skip
    assert told_["alerts"] == [alert]
    text = " ".join(shown(seen).split())
    assert "*** 01 Mar 12:00:00 bed1 asystole open, not acknowledged no QRS" in text


def test_a_pod_that_came_between_two_readings_counts_for_what_it_is():
    now = measured()
    assert now.samples == 3000
    text = 'holter_ingest_samples_total{cohort="w"} 5000\nholter_ingest_wal_bytes{cohort="w"} 7\n'
    found = figures({}, {"new": text}, 2.0)
    assert (found.samples, found.log_bytes, found.delay) == (0, 7, None)
