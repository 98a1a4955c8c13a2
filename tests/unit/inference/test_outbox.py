"""The outbox against a model, across crashes, damage and its bounds."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from holter.alert import AlertEvent, Kind, Priority, Transition
from holter.inference.outbox import LONGEST_WAIT, REFUSED_FOR, RETENTION, Outbox

NOW = 1_800_000_000.0


def make_event(
    alert: str = "a", ordinal: int = 1, event: Transition = Transition.RAISED, priority: Priority = Priority.LOW, **more
) -> AlertEvent:
    defaults = {
        "device_id": f"dev-{alert}",
        "kind": Kind.ECTOPY,
        "onset": 1_700_000_000_000_000,
        "decided_at": 1_700_000_005_000_000 + ordinal,
        "reason": "8 wide beats in 10 s",
        "score": 0.83,
        "threshold": 0.7,
        "model_revision": 3,
    }
    return AlertEvent(f"{alert}-{ordinal}", alert, event, priority=priority, **{**defaults, **more})


@pytest.fixture
def box(tmp_path):
    box = Outbox(tmp_path / "outbox.db", clock=lambda: NOW)
    box.configure(["store", "webhook:ward"])
    yield box
    box.close()


def ids(deliveries):
    return [delivery.event.id for delivery in deliveries]


def test_commit_records_queues_and_moves_the_cursor(box):
    assert box.cursor() is None
    assert box.open_alerts() == ()
    event = make_event()
    assert box.commit([event], cursor=41) == (event,)
    assert box.cursor() == 41
    assert box.open_alerts() == (event,)
    assert box.recent(event.decided_at) == (event,)
    assert box.recent(event.decided_at + 1) == ()
    for sink in ("store", "webhook:ward"):
        (delivery,) = box.due(sink, NOW, 10)
        assert (delivery.event, delivery.sink, delivery.committed_at, delivery.attempts) == (event, sink, NOW, 0)
    assert box.due("other", NOW, 10) == ()


def test_every_kind_of_event_comes_back_as_it_was(box):
    events = [
        make_event(f"{kind}{priority}{transition}", event=transition, priority=priority, kind=kind, score=score)
        for kind in Kind
        for priority in Priority
        for transition, score in zip(Transition, (None, 0.1 + 0.2, -1e-300), strict=True)
    ]
    assert box.commit(events) == tuple(events)
    assert box.recent(0) == tuple(events)
    assert {type(box.recent(0)[0].kind), type(box.recent(0)[0].priority)} == {Kind, Priority}


def test_an_id_keeps_its_first_content_and_is_queued_once(box):
    first, second = make_event(reason="first"), make_event(reason="second")
    assert box.commit([first, second]) == (first,)
    assert box.commit([second], cursor=9) == ()
    assert box.recent(0) == (first,)
    assert box.cursor() == 9
    box.delivered(first.id, "store")
    assert box.commit([second]) == ()
    assert box.pending("store") == 0
    assert box.pending("webhook:ward") == 1


def test_a_cursor_of_none_leaves_the_cursor(box):
    box.commit([], cursor=0)
    box.commit([make_event()])
    assert box.cursor() == 0


def test_a_commit_that_fails_changes_nothing(box):
    class Broken:
        def __iter__(self):
            yield make_event("a")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        box.commit(Broken(), cursor=7)
    assert (box.cursor(), box.recent(0), box.pending("store")) == (None, (), 0)
    box.commit([make_event("a")], cursor=7)
    assert (box.cursor(), box.pending("store")) == (7, 1)


def test_one_event_of_an_alert_at_a_time_and_in_order(box):
    box.commit([make_event("a", 1), make_event("a", 2, Transition.UPDATED), make_event("b", 1)])
    assert ids(box.due("store", NOW, 10)) == ["a-1", "b-1"]
    box.failed("a-1", "store", NOW + 5)
    assert ids(box.due("store", NOW, 10)) == ["b-1"]
    assert ids(box.due("store", NOW + 5, 10)) == ["b-1", "a-1"]
    box.delivered("a-1", "store")
    assert ids(box.due("store", NOW, 10)) == ["a-2", "b-1"]
    assert ids(box.due("webhook:ward", NOW, 10)) == ["a-1", "b-1"], "the other sink has its own queue"


def test_high_priority_goes_first(box):
    box.commit([make_event(p, priority=p) for p in (Priority.LOW, Priority.MEDIUM, Priority.HIGH)])
    assert ids(box.due("store", NOW, 2)) == ["high-1", "medium-1"]


def test_a_refused_event_holds_up_none_and_is_given_up_once_a_later_one_is_taken(box):
    box.commit([make_event("a", 1), make_event("a", 2, Transition.CLEARED), make_event("b", 1)])
    box.failed("a-1", "store", NOW + 60, refused=True)
    box.failed("b-1", "store", NOW + 60, refused=True)
    assert ids(box.due("store", NOW, 10)) == ["a-2"]
    (given_up,) = box.delivered("a-2", "store")
    assert (given_up.event.id, given_up.sink, given_up.attempts) == ("a-1", "store", 1)
    assert ids(box.due("store", NOW + 60, 10)) == ["b-1"]


def test_a_clock_set_back_does_not_stall_retries(box):
    box.commit([make_event()])
    box.failed("a-1", "store", NOW + 30)
    assert box.due("store", NOW, 10) == ()
    assert ids(box.due("store", NOW - LONGEST_WAIT, 10)) == ["a-1"]


def test_open_alerts_are_the_newest_events_of_those_not_cleared(box):
    raised, updated = make_event("a", 1), make_event("a", 2, Transition.UPDATED, Priority.HIGH)
    box.commit([raised, make_event("b", 1)])
    box.commit([updated, make_event("b", 2, Transition.CLEARED)])
    assert box.open_alerts() == (updated,)
    assert box.history("a") == (raised, updated)


def test_a_restart_keeps_all_and_makes_retries_due(tmp_path, box):
    box.commit([make_event("a", 1), make_event("b", 1)], cursor=5)
    box.delivered("a-1", "store")
    box.failed("b-1", "store", NOW + 600)
    box.close()
    again = Outbox(tmp_path / "outbox.db", clock=lambda: NOW)
    assert again.cursor() == 5
    assert [event.id for event in again.open_alerts()] == ["a-1", "b-1"]
    assert [(d.event.id, d.attempts) for d in again.due("store", NOW, 10)] == [("b-1", 1)]
    assert ids(again.due("webhook:ward", NOW, 10)) == ["a-1", "b-1"]
    again.commit([make_event("c", 1)])
    assert again.pending("webhook:ward") == 3, "the sinks are remembered, for what is decided before they are named"
    again.close()


def test_sinks_that_go_lose_their_queue_and_new_ones_get_what_comes(box):
    box.commit([make_event("a")])
    box.configure(["store", "webhook:new"])
    box.commit([make_event("b")])
    assert ids(box.due("store", NOW, 10)) == ["a-1", "b-1"]
    assert ids(box.due("webhook:new", NOW, 10)) == ["b-1"]
    assert box.pending("webhook:ward") == 0


def test_listeners_hear_of_new_events_only(box):
    heard = []
    with box.listening(lambda: heard.append(box.pending("store"))):
        box.commit([], cursor=1)
        box.commit([make_event()])
        box.commit([make_event()])
    box.commit([make_event("later")])
    assert heard == [1]


KILLED = """
import os, signal, sys
from pathlib import Path
from holter.alert import AlertEvent, Kind, Priority, Transition
from holter.inference.outbox import Outbox
box = Outbox(Path(sys.argv[1]))
box.configure(["store"])
class Events:
    def __iter__(self):
        yield AlertEvent("b-1", "b", Transition.RAISED, "dev", Kind.ASYSTOLE, Priority.HIGH, 1, 2, "no beat")
        os.kill(os.getpid(), signal.SIGKILL)
