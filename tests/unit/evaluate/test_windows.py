import numpy as np
import pytest

from holter.evaluate.windows import (
    ABNORMAL,
    ANY,
    UNDEFINED,
    VEB,
    by_record,
    collect,
    labels,
    operating_point,
    rank,
    ranking,
)
from holter.sim.annotations import Episode


def test_a_beat_belongs_to_the_windows_it_lies_in(reference):
    found = labels(reference([(310.0, "V")]), np.array([295.0, 300.0, 305.0, 310.0, 315.0]))
    assert found[VEB].tolist() == [False, False, True, True, False]  # from its start on, and not at its end


@pytest.mark.parametrize(
    ("code", "veb", "abnormal"),
    [("V", True, True), ("E", True, True), *((c, False, True) for c in "SFAaJe!"), ("N", False, False)],
)
def test_codes(reference, code, veb, abnormal):
    found = labels(reference([(305.0, code)]), np.array([300.0]))
    assert (found[VEB][0], found[ABNORMAL][0], found[ANY][0]) == (veb, abnormal, abnormal)


def test_a_rhythm_belongs_to_all_windows_it_shares_time_with(reference):
    ref = reference(rhythms=[(0.0, "N"), (310.0, "AFIB"), (321.0, "N"), (350.0, "NOISE")])
    starts = np.arange(295.0, 360.0, 5.0)
    found = labels(ref, starts)
    assert starts[found[ANY]].tolist() == [305.0, 310.0, 315.0, 320.0]
    assert not found[ABNORMAL].any()


def test_only_windows_that_begin_after_five_minutes_are_scored(outcome, reference, make_windows):
    windows = make_windows([300.0, 305.0, 309.9, 310.0, 315.0], [1, 2, 3, 4, np.nan], [1, 1, 1, 0.4, 1])
    scored = collect([outcome(ref=reference([(312.0, "V")]), windows=windows)], [[]])
    assert scored.starts.tolist() == [300.0, 305.0]
    assert scored.scores["fused"].tolist() == [4.0, UNDEFINED]
    assert scored.good.tolist() == [False, True]
    assert scored.labels[VEB].tolist() == [False, True]


def test_windows_of_records_without_labels_are_in_no_ranking(outcome, reference, make_windows):
    ends = [310.0, 315.0, 320.0]
    scored = collect(
        [
            outcome(ref=reference([(312.0, "V"), (318.0, "N")]), windows=make_windows(ends, [0, 1, 2]), name="a"),
            outcome(ref=reference(rhythms=[(0.0, "AFIB")]), windows=make_windows(ends, [0, 1, 2]), name="b"),
            outcome(windows=make_windows(ends, [0, 1, 2]), name="c"),
        ],
        [[], [], []],
    )
    sizes = {(r.target, r.subset): (r.windows, r.positive) for r in rank(scored, model=True)}
    assert sizes[VEB, "all"] == (3, 2)
    assert sizes[ANY, "all"] == (6, 5)
    assert {r.score for r in rank(scored, model=False)} == {"fused", "ordered"}
    records = by_record(scored)
    assert (records["a"].positive, records["b"].positive, records["c"].positive) == (2, None, None)


def test_windows_in_added_noise_are_ranked_apart(outcome, reference, make_windows):
    ends = np.arange(310.0, 460.0, 5.0)
    ref = reference([(t, "V" if t % 20 == 3 else "N") for t in np.arange(303.0, 455.0, 5.0)])
    scored = collect([outcome(ref=ref, windows=make_windows(ends, ends))], [[Episode("noise", 320.0, 440.0)]])
    assert scored.starts[scored.noisy].tolist() == np.arange(320.0, 435.0, 5.0).tolist()
    assert [r.windows for r in rank(scored, model=False) if r.subset == "in noise"] == [23] * 6


def test_a_perfect_and_a_useless_score():
    truth = np.arange(100) >= 80
    perfect = ranking("t", "s", "all", truth, np.arange(100.0))
    assert (perfect.auroc, perfect.fpr_90, perfect.fpr_95) == (1.0, 0.0, 0.0)
    assert perfect.average_precision == pytest.approx(1.0)
    assert ranking("t", "s", "all", truth, np.zeros(100)).auroc == 0.5
    assert ranking("t", "s", "all", truth, -np.arange(100.0)).auroc == 0.0
    assert ranking("t", "s", "all", np.zeros(3, bool), np.zeros(3)).auroc is None


def test_the_operating_point_is_the_first_that_reaches_the_sensitivity():
    truth = np.array([1] * 20 + [0] * 10, bool)
    values = np.concatenate([np.arange(20.0, 0, -1), [19.5, 1.5, 0.5] + [0.0] * 7])
    assert operating_point(truth, values, 0.95) == (0.1, 2.0)  # 19 of 20 are at or above 2, and so is 19.5
    assert operating_point(truth, values, 1.0) == (0.2, 1.0)


def test_records_are_told_apart_at_one_threshold(outcome, reference, make_windows):
    ends = np.arange(310.0, 510.0, 10.0)
    ref = reference([(t + 1, "V" if i < 10 else "N") for i, t in enumerate(ends - 10)])
    clear = make_windows(ends, [9] * 10 + [0] * 10)
    loud = make_windows(ends, [9] * 10 + [5] * 9 + [9])
    records = by_record(
        collect([outcome(ref=ref, windows=w, name=n) for n, w in (("a", clear), ("b", loud))], [[], []])
    )
    assert (records["a"].missed, records["a"].false, records["a"].auroc) == (0, 0, 1.0)
    assert (records["b"].missed, records["b"].false) == (0, 1)
