"""What /metrics shows."""

from prometheus_client import CollectorRegistry, generate_latest

from holter.metrics import BUCKETS, Metrics


def test_each_series_is_there_at_0_once_and_carries_its_cohort():
    metrics = Metrics("ward", CollectorRegistry())
    metrics.counter("holter_things_total", "Things.", kind=("a", "b"))
    metrics.gauge("holter_level", "Level.")
    metrics.histogram("holter_some_seconds", "Time.", path=("x",))
    told = generate_latest(metrics.registry).decode().splitlines()
    lines = [line for line in told if not line.startswith(("#", "process_"))]  # the process is no cohort's
    assert {line.partition("{")[0] for line in lines} == {
        "holter_things_total",
        "holter_level",
        *(f"holter_some_seconds_{part}" for part in ("bucket", "count", "sum")),
    }
    assert len(lines) == 2 + 1 + (len(BUCKETS) + 1) + 2
    assert all('cohort="ward"' in line and line.endswith(" 0.0") for line in lines)
