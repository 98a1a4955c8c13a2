import pytest

from holter.alert import Kind
from holter.evaluate.episodes import find, summarise
from holter.sim.annotations import Episode

VT, VF, ASYSTOLE = Kind.VENTRICULAR_TACHYCARDIA, Kind.VENTRICULAR_FIBRILLATION, Kind.ASYSTOLE


@pytest.fixture
def look(outcome, reference):
    """Find the one VT of 400–420 s (or another label) with these alerts."""

    def make(told, label="VT", start=400.0, end=420.0, seconds=1000.0, noisy=()):
        ref = reference(rhythms=[(0.0, "N"), (start, label), (end, "N")], end=seconds)
        return find(outcome(ref=ref, told=told, seconds=seconds), noisy)

    return make


@pytest.mark.parametrize(
    ("start", "within", "delay"),
    [(404.0, True, 4.0), (410.0, True, 10.0), (411.0, False, 11.0), (395.0, True, -5.0), (425.0, False, 25.0)],
)
def test_an_alert_counts_from_5_s_before_the_episode_and_in_time_up_to_10_s(look, told, start, within, delay):
    (found,) = look([told(VT, start)])
    assert (found.within, found.delay, found.under_open) == (within, delay, False)


@pytest.mark.parametrize("start", [394.0, 426.0])
def test_an_alert_further_away_is_none_of_it(look, told, start):
    (found,) = look([told(VT, start, end=start)])
    assert (found.within, found.delay, found.under_open) == (False, None, False)


def test_an_open_alert_counts_separately(look, told):
    (found,) = look([told(VT, 390.0, end=415.0)])
    assert (found.within, found.delay, found.under_open) == (False, None, True)
    (ended,) = look([told(VT, 390.0, end=399.0)])
    assert not ended.under_open
    (anew,) = look([told(VT, 390.0, end=401.0), told(VT, 405.0)])
    assert (anew.within, anew.under_open) == (True, False)


@pytest.mark.parametrize(
    ("label", "kind", "fits"),
    [
        ("VT", VF, True), ("VFL", VT, True), ("VF", VF, True), ("VFIB", VT, True), ("VT", ASYSTOLE, False),
        ("VT", Kind.VENTRICULAR_RUN, False), ("ASYS", ASYSTOLE, True), ("ASYS", VF, False),
        ("AFIB", Kind.IRREGULAR_RHYTHM, True), ("SVTA", Kind.TACHYCARDIA, True), ("SVTA", VT, False),
    ],
)  # fmt: skip
def test_kinds_that_fit(look, told, label, kind, fits):
    (found,) = look([told(kind, 403.0)], label=label)
    assert found.within is fits
    assert found.other == (None if fits else kind)


def test_episodes_shorter_than_5_s_or_before_5_minutes_do_not_count(look):
    assert not look([], end=404.9)
    assert len(look([], end=405.0)) == 1
    assert not look([], start=299.0)
    assert len(look([], start=300.0)) == 1
    assert not look([], label="AFL")


def test_technical_alerts_are_no_finding(look, told):
    (found,) = look([told(Kind.POOR_SIGNAL, 402.0)])
    assert (found.within, found.other) == (False, None)


def test_summary(look, told):
    found = [*look([told(VT, 402.0)]), *look([told(VT, 412.0)]), *look([told(VT, 380.0, end=405.0)]), *look([])]
    vt, together = summarise([*found, *look([told(ASYSTOLE, 406.0)], label="ASYS")])[::2]
    assert (vt.group, vt.episodes, vt.within, vt.under_open, vt.at_all) == ("VT", 4, 1, 1, 2)
    assert (vt.delay_median, vt.delay_p90) == (7.0, pytest.approx(11.0))
    assert vt.low == pytest.approx(0.0063, abs=1e-4)  # Clopper & Pearson of 1 in 4
    assert vt.high == pytest.approx(0.8059, abs=1e-4)
    assert (together.group, together.episodes, together.within) == ("VT, VF, ASYS", 5, 2)
    assert summarise([]) == []


def test_episodes_that_begin_in_added_noise_are_counted_apart_too(look, told):
    noisy = [Episode("noise added", 300.0, 420.0)]
    inside = look([told(VT, 402.0)], start=419.0, end=430.0, noisy=noisy)
    outside = look([told(VT, 422.0)], start=420.0, end=430.0, noisy=noisy)
    found = {s.group: (s.episodes, s.within) for s in summarise([*inside, *outside])}
    assert found == {"VT": (2, 1), "VT, VF, ASYS": (2, 1), "VT, in noise": (1, 0), "VT, VF, ASYS, in noise": (1, 0)}
