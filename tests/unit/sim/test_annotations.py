from holter.alert import AlertEvent, Kind, Priority, Transition
from holter.chunk import MICROSECONDS
from holter.sim.annotations import Annotations, Episode, summarise
from holter.sim.comparison import calls, clock, compare, table

BASE = 1_750_000_000 * MICROSECONDS


def marks(*items):
    """(seconds, symbol) or (seconds, "+", rhythm)."""
    return [i[0] for i in items], [i[1] for i in items], [i[2] if len(i) > 2 else "" for i in items]


def test_runs_and_rhythms_are_summed_up():
    found = summarise(
        *marks(
            (0.1, "+", "(N\x00"), (0.5, "N"), (1, "V"), (1.5, "V"), (2, "N"), (3, "V"), (3.4, "E"), (3.8, "V"),
            (4.5, "N"), (5, "~"), (6, "+", "(VT\x00"), (6.1, "V"), (6.4, "V"), (6.7, "V"),
            (8, "+", "(N"), (9, "A"), (9.5, "N"),
        ),
        0, 20,
    )  # fmt: skip
    # Two beats are no run, and the run inside the annotated tachycardia is not told twice.
    assert found.episodes == (Episode("run of 3 EV", 3, 3.8), Episode("VT", 6, 8))
    assert found.beats == {"N": 4, "V": 7, "E": 1, "A": 1}


def test_a_rhythm_that_began_before_the_stretch_is_in_it():
    given = marks((10, "+", "(AFIB"), (30, "N"), (300, "+", "(N"), (500, "+", "(VF"))
    assert summarise(*given, 60, 400).episodes == (Episode("AFIB", 60, 300),)
    assert summarise(*given, 450, 600).episodes == (Episode("VF", 500, 600),)
    assert summarise(*given, 310, 400) == Annotations({}, ())


def test_other_notes_are_no_rhythm():
    assert summarise(*marks((1, "+", "P"), (2, '"', "(VT")), 0, 9).episodes == ()


def test_a_record_without_annotations():
    assert summarise([], [], [], 0, 10) == Annotations({}, ())


def event(kind, onset, decided, ordinal=0, transition=Transition.RAISED, priority=Priority.HIGH):
    at = [BASE + round(t * MICROSECONDS) for t in (onset, decided)]
    return AlertEvent(f"a{kind}-{ordinal}", f"a{kind}", transition, "d", kind, priority, *at, "in words")


def test_calls_are_the_distinct_onsets_that_were_told():
    vt = Kind.VENTRICULAR_TACHYCARDIA
    found = calls(
        [
            event(vt, 6, 9),
            event(vt, 6, 12, 1, Transition.UPDATED),
            event(vt, 40, 44, 2, Transition.UPDATED),
            event(vt, 40, 90, 3, Transition.CLEARED),
        ],
        BASE,
        100.0,
    )
    assert [(c.onset, c.decided, c.cleared) for c in found] == [(106, 109, 190), (140, 144, 190)]


def test_a_raised_priority_is_a_call_of_its_own():
    run = Kind.VENTRICULAR_RUN
    found = calls(
        [
            event(run, 6, 9, priority=Priority.LOW),
            event(run, 6, 11, 1, Transition.UPDATED, Priority.MEDIUM),
        ],
        BASE,
        0.0,
    )
    assert [c.event.priority for c in found] == ["low", "medium"]


def test_the_table_sets_episodes_beside_alerts():
    vt, lead = Kind.VENTRICULAR_TACHYCARDIA, Kind.LEAD_OFF
    annotations = Annotations(
        {"V": 30, "N": 70}, (Episode("run of 4 V", 20, 21), Episode("VT", 106, 112), Episode("VT", 700, 710))
    )
    found = calls(
        [event(vt, 7, 9), event(Kind.ASYSTOLE, 300, 306), event(lead, 8, 10, priority=Priority.LOW)], BASE, 100
    )
    comparison = compare(annotations, found)
    assert [len(row.calls) for row in comparison.rows] == [0, 2, 0]
    assert [c.event.kind for c in comparison.others] == [Kind.ASYSTOLE]
    lines = table("d", annotations, comparison)
    assert lines == [
        "d: annotated beats: 70 N, 30 V",
        "  annotated          from       to   alerts within 5 s, after its start",
        "  run of 4 V       0:20.0   0:21.0   –",
        "  VT               1:46.0   1:52.0   high ventricular_tachycardia +3.0 s; low lead_off +4.0 s",
        "  VT              11:40.0  11:50.0   (still open: high ventricular_tachycardia, high asystole)",
        "  alerts outside of annotated episodes:    onset    delay",
        "    high asystole                          6:40.0   +6.0 s   in words",
        "  ventricular run: 1 annotated, 0 with a physiological alert, 0 of them high",
        "  VT: 2 annotated, 1 with a physiological alert, 1 of them high; 1 more under an open one",
        "  alerts: 1 high asystole, 1 high ventricular_tachycardia, 1 low lead_off; "
        "high and outside of annotated episodes: 1",
    ]


def test_an_alert_that_is_still_open_covers_the_next_episode():
    run, vt = Kind.VENTRICULAR_RUN, Kind.VENTRICULAR_TACHYCARDIA
    annotations = Annotations({}, tuple(Episode("VT", at, at + 5) for at in (10, 40, 80)))
    found = calls(
        [
            event(vt, 11, 14),
            event(run, 12, 15),
            event(run, 12, 30, 1, Transition.CLEARED),
            event(vt, 11, 60, 2, Transition.CLEARED),
        ],
        BASE,
        0.0,
    )
    comparison = compare(annotations, found)
    assert [[c.event.kind for c in row.open] for row in comparison.rows] == [[], [vt], []]
    lines = table("d", annotations, comparison)
    assert lines[3].endswith("(still open: high ventricular_tachycardia)")
    assert lines[4].endswith("–")
    assert "VT: 3 annotated, 1 with a physiological alert, 1 of them high; 1 more under an open one" in lines[5]


def test_a_quiet_record():
    annotations = Annotations({}, ())
    assert table("d", annotations, compare(annotations, ())) == [
        "d: annotated beats: none",
        "  alerts: none; high and outside of annotated episodes: 0",
    ]


def test_clock():
    assert [clock(s) for s in (0, 59.96, 61.04, 3600)] == ["0:00.0", "1:00.0", "1:01.0", "60:00.0"]
