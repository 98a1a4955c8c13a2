"""An alert's life: one per patient and kind, merged, latched, acknowledged, restored."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.alert import Kind, Priority, Transition
from holter.chunk import MICROSECONDS
from holter.inference.decision.life import Condition, Life

ECTOPY = Condition(Kind.ECTOPY, Priority.LOW, 95, "6 ventricular beats in the last minute", 3.0, 2.4)
VT = Condition(Kind.VENTRICULAR_TACHYCARDIA, Priority.HIGH, 98, "wide-complex rhythm 182/min for 7 s")
LOST = Condition(Kind.ECG_LOST, Priority.LOW, 99, "constant signal for 2 s")


def life():
    return Life("st-mary", "ward", 60)


def steps(alerts, seconds, conditions=(), unjudged=()):
    return [e for s in seconds for e in alerts.step("d", s, list(conditions), 3, unjudged)]


def test_raised_once_and_cleared_after_the_cooldown():
    alerts = life()
    events = steps(alerts, range(100, 110), [ECTOPY]) + steps(alerts, range(110, 200))
    assert [(e.event, e.decided_at // MICROSECONDS) for e in events] == [("raised", 100), ("cleared", 169)]
    assert events[0].onset == 95 * MICROSECONDS
    assert len({e.alert_id for e in events}) == 1
    assert [e.id for e in events] == [f"{events[0].alert_id}-0", f"{events[0].alert_id}-1"]
    assert alerts.open("d") == {}


def test_a_return_within_the_cooldown_updates_with_its_new_onset():
    alerts = life()
    run = Condition(Kind.VENTRICULAR_RUN, Priority.MEDIUM, 98, "run of 4 ventricular beats at 140/min")
    steps(alerts, [100], [run])
    steps(alerts, range(101, 120))
    again = Condition(Kind.VENTRICULAR_RUN, Priority.MEDIUM, 118, "again")
    (event,) = steps(alerts, [120], [again])
    assert (event.event, event.onset, event.reason) == (Transition.UPDATED, 118 * MICROSECONDS, "again")


@pytest.mark.parametrize("kind", [Kind.ECTOPY, Kind.IRREGULAR_RHYTHM, Kind.ANOMALY])
def test_what_is_judged_over_a_minute_has_no_new_onset_within_one(kind):
    alerts = life()
    condition = Condition(kind, Priority.LOW, 95, "over a minute")
    steps(alerts, [100], [condition])
    steps(alerts, range(101, 120))
    assert steps(alerts, [120], [condition]) == []
    (cleared,) = steps(alerts, range(121, 190))
    assert cleared.event is Transition.CLEARED


def test_what_is_not_seen_has_not_ended():
    alerts = life()
    steps(alerts, [100], [ECTOPY])
    steps(alerts, range(101, 131))
    assert steps(alerts, range(131, 500), unjudged=[Kind.ECTOPY]) == []
    assert [e.decided_at // MICROSECONDS for e in steps(alerts, range(500, 600))] == [529]


@pytest.mark.parametrize("kind", [Kind.ECTOPY, Kind.IRREGULAR_RHYTHM, Kind.ANOMALY, Kind.TACHYCARDIA, Kind.BRADYCARDIA])
def test_what_lasts_is_the_same_behind_what_could_not_be_judged(kind):
    alerts = life()
    steps(alerts, [100], [Condition(kind, Priority.LOW, 95, "lasts")])
    steps(alerts, range(101, 300), unjudged=[kind])
    assert steps(alerts, [300], [Condition(kind, Priority.LOW, 295, "lasts")]) == []


@pytest.mark.parametrize("kind", [Kind.VENTRICULAR_RUN, Kind.VENTRICULAR_TACHYCARDIA, Kind.ASYSTOLE])
def test_what_is_over_in_seconds_is_another_one(kind):
    alerts = life()
    steps(alerts, [100], [Condition(kind, Priority.HIGH, 95, "short")])
    steps(alerts, range(101, 120), unjudged=[kind])
    (event,) = steps(alerts, [120], [Condition(kind, Priority.HIGH, 118, "again")])
    assert (event.event, event.onset) == (Transition.UPDATED, 118 * MICROSECONDS)


def test_an_hour_that_nobody_could_judge_ends_what_does_not_latch():
    alerts = life()
    steps(alerts, [100], [ECTOPY, VT])
    events = steps(alerts, range(101, 5000), unjudged=list(Kind))
    assert [(e.kind, e.event, e.decided_at // MICROSECONDS) for e in events] == [(Kind.ECTOPY, "cleared", 3700)]
    assert "hour" in events[0].reason


def test_a_short_break_says_nothing():
    alerts = life()
    steps(alerts, [100], [ECTOPY])
    assert steps(alerts, [101]) == []
    assert steps(alerts, [102], [ECTOPY]) == []


def test_a_higher_priority_updates_and_a_lower_does_not():
    alerts = life()
    steps(alerts, [100], [LOST])
    worse = Condition(Kind.ECG_LOST, Priority.HIGH, 99, "constant signal for 10 s")
    (event,) = steps(alerts, [108], [worse])
    assert (event.event, event.priority, event.onset) == (Transition.UPDATED, Priority.HIGH, 99 * MICROSECONDS)
    assert steps(alerts, [109], [LOST]) == []


def test_high_latches_until_acknowledged():
    alerts = life()
    (raised,) = steps(alerts, [100], [VT])
    assert steps(alerts, range(101, 1000)) == []
    alerts.acknowledge("d", raised.alert_id)
    (cleared,) = steps(alerts, [1000])
    assert cleared.event is Transition.CLEARED


def test_a_new_onset_breaks_through_an_acknowledgement():
    alerts = life()
    (raised,) = steps(alerts, [100], [VT])
    alerts.acknowledge("d", raised.alert_id)
    steps(alerts, range(101, 115))
    again = Condition(Kind.VENTRICULAR_TACHYCARDIA, Priority.HIGH, 114, "again")
    (event,) = steps(alerts, [115], [again])
    assert (event.event, event.priority) == (Transition.UPDATED, Priority.HIGH)
    assert steps(alerts, range(116, 1000)) == []  # it latches anew


def test_what_begins_anew_without_a_pause_is_a_new_onset_and_asks_again():
    alerts = life()
    (event,) = steps(alerts, [100], [VT])
    alerts.acknowledge("d", event.alert_id)
    assert steps(alerts, range(101, 120), [VT]) == []
    (event,) = steps(alerts, [120], [replace(VT, since=117, anew=True)])
    assert (event.event, event.onset) == (Transition.UPDATED, 117 * MICROSECONDS)
    assert alerts.open("d")[VT.kind].latched


def test_what_an_earlier_life_told_anew_is_not_told_twice():
    alerts, later = life(), life()
    events = steps(alerts, range(100, 120), [VT]) + steps(alerts, [120], [replace(VT, since=117, anew=True)])
    later.restore(tuple(events))
    assert steps(later, range(100, 120), [VT]) + steps(later, [120], [replace(VT, since=117, anew=True)]) == []
    (event,) = steps(later, [140], [replace(VT, since=137, anew=True)])
    assert event.id == f"{events[0].alert_id}-2"


def test_a_cable_does_not_latch_and_clears_soon():
    alerts = life()
    steps(alerts, [100], [Condition(Kind.ECG_LOST, Priority.HIGH, 90, "constant signal for 10 s")])
    (cleared,) = steps(alerts, range(101, 130))
    assert cleared.decided_at == 110 * MICROSECONDS


def test_kinds_live_apart_and_the_urgent_is_known():
    alerts = life()
    steps(alerts, [100], [ECTOPY, VT])
    assert set(alerts.open("d")) == {Kind.ECTOPY, Kind.VENTRICULAR_TACHYCARDIA}
    assert alerts.urgent("d", 130)
    assert not alerts.urgent("d", 161)
    assert not alerts.urgent("another", 100)


def test_silence_holds_what_is_open():
    alerts = life()
    steps(alerts, [100], [ECTOPY])
    none = Condition(Kind.NO_DATA, Priority.LOW, 101, "nothing received for 6 s")
    (event,) = alerts.hold("d", 500, [none], 3)
    assert event.kind is Kind.NO_DATA
    assert Kind.ECTOPY in alerts.open("d")


def test_who_has_gone_keeps_only_what_latches():
    alerts = life()
    steps(alerts, [100], [ECTOPY, VT])
    (cleared,) = alerts.end("d", 4000, "gone", 3)
    assert cleared.kind is Kind.ECTOPY
    assert set(alerts.open("d")) == {Kind.VENTRICULAR_TACHYCARDIA}


def test_restored_alerts_go_on_and_are_not_raised_again():
    before = life()
    told = steps(before, range(100, 120), [VT]) + steps(before, [121], [ECTOPY])
    after = life()
    after.restore(tuple(told))
    assert steps(after, range(90, 118), [VT, ECTOPY]) == []  # the same seconds once more
    later = steps(after, range(118, 190), [VT])
    assert [(e.kind, e.event, e.id.rpartition("-")[2]) for e in later] == [(Kind.ECTOPY, "cleared", "1")]


def test_what_was_cleared_before_is_not_raised_from_the_same_seconds():
    before = life()
    told = steps(before, [100], [ECTOPY]) + steps(before, range(101, 170))
    after = life()
    after.restore(tuple(told))
    assert steps(after, range(90, 160), [ECTOPY]) == []
    assert [e.event for e in steps(after, [161], [Condition(Kind.ECTOPY, Priority.LOW, 160, "new")])] == ["raised"]


@given(st.lists(st.sets(st.sampled_from(["ectopy", "vt", "lost"])), max_size=200), st.sets(st.integers(100, 299)))
def test_any_course_is_a_sequence_of_lives(course, acknowledgements):
    alerts = life()
    table = {"ectopy": ECTOPY, "vt": VT, "lost": LOST}
    lives, ids = {}, set()
    for second, on in enumerate(course, 100):
        if second in acknowledgements and Kind.VENTRICULAR_TACHYCARDIA in alerts.open("d"):
            alerts.acknowledge("d", alerts.open("d")[Kind.VENTRICULAR_TACHYCARDIA].event.alert_id)
        for event in alerts.step("d", second, [table[name] for name in sorted(on)], 0):
            assert event.id not in ids
            ids.add(event.id)
            was = lives.get(event.kind)
            assert (event.event is Transition.RAISED) == (was in (None, Transition.CLEARED))
            lives[event.kind] = event.event
        assert {k for k, v in lives.items() if v is not Transition.CLEARED} == set(alerts.open("d"))


def test_seconds_that_an_earlier_life_has_decided_on_clear_nothing():
    earlier, later = Life("n", "c", 60), Life("n", "c", 60)
    (raised,) = earlier.step("d", 1000, [Condition(Kind.ECTOPY, Priority.MEDIUM, 995, "many")], 0)
    later.restore((raised,))
    told = [event for second in range(900, 1080) for event in later.step("d", second, [], 0)]
    assert [(e.event, e.decided_at) for e in told] == [(Transition.CLEARED, 1060 * MICROSECONDS)]


def test_the_cooldown_of_an_alert_of_an_earlier_life_begins_anew():
    earlier, later = Life("n", "c", 60), Life("n", "c", 60)
    (raised,) = earlier.step("d", 1000, [Condition(Kind.ECTOPY, Priority.MEDIUM, 995, "many")], 0)
    later.restore((raised,))
    told = [event for second in range(1200, 1300) for event in later.step("d", second, [], 0)]
    assert [e.decided_at for e in told] == [1259 * MICROSECONDS]  # the sixtieth second of this life


def test_who_is_forgotten_has_no_alerts():
    life = Life("n", "c", 60)
    life.step("d", 1000, [Condition(Kind.ECTOPY, Priority.MEDIUM, 995, "many")], 0)
    life.forget({"d"})
    assert life.open("d") == {}
