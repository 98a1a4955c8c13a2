"""Leave patients out: a window is judged by a forest of other patients' windows."""

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score

from holter.chunk import MICROSECONDS
from holter.evaluate.folds import FOLDS, Patients, command, left_out, patients
from holter.evaluate.playing import BASE_SECOND
from holter.evaluate.windows import ABNORMAL, UNDEFINED, VEB
from holter.signal.features import NAMES, ordered_score
from holter.window import WindowScores

PATIENTS, EACH = 10, 300


def _windows(ids, ends, features):
    n, ordered = len(ids), ordered_score(features)
    none = np.full(n, np.nan, np.float32)
    return WindowScores(
        tuple(ids), np.asarray(ends, np.int64), NAMES, features, ordered, none, ordered, np.ones(n, np.float32),
        np.zeros(n, bool), np.ones(n, bool), np.zeros(n, np.int32),
    )  # fmt: skip


@pytest.fixture(scope="module")
def who():
    """Ten patients; an abnormal window has larger features; one window has none."""
    rng = np.random.default_rng(0)
    abnormal = rng.random(PATIENTS * EACH) < 0.3
    size = np.where(abnormal, 1.5, 0.1)[:, None]
    features = (rng.gamma(2.0, 0.5, (PATIENTS * EACH, len(NAMES))) * size).astype(np.float32)
    features[7] = np.nan
    ids = np.repeat([f"p{i}" for i in range(PATIENTS)], EACH)
    windows = _windows(ids, np.arange(len(ids)), features)
    return Patients(windows, {VEB: abnormal, ABNORMAL: abnormal}, np.repeat(np.arange(PATIENTS) % FOLDS, EACH))


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_the_score_ranks_patients_that_had_no_part_in_it(who, share):
    fused = left_out(who, share, 0)
    assert fused[7] == UNDEFINED
    assert roc_auc_score(who.truth[ABNORMAL], fused) > 0.95
    assert (left_out(who, share, 0) == fused).all()
    assert (left_out(who, share, 1) != fused).any()


def test_a_folds_own_windows_have_no_say(who):
    features, own = who.windows.features.copy(), who.fold == 0
    some = own & (np.arange(len(own)) % 2 == 0)
    features[some] *= 3
    other = Patients(_windows(who.windows.device_ids, who.windows.ends, features), who.truth, who.fold)
    one, two = left_out(who, 0.4, 0), left_out(other, 0.4, 0)
    assert (one[own & ~some] == two[own & ~some]).all()
    assert (one[~own] != two[~own]).any()  # elsewhere they are other patients' windows


def test_windows_of_the_learning_period_and_of_unknown_records_are_left_out(reference):
    ids = [f"p{i}" for i in range(6) for _ in range(3)]
    ends = [(BASE_SECOND + second) * MICROSECONDS for _ in range(6) for second in (300, 310, 400)]
    windows = _windows(ids, ends, np.ones((18, len(NAMES)), np.float32))
    known = {f"p{i}": reference(beats=[(395.0, "V"), (396.0, "N")]) for i in range(5)}
    found = patients(windows, known)
    assert len(found.windows) == 10
    assert set(found.windows.device_ids) == set(known)
    assert found.truth[VEB].tolist() == [False, True] * 5
    assert found.fold.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_too_few_records_are_refused(ward_folder):
    result = CliRunner().invoke(command, [str(ward_folder)])
    assert result.exit_code == 1
    assert f"at least {FOLDS} are needed" in result.output
