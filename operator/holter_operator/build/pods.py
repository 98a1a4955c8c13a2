"""The pod template of every component: one container, under the *restricted* Pod Security Standard."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holter_operator.api import crd
from holter_operator.api.cohort import Cohort, Pods
from holter_operator.build import names
from holter_operator.build.given import Component, Given
from holter_operator.build.meta import Object, labels, selector
from holter_operator.build.mounts import Mount

METRICS_PORT = 9090
USER = 10001
RESTART_ANNOTATION = f"{crd.GROUP}/restart-hash"


@dataclass(frozen=True, slots=True)
class Port:
    """A named container port, and the variable `HOLTER_PORT_<NAME>`."""

    name: str
    number: int
    protocol: str = "TCP"


METRICS = Port("metrics", METRICS_PORT)


@dataclass(frozen=True, slots=True)
class Container:
    """What one component runs.

    Attributes:
        component: whose pods.
        command: the container's.
        settings: resources, nodeSelector and tolerations of the cohort.
        mounts: None where the cohort does not ask for one.
        ports: all of them, `metrics` too.
        environment: further variables.
        knows_itself: whether HOLTER_POD tells the pod's name.
        grace: seconds from SIGTERM to SIGKILL.
        linger: seconds of service after the pod has left its Service and before SIGTERM.
        restart_on: see `restart_hash`.
    """

    component: Component
    command: tuple[str, ...]
    settings: Pods
    mounts: tuple[Mount | None, ...]
    ports: tuple[Port, ...]
    grace: int
    environment: Mapping[str, str] = field(default_factory=dict)
    knows_itself: bool = False
    linger: int = 0
    restart_on: Mapping[str, Any] = field(default_factory=dict)


def restart_hash(inputs: Mapping[str, Any]) -> str:
    """The hash that rolls a component's pods when it changes.

    Mounted ConfigMaps and Secrets are reloaded live, and variables, ports and mounts are in the template already. So
    only those settings count here that a process lays its memory or its log out by as it starts, each for the
    components that use it: the sample rate, the grid of windows, the layout of stored chunks.
    """
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def template(cohort: Cohort, given: Given, container: Container) -> Object:
    """A pod template."""
    metadata: Object = {"labels": labels(cohort, container.component)}
    if container.restart_on:
        metadata["annotations"] = {RESTART_ANNOTATION: restart_hash(container.restart_on)}
    mounts = [mount for mount in container.mounts if mount]
    spec: Object = {
        "serviceAccountName": names.component(cohort, container.component),
        "automountServiceAccountToken": False,
        # A Service named `holter` would otherwise put variables beside ours: HOLTER_PORT_8080_TCP=tcp://…
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": container.grace + container.linger,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(given, container, mounts)],
        "volumes": [{"name": mount.name, **mount.source} for mount in mounts if mount.source is not None],
    }
    if container.settings.node_selector:
        spec["nodeSelector"] = dict(container.settings.node_selector)
    if container.settings.tolerations:
        spec["tolerations"] = [dict(toleration) for toleration in container.settings.tolerations]
    return {"metadata": metadata, "spec": spec}


def spread(cohort: Cohort, component: Component) -> list[Object]:
    """Pods of one component on different nodes and in different zones, where there are any."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": selector(cohort, component)},
        }
        for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
    ]


def _container(given: Given, container: Container, mounts: list[Mount]) -> Object:
    built: Object = {
        "name": str(container.component),
        "image": given.images[container.component],
        "imagePullPolicy": given.image_pull_policy,
        "command": list(container.command),
        "env": _environment(container, mounts),
        "resources": dict(container.settings.resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [_volume_mount(mount) for mount in mounts],
    }
    if container.ports:
        built["ports"] = [
            {"name": port.name, "containerPort": port.number, "protocol": port.protocol} for port in container.ports
        ]
    if METRICS in container.ports:
        # A first start may compile for a minute and more.
        built["startupProbe"] = _probe("/healthz", period=1, failures=90)
        built["livenessProbe"] = _probe("/healthz", period=10, failures=3)
        built["readinessProbe"] = _probe("/readyz", period=2, failures=2)
    if container.linger:
        built["lifecycle"] = {"preStop": {"sleep": {"seconds": container.linger}}}
    return built


def _environment(container: Container, mounts: list[Mount]) -> list[Object]:
    variables = {mount.variable: mount.value or mount.path for mount in mounts if mount.variable}
    variables["HOLTER_LISTEN"] = "0.0.0.0"  # noqa: S104 - a pod's only interface
    variables |= {f"HOLTER_PORT_{port.name.upper()}": str(port.number) for port in container.ports}
    variables |= container.environment
    environment: list[Object] = [{"name": name, "value": value} for name, value in variables.items()]
    if container.knows_itself:
        own_name = {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}
        environment.append({"name": "HOLTER_POD", "valueFrom": own_name})
    return environment


def _volume_mount(mount: Mount) -> Object:
    built: Object = {"name": mount.name, "mountPath": mount.path}
    if not mount.writable:
        built["readOnly"] = True
    return built


def _probe(path: str, *, period: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": METRICS.name},
        "periodSeconds": period,
        "timeoutSeconds": min(period, 3),
        "failureThreshold": failures,
    }
