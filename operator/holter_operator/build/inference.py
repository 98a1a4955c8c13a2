"""The inference StatefulSet: each ordinal owns a range of shards and stands by for the one before it."""

from holter_operator.api.cohort import Cohort
from holter_operator.build import ingest, mounts, names
from holter_operator.build.given import Component, Given
from holter_operator.build.meta import Object, child, selector
from holter_operator.build.pods import METRICS, Container, spread, template


def workload(cohort: Cohort, given: Given) -> Object:
    """The StatefulSet."""
    spec = cohort.spec.inference
    pod = template(
        cohort,
        given,
        Container(
            component=Component.INFERENCE,
            command=("holter", "infer"),
            settings=spec,
            mounts=(
                mounts.config(cohort),
                mounts.influxdb(cohort, Component.INFERENCE),
                mounts.state({"emptyDir": {"sizeLimit": "1Gi"}}),  # the alert outbox
                mounts.model(cohort),
                mounts.webhooks(cohort),
                mounts.profiles(cohort),
                mounts.feed_key(cohort),
                mounts.scratch(),
            ),
            ports=(METRICS,),
            grace=30,
            environment=ingest.peers(cohort),
            knows_itself=True,
            restart_on={
                "sampleRate": cohort.spec.signal.sample_rate,
                "window": spec.window,
                "interval": spec.interval,
                "layout": cohort.spec.storage.layout,
            },
        ),
    )
    pod["spec"]["topologySpreadConstraints"] = spread(cohort, Component.INFERENCE)
    name = names.component(cohort, Component.INFERENCE)
    built = child("apps/v1", "StatefulSet", name, cohort, given, Component.INFERENCE)
    built["spec"] = {
        "replicas": spec.replicas,
        "revisionHistoryLimit": 3,
        "serviceName": names.headless(cohort, Component.INFERENCE),
        # All at once: a worker that cannot start must not keep the next ones from their patients.
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": selector(cohort, Component.INFERENCE)},
        "template": pod,
    }
    return built
