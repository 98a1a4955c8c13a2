"""PodDisruptionBudgets: a drain takes one pod of a component at a time."""

from holter_operator.api.cohort import Cohort
from holter_operator.build import names
from holter_operator.build.given import Component, Given
from holter_operator.build.meta import Object, child, selector


def ingest(cohort: Cohort, given: Given) -> Object | None:
    """The budget of ingest."""
    spec = cohort.spec.ingest
    least = spec.autoscaling.min_replicas if spec.autoscaling.enabled else spec.replicas
    return _budget(cohort, given, Component.INGEST, least)


def inference(cohort: Cohort, given: Given) -> Object | None:
    """The budget of the workers."""
    return _budget(cohort, given, Component.INFERENCE, cohort.spec.inference.replicas)


def _budget(cohort: Cohort, given: Given, component: Component, replicas: int) -> Object | None:
    if replicas < 2:  # nothing to keep up meanwhile
        return None
    name = names.component(cohort, component)
    built = child("policy/v1", "PodDisruptionBudget", name, cohort, given, component)
    built["spec"] = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": selector(cohort, component)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",  # a pod that is down already must not stop a drain
    }
    return built
