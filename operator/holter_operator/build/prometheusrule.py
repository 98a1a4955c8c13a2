"""The PrometheusRule, where the server knows the kind: the ways in which a cohort fails its patients."""

from holter_operator.api.cohort import Cohort
from holter_operator.build.given import PROMETHEUS_RULE, Given
from holter_operator.build.meta import Object, child
from holter_operator.build.monitoring import cohort_rules
from holter_operator.build.monitoring.rule import group


def prometheus_rule(cohort: Cohort, given: Given) -> Object | None:
    """One group of rules."""
    if not cohort.spec.monitoring.rules or PROMETHEUS_RULE not in given.kinds:
        return None
    where = f"{cohort.namespace}/{cohort.name}"
    api_version, _, kind = PROMETHEUS_RULE.rpartition("/")
    built = child(api_version, kind, cohort.name, cohort, given, extra_labels=cohort.spec.monitoring.labels)
    labels = {"cohort": cohort.name, "cohort_namespace": cohort.namespace}
    built["spec"] = {"groups": [group(f"holter:{where}", where, cohort_rules.rules(cohort), labels)]}
    return built
