"""Constants of the ventricular mark come from records, by a command."""

import numpy as np
import pytest
from click.testing import CliRunner

from holter.evaluate.constants import Beats, collect, command, fit, left_out
from holter.evaluate.playing import Setup, Simulated
from holter.evaluate.running import run


@pytest.fixture(scope="module")
def simulated():
    patients = [Simulated("pvcs" if k % 2 else "resting", k, 420, seed=4) for k in range(4)]
    return collect(run(patients, Setup(), seed=0, jobs=1, step=lambda share: None).outcomes)


def test_what_is_fitted_on_tells_ventricular_beats_of_patients_it_has_not_seen(simulated):
    assert simulated.z.shape == (len(simulated.record), 7)
    assert 20 < simulated.ventricular.sum() < 60
    sensitivity, ppv = left_out(simulated)
    assert min(sensitivity, ppv) > 0.95


def test_the_weights_are_those_of_the_rows_given():
    rng = np.random.default_rng(0)
    z = rng.normal(0, 1, (400, 7))
    beats = Beats(z, z[:, 2] > 0.5, np.array(["a", "b"] * 200))
    weights, bias = fit(beats, beats.record == "a")
    assert weights.argmax() == 2
    assert bias < 0


def test_a_folder_without_records_is_refused(tmp_path):
    result = CliRunner().invoke(command, [str(tmp_path)])
    assert result.exit_code == 1
    assert "no WFDB record there" in result.output
