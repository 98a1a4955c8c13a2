import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from click.testing import CliRunner

from holter.config import RefitConfig
from holter.model.artifact import load, read
from holter.refit.main import command, read_current, read_windows, refit
from holter.signal.features import NAMES
from holter.store.open import open_store


@pytest.fixture
def url(tmp_path):
    return f"sqlite:{tmp_path}/holter.db"


@pytest.fixture
def store(url):
    opened = open_store(url, layout="Chunks", writer="test")
    yield opened
    opened.close()


@pytest.fixture
def options():
    return RefitConfig(cohort="ward", namespace="st-mary", estimators=20, min_windows=500)


def run(store, options, specs, now, current=None, seed=0):
    return refit(store, options, current, seed, specs, lambda: datetime.fromtimestamp(now, UTC))


def test_a_candidate_from_stored_windows_loads(store, options, specs, now, make_windows):
    store.write_scores(make_windows())
    found = run(store, options, specs, now)
    said = json.loads(found.text)
    assert load(found.npz, found.text).names == tuple(s.name for s in specs)
    assert (said["windows"], said["devices"], said["revision"]) == (1800, 9, 0)
    assert (said["trainedAt"], said["since"], said["until"]) == (
        "2027-01-15T08:00:00Z",
        "2027-01-14T08:00:00Z",
        "2027-01-15T08:00:00Z",
    )
    assert said["refitSeconds"] >= 0


def test_the_same_store_and_seed_give_the_same_model(store, options, specs, now, make_windows):
    store.write_scores(make_windows())
    fewer = options.model_copy(update={"max_training_windows": 900})
    assert run(store, fewer, specs, now).npz == run(store, fewer, specs, now).npz
    assert run(store, fewer, specs, now).npz != run(store, fewer, specs, now, seed=1).npz


def test_the_look_back_is_event_time_from_the_clock_backwards(store, options, specs, now, make_windows):
    windows = make_windows()
    store.write_scores(windows)
    store.write_scores(make_windows(end=now - 100_000, seed=1))  # longer ago than the look-back
    ahead = make_windows(devices=1, end=now + 1_000_000, seed=2)  # a device whose clock runs ahead
    store.write_scores(replace(ahead, device_ids=("ahead",) * 200))
    said = json.loads(run(store, options, specs, now).text)
    assert (said["windows"], said["devices"]) == (2000, 10)


def test_each_device_has_an_equal_share(store, now, make_windows):
    windows = make_windows(each=100)
    store.write_scores(windows)
    store.write_scores(replace(make_windows(devices=1, each=900, seed=3), device_ids=("busy",) * 900))
    read = read_windows(store, 0, 500, 0)
    counts = {device: read.device_ids.count(device) for device in set(read.device_ids)}
    assert counts == dict.fromkeys([*set(windows.device_ids), "busy"], 50)


def test_with_more_devices_than_windows_the_bound_still_holds(store, make_windows):
    store.write_scores(make_windows(each=5))
    read = read_windows(store, 0, 4, 0)
    assert len(read) == len(set(read.device_ids)) == len(read.features) == len(read.ends) == 4
    again = read_windows(store, 0, 4, 0)
    assert read.device_ids == again.device_ids


def test_too_few_windows_leave_numbers_that_the_gate_can_judge(store, options, specs, now, make_windows):
    store.write_scores(make_windows(each=20))
    found = run(store, options, specs, now)
    said = json.loads(found.text)
    assert found.npz is None
    assert (said["format"], said["sha256"], said["windows"], said["usable"]) == (1, None, 180, 180)


def test_an_empty_store_is_no_error(store, options, specs, now):
    assert json.loads(run(store, options, specs, now).text)["windows"] == 0


@pytest.fixture
def environ(tmp_path, url, monkeypatch):
    for name in ("config", "model", "candidate"):
        (tmp_path / name).mkdir()
    refit_json = {"cohort": "ward", "namespace": "st-mary", "estimators": 20, "minWindows": 100, "lookback": 1e9}
    (tmp_path / "config/refit.json").write_text(json.dumps(refit_json))
    set_to = {
        "HOLTER_CONFIG": f"{tmp_path}/config",
        "HOLTER_STORE": url,
        "HOLTER_MODEL": f"{tmp_path}/model",
        "HOLTER_CANDIDATE": f"file:{tmp_path}/candidate",
    }
    for name, value in set_to.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def test_the_command_goes_from_store_to_candidate_and_compares_with_the_model_in_use(environ, store, make_windows):
    store.write_scores(make_windows(names=NAMES))
    first = CliRunner().invoke(command, [])
    assert first.exit_code == 0, first.output
    model = read(environ / "candidate")
    assert model.names == NAMES
    accepted = json.loads((environ / "candidate/model.json").read_text()) | {"revision": 1}
    (environ / "model/model.json").write_text(json.dumps(accepted))
    (environ / "model/model.npz").write_bytes((environ / "candidate/model.npz").read_bytes())
    second = CliRunner().invoke(command, ["--seed", "1"])
    assert second.exit_code == 0, second.output
    said = json.loads((environ / "candidate/model.json").read_text())
    assert (said["currentRevision"], said["seed"]) == (1, 1)
    assert said["currentScoreQuantiles"] == accepted["scoreQuantiles"]
    assert said["currentFlagRate"] == accepted["flagRate"]


def test_too_few_windows_end_with_0(environ, store):
    result = CliRunner().invoke(command, [])
    assert result.exit_code == 0, result.output
    assert json.loads((environ / "candidate/model.json").read_text())["usable"] == 0
    assert not (environ / "candidate/model.npz").exists()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HOLTER_CANDIDATE", "", "HOLTER_CANDIDATE is not set"),
        ("HOLTER_CANDIDATE", "elsewhere", "HOLTER_CANDIDATE='elsewhere'"),
        ("HOLTER_STORE", "", "HOLTER_STORE"),
        ("HOLTER_STORE", "ftp:x", "ftp:x"),
        ("HOLTER_CONFIG", "/nowhere", "/nowhere/refit.json"),
    ],
)
def test_a_wrong_setting_ends_with_1_and_is_named(environ, monkeypatch, name, value, said):
    monkeypatch.setenv(name, value)
    result = CliRunner().invoke(command, [])
    assert result.exit_code == 1
    assert said in result.output


def test_a_model_in_use_that_is_damaged_does_not_stop_the_refit(tmp_path):
    assert read_current(None) is None
    assert read_current(tmp_path) is None
    (tmp_path / "model.json").write_text("{}")
    (tmp_path / "model.npz").write_bytes(np.random.default_rng(0).bytes(100))
    assert read_current(tmp_path) is None
