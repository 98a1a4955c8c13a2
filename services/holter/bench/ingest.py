"""What ingest costs: CPU for a patient's second, the tutorial's and `holter ingest`, log and store write included."""

import base64
import json
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace
from typing import Any

from holter.bench import tutorial, usage
from holter.bench.players import Plan, Sent
from holter.bench.running import Context, key_of, per, play
from holter.bench.services import Services, free_port

_WARM_SECONDS = 3
"""Of other devices the same way, before the measurement begins."""


def loads(*, quick: bool) -> dict[str, Plan]:
    """What the ingest stage measures, by name; ports and key are each service's own."""
    seconds = 5 if quick else 20
    few, many = (600, 2000) if quick else (1200, 10_000)
    return {
        "json_http": Plan("json_http", (), "", few, seconds, 32),
        "json_http_5s": Plan("json_http", (), "", 2 * few, 2 * seconds, 32, post=5),
        "websocket": Plan("websocket", (), "", many, seconds),
        "websocket_device": Plan("websocket_device", (), "", many // 2, seconds, 64),
        "udp": Plan("udp", (), "", many, seconds, 1),
    }


def tutorials(context: Context) -> dict[str, Any]:
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
        "influxd_cpu_us": per(server, server_after, sent.acknowledged),
        "samples_kept_of_250": kept / max(sent.acknowledged, 1),
        "load_average": usage.load_average(),
    }


def holter(context: Context, name: str, load: Plan, baseline_us: float) -> dict[str, Any]:
    """Start an ingest, warm it up, send the load, wait until it is stored.

    Args:
        context: where.
        name: of the devices and the folder.
        load: what to send, without port and key.
        baseline_us: of the tutorial's, for `cpu_ratio`.

    Raises:
        RuntimeError: what was sent is neither stored nor counted as dropped by the kernel (UDP).
    """
    influx, folder = context.influx, context.folder / name
    with Services(folder, influx.secret(folder / "influxdb"), patients=2 * load.patients, workers=0) as services:
        (ingest,) = services.ingest_names
        services.start(ingest)
        services.wait_ready(ingest)
        port = services.ports[ingest]["udp" if load.transport == "udp" else "http"]
        load = replace(load, port=(port,), key=key_of(services), prefix=name)
        _send(services, replace(load, seconds=max(_WARM_SECONDS, load.post), prefix=f"{name}-warm"))
        cpu, server, dropped = services.cpu(ingest), influx.cpu(), services.dropped(ingest)
        sent = _send(services, load)
        cpu, server_after = services.cpu(ingest) - cpu, influx.cpu()
        dropped = services.dropped(ingest) - dropped
        stored = sum(influx.chunks(name, sent.base).values())
        if stored + dropped != sent.chunks:
            raise RuntimeError(f"{name}: {sent.chunks} sent, {stored} stored, {dropped} dropped by the kernel")
        cpu_us = 1e6 * cpu / stored
        return {
            "patients": load.patients,
            "sent": sent.chunks,
            "acknowledged": sent.acknowledged,
            "stored": stored,
            "dropped_by_kernel": dropped,
            "cpu_us": cpu_us,
            "cpu_ratio": baseline_us / cpu_us,
            "patients_per_core": round(1e6 / cpu_us),
            "influxd_cpu_us": per(server, server_after, stored),
            "memory": services.memory(ingest),
            "load_average": usage.load_average(),
        }


def _send(services: Services, load: Plan) -> Sent:
    """Until all of it is stored."""
    sent = play(load).wait()
    time.sleep(1.0)  # the last datagrams are read and logged
    if not services.wait_stored(*services.ingest_names):
        raise RuntimeError(f"{load.prefix}: the log is not empty after two minutes")
    return sent


def _wait_port(port: int, seconds: float = 60.0) -> None:
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
