"""The stages of a run: each gives a part of `bench.json`."""

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from holter.bench import bucket, tutorial, usage
from holter.bench.influx import Influx
from holter.bench.ingest import measure_ingest
from holter.bench.load import Load, signal
from holter.bench.players import Plan, Sent
from holter.bench.playing import record
from holter.bench.services import Services, free_port


@dataclass(frozen=True, slots=True)
class Context:
    """What a stage works with.

    Attributes:
        influx: the run's bucket.
        folder: for state and logs.
        quick: sizes that let all stages together end within two minutes.
        say: a line for whoever waits.
    """

    influx: bucket.Influx
    folder: Path
    quick: bool
    say: Callable[[str], None]


@dataclass(slots=True)
class Running:
    """A load under way in a process of its own."""

    process: "subprocess.Popen[str]"
    plan: Plan
    result: Sent | None = field(default=None)

    def wait(self) -> Sent:
        """What became of it.

        Raises:
            RuntimeError: it failed.
        """
        out, _ = self.process.communicate()
        if self.process.returncode:
            raise RuntimeError(f"the load ({self.plan.transport}) ended with {self.process.returncode}")
        return Sent(**json.loads(out))


def play(plan: Plan) -> Running:
    """Start a load."""
    process = subprocess.Popen(
        [sys.executable, "-m", "holter.bench.players"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=usage.die_with_parent,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(asdict(plan)))
    process.stdin.close()
    process.stdin = None
    return Running(process, plan)


def key_of(services: Services) -> str:
    """As a plan wants it."""
    return base64.b64encode(services.key).decode()


def loads(*, quick: bool) -> dict[str, Load]:
    """What the ingest stage measures, by name."""
    seconds = 5 if quick else 20
    few, many = (600, 2000) if quick else (1200, 4000)
    return {
        "json_http": Load("json_http", few, seconds),
        "json_http_5s": Load("json_http", 2 * few, 2 * seconds, 5),
        "websocket": Load("websocket", many, seconds),
        "websocket_device": Load("websocket", many // 2, seconds, gateways=64, frames_per_message=1),
        "udp": Load("udp", many, seconds),
    }


def tutorial_ingest(context: Context) -> dict[str, Any]:
    """CPU of the tutorial's ingest for a patient's second, and what it keeps of it."""
    patients, seconds = (30, 4) if context.quick else (60, 15)
    influx, port = context.influx, free_port()
    process = subprocess.Popen([sys.executable, "-m", "holter.bench.tutorial"], stdin=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write(json.dumps({"influx": asdict(influx), "port": port}))
    process.stdin.close()
    try:
        _wait_port(port)
        before, server = usage.cpu(process.pid), influx.cpu()
        began = round(time.time() * 1e6)
        plan = Plan("tutorial", (port,), base64.b64encode(bytes(32)).decode(), patients, seconds, 8, prefix="tutorial")
        sent = play(plan).wait()
        _settle(process.pid)
        spent, server_after = usage.cpu(process.pid) - before, influx.cpu()
        kept = influx.count(tutorial.MEASUREMENT, "voltage", began - 60_000_000)
    finally:
        process.terminate()
        process.wait(30)
    return {
        "patients": patients,
        "patient_seconds": sent.acknowledged,
        "cpu_us": 1e6 * spent / max(sent.acknowledged, 1),
        "influxd_cpu_us": _per(server, server_after, sent.acknowledged),
        "samples_kept_of_250": kept / max(sent.acknowledged, 1),
        "load_average": usage.load_average(),
    }


def ingest(context: Context, name: str, load: Load, baseline_us: float) -> dict[str, Any]:
    """CPU of `holter ingest` for a patient's second that comes this way, log and store write included."""
    influx, server = context.influx, context.influx.cpu()
    cost = measure_ingest(load, Influx(influx.url, influx.org, influx.token), context.folder / name, signal())
    return {
        "patients": load.patients,
        "sent": load.chunks,
        "stored": cost.stored,
        "lost": cost.lost,
        "cpu_us": cost.cpu_us,
        "cpu_ratio": baseline_us / cost.cpu_us,
        "patients_per_core": round(1e6 / cost.cpu_us),
        "influxd_cpu_us": _per(server, influx.cpu(), cost.stored),
        "resident_bytes": cost.resident_bytes,
        "load_average": usage.load_average(),
    }


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


def _per(before: float | None, after: float | None, n: int) -> float | None:
    return None if before is None or after is None else 1e6 * (after - before) / max(n, 1)


def _wait_port(port: int, seconds: float = 60.0) -> None:
    import socket

    until = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


def _settle(pid: int, seconds: float = 30.0) -> None:
    """Return when a process has used next to no CPU for a while: it has written what it had."""
    until, last, quiet = time.monotonic() + seconds, usage.cpu(pid), 0
    while time.monotonic() < until and quiet < 3:
        time.sleep(0.7)
        now = usage.cpu(pid)
        quiet = quiet + 1 if now - last < 0.03 else 0
        last = now
