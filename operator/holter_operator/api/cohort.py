"""A MonitoredCohort as validated and defaulted: what the builders build from.

Defaults live in the CRD alone: a field that it gives a default is required here, and what may be missing altogether is
None. Unknown fields are let be: a CRD may be newer than an operator.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

_UNITS = {"s": 1, "m": 60, "h": 3600}
_BYTES = {"Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}


def seconds(duration: Any) -> Any:
    """`90s`, `15m` or `720h` in seconds.

    Raises:
        ValueError: it is none of these.
    """
    match = re.fullmatch(r"([0-9]+)([smh])", str(duration))
    if match is None:
        raise ValueError(f"{duration!r}: a duration such as 90s, 15m or 720h is expected")
    return int(match[1]) * _UNITS[match[2]]


def size_in_bytes(size: str) -> int:
    """`500Mi`, `4Gi` or `1Ti` in bytes.

    Raises:
        ValueError: it is none of these.
    """
    match = re.fullmatch(r"([0-9]+)(Mi|Gi|Ti)", size)
    if match is None:
        raise ValueError(f"{size!r}: a size such as 500Mi or 4Gi is expected")
    return int(match[1]) * _BYTES[match[2]]


Seconds = Annotated[int, BeforeValidator(seconds)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, extra="ignore")


class SecretRef(_Model):
    """A Secret of the cohort's namespace."""

    name: str


class SecretKeyRef(SecretRef):
    """One key of a Secret of the cohort's namespace."""

    key: str


class Pods(_Model):
    """What each component's pods take."""

    resources: Mapping[str, Any]
    node_selector: Mapping[str, str]
    tolerations: tuple[Mapping[str, Any], ...]


class Signal(_Model):
    """`spec.signal`; `sample_rate` in Hz."""

    sample_rate: float


class Autoscaling(_Model):
    """`spec.ingest.autoscaling`."""

    enabled: bool
    min_replicas: int
    max_replicas: int
    target_cpu: int = Field(alias="targetCPUUtilizationPercentage")


class HttpPort(_Model):
    """`spec.ingest.http`."""

    port: int


class UdpPort(_Model):
    """`spec.ingest.udp`."""

    enabled: bool
    port: int


class IngestService(_Model):
    """`spec.ingest.service`: how wearables reach ingest."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"]
    annotations: Mapping[str, str]


class Batch(_Model):
    """`spec.ingest.batch`: points per write to the store, and the longest wait."""

    size: int
    flush_interval: Seconds


class Log(_Model):
    """`spec.ingest.log`: where the write-ahead log is and how large it may grow."""

    volume: Literal["Ephemeral", "Persistent"]
    size: str
    storage_class_name: str


class Ingest(Pods):
    """`spec.ingest`."""

    replicas: int
    autoscaling: Autoscaling
    http: HttpPort
    udp: UdpPort
    service: IngestService
    batch: Batch
    max_patients_per_replica: int
    log: Log


class InfluxDB(_Model):
    """`spec.storage.influxdb`: the namespace's own connection, where it has one."""

    connection_secret_ref: SecretRef | None = None


class Storage(_Model):
    """`spec.storage`."""

    influxdb: InfluxDB
    bucket: str
    adopt: bool
    retention: Seconds
    layout: Literal["Chunks", "Samples"]
    deletion_policy: Literal["Retain", "Delete"]


class Inference(Pods):
    """`spec.inference`."""

    replicas: int
    source: Literal["Feed", "Store"]
    window: Seconds
    interval: Seconds


class Model(_Model):
    """`spec.model`."""

    estimators: int
    contamination: float
    max_samples: int
    components: int
    max_training_windows: int
    pinned_revision: int | None = None


class Refit(Pods):
    """`spec.refit`."""

    schedule: str
    time_zone: str
    lookback: Seconds
    min_windows: int
    suspend: bool
    keep_revisions: int


class Webhook(_Model):
    """A receiver of alerts, and the secret its messages are signed with."""

    name: str
    url: str
    secret_ref: SecretKeyRef | None = None


class Alertmanager(_Model):
    """`spec.alerting.alertmanager`."""

    url: str


class Alerting(_Model):
    """`spec.alerting`."""

    cooldown: Seconds
    false_alerts_per_patient_day: float
    webhooks: tuple[Webhook, ...]
    alertmanager: Alertmanager | None = None


class PatientProfiles(_Model):
    """`spec.patientProfiles`."""

    secret_ref: SecretKeyRef


class Access(_Model):
    """`spec.access`: whether devices need a token, and whose key it is derived from."""

    mode: Literal["Token", "Open"]
    key_secret_ref: SecretRef | None = None


class Tls(_Model):
    """`spec.tls`."""

    secret_ref: SecretRef


class Console(Pods):
    """`spec.console`."""

    enabled: bool


class Monitoring(_Model):
    """`spec.monitoring`; the labels are put on PodMonitor, PrometheusRule and dashboard."""

    pod_monitor: bool
    rules: bool
    dashboards: bool
    labels: Mapping[str, str]


class Spec(_Model):
    """`spec`."""

    description: str
    paused: bool
    signal: Signal
    ingest: Ingest
    storage: Storage
    inference: Inference
    model: Model
    refit: Refit
    alerting: Alerting
    patient_profiles: PatientProfiles | None = None
    access: Access
    tls: Tls | None = None
    console: Console
    monitoring: Monitoring


class Metadata(_Model):
    """Which cohort it is."""

    name: str
    namespace: str


class Cohort(_Model):
    """One MonitoredCohort."""

    metadata: Metadata
    spec: Spec

    @property
    def name(self) -> str:
        """`metadata.name`."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """`metadata.namespace`."""
        return self.metadata.namespace


def parse(document: Mapping[str, Any], namespace: str = "default") -> Cohort:
    """A cohort from a document that the CRD has validated and defaulted.

    Args:
        document: the MonitoredCohort.
        namespace: where it is when it does not say so itself.

    Raises:
        pydantic.ValidationError: the document was not validated, or not defaulted.
    """
    metadata = {"namespace": namespace} | dict(document["metadata"])
    return Cohort.model_validate({**document, "metadata": metadata})
