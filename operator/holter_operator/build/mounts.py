"""What a container finds mounted, and the variable that tells it where: the contract of docs/architecture.md."""

from dataclasses import dataclass, replace

from holter_operator.api.cohort import Cohort
from holter_operator.build import names
from holter_operator.build.given import Component
from holter_operator.build.meta import Object

STATE = "state"
"""The volume of HOLTER_STATE: an emptyDir, or a claim of this name."""

_GROUP_READS = 0o440


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume in a container.

    Attributes:
        name: of the volume.
        path: of the folder in the container.
        source: the volume's source; None when a StatefulSet's claim of this name is the volume.
        variable: the environment variable that leads to it, if one does.
        value: the variable's value, when it is more than the path.
        writable: whether the container may write.
    """

    name: str
    path: str
    source: Object | None
    variable: str | None = None
    value: str | None = None
    writable: bool = False


def config(cohort: Cohort) -> Mount:
    """Settings of all services, reloaded live."""
    return Mount("config", "/etc/holter/config", {"configMap": {"name": names.config(cohort)}}, "HOLTER_CONFIG")


def influxdb(cohort: Cohort, component: Component) -> Mount:
    """The component's own connection to its bucket."""
    path = "/etc/holter/influxdb"
    source = _secret(names.influxdb(cohort, component))
    return Mount("influxdb", path, source, "HOLTER_STORE", value=f"influxdb:{path}")


def state(source: Object | None) -> Mount:
    """What survives a crash of the process: the write-ahead log, the alert outbox."""
    return Mount(STATE, "/var/lib/holter", source, "HOLTER_STATE", writable=True)


def scratch() -> Mount:
    """A `/tmp`: the root file system is read-only."""
    return Mount("tmp", "/tmp", {"emptyDir": {"sizeLimit": "64Mi"}}, writable=True)  # noqa: S108 - the pod's own


def device_keys(cohort: Cohort) -> Mount | None:
    """What devices' tokens are checked with; an open cohort checks none."""
    if cohort.spec.access.mode == "Open":
        return None
    return Mount("device-key", "/etc/holter/device-key", _secret(names.device_key(cohort)), "HOLTER_DEVICE_KEYS")


def feed_key(cohort: Cohort) -> Mount | None:
    """The same for workers, who show by it to ingest that they are of this cohort.

    Optional: without it they read the store, and patients are watched.
    """
    mount = device_keys(cohort)
    if mount is None:
        return None
    return replace(mount, source={"secret": {**_secret(names.device_key(cohort))["secret"], "optional": True}})


def model(cohort: Cohort) -> Mount:
    """The model in use; missing until the first one is accepted, and then there without a restart."""
    source = {"configMap": {"name": names.model(cohort), "optional": True}}
    return Mount("model", "/etc/holter/model", source, "HOLTER_MODEL")


def webhooks(cohort: Cohort) -> Mount | None:
    """Signing secrets, `<webhook name>/secret` each.

    Optional: a receiver's missing secret must not keep a worker from watching patients.
    """
    sources = [
        {
            "secret": {
                "name": webhook.secret_ref.name,
                "items": [{"key": webhook.secret_ref.key, "path": f"{webhook.name}/secret"}],
                "optional": True,
            }
        }
        for webhook in cohort.spec.alerting.webhooks
        if webhook.secret_ref
    ]
    if not sources:
        return None
    source = {"projected": {"sources": sources, "defaultMode": _GROUP_READS}}
    return Mount("webhooks", "/etc/holter/webhooks", source, "HOLTER_WEBHOOKS")


def profiles(cohort: Cohort) -> Mount | None:
    """Patient profiles; optional for the reason that webhooks' secrets are."""
    if cohort.spec.patient_profiles is None:
        return None
    reference = cohort.spec.patient_profiles.secret_ref
    path = "/etc/holter/profiles"
    source = _secret(reference.name)
    source["secret"] |= {"items": [{"key": reference.key, "path": "profiles.yaml"}], "optional": True}
    return Mount("profiles", path, source, "HOLTER_PROFILES", value=f"{path}/profiles.yaml")


def tls(cohort: Cohort) -> Mount | None:
    """Certificate and key. Not optional: to serve in the clear instead would be worse than not to serve."""
    if cohort.spec.tls is None:
        return None
    return Mount("tls", "/etc/holter/tls", _secret(cohort.spec.tls.secret_ref.name), "HOLTER_TLS")


def api_token() -> Mount:
    """The ServiceAccount's token, for the one component that may talk to the API server."""
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    authority = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
        {"configMap": authority},
        {"downwardAPI": {"items": [namespace]}},
    ]
    source = {"projected": {"sources": sources, "defaultMode": _GROUP_READS}}
    return Mount("api-token", "/var/run/secrets/kubernetes.io/serviceaccount", source)


def _secret(name: str) -> Object:
    return {"secret": {"secretName": name, "defaultMode": _GROUP_READS}}
