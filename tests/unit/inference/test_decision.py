"""Simulated patients from chunk to alert: who is alerted on, as what, how soon, and who is not."""

from dataclasses import replace
from functools import cache
from itertools import islice

import numpy as np
import pytest

from holter.alert import Category, Kind, Priority, Transition
from holter.chunk import LEAD_OFF, MICROSECONDS
from holter.config import PatientProfile
from holter.inference.decision import Decision, Limits
from holter.inference.decision.life import Life
from holter.inference.engine import Engine
from holter.sim.ward import ward

BASE = 1_790_000_000 * MICROSECONDS
SECONDS, ONSET = 150, 50.0
RHYTHMS = (
    "resting", "running", "pvcs", "bigeminy", "af", "vt", "vf", "asystole", "loose-lead", "loose-lead-flag", "mains",
)  # fmt: skip
HIGH = (Category.PHYSIOLOGICAL, Priority.HIGH)


def course(rhythms, seed, profiles=None, change=lambda chunk: chunk, seconds=SECONDS):
    """All events of patients with these rhythms, by rhythm."""
    engine = Engine()
    profiles = profiles or {}
    life = Life("n", "c", 60)
    decision = Decision(engine, life, Limits(), lambda d: profiles.get(d, PatientProfile()))
    streams = [
        (name, bed.patient.chunks(BASE))
        for name, bed in zip(rhythms, ward(rhythms, base=BASE, onset=ONSET, seed=seed), strict=True)
    ]
    events = {name: [] for name in rhythms}
    for _ in range(seconds):
        batch = [change(replace(next(chunks), device_id=name)) for name, chunks in streams]
        for tick in engine.push(batch):
            for event in decision.step(tick):
                events[event.device_id].append(event)
    return events


@cache
def courses(seed):
    return course(RHYTHMS, seed)


def raised(events, kind):
    return [e for e in events if e.kind is kind and e.event is Transition.RAISED]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("rhythm", ["resting", "running"])
def test_the_well_are_left_alone(rhythm, seed):
    assert [e for e in courses(seed)[rhythm] if e.category is Category.PHYSIOLOGICAL] == []


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("rhythm", ["vt", "vf", "asystole"])
def test_the_dying_are_found_within_ten_seconds(rhythm, seed):
    events = courses(seed)[rhythm]
    first = next(e for e in events if (e.category, e.priority) == HIGH)
    delay = (first.decided_at - BASE) / MICROSECONDS - ONSET
    assert 0 < delay <= 10
    assert (first.onset - BASE) / MICROSECONDS >= ONSET - 4
    assert first.reason
    before = [e for e in events if e.decided_at < BASE + ONSET * MICROSECONDS]
    assert before == []


def test_kinds_of_the_dying():
    events = courses(1)
    assert raised(events["asystole"], Kind.ASYSTOLE)
    assert raised(events["vt"], Kind.VENTRICULAR_TACHYCARDIA)
    assert not raised(events["vt"], Kind.VENTRICULAR_FIBRILLATION)
    assert raised(events["vf"], Kind.VENTRICULAR_FIBRILLATION)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("rhythm", ["pvcs", "bigeminy"])
def test_ectopy_is_told_once_and_never_high(rhythm, seed):
    events = courses(seed)[rhythm]
    (one,) = raised(events, Kind.ECTOPY)
    assert one.score > one.threshold
    assert "ventricular" in one.reason
    assert all(e.priority is not Priority.HIGH for e in events)


def test_irregular_rhythm_is_told_once():
    (event,) = raised(courses(1)["af"], Kind.IRREGULAR_RHYTHM)
    assert event.priority is Priority.LOW


@pytest.mark.parametrize(
    ("rhythm", "kind"), [("loose-lead", Kind.ECG_LOST), ("loose-lead-flag", Kind.LEAD_OFF), ("mains", Kind.POOR_SIGNAL)]
)
def test_equipment_is_technical_and_nothing_else(rhythm, kind):
    events = courses(1)[rhythm]
    assert raised(events, kind)
    assert {e.category for e in events} == {Category.TECHNICAL}


def test_a_lost_ecg_becomes_high_after_ten_seconds():
    events = [e for e in courses(1)["loose-lead"] if e.kind is Kind.ECG_LOST]
    low, high = events[0], next(e for e in events if e.priority is Priority.HIGH)
    assert low.priority is Priority.LOW
    assert high.event is Transition.UPDATED
    assert high.decided_at - high.onset >= 10 * MICROSECONDS


def test_quiet_is_no_asystole_when_the_device_says_lead_off():
    events = course(
        ["asystole"], 1, change=lambda c: replace(c, flags=LEAD_OFF) if c.t0 >= BASE + 49 * MICROSECONDS else c
    )
    assert {e.kind for e in events["asystole"]} == {Kind.LEAD_OFF}


