"""The ward console: a Deployment, once there are tokens for those who look (`Given.console_tokens`)."""

from holter_operator.api.cohort import Cohort
from holter_operator.build import mounts, names
from holter_operator.build.given import Component, Given
from holter_operator.build.meta import Object, child, selector
from holter_operator.build.mounts import Mount
from holter_operator.build.pods import METRICS, Container, Port, template

HTTP_PORT = Port("http", 8088)


def wanted(cohort: Cohort, given: Given) -> bool:
    """Whether this cohort has a console; without tokens its pod could not start."""
    return cohort.spec.console.enabled and given.console_tokens is not None


def workload(cohort: Cohort, given: Given) -> Object | None:
    """The Deployment."""
    if not wanted(cohort, given):
        return None
    tokens = {"secret": {"secretName": names.component(cohort, Component.CONSOLE), "defaultMode": 0o440}}
    pod = template(
        cohort,
        given,
        Container(
            component=Component.CONSOLE,
            command=("holter", "console"),
            settings=cohort.spec.console,
            mounts=(
                mounts.config(cohort),
                mounts.influxdb(cohort, Component.CONSOLE),
                Mount("tokens", "/etc/holter/console", tokens, "HOLTER_CONSOLE_TOKENS"),
                mounts.tls(cohort),
                mounts.scratch(),
            ),
            ports=(HTTP_PORT, METRICS),
            grace=10,
            restart_on={"sampleRate": cohort.spec.signal.sample_rate, "layout": cohort.spec.storage.layout},
        ),
    )
    name = names.component(cohort, Component.CONSOLE)
    built = child("apps/v1", "Deployment", name, cohort, given, Component.CONSOLE)
    built["spec"] = {
        "replicas": 1,
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": selector(cohort, Component.CONSOLE)},
        "template": pod,
    }
    return built