box.commit([AlertEvent("a-1", "a", Transition.RAISED, "dev", Kind.ASYSTOLE, Priority.HIGH, 1, 2, "no beat")], cursor=10)
box.commit(Events(), cursor=20)
"""


def test_kill_9_in_a_commit_leaves_the_one_before_it(tmp_path):
    path = tmp_path / "outbox.db"
    ended = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, env={**os.environ})
    assert ended.returncode == -signal.SIGKILL
    box = Outbox(path)
    assert box.cursor() == 10
    assert ids(box.due("store", NOW, 10)) == ["a-1"]
    assert [event.id for event in box.recent(0)] == ["a-1"]
    box.close()


@pytest.mark.parametrize("damage", ["noise", "version", "page"])
def test_a_damaged_file_is_set_aside(tmp_path, damage):
    path = tmp_path / "outbox.db"
    if damage == "noise":
        path.write_bytes(b"this is no database, " * 500)
    else:
        box = Outbox(path)
        box.commit([make_event(str(n)) for n in range(200)])
        box.close()
        if damage == "version":
            with sqlite3.connect(path) as db:
                db.execute("PRAGMA user_version = 99")
            db.close()
        else:
            with path.open("r+b") as file:
                file.seek(3 * 4096)
                file.write(os.urandom(6 * 4096))
    box = Outbox(path, clock=lambda: NOW)
    assert box.cursor() is None
    assert box.commit([make_event()]) == (make_event(),)
    assert path.with_name(f"outbox.db.unreadable-{int(NOW)}").exists()
    box.close()


def test_a_locked_or_unwritable_file_is_an_error_not_a_new_outbox(tmp_path):
    (tmp_path / "outbox.db").mkdir()
    with pytest.raises(sqlite3.OperationalError):
        Outbox(tmp_path / "outbox.db")
    assert (tmp_path / "outbox.db").is_dir()


class TestPrune:
    def test_what_is_delivered_and_old_goes_but_not_an_open_alert(self, box):
        box.commit([make_event("open", 1), make_event("open", 2, Transition.UPDATED)])
        box.commit([make_event("shut", 1), make_event("shut", 2, Transition.CLEARED)])
        for event in box.recent(0):
            for sink in ("store", "webhook:ward"):
                box.delivered(event.id, sink)
        assert box.prune(NOW + RETENTION) == ()
        assert len(box.recent(0)) == 4
        assert box.prune(NOW + RETENTION + 1) == ()
        assert [event.id for event in box.recent(0)] == ["open-2"]
        assert [event.id for event in box.open_alerts()] == ["open-2"]

    def test_refused_ones_are_given_up_after_a_day_and_all_after_the_retention(self, box):
        box.commit([make_event("a"), make_event("b")])
        box.failed("a-1", "store", NOW + 1, refused=True)
        box.failed("b-1", "store", NOW + 1)
        assert box.prune(NOW + REFUSED_FOR) == ()
        assert [(d.event.id, d.sink) for d in box.prune(NOW + REFUSED_FOR + 1)] == [("a-1", "store")]
        assert [(d.event.id, d.sink) for d in box.prune(NOW + RETENTION + 1)] == [
            ("a-1", "webhook:ward"),
            ("b-1", "store"),
            ("b-1", "webhook:ward"),
        ]
        assert [event.id for event in box.open_alerts()] == ["a-1", "b-1"]

    def test_beyond_the_bound_the_delivered_go_first_then_by_priority(self, tmp_path):
        box = Outbox(tmp_path / "outbox.db", clock=lambda: NOW, limit=3)
        box.configure(["store"])
        box.commit([make_event("open", 1)])
        for name, priority in [("done", Priority.HIGH), ("high", Priority.HIGH), ("low", Priority.LOW)]:
            box.commit([make_event(name, 1, Transition.CLEARED, priority)])
        box.delivered("done-1", "store")
        assert box.prune(NOW) == ()
        assert [event.id for event in box.recent(0)] == ["open-1", "high-1", "low-1"]
        box.commit([make_event("new", 1, Transition.CLEARED, Priority.MEDIUM)])
        assert ids(box.prune(NOW)) == ["low-1"]
        box.commit([make_event(f"more-{n}", 1, priority=Priority.HIGH) for n in range(5)])
        assert ids(box.prune(NOW)) == ["new-1", "high-1"]
        assert len(box.open_alerts()) == 6, "open alerts are kept whatever the bound"
        box.close()


class AgainstAModel(RuleBasedStateMachine):
    """Any order of commits, deliveries, failures, pruning and restarts, beside plain dictionaries."""

    SINKS = ("store", "webhook:ward")

    def __init__(self):
        super().__init__()
        self.folder = TemporaryDirectory()
        self.now = NOW
        self.box = self.open_box()
        self.box.configure(self.SINKS)
        self.events = {}  # id → event, in the order of commits
        self.waiting = {}  # (sink, id) → [next_at, refused]
        self.cursor = None

    def open_box(self):
        return Outbox(Path(self.folder.name) / "outbox.db", clock=lambda: self.now)

    def teardown(self):
        self.box.close()
        self.folder.cleanup()

    @rule(
        events=st.lists(
            st.builds(
                make_event,
                st.sampled_from("abc"),
                st.integers(1, 6),
                st.sampled_from(Transition),
                st.sampled_from(Priority),
                reason=st.sampled_from(["one", "another"]),
            ),
            max_size=4,
        ),
        cursor=st.none() | st.integers(0, 2**63 - 1),
    )
    def commit(self, events, cursor):
        new = []
        for event in events:
            if event.id not in self.events:
                self.events[event.id] = event
                new.append(event)
                self.waiting |= {(sink, event.id): [0, False] for sink in self.SINKS}
        self.cursor = self.cursor if cursor is None else cursor
        assert self.box.commit(events, cursor) == tuple(new)

    def expected_due(self, sink):
        ready, blocked = [], set()
        for order, (name, event) in enumerate(self.events.items()):
            if (sink, name) in self.waiting:
                next_at, refused = self.waiting[sink, name]
                if event.alert_id not in blocked and next_at <= self.now:
                    ready.append((list(Priority).index(event.priority), next_at, order, name))
                if not refused:
                    blocked.add(event.alert_id)
        return [name for *_, name in sorted(ready)]

    @rule(
        sink=st.sampled_from(SINKS), choice=st.integers(0, 9), outcome=st.sampled_from(["taken", "failed", "refused"])
    )
    def attempt(self, sink, choice, outcome):
        due = self.expected_due(sink)
        if not due:
            return
        chosen = due[choice % len(due)]
        if outcome == "taken":
            alert, order = self.events[chosen].alert_id, list(self.events)
            earlier = [other for other in order[: order.index(chosen)] if self.events[other].alert_id == alert]
            late = [other for other in earlier if (sink, other) in self.waiting]
            assert [given_up.event.id for given_up in self.box.delivered(chosen, sink)] == late
            for gone in (chosen, *late):
                del self.waiting[sink, gone]
        else:
            self.waiting[sink, chosen] = [self.now + 30, outcome == "refused"]
            self.box.failed(chosen, sink, self.now + 30, refused=outcome == "refused")

    @rule(seconds=st.sampled_from([1, 30, 3600, REFUSED_FOR]))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def restart(self):
        self.box.close()
        self.box = self.open_box()
        for state in self.waiting.values():
            state[0] = 0

    @invariant()
    def same(self):
        assert self.box.cursor() == self.cursor
        assert self.box.recent(0) == tuple(self.events.values())
        newest = {}
        for event in self.events.values():
            newest.pop(event.alert_id, None)
            newest[event.alert_id] = event
        assert self.box.open_alerts() == tuple(e for e in newest.values() if e.event != Transition.CLEARED)
        for sink in self.SINKS:
            assert self.box.pending(sink) == sum(name == sink for name, _ in self.waiting)
            assert ids(self.box.due(sink, self.now, 100)) == self.expected_due(sink)
            assert ids(self.box.due(sink, self.now, 1)) == self.expected_due(sink)[:1]


TestAgainstAModel = AgainstAModel.TestCase
TestAgainstAModel.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