@pytest.mark.parametrize("value", [0, 32767, -32767])
def test_zeros_and_the_rail_are_lost_and_not_asystole(value):
    def cut(chunk):
        return replace(chunk, samples=np.full(250, value, np.int16)) if chunk.t0 >= BASE + 60 * MICROSECONDS else chunk

    events = course(["resting"], 1, change=cut, seconds=90)["resting"]
    assert {e.category for e in events} == {Category.TECHNICAL}


def _drift(rng):
    """A slow drift of 3 mV with nothing else in it: 0.05-0.3 Hz."""
    phase, hertz = rng.uniform(0, 6.28, 3), rng.uniform(0.05, 0.3, 3)

    def change(chunk):
        t = (chunk.t0 - BASE) / MICROSECONDS + np.arange(250) / 250
        if t[0] < 60:
            return chunk
        wave = (np.sin(2 * np.pi * hertz[:, None] * t + phase[:, None])).sum(axis=0)
        return replace(chunk, samples=(1000 * wave + rng.normal(0, 4, 250)).astype(np.int16))

    return change


def _rail(rng):
    """At the converter's end, and back to nothing, each for some seconds."""

    def change(chunk):
        second = (chunk.t0 - BASE) // MICROSECONDS
        if second < 60:
            return chunk
        return replace(chunk, samples=np.full(250, 32767 if second // 7 % 2 else 0, np.int16))

    return change


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("fault", [_drift, _rail])
def test_drift_and_rail_alone_are_no_arrhythmia(fault, seed):
    events = course(["resting"], seed, change=fault(np.random.default_rng(seed)))["resting"]
    assert events, "something is told"
    assert {e.category for e in events if e.priority is Priority.HIGH} <= {Category.TECHNICAL}


@pytest.mark.parametrize("seed", [1, 2])
def test_noise_and_motion_are_technical_and_never_high(seed):
    events = course(["noise"], seed, seconds=600)["noise"]
    assert raised(events, Kind.POOR_SIGNAL)
    assert [e for e in events if e.category is Category.PHYSIOLOGICAL and e.priority is Priority.HIGH] == []


@pytest.mark.parametrize("seed", range(6))
def test_one_arrest_has_one_name(seed):
    events = course(["vf"], seed)["vf"]
    high = [e.kind for e in events if (e.category, e.priority) == HIGH and e.event is Transition.RAISED]
    assert high == [Kind.VENTRICULAR_FIBRILLATION]


@pytest.mark.parametrize("seed", [1, 2])
def test_salvos_have_an_onset_each_and_one_that_goes_on_has_one(seed):
    def onsets(ordinary):
        chunks = ward(["resting"], base=BASE, onset=ONSET, seed=seed)[0].patient.chunks(BASE)
        own = {chunk.t0: chunk for chunk in islice(chunks, SECONDS)}

        def change(chunk):
            second = (chunk.t0 - BASE) // MICROSECONDS
            return replace(own[chunk.t0], device_id=chunk.device_id) if second in ordinary else chunk

        events = course(["vt"], seed, change=change)["vt"]
        assert len({e.alert_id for e in events}) == 1
        return [(e.onset - BASE) // MICROSECONDS for e in events]

    first, second = onsets(range(70, 72))
    assert abs(second - 72) <= 2
    assert onsets(()) == [first]


@pytest.mark.parametrize("seed", [2, 4])
def test_what_noise_hides_has_one_new_onset_when_it_is_seen_again(seed):
    events = [
        e
        for e in course(["vt"], seed, change=buried(seed, 65, 100, 150))["vt"]
        if e.kind is Kind.VENTRICULAR_TACHYCARDIA
    ]
    assert [e.event for e in events] == [Transition.RAISED, Transition.UPDATED]
    assert 95 <= (events[1].decided_at - BASE) // MICROSECONDS <= 106


def buried(seed, first, last, microvolts):
    """Muscle noise, white below the QRS band's end, added in some seconds."""
    rng = np.random.default_rng(seed)

    def change(chunk):
        there = first <= (chunk.t0 - BASE) // MICROSECONDS < last
        noise = rng.normal(0, microvolts if there else 0, len(chunk.samples))
        return replace(chunk, samples=(chunk.samples + noise).astype(np.int16))

    return change


@pytest.mark.parametrize("seed", [1, 2])
def test_ectopy_that_noise_hides_is_neither_cleared_nor_told_a_second_time(seed):
    events = course(["pvcs"], seed, change=buried(seed, 150, 270, 400), seconds=400)["pvcs"]
    assert raised(events, Kind.POOR_SIGNAL)
    assert raised(events, Kind.ECTOPY)
    assert [e for e in events if e.kind is Kind.ECTOPY and e.decided_at >= BASE + 150 * MICROSECONDS] == []


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_louder_the_muscle_noise_the_clearer_a_tachycardia_has_to_be(seed):
    def threshold(microvolts):
        event = raised(
            course(["vt"], seed, change=buried(seed, 0, 150, microvolts))["vt"], Kind.VENTRICULAR_TACHYCARDIA
        )[0]
        assert event.score > event.threshold
        return event.threshold

    silent, some, more = threshold(0), threshold(150), threshold(300)
    assert silent == 0.7
    assert silent < some < more <= 0.9


def test_muting_hides_ectopy_and_never_a_new_high():
    muted = PatientProfile(muted_until=BASE / MICROSECONDS + 10_000)
    events = course(["pvcs", "vt"], 1, profiles={"pvcs": muted, "vt": muted})
    assert events["pvcs"] == []
    assert {e.kind for e in events["vt"]} == {Kind.VENTRICULAR_TACHYCARDIA}


def test_known_af_is_not_told_as_news():
    assert course(["af"], 1, profiles={"af": PatientProfile(known_af=True)})["af"] == []


PACED = PatientProfile(paced=True)


@pytest.mark.parametrize("seed", range(1, 7))
def test_asystole_is_seen_behind_pulses_that_nothing_answers(seed):
    events = course(["capture-loss"], seed, profiles={"capture-loss": PACED}, seconds=240)["capture-loss"]
    (event,) = [e for e in events if e.category is Category.PHYSIOLOGICAL]
    assert (event.kind, event.event) == (Kind.ASYSTOLE, Transition.RAISED)
    assert event.decided_at <= BASE + (ONSET + 13) * MICROSECONDS


def test_pulses_hide_asystole_of_who_is_not_known_to_be_paced():
    """Why the profile has to say so: what rejects pulses for everybody would shave off peaks of noise and QRS."""
    told = [course(["capture-loss"], seed, seconds=240)["capture-loss"] for seed in range(1, 7)]
    assert not all(raised(events, Kind.ASYSTOLE) for events in told)


def test_paced_beats_are_own_ones_of_who_is_paced():
    def told(seed, **profiles):
        events = course(["paced"], seed, profiles=profiles, seconds=600)["paced"]
        return {e.kind for e in events if e.category is Category.PHYSIOLOGICAL}

    seeds = range(1, 7)
    assert any(told(seed) for seed in seeds)
    assert not any(told(seed, paced=PACED) for seed in seeds)


def test_who_is_found_to_be_paced_is_judged_so_from_then_on():
    events = learnt_later("capture-loss", 90, PACED, seconds=120)
    (event,) = raised(events, Kind.ASYSTOLE)
    assert BASE + 90 * MICROSECONDS < event.decided_at < BASE + 100 * MICROSECONDS


def test_own_limits_of_the_rate():
    slow, fast = PatientProfile(hr_low=90.0), PatientProfile(hr_high=100.0)
    events = course(["resting", "running"], 1, profiles={"resting": slow, "running": fast})
    assert [e.priority for e in raised(events["resting"], Kind.BRADYCARDIA)] == [Priority.MEDIUM]
    assert [e.priority for e in raised(events["running"], Kind.TACHYCARDIA)] == [Priority.MEDIUM]


def learnt_later(rhythm, at, profile, seconds):
    """All events of a patient of whom the profile is known from a second on."""
    engine, profiles = Engine(), {}
    decision = Decision(engine, Life("n", "c", 60), Limits(), lambda d: profiles.get(d, PatientProfile()))
    (bed,) = ward([rhythm], base=BASE, onset=ONSET, seed=1)
    chunks, events = bed.patient.chunks(BASE), []
    for second in range(seconds):
        if second == at:
            profiles[bed.truth.device_id] = profile
            decision.profiles_changed()
        for tick in engine.push([next(chunks)]):
            events += decision.step(tick)
    return events


def test_a_change_of_profile_takes_effect_at_once():
    events = learnt_later("resting", 60, PatientProfile(hr_low=90.0), seconds=100)
    assert [e.kind for e in events] == [Kind.BRADYCARDIA]
    assert events[0].decided_at >= BASE + 69 * MICROSECONDS


def test_the_pace_of_arrival_makes_the_same_events():
    """A second at a time, and a minute at a time."""

    def events(step):
        engine = Engine()
        decision = Decision(engine, Life("n", "c", 60), Limits())
        beds = ward(["vt", "pvcs"], base=BASE, onset=ONSET, seed=3)
        streams = [[next(chunks) for _ in range(120)] for chunks in (bed.patient.chunks(BASE) for bed in beds)]
        out = []
        for k in range(0, 120, step):
            batch = [chunk for stream in streams for chunk in stream[k : k + step]]
            for tick in engine.push(batch):
                out += decision.step(tick)
        return sorted(out, key=lambda e: (e.decided_at, e.id))

    assert events(1) == events(60)
