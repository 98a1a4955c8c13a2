"""The PrometheusRule, where the server knows the kind: the ways in which a cohort fails its patients."""

from dataclasses import dataclass

from holter_operator.api.cohort import Cohort
from holter_operator.build.given import PROMETHEUS_RULE, Component, Given
from holter_operator.build.meta import Object, child
from holter_operator.build.podmonitor import COMPONENT_LABEL, INSTANCE_LABEL


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert of Prometheus.

    Attributes:
        alert: its name.
        expression: PromQL.
        lasting: how long it must hold.
        severity: `critical` when patients go unwatched or unheard, else `warning`.
        summary: what is wrong, for the one who is paged.
        action: what to look at first.
    """

    alert: str
    expression: str
    lasting: str
    severity: str
    summary: str
    action: str


def prometheus_rule(cohort: Cohort, given: Given) -> Object | None:
    """One group of rules."""
    if not cohort.spec.monitoring.rules or PROMETHEUS_RULE not in given.kinds:
        return None
    where = f"{cohort.namespace}/{cohort.name}"
    api_version, _, kind = PROMETHEUS_RULE.rpartition("/")
    built = child(api_version, kind, cohort.name, cohort, given, extra_labels=cohort.spec.monitoring.labels)
    built["spec"] = {
        "groups": [
            {
                "name": f"holter:{where}",
                "rules": [
                    {
                        "alert": rule.alert,
                        "expr": rule.expression,
                        "for": rule.lasting,
                        "labels": {
                            "severity": rule.severity,
                            "cohort": cohort.name,
                            "cohort_namespace": cohort.namespace,
                        },
                        "annotations": {"summary": f"{where}: {rule.summary}", "description": rule.action},
                    }
                    for rule in rules(cohort)
                ],
            }
        ]
    }
    return built


def rules(cohort: Cohort) -> tuple[Rule, ...]:
    """The rules; those on the model's age only where refits are to keep it young."""
    refits_expected = not cohort.spec.refit.suspend and cohort.spec.model.pinned_revision is None
    return (*_service_rules(cohort), *(_model_rules(cohort) if refits_expected else ()))


def _service_rules(cohort: Cohort) -> tuple[Rule, ...]:
    series = f'{{namespace="{cohort.namespace}",cohort="{cohort.name}"}}'
    refused = f'{{namespace="{cohort.namespace}",cohort="{cohort.name}",code=~"429|5.."}}'
    life_threatening = f'{{namespace="{cohort.namespace}",cohort="{cohort.name}",path="life_threatening"}}'
    return (
        Rule(
            "HolterIngestDown",
            _down(cohort, Component.INGEST),
            "1m",
            "critical",
            "no ingest pod answers: devices cannot deliver",
            f"kubectl -n {cohort.namespace} describe pods -l app.kubernetes.io/instance={cohort.name}",
        ),
        Rule(
            "HolterInferenceDown",
            _down(cohort, Component.INFERENCE),
            "1m",
            "critical",
            "no inference worker answers: no patient is watched",
            f"kubectl -n {cohort.namespace} describe pods -l app.kubernetes.io/instance={cohort.name}",
        ),
        Rule(
            "HolterShardsUnowned",
            f"max(holter_shards_unowned{series}) > 0",
            "1m",
            "critical",
            "shards without a worker: some patients are not watched",
            "Look at the inference pods: fewer run than spec.inference.replicas, or one hangs.",
        ),
        Rule(
            "HolterDecisionsLate",
            "histogram_quantile(0.99, sum by (le) "
            f"(rate(holter_sample_to_decision_seconds_bucket{life_threatening}[5m]))) > 5",
            "5m",
            "critical",
            "1 in 100 life-threatening decisions takes longer than 5 s",
            "Look at the worker's CPU and at holter_inference_cycle_seconds; raise spec.inference.replicas.",
        ),
        Rule(
            "HolterAlertsUndelivered",
            f"sum by (sink) (rate(holter_alert_delivery_failures_total{series}[5m])) > 0",
            "2m",
            "critical",
            "alerts do not reach {{ $labels.sink }}",
            "Look at the receiver and at the worker's log; undelivered alerts wait in its outbox.",
        ),
        Rule(
            "HolterStoreErrors",
            f"sum(rate(holter_store_errors_total{series}[5m])) > 0",
            "5m",
            "warning",
            "the store refuses or does not answer; what was acknowledged waits in the log",
            "Look at InfluxDB and at holter_ingest_wal_bytes: when the log is full, ingest answers 503.",
        ),
        Rule(
            "HolterIngestRefusing",
            f"sum(rate(holter_ingest_requests_total{refused}[5m]))"
            f" / sum(rate(holter_ingest_requests_total{series}[5m])) > 0.01",
            "5m",
            "warning",
            "more than 1 % of requests are refused with 429 or 5xx",
            "429: raise spec.ingest.replicas or maxPatientsPerReplica. 503: the log is full, look at the store.",
        ),
    )


def _model_rules(cohort: Cohort) -> tuple[Rule, ...]:
    series = f'{{namespace="{cohort.namespace}",cohort="{cohort.name}"}}'
    oldest = 2 * cohort.spec.refit.lookback
    return (
        Rule(
            "HolterNoModel",
            f"min(holter_model_revision{series}) == 0",
            "6h",
            "warning",
            "a worker without a model: its ordered score and life-threatening path work alone",
            f"kubectl -n {cohort.namespace} describe cohort {cohort.name}: the verdict on the last candidate says why.",
        ),
        Rule(
            "HolterModelOld",
            f"max(holter_model_age_seconds{series}) > {oldest}",
            "1h",
            "warning",
            "the model is older than two look-backs of the refit",
            f"kubectl -n {cohort.namespace} describe cohort {cohort.name}, and the log of its last refit Job.",
        ),
    )


def _down(cohort: Cohort, component: Component) -> str:
    series = f'up{{namespace="{cohort.namespace}",{INSTANCE_LABEL}="{cohort.name}",{COMPONENT_LABEL}="{component}"}}'
    return f"sum({series}) == 0 or absent({series})"
