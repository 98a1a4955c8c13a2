"""A command without addresses finds the one cohort that runs here."""

import json
import os
import subprocess

import pytest
from click.testing import CliRunner

from holter.cli.token import token
from holter.endpoints import EndpointsError, find, read
from holter.keys import bearer


def running(folder, name, pid=None, **more):
    state = folder / ".holter" / name
    state.mkdir(parents=True)
    endpoints = {"ingest": f"http://127.0.0.1/{name}", "pid": pid or os.getpid(), **more}
    (state / "endpoints.json").write_text(json.dumps(endpoints))
    return state


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_none_runs(here):
    assert find() is None


def test_the_only_one_is_found_and_one_that_was_killed_is_not(here):
    ended = subprocess.Popen(["true"])
    ended.wait()
    running(here, "killed", pid=ended.pid)
    running(here, "ward")
    assert find().ingest == "http://127.0.0.1/ward"


def test_several_are_named(here):
    running(here, "a")
    running(here, "b")
    with pytest.raises(EndpointsError, match=r"2 cohorts run here: choose one of \.holter/a, \.holter/b"):
        find()


def test_a_folder_that_is_no_state_says_so(here):
    with pytest.raises(EndpointsError, match="state folder of a running `holter up` is expected"):
        read(here)


def test_token_of_the_running_cohort(here):
    (here / "keys").mkdir()
    (here / "keys" / "current").write_text("A" * 43)
    running(here, "ward", device_keys=str(here / "keys"))
    result = CliRunner().invoke(token, ["wearable-7"])
    assert result.output.strip() == bearer(bytes(32), "wearable-7")


def test_token_without_a_cohort_says_what_is_expected(here):
    result = CliRunner().invoke(token, ["wearable-7"])
    assert result.exit_code == 2
    assert "the folder of its device key is expected" in result.output
