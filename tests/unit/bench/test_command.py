"""What `holter bench` says when there is nothing to measure on."""

from click.testing import CliRunner

from holter.bench.main import bench


def test_without_an_influxdb_it_says_what_is_missing_and_how_to_start_one(monkeypatch, tmp_path):
    for name in ("INFLUXDB_URL", "INFLUXDB_TOKEN", "INFLUXDB_ORG"):
        monkeypatch.delenv(name, raising=False)
    done = CliRunner().invoke(bench, ["--quick", "--json", str(tmp_path / "bench.json")])
    assert done.exit_code != 0
    for word in ("INFLUXDB_URL", "INFLUXDB_TOKEN", "INFLUXDB_ORG", "docker run"):
        assert word in done.output


def test_an_influxdb_that_does_not_answer_is_named(monkeypatch, tmp_path):
    for name, value in (("URL", "http://127.0.0.1:9"), ("TOKEN", "t"), ("ORG", "o")):
        monkeypatch.setenv(f"INFLUXDB_{name}", value)
    done = CliRunner().invoke(bench, ["--quick", "--json", str(tmp_path / "bench.json")])
    assert done.exit_code != 0
    assert "http://127.0.0.1:9" in done.output
