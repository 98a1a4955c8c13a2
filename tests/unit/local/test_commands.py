"""What the command lines refuse, in words."""

import io
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from rich.console import Console

from holter_operator.local.demo import demo
from holter_operator.local.demo.alerts import Alert
from holter_operator.local.demo.command import Demo
from holter_operator.local.main import up
from holter_operator.local.output import Output
from holter_operator.local.state import StateFolder


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(command, *arguments):
        result = CliRunner().invoke(command, arguments)
        return result.exit_code, result.output

    return run


@pytest.mark.parametrize("duration", ["89.9", "0", "-1", "nan", "inf"])
def test_a_demo_of_less_than_90_seconds_is_refused(call, duration):
    code, said = call(demo, "--duration", duration)
    assert code == 2
    assert "90 is the least" in said


def test_a_bad_cohort_is_refused_with_field_and_line(call, tmp_path, cohort_text):
    (tmp_path / "ward.yaml").write_text(cohort_text.replace("https://pager", "http://pager"))
    code, said = call(up, "ward.yaml")
    assert code == 1
    assert "ward.yaml:8: spec.alerting.webhooks[0].url" in said
    assert not (tmp_path / ".holter").exists(), "nothing was begun"


def test_a_bad_port_is_refused(call, tmp_path, cohort_text):
    (tmp_path / "ward.yaml").write_text(cohort_text)
    for value in ("http", "http=x", "http=70000", "=1"):
        code, said = call(up, "ward.yaml", "--port", value)
        assert code == 2
        assert "NAME=NUMBER such as http=8090 is expected" in said


def test_half_a_connection_is_refused(call, tmp_path, cohort_text):
    (tmp_path / "ward.yaml").write_text(cohort_text)
    code, said = call(up, "ward.yaml", "--influxdb-url", "http://i")
    assert code == 2
    assert "needs --influxdb-org, --influxdb-bucket, --influxdb-token too" in said


@pytest.fixture
def ended_demo(tmp_path):
    """A demo that has run: one patient in asystole since the epoch, who should have been found in 10 s."""
    screen = io.StringIO()
    console = Console(file=screen, width=80)
    folder = StateFolder(tmp_path / "demo")
    truth = {"device_id": "bed07-asystole", "rhythm": "asystole", "onset": 0, "latest": 10.0, "tolerated": []}
    truth |= {"expected": ["asystole"], "priorities": ["high"]}
    (folder.path / "truth.json").write_text(json.dumps({"live": 0, "truths": [truth]}))
    ended = Demo(folder, Output(console), 90.0, None)
    ended.runner = SimpleNamespace(verdict=None)
    yield ended, console, screen
    folder.close()


def test_a_demo_without_the_alert_is_no_success(ended_demo):
    ended, console, screen = ended_demo
    assert not ended.summary(console)
    assert "bed07-asystole: no asystole (high): nothing was raised" in screen.getvalue()


def test_a_demo_with_the_alert_in_time_is_one(ended_demo):
    ended, console, screen = ended_demo
    onset = datetime(1970, 1, 1, tzinfo=UTC)
    fields = {"event": "raised", "category": "physiological", "priority": "high", "kind": "asystole", "reason": "r"}
    fields |= {"onset": onset, "decided_at": onset + timedelta(seconds=4.5)}
    ended.receiver.alerts["e"] = Alert(id="e", alert="a", device_id="bed07-asystole", **fields)
    assert ended.summary(console)
    assert "asystole (high) +4.5 s" in screen.getvalue()


def test_a_demo_without_patients_is_no_success(ended_demo):
    ended, console, screen = ended_demo
    (ended.folder.path / "truth.json").unlink()
    assert not ended.summary(console)
    assert "it ended before there were patients" in screen.getvalue()


def test_an_unsigned_alert_spoils_a_demo(ended_demo):
    ended, console, screen = ended_demo
    ended.receiver.take("", b"{}")
    assert not ended.summary(console)
    assert "1 alerts had no valid signature" in screen.getvalue()
