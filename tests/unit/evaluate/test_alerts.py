import pytest

from holter.alert import TECHNICAL, Kind, Priority
from holter.evaluate.alerts import judged, poisson_bound, quiet, table
from holter.evaluate.truth import TRUTHS, clusters, judge, paced_between, pauses, runs
from holter.sim.annotations import Episode

STEADY = [(float(t), "N") for t in range(300, 900)]


def beats(*marks):
    """A steady rhythm of 60/min with other beats in place."""
    placed = {float(t): code for t, code in marks}
    return [(t, placed.get(t, code)) for t, code in STEADY]


def fast(code, start, n, rate):
    """A steady rhythm in which n beats at another rate take the place of those from `start` on."""
    inner = [(start + i * 60 / rate, code) for i in range(n)]
    return [b for b in STEADY if not start - 0.5 < b[0] < inner[-1][0] + 0.3] + inner


def test_every_kind_has_a_truth():
    assert set(TRUTHS) | TECHNICAL == set(Kind)


@pytest.mark.parametrize(
    ("kind", "start", "marks", "rhythms", "verdict"),
    [
        ("ventricular_tachycardia", 500, STEADY, [(490, "VT"), (500, "N")], "true"),
        ("ventricular_tachycardia", 500, STEADY, [(480, "VFL"), (492, "N")], "true"),  # 5 s before its onset, 497
        ("ventricular_tachycardia", 500, STEADY, [(480, "VFL"), (491, "N")], "false"),
        ("ventricular_fibrillation", 500, STEADY, [(505, "VF")], "true"),
        ("ventricular_fibrillation", 500, STEADY, [(506, "VF")], "false"),
        ("ventricular_tachycardia", 500, fast("V", 499, 5, 120), [], "true"),
        ("ventricular_tachycardia", 500, fast("V", 499, 4, 120), [], "false"),
        ("ventricular_tachycardia", 500, fast("V", 499, 5, 90), [], "false"),
        ("ventricular_tachycardia", 500, [], [(0, "N")], "false"),  # rhythms alone say it
        ("ventricular_tachycardia", 500, [], [], "unjudged"),
        ("asystole", 500, STEADY, [(495, "ASYS"), (503, "N")], "true"),
        ("asystole", 500, [b for b in STEADY if not 496 < b[0] < 500], [], "true"),
        ("asystole", 500, [b for b in STEADY if not 497 < b[0] < 500], [], "false"),
        ("ventricular_run", 500, fast("V", 499, 3, 130), [], "true"),
        ("ventricular_run", 500, fast("V", 499, 2, 130), [], "false"),
        ("ventricular_run", 500, [], [(0, "N")], "unjudged"),  # rhythms do not tell of three beats
        ("tachycardia", 500, fast("N", 490, 20, 130), [], "true"),
        ("tachycardia", 500, fast("N", 490, 20, 100), [], "false"),
        ("tachycardia", 500, STEADY, [(498, "SVTA"), (502, "N")], "true"),
        ("extreme_tachycardia", 500, fast("N", 490, 30, 190), [], "true"),
        ("bradycardia", 500, fast("N", 490, 8, 42), [], "true"),
        ("bradycardia", 500, fast("N", 490, 8, 50), [], "false"),
        ("extreme_bradycardia", 500, fast("N", 490, 8, 35), [], "true"),
        ("ectopy", 500, beats((450, "V"), (470, "A"), (499, "F")), [], "true"),
        ("ectopy", 500, beats((450, "V"), (470, "A")), [], "false"),
        ("ectopy", 500, beats((420, "V"), (470, "A"), (499, "F")), [], "false"),  # not within a minute
        ("irregular_rhythm", 500, STEADY, [(400, "AFIB"), (600, "N")], "true"),
        ("irregular_rhythm", 500, beats(*((450 + 5 * i, "A") for i in range(6))), [], "true"),
        ("irregular_rhythm", 500, STEADY, [], "false"),
        ("anomaly", 500, STEADY, [(480, "PREX"), (600, "N")], "true"),
        ("anomaly", 500, STEADY, [(480, "NOISE"), (600, "N")], "false"),
        ("poor_signal", 500, STEADY, [(480, "NOISE"), (600, "N")], "true"),
        ("poor_signal", 500, STEADY, [], "unjudged"),
    ],
)  # fmt: skip
def test_verdicts(reference, told, kind, start, marks, rhythms, verdict):
    onset = start - 60 if kind in ("ectopy", "anomaly", "irregular_rhythm") else start - 3
    alert = told(kind, float(start), onset=float(onset))
    assert judge([alert], reference(marks, rhythms), []) == [verdict]


