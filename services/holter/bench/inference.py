"""What inference costs: the tutorial's one patient at a time, and the worker's hot path alone."""

import json
import subprocess
import sys
import time
from typing import Any

from holter.bench import tutorial, usage
from holter.bench.playing import record
from holter.bench.running import Context


def one_at_a_time(context: Context) -> dict[str, Any]:
    """CPU of the tutorial's inference for a window."""
    devices = [f"window-{i:03d}" for i in range(8 if context.quick else 20)]
    start = (round(time.time()) - 120) * 1_000_000
    samples = record(templates=len(devices), seconds=tutorial.WINDOW_SECONDS).samples.reshape(len(devices), -1)
    tutorial.fill(context.influx, devices, start, samples)
    whole, query, windows = tutorial.measure(context.influx, devices, start, 3.0 if context.quick else 15.0)
    return {
        "windows": windows,
        "cpu_ms": 1e3 * whole,
        "query_cpu_ms": 1e3 * query,
        "load_average": usage.load_average(),
    }


def judging(context: Context, patients: int, seconds: int) -> dict[str, Any]:
    """The worker's hot path alone, see `holter.bench.judging`."""
    folder = context.folder / f"judging-{patients}"
    store = context.influx.secret(folder / "influxdb")
    given = {"store": store, "folder": str(folder), "patients": patients, "seconds": seconds}
    command = [sys.executable, "-m", "holter.bench.judging"]
    log = folder / "log"
    with log.open("wb") as errors:
        done = subprocess.run(  # noqa: S603 - this very Python; its end is looked at below
            command, input=json.dumps(given).encode(), stdout=subprocess.PIPE, stderr=errors
        )
    if done.returncode:
        raise RuntimeError(f"judging ended with {done.returncode}:\n{log.read_text(errors='replace')[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "load_average": usage.load_average()}
