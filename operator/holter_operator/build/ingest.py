"""The ingest workload: a Deployment with its log in an emptyDir, or a StatefulSet with a claim for each pod's."""

from holter_operator.api.cohort import Cohort
from holter_operator.build import mounts, names
from holter_operator.build.given import Component, Given
from holter_operator.build.meta import Object, child, labels, selector
from holter_operator.build.pods import METRICS, Container, Port, spread, template

FEED_PORT = Port("feed", 9091)


def kind(cohort: Cohort) -> str:
    """Which of the two the cohort asks for."""
    return "StatefulSet" if cohort.spec.ingest.log.volume == "Persistent" else "Deployment"


def ports(cohort: Cohort) -> tuple[Port, ...]:
    """Container ports of ingest: the devices', then ours."""
    spec = cohort.spec.ingest
    return (
        Port("http", spec.http.port),
        *((Port("udp", spec.udp.port, "UDP"),) if spec.udp.enabled else ()),
        METRICS,
        FEED_PORT,
    )


def peers(cohort: Cohort) -> dict[str, str]:
    """Where the feed of each ingest pod is found: all of them have the headless Service's name."""
    host = f"{names.headless(cohort, Component.INGEST)}.{cohort.namespace}.svc"
    return {"HOLTER_FEED_PEERS": f"{host}:{FEED_PORT.number}"}


def workload(cohort: Cohort, given: Given) -> Object:
    """The Deployment or StatefulSet."""
    spec = cohort.spec.ingest
    persistent = kind(cohort) == "StatefulSet"
    log = None if persistent else {"emptyDir": {"sizeLimit": spec.log.size}}
    pod = template(
        cohort,
        given,
        Container(
            component=Component.INGEST,
            command=("holter", "ingest"),
            settings=spec,
            mounts=(
                mounts.config(cohort),
                mounts.influxdb(cohort, Component.INGEST),
                mounts.state(log),
                mounts.device_keys(cohort),
                mounts.tls(cohort),
                mounts.scratch(),
            ),
            ports=ports(cohort),
            grace=60,  # to drain the log to the store, or hand it on
            linger=5,  # devices are still sent here until every node has heard
            knows_itself=True,
            environment=peers(cohort),  # who takes over what its end leaves in the log
            restart_on={"layout": cohort.spec.storage.layout},
        ),
    )
    pod["spec"]["topologySpreadConstraints"] = spread(cohort, Component.INGEST)
    built = child("apps/v1", kind(cohort), names.component(cohort, Component.INGEST), cohort, given, Component.INGEST)
    built["spec"] = {
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": selector(cohort, Component.INGEST)},
        "template": pod,
    }
    if not spec.autoscaling.enabled:  # with it, replicas are the autoscaler's alone
        built["spec"]["replicas"] = spec.replicas
    return _stateful(cohort, built) if persistent else _stateless(built)


def _stateless(built: Object) -> Object:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    built["spec"] |= {"strategy": strategy}
    return built


def _stateful(cohort: Cohort, built: Object) -> Object:
    log = cohort.spec.ingest.log
    claim: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": mounts.STATE, "labels": labels(cohort, Component.INGEST)},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": log.size}}},
    }
    if log.storage_class_name:
        claim["spec"]["storageClassName"] = log.storage_class_name
    built["spec"] |= {
        "serviceName": names.headless(cohort, Component.INGEST),
        "podManagementPolicy": "Parallel",
        # A log may hold what the store has not: it outlives its pod, and its cohort where the bucket does.
        "persistentVolumeClaimRetentionPolicy": {
            "whenScaled": "Retain",
            "whenDeleted": cohort.spec.storage.deletion_policy,
        },
        "volumeClaimTemplates": [claim],
    }
    return built
