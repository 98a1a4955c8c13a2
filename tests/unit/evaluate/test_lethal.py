"""The weights of the VT/VF score come from records, by a command; each record is judged by those of the others."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from holter.evaluate.lethal import (
    DOUBTFUL,
    Seconds,
    Variant,
    command,
    fit,
    label,
    left_out,
    module,
    motion,
    population,
    read,
)
from holter.evaluate.main import evaluate
from holter.evaluate.playing import Setup
from holter.evaluate.running import run
from holter.signal import fitted
from holter.signal.lethal import weigh
from holter.signal.measures import NAMES, RELATIVE


def _scores(weights, measures):
    out = np.empty(len(measures))
    weigh(measures.astype(np.float32), weights.table, weights.bias, out)
    return out


@pytest.fixture(scope="module")
def seconds():
    """Three records of which the lethal seconds have a larger first measure."""
    rng = np.random.default_rng(0)
    lethal = rng.random(900) < 0.3
    measures = rng.normal(0, 1, (900, len(NAMES))) + np.outer(lethal, np.eye(len(NAMES))[0] * 4)
    return Seconds(measures.astype(np.float32), lethal, np.ones(900), np.repeat(["a", "b", "c"], 300))


def test_weights_tell_seconds_of_a_record_that_had_no_part_in_them(seconds):
    found = dict(left_out(seconds))
    assert sorted(found) == ["a", "b", "c"]
    for name, weights in found.items():
        own = seconds.record == name
        right = (_scores(weights, seconds.measures[own]) > 0.5) == seconds.lethal[own]
        assert right.mean() > 0.9
        assert weights.table[:, 2].argmax() == 0
    assert fit(seconds, seconds.record != "a").table.tolist() == found["a"].table.tolist()
    assert fit(seconds, seconds.record != "b").table.tolist() != found["a"].table.tolist()


@pytest.fixture(scope="module")
def outcomes(ward_folder):
    folder = [ward_folder / name for name in ("pvcs", "vt")]
    return {o.name: o for o in run(folder, Setup(measures=True), seed=0, jobs=1, step=lambda _: None).outcomes}


def test_seconds_are_labelled_by_their_last_four(outcomes):
    vt, onset = label(outcomes["vt"], Variant(None, 1.0, 1.0)), 360.0
    assert vt.lethal.sum() == pytest.approx(outcomes["vt"].seconds - onset - 2, abs=2)
    assert vt.measures.shape == (len(vt.lethal), len(NAMES))
    assert vt.weight[vt.lethal] == pytest.approx(np.sqrt(300 / vt.lethal.sum()))
    other = label(outcomes["pvcs"], Variant(None, 1.0, 0.5))
    assert not other.lethal.any()
    assert set(other.weight.tolist()) == {0.5}
    assert len(other.lethal) == pytest.approx(outcomes["pvcs"].seconds - 304, abs=2)


def test_a_noisy_copy_counts_by_its_variants_weights(outcomes):
    noisy = label(outcomes["pvcs"], Variant(motion(6.0, 30), 1.0, 0.2))
    clean = label(outcomes["pvcs"], Variant(None, 1.0, 1.0))
    assert noisy.weight == pytest.approx(0.2 * clean.weight)


def test_motion_comes_in_bursts_of_low_frequency():
    x = motion(6.0, 120).millivolts
    assert len(x) == 120 * 250
    power = np.abs(np.fft.rfft(x)) ** 2
    hertz = np.fft.rfftfreq(len(x), 1 / 250)
    assert power[hertz < 8].sum() > 0.9 * power.sum()
    assert 0.2 < (x == 0).mean() < 0.8


def test_what_is_doubted_is_named():
    assert set(DOUBTFUL) == {"223", "424"}


def test_left_out_weights_judge(tmp_path, ward_folder, seconds):
    """A record by weights that say yes, another by weights that say no."""
    never = {"table": [[0.0, 1.0, 0.0]] * len(NAMES), "bias": -9.0}
    file, out = tmp_path / "weights.json", tmp_path / "all.json"
    file.write_text(json.dumps({"measures": list(NAMES), "left_out": {"vt": never}}))
    assert set(read(file)) == {"vt"}
    arguments = [str(ward_folder), "--left-out", str(file), "--json", str(out), "--jobs", "1"]
    result = CliRunner().invoke(evaluate, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    told = [a["told"] for a in json.loads(out.read_bytes())["every_alert"] if a["record"] == "vt"]
    assert not [t for t in told if t["score"] is not None and t["score"] > 0.5 and t["priority"] == "high"]


@pytest.mark.parametrize("content", ["{", "{}", '{"measures": ["other"], "left_out": {}}'])
def test_another_file_is_refused(tmp_path, ward_folder, content):
    file = tmp_path / "weights.json"
    file.write_text(content)
    result = CliRunner().invoke(evaluate, [str(ward_folder), "--left-out", str(file)])
    assert result.exit_code == 1
    assert str(file) in result.output


def test_folders_without_records_are_refused(tmp_path):
    result = CliRunner().invoke(command, [str(tmp_path)] * 3 + ["--out", str(tmp_path / "w.json")])
    assert result.exit_code == 1
    assert "no WFDB record there" in result.output


def test_the_population_is_the_clean_records(outcomes):
    means = population(list(outcomes.values()))
    assert means.shape == (len(RELATIVE) + 1, 2)
    assert np.isfinite(means).all()
    assert (means[:, 1] > 0).all()
    assert 0.4 < np.exp(means[-1, 0]) < 1.3  # s, R-R


def test_the_constants_are_written_as_a_module(seconds):
    weights = fit(seconds, np.ones(900, bool))
    means = np.arange(2.0 * (len(RELATIVE) + 1)).reshape(-1, 2)
    text = module(["a", "b"], means, weights)
    found = {}
    exec(compile(text, "fitted.py", "exec"), found)
    assert list(found["POPULATION"].values()) == means[:, 0].tolist()
    assert list(found["REACH"].values()) == means[:, 1].tolist()
    assert np.array(list(found["WEIGHTS"].values())) == pytest.approx(weights.table)
    assert list(found["WEIGHTS"]) == list(NAMES)
    assert found["BIAS"] == weights.bias
    assert set(vars(fitted)) >= {"POPULATION", "REACH", "BIAS", "WEIGHTS"}


def test_simulated_patients_have_no_left_out_weights(seconds):
    more = replace(seconds, record=np.where(seconds.record == "c", "noise-001", seconds.record))
    assert sorted(name for name, _ in left_out(more)) == ["a", "b"]
