import numpy as np
import pytest

from holter.evaluate.beats import Counts, average, compare, gross, match


def pairs(reference, test):
    return match(np.array(reference, float), np.array(test, float))


@pytest.mark.parametrize(
    ("reference", "test", "expected"),
    [
        ([1, 2, 3], [1, 2, 3], [(0, 0), (1, 1), (2, 2)]),
        ([1, 2], [1.15, 1.85], [(0, 0), (1, 1)]),
        ([1], [1.151], []),
        ([1], [0.849], []),
        ([1, 2, 3], [1, 3], [(0, 0), (2, 1)]),  # one is missed
        ([1, 2], [1, 1.5, 2], [(0, 0), (1, 2)]),  # one too many
        ([1.0], [0.9, 1.02], [(0, 1)]),  # the nearer of two
        ([1.0], [0.98, 1.1], [(0, 0)]),
        ([1.0, 1.2], [1.14], [(1, 0)]),  # contested: the nearer reference has it
        ([1.0, 1.2], [1.06, 1.22], [(0, 0), (1, 1)]),
        ([], [1.0], []),
        ([1.0], [], []),
    ],
)
def test_matching(reference, test, expected):
    assert pairs(reference, test) == expected


def test_no_beat_is_matched_twice_and_none_beyond_the_window():
    rng = np.random.default_rng(4)
    reference, test = np.sort(rng.uniform(0, 60, 200)), np.sort(rng.uniform(0, 60, 220))
    found = match(reference, test)
    left, right = zip(*found, strict=True)
    assert len(set(left)) == len(left)
    assert len(set(right)) == len(right)
    assert len(found) > 50
    assert all(abs(reference[i] - test[j]) <= 0.15 for i, j in found)
    assert list(left) == sorted(left)
    assert list(right) == sorted(right)


def test_a_perfect_detector(outcome, reference):
    at = np.arange(301.0, 900.0)
    codes = ["V" if i % 10 == 0 else "N" for i in range(len(at))]
    ref = reference(zip(at.tolist(), codes, strict=True))
    counts = compare(outcome(ref=ref, beats=at + 0.02, ventricular=[c == "V" for c in codes]))
    assert counts == Counts(tp=599, v_tp=60, v_tn=539)
    assert counts.rates == {
        "sensitivity": 1.0, "ppv": 1.0, "veb_sensitivity": 1.0, "veb_ppv": 1.0, "veb_fpr": 0.0,
    }  # fmt: skip


def test_each_cell_of_the_table(outcome, reference):
    #            Vv    Vn    Vo    Nv    Nn    No    Sv    Fv    Fn    Qv
    codes = ["V", "E", "r", "N", "L", "e", "A", "F", "F", "/"]
    found = [True, True, False, True, True, False, True, True, True, True]
    called = [True, False, False, True, False, False, True, True, False, True]
    at = 400.0 + np.arange(10)
    beats = [(t, c) for t, f, c in zip(at, found, called, strict=True) if f]
    extra = [(420.0, True), (421.0, False)]  # Ov, On
    counts = compare(
        outcome(
            ref=reference(zip(at.tolist(), codes, strict=True)),
            beats=[t for t, _ in beats + extra],
            ventricular=[c for _, c in beats + extra],
        )
    )
    assert (counts.tp, counts.fn, counts.fp) == (8, 2, 2)
    assert (counts.v_tp, counts.v_fn) == (1, 2)
    assert counts.v_fp == 3  # Nv, Sv, Ov; neither Fv nor Qv
    assert counts.v_tn == 3  # Nn, Fn, On


def test_the_first_five_minutes_do_not_count(outcome, reference):
    ref = reference([(100.0, "N"), (299.9, "N"), (300.0, "N"), (400.0, "N")])
    counts = compare(outcome(ref=ref, beats=[150.0, 300.01, 400.0]))
    assert (counts.tp, counts.fn, counts.fp) == (2, 0, 0)


def test_what_the_end_of_a_record_cuts_off_does_not_count(outcome, reference):
    ref = reference([(400.0, "N"), (999.5, "N")])
    assert compare(outcome(ref=ref, beats=[400.0])) == Counts(tp=1, v_tn=1)


@pytest.mark.parametrize("how", ["brackets", "rhythm"])
def test_fibrillation_is_not_compared(outcome, reference, how):
    beats = [(400.0, "N"), (450.2, "V"), (500.0, "N")]
    waves = [(430.0, "!"), (430.3, "!")]
    if how == "brackets":
        ref = reference([*beats, *waves, (420.0, "["), (460.0, "]")])
    else:
        ref = reference([*beats, *waves], [(420.0, "VFL"), (460.0, "N")])
    counts = compare(outcome(ref=ref, beats=[400.0, 430.0, 430.5, 431.0, 470.0, 500.0]))
    assert (counts.tp, counts.fn, counts.fp, counts.v_fn) == (2, 0, 1, 0)


def test_brackets_that_never_close_hold_to_the_end(outcome, reference):
    ref = reference([(400.0, "N"), (420.0, "["), (500.0, "N")])
    counts = compare(outcome(ref=ref, beats=[400.0, 700.0]))
    assert (counts.tp, counts.fn, counts.fp) == (1, 0, 0)


def test_without_annotated_beats_there_is_nothing_to_compare(outcome, reference):
    assert compare(outcome(ref=reference(rhythms=[(0.0, "VT")]), beats=[400.0])) is None


def test_gross_counts_beats_and_average_counts_records():
    a, b = Counts(tp=90, fn=10), Counts(tp=1, fn=1, v_fn=2)
    assert gross([a, b]).rates["sensitivity"] == 91 / 102
    assert average([a, b])["sensitivity"] == pytest.approx((0.9 + 0.5) / 2)
    assert average([a, b])["veb_sensitivity"] == 0.0  # of the one record that has any
    assert average([a, b])["veb_ppv"] is None
    assert gross([]) == Counts()
