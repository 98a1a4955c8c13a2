"""What the command lines refuse, in words."""

import pytest
from click.testing import CliRunner

from holter_operator.local.demo import demo
from holter_operator.local.main import up


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