def test_added_noise_makes_a_technical_alert_true(reference, told):
    alerts = [told("poor_signal", 500.0), told("poor_signal", 700.0)]
    assert judge(alerts, reference(STEADY), [Episode("noise", 480.0, 600.0)]) == ["true", "unjudged"]


def test_stretches_in_beats(reference):
    ref = reference(fast("V", 500.0, 6, 120))
    (run,) = runs(ref, 5, 100)
    assert (run.start, run.end) == (500.0, 502.5)
    assert not runs(ref, 7, 100)
    assert not pauses(ref, 2.0)
    assert clusters(ref, "V", 6, 2.5)
    assert not clusters(ref, "V", 6, 2.4)
    assert paced_between(ref, 4, 110, 130)
    assert not paced_between(reference([*STEADY, (301.5, "["), (899.5, "]")]), 4, 55, 65)


def test_only_alerts_after_five_minutes_count_and_by_kind_and_priority(outcome, reference, told):
    run = Kind.VENTRICULAR_RUN
    one = outcome(
        ref=reference(fast("V", 500, 3, 130)),
        told=[
            told(run, 299.0, priority=Priority.MEDIUM),
            told(run, 500.0, priority=Priority.MEDIUM),
            told(run, 600.0, priority=Priority.MEDIUM),
            told(Kind.ASYSTOLE, 700.0),
            told(Kind.POOR_SIGNAL, 710.0, priority=Priority.LOW),
        ],
    )
    rows = table(judged(one, []), hours=2.0)
    assert [(r.kind, r.priority, r.true, r.false, r.unjudged) for r in rows] == [
        ("asystole", "high", 0, 1, 0),
        ("ventricular_run", "medium", 1, 1, 0),
        ("poor_signal", "low", 0, 0, 1),
    ]
    assert (rows[1].hour, rows[1].false_day) == (1.0, 12.0)


def test_false_alerts_of_quiet_records(outcome, reference, told):
    well = outcome(ref=reference(STEADY), told=[told(Kind.BRADYCARDIA, 500.0, priority=Priority.MEDIUM)], name="well")
    ectopic = outcome(ref=reference(beats((500, "V"))), told=[told(Kind.ASYSTOLE, 600.0)], name="ectopic")
    lethal = outcome(ref=reference(STEADY, [(400, "VT"), (500, "N")]), told=[told(Kind.ASYSTOLE, 700.0)], name="lethal")
    unlabelled = outcome(told=[told(Kind.ASYSTOLE, 700.0)], name="unlabelled")
    outcomes = [well, ectopic, lethal, unlabelled]
    everything, harmless, normal = quiet(outcomes, [a for o in outcomes for a in judged(o, [])])
    assert (everything.records, everything.high, everything.any) == (3, 2, 3)
    assert (harmless.records, harmless.high, harmless.any) == (2, 1, 2)
    assert (normal.records, normal.high, normal.any) == (1, 0, 1)
    assert normal.hours == pytest.approx(700 / 3600)
    assert normal.any_day == pytest.approx(24 * 3600 / 700)


def test_the_poisson_bound_is_three_events_when_there_was_none():
    assert poisson_bound(0) == pytest.approx(2.9957, abs=1e-4)
    assert poisson_bound(5) == pytest.approx(10.5130, abs=1e-4)
