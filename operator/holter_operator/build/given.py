"""What builders need and a cohort does not say; whoever runs them (the operator, `holter up`) finds it out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Component(StrEnum):
    """A part of a cohort that runs in pods of its own."""

    INGEST = "ingest"
    INFERENCE = "inference"
    REFIT = "refit"
    CONSOLE = "console"


POD_MONITOR = "monitoring.coreos.com/v1/PodMonitor"
PROMETHEUS_RULE = "monitoring.coreos.com/v1/PrometheusRule"


@dataclass(frozen=True, slots=True)
class Connection:
    """One component's way to its InfluxDB bucket."""

    url: str
    org: str
    bucket: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """What devices' tokens are derived from: base64url text of 32 bytes each; `previous` is still valid, if there."""

    current: str = field(repr=False)
    previous: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ConsoleTokens:
    """Who looks, and who acknowledges."""

    view: str = field(repr=False)
    acknowledge: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """An accepted model: `model.json` as text, `model.npz` as bytes, and the revision it was accepted as."""

    revision: int
    document: str = field(repr=False)
    arrays: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Given:
    """All that is not in the cohort. Whatever is missing builds no object, except images.

    Attributes:
        images: by component.
        owner_uid: the cohort's `metadata.uid`.
        image_pull_policy: of all containers.
        kinds: optional API kinds that the server knows: `POD_MONITOR`, `PROMETHEUS_RULE`.
        influxdb: connection by component; none with a SQLite store.
        device_key: the generated key; not used where the cohort names a Secret or is open.
        console_tokens: for the Secret `<cohort>-console`; without them there is no console.
        model: the one in use.
        history: accepted models; the newest `spec.refit.keepRevisions` and the one in use are kept.
    """

    images: Mapping[Component, str]
    owner_uid: str
    image_pull_policy: str = "IfNotPresent"
    kinds: frozenset[str] = frozenset()
    influxdb: Mapping[Component, Connection] = field(default_factory=dict)
    device_key: DeviceKey | None = None
    console_tokens: ConsoleTokens | None = None
    model: ModelFiles | None = None
    history: tuple[ModelFiles, ...] = ()
