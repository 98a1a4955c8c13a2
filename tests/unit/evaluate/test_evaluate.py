"""Simulated records through all of it."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

from holter.evaluate import playing
from holter.evaluate.main import evaluate
from holter.evaluate.playing import Batch, Setup, Simulated
from holter.evaluate.report import report
from holter.evaluate.running import run


def paths(folder):
    return sorted(header.with_suffix("") for header in folder.glob("*.hea"))


@pytest.fixture(scope="module")
def done(ward_folder):
    shares = []
    found = run(paths(ward_folder), Setup(), seed=3, jobs=1, step=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    return found


@pytest.fixture(scope="module")
def figures(done):
    return report(done, {}, noise=False)


def test_beats_of_simulated_patients_are_found_where_they_are(done, figures):
    records = {r.record: r for r in figures.records}
    for name, fs in (("pvcs", 360), ("vt", 250)):
        assert records[name].fs == fs
        assert records[name].rates["sensitivity"] > 0.97
        assert records[name].rates["ppv"] > 0.97
        (outcome,) = [o for o in done.outcomes if o.name == name]
        normal = outcome.reference.of("N")[5:]
        nearest = np.abs(outcome.beats[None, :] - normal[:, None]).argmin(axis=1)
        offset = np.median(outcome.beats[nearest] - normal)
        assert abs(offset) < 0.02, "the filters' delay is not taken off at this rate"
    assert records["pvcs"].counts.v_tp + records["pvcs"].counts.v_fn > 5


def test_windows_are_on_the_grid_and_ranked(done, figures):
    for outcome in done.outcomes:
        assert (outcome.windows.ends % 5 == 0).all()
        assert np.diff(outcome.windows.ends).max() == 5
    (veb,) = [r for r in figures.windows if (r.subset, r.score, r.target) == ("all", "fused", "V or E beat")]
    assert veb.auroc > 0.95
    assert veb.windows == sum(int((o.windows.ends >= 310).sum()) for o in done.outcomes if o.reference.has_beats)
    assert veb.windows >= 2 * 22


def test_the_model_comes_after_five_minutes(done):
    assert done.trained is not None
    assert done.trained.model.revision == 1
    for outcome in done.outcomes:
        learning = outcome.windows.ends <= 300
        assert np.isnan(outcome.windows.forest[learning]).all()
        assert np.isfinite(outcome.windows.forest[~learning]).all()


def test_tachycardia_is_alerted_on_and_a_well_patient_is_not(figures):
    (vt,) = figures.every_episode
    assert (vt.record, vt.group, vt.within, vt.start) == ("vt", "VT", True, 360.0)
    assert 0 < vt.delay <= 10
    assert not [a for a in figures.every_alert if a.record == "well" and a.told.category == "physiological"]


def test_what_is_missing_is_said(figures):
    missing = {r.record: r.missing for r in figures.records}
    assert missing == {"pvcs": "", "vt": "", "well": "no beats annotated, no rhythms annotated"}
    assert list(figures.failures) == ["bad"]


def test_the_same_in_two_processes(done, ward_folder):
    other = run(paths(ward_folder), Setup(), seed=3, jobs=2, step=lambda share: None)
    assert [o.name for o in other.outcomes] == [o.name for o in done.outcomes]
    assert other.failures == done.failures
    for a, b in zip(done.outcomes, other.outcomes, strict=True):
        assert a.told == b.told
        assert np.array_equal(a.beats, b.beats)
        # Who shares a batch may move the last digit: eight at once and the rest of a row are rounded in another order.
        np.testing.assert_allclose(a.windows.score, b.windows.score, rtol=1e-5)


def test_the_seed_is_that_of_the_forest(done, ward_folder):
    other = run(paths(ward_folder), Setup(), seed=4, jobs=1, step=lambda share: None)
    a, b = done.outcomes[0].windows, other.outcomes[0].windows
    assert np.array_equal(a.ordered, b.ordered, equal_nan=True)
    assert not np.array_equal(a.forest, b.forest, equal_nan=True)


def test_an_update_with_a_new_onset_is_told_anew(write_record, tmp_path):
    """A VT that stops for half a minute and comes back: the alert latches, so that it is not raised but updated."""

    def pause(samples):
        samples[60 * 250 : 90 * 250] = samples[5 * 250 : 35 * 250]

    batch = Batch([write_record(tmp_path, "again", "vt", seconds=120, onset=40.0, edit=pause)], Setup())
    batch.play(0, 121)
    (outcome,) = batch.outcomes()
    vt = [t for t in outcome.told if t.priority == "high"]
    assert len(vt) >= 2
    first, second = vt[0], vt[-1]
    assert 40 < first.start < 50
    assert 58 <= first.end <= 70
    assert 90 < second.start < 100
    assert second.onset > 85


def test_the_command(ward_folder, tmp_path):
    files = {name: tmp_path / name for name in ("windows.csv", "alerts.csv", "all.json")}
    arguments = [str(ward_folder), "--jobs", "1", "--windows", str(files["windows.csv"])]
    arguments += ["--alerts", str(files["alerts.csv"]), "--json", str(files["all.json"])]
    result = CliRunner().invoke(evaluate, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    for title in ("Records", "Windows of 10 s", "Episodes", "Alerts", "bad: not read", "well: no beats annotated"):
        assert title in result.stdout
    with files["windows.csv"].open() as file:
        windows = list(csv.DictReader(file))
    assert list(windows[0]) == ["record", "start_s", "end_s", "score", "flagged", "quality"]
    assert {w["record"] for w in windows} == {"pvcs", "vt", "well"}
    assert all(float(w["start_s"]) >= 300 and float(w["end_s"]) - float(w["start_s"]) == 10 for w in windows)
    assert {w["flagged"] for w in windows} <= {"0", "1"}
    assert all(np.isfinite(float(w["score"])) and 0 <= float(w["quality"]) <= 1 for w in windows)
    with files["alerts.csv"].open() as file:
        alerts = list(csv.DictReader(file))
    assert list(alerts[0]) == ["record", "start_s", "end_s", "kind", "category", "priority", "score"]
    (vt, *_) = [a for a in alerts if a["record"] == "vt" and a["priority"] == "high"]
    assert 360 < float(vt["start_s"]) <= 370
    assert all(a["priority"] == "technical" for a in alerts if a["category"] == "technical")
    figures = json.loads(files["all.json"].read_bytes())
    assert figures["options"]["seed"] == 0
    assert figures["beats"]["gross"]["sensitivity"] > 0.97
    assert figures["episodes"][0]["within"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--noise", "x"], "go together"),
        (["--snr", "6"], "go together"),
        (["--noise", "nowhere/ma", "--snr", "6"], "no such record"),
        (["--channel", "V9", "--jobs", "1"], "no channel 'V9'"),
        (["--json", "nowhere/a.json"], "its folder is not there"),
    ],
)
def test_what_cannot_be(ward_folder, arguments, words):
    result = CliRunner().invoke(evaluate, [str(ward_folder), *arguments])
    assert result.exit_code != 0
    assert words in result.output


def test_an_empty_folder_and_wrong_profiles(tmp_path, ward_folder):
    assert "no WFDB record" in CliRunner().invoke(evaluate, [str(tmp_path)]).output
    profiles = tmp_path / "p.yaml"
    profiles.write_text("vt: {hrHigh: 1000}\n")
    result = CliRunner().invoke(evaluate, [str(ward_folder), "--profiles", str(profiles)])
    assert result.exit_code == 1
    assert "hrHigh" in result.output


def test_noise_and_profiles_reach_the_engine(write_record, tmp_path, reference):
    path = write_record(tmp_path, "p", "resting", seconds=430)
    rng = np.random.default_rng(5)
    noise = playing.Noise(rng.normal(size=100_000), 360.0, -6.0)
    plain, loud = (
        run([path], Setup(noise=n), seed=0, jobs=1, step=lambda share: None).outcomes[0] for n in (None, noise)
    )
    in_noise = (plain.windows.ends > 315) & (plain.windows.ends < 418)
    assert np.median(loud.windows.quality[in_noise]) < np.median(plain.windows.quality[in_noise])
    before = plain.windows.ends <= 300
    assert np.array_equal(plain.windows.quality[before], loud.windows.quality[before])
    from holter.config import PatientProfile

    low = run(
        [path],
        Setup(profiles={"p": PatientProfile(hr_low=90.0, hr_high=200.0)}),
        seed=0,
        jobs=1,
        step=lambda share: None,
    ).outcomes[0]
    assert "bradycardia" not in {t.kind for t in plain.told}
    assert "bradycardia" in {t.kind for t in low.told}


def test_simulated_patients_are_annotated_and_the_same_again():
    patients = [Simulated("resting", 1, 420, seed=2), Simulated("pvcs", 2, 420, seed=2)]
    first, again = (run(patients, Setup(), seed=0, jobs=1, step=lambda share: None) for _ in range(2))
    assert [o.name for o in first.outcomes] == ["pvcs-002", "resting-001"]
    pvcs, resting = first.outcomes
    assert len(pvcs.reference.of("V")) > 20
    assert not len(resting.reference.of("V"))
    for outcome in first.outcomes:
        found = outcome.beats[outcome.beats > 300]
        distance = np.abs(found[:, None] - outcome.reference.times[None, :]).min(axis=1)
        assert distance.max() < 0.1
    assert not [t for t in resting.told if t.start > 300]
    np.testing.assert_array_equal(pvcs.windows.score, again.outcomes[0].windows.score)


def test_either_records_or_simulated_ones(tmp_path):
    both = CliRunner().invoke(evaluate, [str(tmp_path), "--simulate", "1"])
    neither = CliRunner().invoke(evaluate, [])
    assert both.exit_code == neither.exit_code == 2
    assert "either DIR or --simulate HOURS" in both.output
    assert "either DIR or --simulate HOURS" in neither.output
