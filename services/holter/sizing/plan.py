"""From figures to a plan: arithmetic, each assumption by name. Pure."""

from dataclasses import dataclass
from math import ceil

from holter.chunk import SHARDS
from holter.sizing.figures import Figures

SECONDS_A_DAY = 86_400
INTERVAL = 5.0


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What is not measured but chosen.

    Attributes:
        busy: share of a core that a replica uses on average; the rest is for bursts and what comes after a fall.
        patients_a_replica: `ingest.maxPatientsPerReplica`.
        outage: seconds of InfluxDB's absence that ingest's log has to bridge.
        influx_cores: of one InfluxDB node.
        influx_busy: share of them that influxd may use: compaction, queries and the console come on top.
        retention_days: `storage.retention`.
    """

    busy: float = 0.6
    patients_a_replica: int = 5000
    outage: float = 3600.0
    influx_cores: int = 8
    influx_busy: float = 0.5
    retention_days: float = 30.0


@dataclass(frozen=True, slots=True)
class Part:
    """Replicas of one component.

    Attributes:
        replicas: how many.
        cores: that all of them use together, on average.
        memory: bytes, of one replica.
        disk: bytes, of one replica.
    """

    replicas: int
    cores: float
    memory: float
    disk: float


@dataclass(frozen=True, slots=True)
class Sizing:
    """A plan.

    Attributes:
        cohorts: objects to make: a cohort has one InfluxDB connection and at most 64 workers.
        ingest: of one cohort.
        inference: of one cohort.
        influx: of all cohorts, one node a cohort.
        bytes_a_day: written to all InfluxDB disks.
    """

    patients: int
    cohorts: int
    ingest: Part
    inference: Part
    influx: Part
    bytes_a_day: float

    @property
    def cores(self) -> float:
        """Holter's own, of all cohorts, on average."""
        return self.cohorts * (self.ingest.cores + self.inference.cores)


def size(patients: int, transport: str, figures: Figures, assumptions: Assumptions) -> Sizing:
    """Size a platform for so many patients at 250 Hz, 5 s intervals.

    Args:
        patients: at least 1.
        transport: a key of `figures.ingest_cpu_us`.
        figures: what was measured.
        assumptions: what was chosen.
    """
    a, f = assumptions, figures
    influx_cores = patients * f.influxd_cpu_us / 1e6
    worker_cores = patients * f.worker_cpu_us / 1e6 / INTERVAL
    nodes = ceil(influx_cores / (a.influx_cores * a.influx_busy))
    # A standby judges its neighbour's share too, and has to get on with both.
    most_workers = SHARDS * a.busy / 2
    cohorts = max(1, nodes, ceil(worker_cores / most_workers))
    share = ceil(patients / cohorts)
    ingest = _ingest(share, f.ingest_cpu_us[transport], f, a)
    workers = max(2, ceil(share * f.worker_cpu_us / 1e6 / INTERVAL / (a.busy / 2)))
    worker = Part(
        workers,
        share * f.worker_cpu_us / 1e6 / INTERVAL,
        f.worker_base_bytes + 2 * ceil(share / workers) * f.worker_bytes,
        256 << 20,
    )
    daily = patients * SECONDS_A_DAY * (f.chunk_disk_bytes + f.score_disk_bytes / INTERVAL)
    influx = Part(cohorts, influx_cores, 16 << 30, daily / cohorts * a.retention_days)
    return Sizing(patients, cohorts, ingest, worker, influx, daily)


def _ingest(patients: int, cpu_us: float, f: Figures, a: Assumptions) -> Part:
    cores = patients * cpu_us / 1e6
    # One replica may be gone: the others take its patients.
    needed = max(ceil(cores / a.busy), ceil(patients / a.patients_a_replica))
    replicas = max(2, needed + 1)
    each = ceil(patients / (replicas - 1))
    return Part(replicas, cores, f.ingest_base_bytes + each * f.ingest_bytes, each * f.log_bytes * a.outage)
