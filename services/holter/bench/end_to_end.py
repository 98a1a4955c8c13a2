"""Sample to decision with real processes: gateways → ingest → log → InfluxDB and feed → worker → decision."""

import time
from dataclasses import dataclass
from typing import Any

from holter.bench import usage
from holter.bench.players import Plan, Sent
from holter.bench.running import Context, key_of, play
from holter.bench.services import Services

INTERVAL = 5.0
LIFE_BOUND, WINDOW_BOUND = 2.0, INTERVAL + 2.0
FEED_BOUND, STORE_BOUND = 1.5, 3.0
"""Of the life-threatening path at 1,000 patients."""
_SECONDS = "holter_sample_to_decision_seconds"


@dataclass(frozen=True, slots=True)
class Run:
    """What to run.

    Attributes:
        patients: simulated, 250 Hz.
        seconds: how long they send; the first `warm` of them are not measured.
        transport: websocket or udp.
        workers: `holter infer` processes.
        source: Feed or Store.
        gateways: connections.
        warm: seconds, a window at least.
    """

    patients: int
    seconds: int
    transport: str = "websocket"
    workers: int = 1
    ingests: int = 1
    source: str = "Feed"
    gateways: int = 4
    warm: int = 15


def run(context: Context, what: Run, name: str = "") -> dict[str, Any]:
    """One load from its beginning until everything is stored."""
    folder = context.folder / f"end-to-end-{name or what.patients}-{what.transport}"
    inference = {"source": what.source, "interval": INTERVAL}
    with Services(
        folder,
        context.influx.secret(folder / "influxdb"),
        patients=what.patients,
        workers=what.workers,
        ingests=what.ingests,
        inference=inference,
    ) as services:
        names = (*services.ingest_names, *services.infer_names)
        began = time.monotonic()
        services.start(*names)
        services.wait_ready(*names)
        ready = time.monotonic() - began
        empty = {name: services.memory(name) for name in names}
        plan = plan_of(what, services, name)
        running = play(plan)
        time.sleep(what.warm)
        before = measures(services, names)
        server, wall = context.influx.cpu(), time.monotonic()
        # Until the last second of a patient is on its way.
        time.sleep(max(0.0, what.seconds - what.warm - 1.0))
        after, span = measures(services, names), time.monotonic() - wall
        server_after = context.influx.cpu()
        memory = {name: services.memory(name) for name in names}
        sent = running.wait()
        stored_all = services.wait_stored(*services.ingest_names)
        time.sleep(1.0)
        looks = Span(before, after, span)
        return report(context, what, services, plan.prefix, sent, looks, server, server_after, empty, memory) | {
            "ready_s": ready,
            "stored_all": stored_all,
            "load_average": usage.load_average(),
            "log": _faults(services, names),
        }


def plan_of(what: Run, services: Services, name: str) -> Plan:
    """The load of a run."""
    kind = "udp" if what.transport == "udp" else "http"
    ports = tuple(services.ports[ingest][kind] for ingest in services.ingest_names)
    prefix = name or f"e2e{what.patients}{what.transport[0]}"
    return Plan(what.transport, ports, key_of(services), what.patients, what.seconds, what.gateways, prefix=prefix)


@dataclass(frozen=True, slots=True)
class Span:
    """Two looks at all metrics and costs, and the seconds between them."""

    before: "dict[str, Look]"
    after: "dict[str, Look]"
    seconds: float

    def cpu(self, name: str) -> float:
        """CPU seconds of a process between the looks."""
        return self.after[name].cpu - self.before[name].cpu

    def metric(self, name: str, metric: str, *labels: str) -> float:
        """By how much a counter rose."""
        return _sum(self.after[name].metrics, metric, labels) - _sum(self.before[name].metrics, metric, labels)


@dataclass(frozen=True, slots=True)
class Look:
    """A process at one moment."""

    cpu: float
    metrics: dict[tuple[str, str], float]


def measures(services: Services, names: tuple[str, ...]) -> dict[str, Look]:
    """Look at them."""
    return {name: Look(services.cpu(name), services.metrics(name)) for name in names}


