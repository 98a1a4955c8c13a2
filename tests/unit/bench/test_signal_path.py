"""The signal path's cost is measured without a store, stage by stage, whatever the number of patients."""

from click.testing import CliRunner

from holter.bench import main, signal_path
from holter.signal.filters import LANES


def test_all_stages_are_measured():
    found = signal_path.measure(LANES + 3, 5)
    assert next(iter(found)) == "all"
    assert {"filters", "peaks", "beats", "templates", "measures", "rhythm", "quality", "resampling"} < found.keys()
    assert all(cpu > 0 for cpu in found.values())


def test_the_command_needs_no_influxdb(monkeypatch, tmp_path):
    monkeypatch.delenv("INFLUXDB_URL", raising=False)
    monkeypatch.setattr(
        signal_path, "measure", lambda patients, seconds: {"all": 0.5 * patients, "beats": 1.0 * seconds}
    )
    done = CliRunner().invoke(main.bench, ["--quick", "--stage", "signal", "--json", str(tmp_path / "bench.json")])
    assert done.exit_code == 0, done.output
    assert "100.00" in done.output
    assert '"all": 100.0' in (tmp_path / "bench.json").read_text()
