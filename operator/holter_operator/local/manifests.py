"""From a cohort's objects to what one machine runs. Pure: the same objects and machine give the same plan."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holter_operator.local.mounts import ManifestError, Mounts, Objects
from holter_operator.local.specs import CronSpec, Plan, Probe, ProcessSpec

COMPONENT = "app.kubernetes.io/component"


@dataclass(frozen=True, slots=True)
class PortWish:
    """A container port. `number` is the manifest's; the metrics ports of all pods are alike and have to differ here."""

    component: str
    name: str
    number: int
    udp: bool

    @property
    def key(self) -> str:
        """`<component>.<name>`."""
        return f"{self.component}.{self.name}"


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine gives.

    Attributes:
        state: the state folder.
        holter: the command `holter`, absolute.
        ports: number by `PortWish.key`.
        store: HOLTER_STORE, or None to use the connection in the manifests.
        listen: the address of every port.
    """

    state: Path
    holter: Path
    ports: Mapping[str, int]
    store: str | None
    listen: str = "127.0.0.1"

    @property
    def candidate(self) -> Path:
        """Where a refit leaves its model."""
        return self.state / "candidate"


@dataclass(frozen=True, slots=True)
class _Workload:
    """One pod template."""

    kind: str
    name: str
    component: str
    replicas: int
    pod: Mapping[str, Any]
    annotations: Mapping[str, str]
    claims: frozenset[str]
    job: Mapping[str, Any]
    document: Mapping[str, Any]

    @property
    def container(self) -> Mapping[str, Any]:
        containers: Sequence[Mapping[str, Any]] = self.pod["containers"]
        if len(containers) != 1 or self.pod.get("initContainers"):
            raise ManifestError(f"{self.kind} {self.name}: one container a pod is what this machine can run")
        return containers[0]


def port_wishes(objects: Iterable[Mapping[str, Any]]) -> tuple[PortWish, ...]:
    """The ports that the containers name."""
    return tuple(
        PortWish(w.component, port["name"], port["containerPort"], port.get("protocol") == "UDP")
        for w in _workloads(objects)
        for port in w.container.get("ports", ())
    )


def plan(objects: Sequence[Mapping[str, Any]], machine: Machine) -> Plan:
    """What to run for these objects.

    Args:
        objects: the cohort's, and the Secrets and ConfigMaps that it names.
        machine: where.

    Raises:
        ManifestError: an object needs what this machine has not.
    """
    lookup = Objects(objects)
    processes, crons = [], []
    mounts: list[Mounts] = []
    for workload in _workloads(objects):
        mounted = Mounts(workload.component, workload.pod, workload.container, workload.claims, machine.state)
        process = _process(workload, mounted, lookup, machine)
        if workload.kind == "CronJob":
            crons.append(_cron(workload, process))
        elif workload.replicas:
            processes.append(process)
        else:
            continue
        mounts.append(mounted)
    return Plan(
        processes=tuple(processes),
        crons=tuple(crons),
        volumes=tuple(volume for m in mounts for volume in m.volumes(lookup)),
        folders=tuple(folder for m in mounts for folder in m.folders()),
    )


def _workloads(objects: Iterable[Mapping[str, Any]]) -> Iterable[_Workload]:
    for document in objects:
        kind, spec = document["kind"], document.get("spec", {})
        if kind not in ("Deployment", "StatefulSet", "CronJob"):
            continue
        name, labels = document["metadata"]["name"], document["metadata"].get("labels", {})
        job = spec["jobTemplate"]["spec"] if kind == "CronJob" else {}
        template = (job or spec)["template"]
        yield _Workload(
            kind=kind,
            name=name,
            component=labels.get(COMPONENT, name),
            replicas=spec.get("replicas", 1),
            pod=template["spec"],
            annotations=template.get("metadata", {}).get("annotations", {}),
            claims=frozenset(claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", ())),
            job=job,
            document=document,
        )


def _process(workload: _Workload, mounts: Mounts, lookup: Objects, machine: Machine) -> ProcessSpec:
    container = workload.container
    ports = {port["name"]: machine.ports[f"{workload.component}.{port['name']}"] for port in container.get("ports", ())}
    env = {entry["name"]: _value(entry, workload, lookup) for entry in container.get("env", ())}
    expand = _expansion(env)
    here = _here(machine)
    # What is other here is not localised: a mount that only it named is then not needed.
    env = {name: here[name] if name in here else mounts.localise(expand(value)) for name, value in env.items()}
    env |= {f"HOLTER_PORT_{name.upper()}": str(number) for name, number in ports.items()}
    words: list[str] = [*container["command"], *container.get("args", ())]
    command, arguments = words[0], words[1:]
    if command != "holter":
        raise ManifestError(
            f"{workload.kind} {workload.name}: command {command!r}: only `holter` is run on this machine"
        )
    return ProcessSpec(
        name=workload.component,
        argv=(str(machine.holter), *(mounts.localise(expand(argument)) for argument in arguments)),
        env=env,
        ports=ports,
        annotations=workload.annotations,
        liveness=_probe(container.get("livenessProbe"), ports),
        readiness=_probe(container.get("readinessProbe"), ports),
        startup=_probe(container.get("startupProbe"), ports),
        grace=float(workload.pod.get("terminationGracePeriodSeconds", 30)),
        deadline=workload.job.get("activeDeadlineSeconds"),
    )


def _here(machine: Machine) -> dict[str, str]:
    """Variables that are other on one machine than in a pod."""
    values = {"HOLTER_LISTEN": machine.listen, "HOLTER_CANDIDATE": f"file:{machine.candidate}"}
    if feed := machine.ports.get("ingest.feed"):
        values["HOLTER_FEED_PEERS"] = f"{machine.listen}:{feed}"
    return values if machine.store is None else values | {"HOLTER_STORE": machine.store}


def _cron(workload: _Workload, process: ProcessSpec) -> CronSpec:
    spec = workload.document["spec"]
    return CronSpec(
        schedule=spec["schedule"],
        timezone=spec.get("timeZone", "Etc/UTC"),
        suspend=bool(spec.get("suspend", False)),
        process=process,
    )


def _value(entry: Mapping[str, Any], workload: _Workload, lookup: Objects) -> str:
    """An environment entry's value (v1 EnvVar)."""
    source = entry.get("valueFrom")
    if source is None:
        return str(entry.get("value", ""))
    where = f"{workload.kind} {workload.name}: variable {entry['name']}"
    match source:
        case {"fieldRef": {"fieldPath": "metadata.name"}}:
            return f"{workload.name}-0"
        case {"fieldRef": {"fieldPath": "metadata.namespace"}}:
            return str(workload.document["metadata"].get("namespace", "default"))
        case {"fieldRef": {"fieldPath": "status.podIP" | "status.hostIP"}}:
            return "127.0.0.1"
        case {"secretKeyRef": reference}:
            return lookup.key("Secret", reference, where)
        case {"configMapKeyRef": reference}:
            return lookup.key("ConfigMap", reference, where)
    raise ManifestError(f"{where}: valueFrom {dict(source)} cannot be had on this machine")


def _expansion(env: Mapping[str, str]) -> Callable[[str], str]:
    """`$(NAME)` as a kubelet expands it; an unknown name is left as it is."""
    return lambda text: re.sub(r"\$\(([A-Za-z0-9_.-]+)\)", lambda m: env.get(m[1], m[0]), text)


def _probe(probe: Mapping[str, Any] | None, ports: Mapping[str, int]) -> Probe | None:
    if probe is None:
        return None
    get = probe.get("httpGet")
    if get is None:
        raise ManifestError(f"probe {dict(probe)}: only httpGet can be probed on this machine")
    port = get["port"]
    return Probe(
        port=ports[port] if isinstance(port, str) else port,
        path=get.get("path", "/"),
        delay=float(probe.get("initialDelaySeconds", 0)),
        period=float(probe.get("periodSeconds", 10)),
        timeout=float(probe.get("timeoutSeconds", 1)),
        failures=int(probe.get("failureThreshold", 3)),
    )
