"""`holter bench`: all stages in one run, a table and `bench.json`."""

import os
import platform
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import orjson
from rich.console import Console
from rich.table import Table

from holter.bench import end_to_end, inference, ingest, signal_path, usage
from holter.bench.bucket import NoInfluxError, own_bucket
from holter.bench.end_to_end import Run
from holter.bench.running import Context

_JUDGED_AT = 5000
"""Patients."""
_RISING = (2000, 5000, 10_000, 14_000, 20_000)
STAGES = ("signal", "ingest", "inference", "cost", "latency", "ceiling")
_console = Console(width=130, highlight=False)


@click.command()
@click.option("--quick", is_flag=True, help="Every stage at a small size, within two minutes.")
@click.option(
    "--json", "path", type=click.Path(path_type=Path, dir_okay=False), default="bench.json", show_default=True
)
@click.option("--stage", "chosen", type=click.Choice(STAGES), multiple=True, help="Only these; may be repeated.")
@click.option("--patients", type=click.IntRange(1), help="Of one end-to-end run, instead of the stages' own sizes.")
@click.option("--transport", type=click.Choice(("websocket", "udp")), default="websocket", help="Of that run.")
@click.option("--source", type=click.Choice(("Feed", "Store")), default="Feed", help="Of that run.")
@click.option("--workers", type=click.IntRange(1, 8), default=1, help="Of that run.")
@click.option("--seconds", type=click.IntRange(20), help="Of each end-to-end run.")
def bench(
    *,
    quick: bool,
    path: Path,
    chosen: tuple[str, ...],
    patients: int | None,
    transport: str,
    source: str,
    workers: int,
    seconds: int | None,
) -> None:
    """Measure Holter beside the tutorial's pipeline: same machine, same InfluxDB, same run.

    CPU is that of Holter's own processes, as the kernel counts it; influxd's is told beside it. What the machine does
    besides does not change it much; the load average is noted with each figure.
    """
    if not Path("/proc/self/stat").exists():
        raise click.UsageError("CPU is read from /proc: this command needs Linux")
    wanted = chosen or STAGES
    result: dict[str, Any] = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "quick": quick,
        "machine": {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version()},
        "load_average": usage.load_average(),
    }
    if "signal" in wanted:
        _say("signal: 1,000 patients" if not quick else "signal: 200 patients")
        result["signal"] = signal_path.measure(200 if quick else 1000, 5 if quick else 20)
    try:
        if set(wanted) - {"signal"}:  # the others need an InfluxDB
            with own_bucket() as influx, tempfile.TemporaryDirectory(prefix="holter-bench-") as folder:
                one = None if patients is None else Run(patients, 0, transport, workers, source=source)
                result |= _run(Context(influx, Path(folder), quick, _say), wanted, one, seconds)
    except NoInfluxError as error:
        raise click.ClickException(str(error)) from error
    path.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))
    _tables(result)
    _console.print(f"all figures: {path}")


