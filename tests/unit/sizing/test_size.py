"""From figures to a plan."""

import orjson
import pytest
from click.testing import CliRunner

from holter.sizing.figures import Figures, FiguresError
from holter.sizing.main import size_command
from holter.sizing.plan import Assumptions, size

SHIPPED = Figures.load(None)


@pytest.mark.parametrize("patients", [1, 500, 10_000, 100_000, 1_000_000])
@pytest.mark.parametrize("transport", sorted(SHIPPED.ingest_cpu_us))
def test_no_replica_is_busier_than_assumed_and_one_may_be_gone(patients, transport):
    a = Assumptions()
    found = size(patients, transport, SHIPPED, a)
    assert found.ingest.cores <= a.busy * (found.ingest.replicas - 1)
    assert found.inference.cores <= a.busy / 2 * found.inference.replicas
    assert 2 <= found.inference.replicas <= 64
    assert (found.ingest.replicas - 1) * a.patients_a_replica * found.cohorts >= patients
    assert found.influx.cores / found.influx.replicas <= a.influx_cores * a.influx_busy


def test_more_than_one_influxdb_holds_is_several_cohorts():
    figures = SHIPPED.model_copy(update={"influxd_cpu_us": 100.0})
    assert size(40_000, "websocket", figures, Assumptions()).cohorts == 1
    assert size(40_001, "websocket", figures, Assumptions()).cohorts == 2
    assert size(400_000, "websocket", figures, Assumptions()).influx.replicas == 10


def test_a_bench_json_takes_the_place_of_what_it_has_measured(tmp_path):
    path = tmp_path / "bench.json"
    path.write_bytes(orjson.dumps({"at": "2030-01-01T00:00:00Z", "ingest": {"udp": {"cpu_us": 7.5, "more": 1}}}))
    figures = Figures.load(path)
    assert figures.ingest_cpu_us == {"udp": 7.5}
    assert figures.worker_cpu_us == SHIPPED.worker_cpu_us
    assert "2030" in figures.measured


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"ingest": {"udp": {"cpu_us": "much"}}}'])
def test_what_is_no_bench_json_is_refused_with_its_name(tmp_path, content):
    path = tmp_path / "bench.json"
    path.write_bytes(content)
    with pytest.raises(FiguresError, match=r"bench\.json"):
        Figures.load(path)


def test_the_command_states_what_it_assumes():
    done = CliRunner().invoke(size_command, ["--patients", "400000"])
    assert done.exit_code == 0, done.output
    for word in ("400,000 patients", "Measured:", "Assumed:", "TB a day", "replicas", "cohorts"):
        assert word in done.output
    plan = orjson.loads(CliRunner().invoke(size_command, ["--patients", "100000", "--json"]).output)
    assert plan["patients"] == 100_000
