"""The HorizontalPodAutoscaler of ingest."""

from holter_operator.api.cohort import Cohort
from holter_operator.build import ingest, names
from holter_operator.build.given import Component, Given
from holter_operator.build.meta import Object, child


def autoscaler(cohort: Cohort, given: Given) -> Object | None:
    """Scales ingest by CPU."""
    spec = cohort.spec.ingest.autoscaling
    if not spec.enabled:
        return None
    name = names.component(cohort, Component.INGEST)
    built = child("autoscaling/v2", "HorizontalPodAutoscaler", name, cohort, given, Component.INGEST)
    target = {"type": "Utilization", "averageUtilization": spec.target_cpu}
    built["spec"] = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": ingest.kind(cohort), "name": name},
        "minReplicas": spec.min_replicas,
        "maxReplicas": spec.max_replicas,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        # One at a time: each pod that goes drains its log first.
        "behavior": {"scaleDown": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}},
    }
    return built