def _run(context: Context, wanted: tuple[str, ...], one: Run | None, seconds: int | None) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if "ingest" in wanted:
        context.say("ingest: the tutorial's")
        result["baseline_ingest"] = baseline = ingest.tutorials(context)
        result["ingest"] = {}
        for name, load in ingest.loads(quick=context.quick).items():
            context.say(f"ingest: {name}")
            result["ingest"][name] = ingest.holter(context, name, load, baseline["cpu_us"])
    if "inference" in wanted:
        context.say("inference: one patient at a time")
        result["baseline_inference"] = inference.one_at_a_time(context)
        result["judging"] = []
        for size in (500,) if context.quick else (100, 1000, 5000, 10_000):
            context.say(f"inference: {size} patients in one worker")
            result["judging"].append(inference.judging(context, size, 10))
    runs: list[dict[str, Any]] = []
    for number, run in enumerate([one] if one else _runs(wanted, quick=context.quick)):
        context.say(f"end to end: {run.patients} patients, {run.transport}, from the {run.source.lower()}")
        length = seconds or (22 if context.quick else 60)
        warm = min(12 if context.quick else 20, length // 2)
        with own_bucket() as influx:  # a worker would warm up on the chunks of the run before
            place = replace(context, influx=influx)
            runs.append(end_to_end.run(place, replace(run, seconds=length, warm=warm), f"run{number}"))
        if faults := end_to_end.broken(runs[-1]):
            context.say(f"  broken: {'; '.join(faults)}")
            if run.patients >= _RISING[0]:
                break
    if runs:
        held = [run for run in runs if not end_to_end.broken(run)] or runs[:1]
        result["end_to_end"] = max(held, key=lambda run: int(run["patients"]))
        result["runs"] = runs
    if "baseline_inference" in result:
        _compare(result)
    return result


def _runs(wanted: tuple[str, ...], *, quick: bool) -> list[Run]:
    """End-to-end runs of these stages, the number of patients rising."""
    if quick:
        return [Run(300, 0)] if {"cost", "latency", "ceiling"} & set(wanted) else []
    runs = [Run(patients, 0) for patients in (100, 1000)] if "cost" in wanted else []
    if "latency" in wanted:
        runs += [Run(1000, 0), Run(1000, 0, source="Store")] if "cost" not in wanted else [Run(1000, 0, source="Store")]
    return runs + ([Run(patients, 0) for patients in _RISING] if "ceiling" in wanted else [])


def _compare(result: dict[str, Any]) -> None:
    """The worker's cost at the size that it is judged at, beside one patient at a time."""
    window = 1000 * result["baseline_inference"]["cpu_ms"]
    hot = min(result["judging"], key=lambda one: abs(one["patients"] - _JUDGED_AT))
    result["inference"] = {
        "baseline_cpu_us": window,
        "patients": hot["patients"],
        "cpu_us": hot["decided"],
        "cpu_ratio": window / hot["decided"],
        "window_cpu_us": hot["window"],
        "window_ratio": window / hot["window"],
        "scores_stored_cpu_us": hot["stored"],
        "bytes_per_patient": hot["bytes"],
        "patients_per_core": round(1e6 * end_to_end.INTERVAL / hot["decided"]),
    }
    if result.get("runs"):
        run = min(result["runs"], key=lambda one: abs(one["patients"] - _JUDGED_AT))
        cpu = run["worker_cpu_us_per_patient_interval"]
        result["inference"]["process"] = {
            "patients": run["patients"], "cpu_us": cpu, "cpu_ratio": window / cpu,
            "patients_per_core": round(1e6 * end_to_end.INTERVAL / cpu),
        }  # fmt: skip


def _say(text: str) -> None:
    _console.print(f"[dim]{text}[/]")


def _tables(result: dict[str, Any]) -> None:
    if "signal" in result:
        table = Table(title="Signal path: CPU of a patient's second at 250 Hz, samples to measures and features")
        table.add_column("stage")
        table.add_column("µs", justify="right")
        for stage, cpu in result["signal"].items():
            table.add_row(stage, f"{cpu:.2f}")
        _console.print(table)
    if "ingest" in result:
        table = Table(title="Ingest: CPU of a patient's second, parse to stored")
        for column in ("way in", "µs", "times less", "patients/core", "influxd µs", "sent", "stored", "load"):
            table.add_column(column, justify="left" if column == "way in" else "right")
        base = result["baseline_ingest"]
        table.add_row(
            "the tutorial's", f"{base['cpu_us']:.0f}", "1", f"{1e6 / base['cpu_us']:.0f}", _us(base["influxd_cpu_us"]),
            str(base["patient_seconds"]), f"{base['samples_kept_of_250']:.1f}/250", f"{base['load_average']:.1f}",
        )  # fmt: skip
        for name, row in result["ingest"].items():
            table.add_row(
                name, f"{row['cpu_us']:.1f}", f"{row['cpu_ratio']:.0f}", str(row["patients_per_core"]),
                _us(row["influxd_cpu_us"]), str(row["sent"]), str(row["stored"]), f"{row['load_average']:.1f}",
            )  # fmt: skip
        _console.print(table)
    if "inference" in result:
        table = Table(title="Inference: CPU of a patient and 5 s interval, fetch to decision")
        for column in ("", "µs", "times less", "patients/core", "at patients"):
            table.add_column(column, justify="right")
        row = result["inference"]
        table.add_row("one at a time", f"{row['baseline_cpu_us']:.0f}", "1", f"{5e6 / row['baseline_cpu_us']:.0f}", "1")
        for name, cpu, ratio in (
            ("fetch, features and score of the window alone", row["window_cpu_us"], row["window_ratio"]),
            ("fetch to decision, life-threatening path included", row["cpu_us"], row["cpu_ratio"]),
        ):
            table.add_row(name, f"{cpu:.0f}", f"{ratio:.0f}", f"{5e6 / cpu:.0f}", str(row["patients"]))
        if "process" in row:
            whole = row["process"]
            table.add_row(
                "the whole process, scores stored", f"{whole['cpu_us']:.0f}", f"{whole['cpu_ratio']:.0f}",
                str(whole["patients_per_core"]), str(whole["patients"]),
            )  # fmt: skip
        _console.print(table)
        table = Table(title="A worker at several sizes: CPU of a patient and 5 s interval, memory of a patient")
        for column in ("patients", "fetch µs", "window µs", "to decision µs", "scores to InfluxDB µs", "KiB", "load"):
            table.add_column(column, justify="right")
        for one in result["judging"]:
            table.add_row(
                str(one["patients"]), f"{one['fetch']:.1f}", f"{one['window']:.1f}", f"{one['decided']:.0f}",
                f"{one['stored']:.0f}", f"{one['bytes'] / 1024:.1f}", f"{one['load_average']:.1f}",
            )  # fmt: skip
        _console.print(table)
    if "runs" in result:
        table = Table(title="End to end")
        columns = (
            "patients", "via", "sent", "stored", "5xx", "p50 s", "p99 s", "window p99 s", "worker µs/5 s",
            "ingest µs/s", "influxd µs/s", "KiB/patient", "load", "held",
        )  # fmt: skip
        for column in columns:
            table.add_column(column, justify="right")
        for run in result["runs"]:
            table.add_row(
                str(run["patients"]), _ways(run), str(run["sent"]), str(run["stored"]),
                f"{run['errors_5xx']:.0f}",
                _s(run["p50_sample_to_decision_s"]), _s(run["p99_sample_to_decision_s"]), _s(run["p99_window_s"]),
                f"{run['worker_cpu_us_per_patient_interval']:.0f}", f"{run['ingest_cpu_us_per_patient_second']:.0f}",
                _us(run["influxd_cpu_us_per_patient_second"]), f"{run['worker_memory_per_patient'] / 1024:.0f}",
                f"{run['load_average']:.1f}", "; ".join(end_to_end.broken(run)) or "yes",
            )  # fmt: skip
        _console.print(table)


def _ways(run: dict[str, Any]) -> str:
    return {"websocket": "ws", "udp": "udp"}[run["transport"]] + (", store" if run["source"] == "Store" else "")


def _us(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def _s(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(bench())
