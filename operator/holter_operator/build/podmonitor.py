"""The PodMonitor, where the server knows the kind."""

from holter_operator.api.cohort import Cohort
from holter_operator.build.given import POD_MONITOR, Given
from holter_operator.build.meta import Object, child, selector
from holter_operator.build.pods import METRICS

INSTANCE_LABEL = "app_kubernetes_io_instance"
COMPONENT_LABEL = "app_kubernetes_io_component"
"""As Prometheus spells the pods' labels, which the PodMonitor copies to every series."""


def pod_monitor(cohort: Cohort, given: Given) -> Object | None:
    """Scrapes the port `metrics` of all the cohort's pods."""
    if not cohort.spec.monitoring.pod_monitor or POD_MONITOR not in given.kinds:
        return None
    api_version, _, kind = POD_MONITOR.rpartition("/")
    built = child(api_version, kind, cohort.name, cohort, given, extra_labels=cohort.spec.monitoring.labels)
    built["spec"] = {
        "selector": {"matchLabels": selector(cohort)},
        "podTargetLabels": ["app.kubernetes.io/instance", "app.kubernetes.io/component"],
        "podMetricsEndpoints": [{"port": METRICS.name, "interval": "15s"}],
    }
    return built
