"""What one machine runs of a cohort: the values between the manifests and the supervisor."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Probe:
    """An HTTP probe on 127.0.0.1, with a kubelet's meaning of each number; times in seconds."""

    port: int
    path: str
    delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    failures: int = 3

    @property
    def url(self) -> str:
        """Where to ask."""
        return f"http://127.0.0.1:{self.port}{self.path}"


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One container, as a process.

    Attributes:
        name: the component: ingest, inference, refit, console.
        argv: an absolute path and its arguments.
        env: variables beside those inherited from `holter up`.
        ports: number by name.
        annotations: the pod template's; when they differ the process starts anew, as a pod does.
        liveness: restarts the process when it fails; None when the container has none.
        readiness: says whether it serves; None when the container has none.
        startup: holds the other two back until it succeeds.
        grace: seconds between SIGTERM and SIGKILL.
        deadline: seconds after which a job is ended; None for no bound.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    liveness: Probe | None = None
    readiness: Probe | None = None
    startup: Probe | None = None
    grace: float = 30.0
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class CronSpec:
    """A CronJob.

    Attributes:
        schedule: five cron fields.
        timezone: an IANA name.
        suspend: started by hand only.
        process: what it starts.
    """

    schedule: str
    timezone: str
    suspend: bool
    process: ProcessSpec


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """A mounted ConfigMap, Secret or projection: exactly these files, by path inside `folder`."""

    folder: Path
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a cohort is on one machine.

    Attributes:
        processes: in the order of the objects.
        crons: the scheduled jobs.
        volumes: mounted files, rewritten live.
        folders: what emptyDirs and claims become; their content is kept.
    """

    processes: tuple[ProcessSpec, ...] = ()
    crons: tuple[CronSpec, ...] = ()
    volumes: tuple[VolumeSpec, ...] = ()
    folders: tuple[Path, ...] = ()
