"""The demo's verdict: the truths beside the alerts."""

from datetime import UTC, datetime, timedelta

import pytest

from holter_operator.local.demo.alerts import Alert
from holter_operator.local.demo.outcome import Truth, Truths, rows
from holter_operator.local.demo.summary import verdict

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ONSET = 1_000_000_000
NUMBERS = iter(range(10**6))


def truth(rhythm="vt", onset=ONSET, expected=("ventricular_tachycardia",), priorities=("high",), latest=10.0, also=()):
    fields = {"rhythm": rhythm, "onset": onset, "expected": expected, "priorities": priorities, "latest": latest}
    return Truth(device_id="bed", tolerated=also, **fields)


def at(after):
    return EPOCH + timedelta(microseconds=ONSET, seconds=after)


def alert(kind="ventricular_tachycardia", priority="high", after=5.0, **fields):
    number = next(NUMBERS)
    base = {"id": f"{number}", "alert": f"a{number}", "event": "raised", "device_id": "bed", "reason": "r"}
    base |= {"category": "physiological", "onset": at(after), "decided_at": at(after)}
    return Alert(kind=kind, priority=priority, **base | fields)


HEALTHY = truth("resting", None, (), (), None)
PVCS = truth("pvcs", None, ("ectopy",), ("medium", "low"), None, ("anomaly",))
LOOSE = truth("loose-lead", ONSET, ("lead_off", "ecg_lost"), (), 10.0)


def faults(one, *alerts, until=600.0):
    [row] = rows([one], alerts, at(until))
    return row.faults


def test_the_expected_alert_in_time_is_all_right():
    [row] = rows([truth()], [alert(after=5.25)], at(600))
    assert (row.faults, row.delay) == ((), 5.25)
    assert verdict([row], []) == ()


@pytest.mark.parametrize(
    ("one", "alerts", "words"),
    [
        (truth(), [], "no ventricular_tachycardia (high): nothing was raised"),
        (truth(), [alert(after=10.5)], "came after 10.5 s, at most 10 s"),
        (truth(), [alert(priority="medium")], "ventricular_tachycardia is medium, not high"),
        (truth(), [alert(after=-3.0), alert()], "3.0 s before the onset"),
        (truth(), [alert(), alert("asystole")], "asystole (high) is no alert to raise here"),
        (truth(), [alert(device_id="other")], "nothing was raised"),
        (truth(), [alert(event="cleared")], "nothing was raised"),
        (HEALTHY, [alert("ectopy", "low")], "ectopy (low) is no alert to raise here"),
        (PVCS, [], "no ectopy (medium or low)"),
        (
            PVCS,
            [alert("ectopy", "low", alert="x"), alert("ectopy", "high", event="updated", alert="x")],
            "ectopy is high, not medium or low",
        ),
        (LOOSE, [alert("asystole")], "asystole (high) is no alert to raise here"),
        (LOOSE, [alert("poor_signal", "low", category="technical")], "no lead_off or ecg_lost: poor_signal was raised"),
    ],
)
def test_what_is_wrong_is_told_in_words(one, alerts, words):
    assert any(words in fault for fault in faults(one, *alerts)), faults(one, *alerts)


@pytest.mark.parametrize(
    ("one", "alerts"),
    [
        (HEALTHY, []),
        (HEALTHY, [alert("poor_signal", "low", category="technical")]),
        (PVCS, [alert("ectopy", "medium", after=-500), alert("anomaly", "low")]),
        (LOOSE, [alert("lead_off", "low", category="technical")]),
        (truth(also=("ectopy",)), [alert(), alert("ectopy", "low")]),
        (truth(), [alert(event="updated", after=2.0)]),
    ],
)
def test_what_is_all_right(one, alerts):
    assert faults(one, *alerts) == ()


def test_the_order_of_arrival_is_no_matter():
    late, early = alert(after=30.0, alert="x", event="updated"), alert(after=4.0, alert="x")
    [row] = rows([truth()], [late, early], at(600))
    assert row.delay == 4.0
    assert row.alerts == (early,)


def test_a_run_that_was_too_short_says_so():
    assert faults(truth(), until=9.9) == ("the run ended before its vt had to be found",)
    assert faults(truth(), until=10.1) == ("no ventricular_tachycardia (high): nothing was raised",)
    assert faults(truth(), alert(), until=9.9) == ()


def test_faults_of_the_run_count_too():
    assert verdict(rows([HEALTHY], [], at(600)), ["it was not ready"]) == ("it was not ready",)


def test_the_simulators_truths_are_understood(tmp_path):
    ward = pytest.importorskip("holter.sim.ward", reason="the data plane's extra `services` is not installed")
    path = tmp_path / "truth.json"
    ward.write_truths(path, ward.ward(["resting", "vt"], base=0, onset=10.0), live=7)
    found = Truths.model_validate_json(path.read_bytes())
    assert found.live == 7
    assert [t.rhythm for t in found.truths] == ["resting", "vt"]
    assert found.truths[1].priorities == ("high",)
    assert faults(found.truths[0]) == ()
