"""Candidates, revisions, and which of them is at work."""

import json

import pytest
from tests.operating import candidate_numbers

from holter_operator.local.models import Models, examine, in_use

ARRAYS = b"arrays"


def document(**changes):
    return candidate_numbers(ARRAYS, **changes)


@pytest.fixture
def candidate(tmp_path):
    def leave(arrays=ARRAYS, **changes):
        folder = tmp_path / "candidate"
        folder.mkdir(exist_ok=True)
        (folder / "model.json").write_text(json.dumps(document(**changes)))
        (folder / "model.npz").write_bytes(arrays)
        return folder

    return leave


def test_a_sound_candidate_is_accepted(candidate):
    verdict, accepted, arrays = examine(candidate(), None, 500)
    assert verdict.accepted
    assert (accepted["kept"], arrays) == (780, ARRAYS)


@pytest.mark.parametrize(
    ("changes", "min_windows", "reason", "words"),
    [
        ({}, 801, "TooFewWindows", "refit.minWindows asks for 801"),
        ({"threshold": None}, 1, "Malformed", "threshold is None"),
        ({"arrays": b"others"}, 1, "Malformed", "model.npz does not have the sha256"),
    ],
)
def test_others_are_refused_with_a_reason(candidate, changes, min_windows, reason, words):
    verdict, *_ = examine(candidate(**changes), None, min_windows)
    assert (verdict.accepted, verdict.reason) == (False, reason)
    assert words in verdict.message


def test_a_drifted_candidate_is_judged_against_the_model_in_use(candidate, tmp_path):
    current = Models(tmp_path / "models").accept(document(), ARRAYS)
    drifted = candidate(scoreQuantiles={"p50": 2.1, "p90": 2.5, "p99": 3.0})
    assert examine(drifted, current, 1)[0].reason == "ScoreDrift"
    assert examine(drifted, None, 1)[0].accepted


def test_no_candidate_at_all_is_a_verdict_too(tmp_path):
    (tmp_path / "model.json").write_text("[]")
    assert examine(tmp_path, None, 1)[0].reason == "Malformed"
    (tmp_path / "model.json").unlink()
    assert "the refit left no model" in examine(tmp_path, None, 1)[0].message


def test_revisions_count_on_and_numbers_are_never_given_twice(tmp_path):
    models = Models(tmp_path / "models")
    assert [models.accept(document(), b"%d" % n).revision for n in (1, 2, 3)] == [1, 2, 3]
    models.prune(0, None)
    assert models.history() == ()
    assert Models(tmp_path / "models").accept(document(), b"4").revision == 4
    [only] = models.history()
    assert (only.revision, only.arrays, json.loads(only.document)["revision"]) == (4, b"4", 4)


def test_the_newest_are_kept_and_the_pinned_one(tmp_path):
    models = Models(tmp_path / "models")
    for _ in range(12):
        models.accept(document(), ARRAYS)
    models.prune(3, pinned=2)
    assert [m.revision for m in models.history()] == [2, 10, 11, 12]


def test_an_interrupted_acceptance_is_no_revision(tmp_path):
    models = Models(tmp_path / "models")
    models.accept(document(), ARRAYS)
    (tmp_path / "models" / "r2").mkdir()
    (tmp_path / "models" / "r2" / "model.npz").write_bytes(ARRAYS)
    assert [m.revision for m in models.history()] == [1]


def test_in_use(tmp_path):
    models = Models(tmp_path / "models")
    assert in_use(models.history(), None) is None
    for _ in range(11):
        models.accept(document(), ARRAYS)
    history = models.history()
    assert in_use(history, None).revision == 11, "by number, not by name"
    assert in_use(history, 9).revision == 9
    assert in_use(history, 99) is None
