"""What /metrics shows."""

import re

import numpy as np
import pytest
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


def test_many_times_at_once_are_what_they_are_one_by_one():
    rng = np.random.default_rng(3)
    seconds = [0.0, 0.001, 1.0, 30.0, 31.0, *rng.exponential(1.0, 500).tolist()]
    metrics = Metrics("ward")
    one_by_one = metrics.histogram("holter_x_seconds", "x", path=("a", "b"))
    at_once = metrics.times("holter_y_seconds", "x", "path", ("a", "b"))
    for value in seconds:
        metrics.of(one_by_one, path="a").observe(value)
    at_once.observe("a", seconds[:100])
    at_once.observe("a", [])
    at_once.observe("a", seconds[100:])

    def series(name):
        found = {}
        for line in generate_latest(metrics.registry).decode().splitlines():
            if line.startswith(name):
                head, _, value = line.rpartition(" ")
                labels = frozenset(re.findall(r'(\w+="[^"]*")', head))
                found[head.partition("{")[0].removeprefix(name), labels] = pytest.approx(float(value))
        return found

    assert series("holter_x_seconds") == series("holter_y_seconds")
    assert len(series("holter_y_seconds")) == 2 * (19 + 2)