def report(
    context: Context,
    what: Run,
    services: Services,
    prefix: str,
    sent: Sent,
    span: Span,
    server: float | None,
    server_after: float | None,
    empty: dict[str, int],
    memory: dict[str, int],
) -> dict[str, Any]:
    """A run's part of `bench.json`."""
    mine = context.influx.chunks(prefix, sent.base)
    windows = context.influx.count("ecg_score", "score", sent.base) if what.patients else 0
    seconds = what.patients * span.seconds
    infer = sum(span.cpu(name) for name in services.infer_names)
    ingest = sum(span.cpu(name) for name in services.ingest_names)
    codes = services.ingest_names
    errors = sum(services.metric(name, "holter_ingest_requests_total", 'code="5') for name in codes)
    return {
        "patients": what.patients,
        "transport": what.transport,
        "source": what.source,
        "workers": what.workers,
        "seconds": what.seconds,
        "interval_s": INTERVAL,
        "sent": sent.chunks,
        "acknowledged": sent.acknowledged,
        "stored": sum(mine.values()),
        "dropped_by_kernel": sum(services.dropped(name) for name in codes),
        "devices_short": sum(n != what.seconds for n in mine.values()) + what.patients - len(mine),
        "answers": dict(sent.codes),
        "errors_5xx": errors,
        "behind_s": sent.late,
        "windows_stored": windows,
        "p99_sample_to_decision_s": quantile(span, services.infer_names, "life_threatening", 0.99),
        "p50_sample_to_decision_s": quantile(span, services.infer_names, "life_threatening", 0.5),
        "p99_window_s": quantile(span, services.infer_names, "window", 0.99),
        "decided_per_s": sum(
            span.metric(name, f"{_SECONDS}_count", 'path="life_threatening"') for name in services.infer_names
        )
        / span.seconds,
        "worker_cpu_us_per_patient_interval": 1e6 * infer / seconds * INTERVAL,
        "ingest_cpu_us_per_patient_second": 1e6 * ingest / seconds,
        "simulator_cpu_us_per_patient_second": 1e6 * sent.cpu / max(sent.chunks, 1),
        "influxd_cpu_us_per_patient_second": None
        if server is None or server_after is None
        else 1e6 * (server_after - server) / seconds,
        "stages_s": {
            stage: sum(
                span.metric(name, "holter_inference_cycle_seconds_sum", f'stage="{stage}"')
                for name in services.infer_names
            )
            for stage in ("read", "compute", "decide", "commit", "write")
        },
        "feed_dropped": sum(services.metric(name, "holter_feed_dropped_chunks_total") for name in codes),
        "worker_memory_per_patient": sum(memory[n] - empty[n] for n in services.infer_names) / what.patients,
        "ingest_memory_per_patient": sum(memory[n] - empty[n] for n in services.ingest_names) / what.patients,
        "worker_memory": sum(memory[n] for n in services.infer_names),
    }


def quantile(span: Span, names: tuple[str, ...], path: str, q: float) -> float | None:
    """A quantile of sample to decision between the looks, interpolated within its bucket; None without a decision."""
    label = f'path="{path}"'
    bounds: dict[float, float] = {}
    for name in names:
        for (metric, labels), value in span.after[name].metrics.items():
            if metric == f"{_SECONDS}_bucket" and label in labels:
                bound = float(labels.partition('le="')[2].partition('"')[0])
                earlier = span.before[name].metrics.get((metric, labels), 0.0)
                bounds[bound] = bounds.get(bound, 0.0) + value - earlier
    ordered = sorted(bounds.items())
    if not ordered or not ordered[-1][1]:
        return None
    wanted, below, low = q * ordered[-1][1], 0.0, 0.0
    for bound, count in ordered:
        if count >= wanted:
            return low if bound == float("inf") else low + (bound - low) * (wanted - below) / max(count - below, 1e-9)
        below, low = count, bound
    return low


def _sum(metrics: dict[tuple[str, str], float], metric: str, labels: tuple[str, ...]) -> float:
    return sum(v for (name, text), v in metrics.items() if name == metric and all(one in text for one in labels))


def _faults(services: Services, names: tuple[str, ...]) -> dict[str, int]:
    """Warnings and errors in the logs, by event."""
    found: dict[str, int] = {}
    for name in names:
        for line in services.log(name).splitlines():
            if '"level":"warning"' in line.replace(" ", "") or '"level":"error"' in line.replace(" ", ""):
                event = line.partition('"event":')[2].strip().partition('"')[2].partition('"')[0]
                found[f"{name}: {event}"] = found.get(f"{name}: {event}", 0) + 1
    return found


def broken(run: dict[str, Any]) -> list[str]:
    """Which bounds a run broke, in words."""
    faults = []
    life, window = run["p99_sample_to_decision_s"], run["p99_window_s"]
    bound = STORE_BOUND if run["source"] == "Store" else FEED_BOUND if run["patients"] <= 1000 else LIFE_BOUND
    if life is None or life > bound:
        faults.append(f"life-threatening p99 {'none' if life is None else f'{life:.1f} s'} > {bound:g} s")
    if window is None or window > WINDOW_BOUND:
        faults.append(f"window p99 {'none' if window is None else f'{window:.1f} s'} > {WINDOW_BOUND:g} s")
    if run["transport"] != "udp" and not run["sent"] == run["acknowledged"] == run["stored"]:
        faults.append(f"{run['sent']} sent, {run['acknowledged']} acknowledged, {run['stored']} stored")
    if run["transport"] == "udp" and run["sent"] != run["stored"] + run["dropped_by_kernel"]:
        faults.append(f"{run['sent']} sent, {run['stored']} stored, {run['dropped_by_kernel']} dropped by the kernel")
    if run["errors_5xx"]:
        faults.append(f"{run['errors_5xx']:.0f} answers of 5xx")
    if run["behind_s"] > LIFE_BOUND:
        faults.append(f"the simulator was {run['behind_s']:.1f} s behind")
    return faults
