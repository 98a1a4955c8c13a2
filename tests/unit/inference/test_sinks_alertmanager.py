"""Alertmanager: what is posted, beside the documented schema; tests/integration holds it against a real one."""

import json
from datetime import datetime

import jsonschema
import pytest

from holter.alert import AlertEvent, Kind, Priority, Transition
from holter.inference.outbox import Outbox
from holter.inference.sinks.alertmanager import LASTS, AlertmanagerSink, labels, posted
from holter.inference.sinks.sink import SinkUnavailableError

NOW = 1_800_000_000.0
SECOND = 1_000_000
# After `postableAlerts` of Alertmanager's api/v2/openapi.yaml; label names as Prometheus allows them.
TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00$"}
LABELS = {
    "type": "object",
    "propertyNames": {"pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"},
    "additionalProperties": {"type": "string", "minLength": 1},
}
SCHEMA = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["labels", "annotations", "startsAt", "endsAt"],
        "properties": {"labels": LABELS, "annotations": LABELS, "startsAt": TIME, "endsAt": TIME},
        "additionalProperties": False,
    },
}


def make_event(ordinal=1, event=Transition.RAISED, priority=Priority.LOW, alert="a", kind=Kind.VENTRICULAR_RUN):
    onset = round(NOW - 20) * SECOND
    return AlertEvent(f"{alert}-{ordinal}", alert, event, "bed-07", kind, priority, onset, onset, "5 wide beats")


class Clock:
    now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def box(tmp_path):
    box = Outbox(tmp_path / "outbox.db")
    yield box
    box.close()


@pytest.fixture
async def make_sink(box, clock):
    sinks = []

    def make(receiver):
        sinks.append(AlertmanagerSink(f"{receiver.url}/prefix/", "st-mary", "cardiology", box, clock=clock, timeout=2))
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()


def bodies(receiver):
    """Of each request: (priority, seconds from now to its end) per alert."""
    told = []
    for _, body in receiver.requests:
        document = json.loads(body)
        jsonschema.validate(document, SCHEMA)
        told.append(
            [
                (alert["labels"]["priority"], datetime.fromisoformat(alert["endsAt"]).timestamp() - NOW)
                for alert in document
            ]
        )
    return told


def test_labels_and_annotations():
    alert = posted(make_event(priority=Priority.HIGH), "st-mary", "cardiology", NOW, active=True)
    assert alert["labels"] == {
        "alertname": "HolterVentricularRun",
        "namespace": "st-mary",
        "cohort": "cardiology",
        "device_id": "bed-07",
        "kind": "ventricular_run",
        "category": "physiological",
        "priority": "high",
        "severity": "critical",
    }
    assert alert["annotations"] == {
        "summary": "Ventricular run: device bed-07 of cohort st-mary/cardiology",
        "reason": "5 wide beats",
        "alert": "a",
        "onset": "2027-01-15T07:59:40.000000Z",
    }


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_and_priority_meets_the_schema_with_labels_of_its_own(kind):
    events = [make_event(kind=kind, priority=priority) for priority in Priority]
    jsonschema.validate([posted(event, "n", "c", NOW, active=True) for event in events], SCHEMA)
    assert len({tuple(labels(event, "n", "c").items()) for event in events}) == 3
    assert labels(events[0], "n", "c") == labels(make_event(9, Transition.CLEARED, Priority.HIGH, "b", kind), "n", "c")


def test_an_onset_ahead_of_the_clock_still_starts_before_it_ends():
    alert = posted(make_event(), "n", "c", NOW - 3600, active=False)
    assert alert["startsAt"] == alert["endsAt"]


async def test_a_life(box, clock, make_receiver, make_sink):
    receiver = make_receiver()
    sink = make_sink(receiver)
    raised = make_event(1)
    box.commit([raised])
    await sink.send(raised)
    clock.now += 60
    await sink.repeat()
    cleared = make_event(2, Transition.CLEARED)
    box.commit([cleared])
    await sink.send(cleared)
    await sink.repeat()
    assert bodies(receiver) == [[("low", LASTS)], [("low", 60 + LASTS)], [("low", 60)]]
    assert {json.dumps(json.loads(body)[0]["labels"]) for _, body in receiver.requests} == {
        json.dumps(labels(raised, "st-mary", "cardiology"))
    }


async def test_a_new_priority_ends_the_alert_with_the_old_one(box, make_receiver, make_sink):
    receiver = make_receiver()
    sink = make_sink(receiver)
    life = [make_event(1), make_event(2, Transition.UPDATED, Priority.HIGH)]
    for event in life:
        box.commit([event])
        await sink.send(event)
    await sink.repeat()
    assert bodies(receiver) == [[("low", LASTS)], [("low", 0), ("high", LASTS)], [("high", LASTS)]]


async def test_what_comes_late_says_what_holds_now(box, make_receiver, make_sink):
    receiver = make_receiver()
    sink = make_sink(receiver)
    old = [make_event(1), make_event(2, Transition.CLEARED)]
    box.commit(old)
    await sink.send(old[0])
    box.commit([make_event(1, alert="b")])
    await sink.send(old[1])
    assert bodies(receiver) == [[("low", 0)], [("low", LASTS)]]


async def test_a_restart_says_again_what_is_open(tmp_path, clock, make_receiver):
    before = Outbox(tmp_path / "outbox.db")
    before.commit([make_event(alert=str(number), kind=kind) for number, kind in enumerate(Kind)])
    before.close()
    after = Outbox(tmp_path / "outbox.db")
    receiver = make_receiver()
    sink = AlertmanagerSink(receiver.url, "st-mary", "cardiology", after, clock=clock)
    await sink.repeat()
    ((_, body),) = receiver.requests
    assert [alert["labels"]["kind"] for alert in json.loads(body)] == list(Kind)
    sink.close()
    after.close()


async def test_nothing_open_posts_nothing_and_faults_are_told(box, make_receiver, make_sink):
    receiver = make_receiver(lambda body: 503)
    sink = make_sink(receiver)
    await sink.repeat()
    assert receiver.requests == []
    box.commit([make_event()])
    with pytest.raises(SinkUnavailableError, match="503"):
        await sink.repeat()
