"""The ways in which the operator fails its cohorts. Cohorts run on without it; what breaks is not repaired."""

from holter_operator.build.monitoring.rule import Rule, Severity


def rules(namespace: str, service: str) -> tuple[Rule, ...]:
    """Of one release.

    Args:
        namespace: the operator's.
        service: its Service, which Prometheus makes the label `service` of.
    """
    here = f'namespace="{namespace}",service="{service}"'
    up = f"up{{{here}}}"

    def of(metric: str, more: str = "") -> str:
        return f"{metric}{{{here}{',' if more else ''}{more}}}"

    errors = of("holter_operator_reconcile_total", 'result="error"')
    degraded, deleting = (of("holter_operator_cohorts", f'phase="{phase}"') for phase in ("Degraded", "Deleting"))
    unready = of("holter_operator_cohorts", 'phase=~"Pending|Progressing"')
    failing = of("holter_operator_api_calls_total", 'code=~"0|403|429|5.."')
    log = f"kubectl -n {namespace} logs deployment/{service} --tail=100"
    return (
        Rule(
            "HolterOperatorDown",
            f"(sum({up}) or vector(0)) == 0",
            "10m",
            Severity.CRITICAL,
            "the operator does not answer: cohorts run on, and nothing that breaks is repaired",
            f"kubectl -n {namespace} describe deployment {service}",
        ),
        Rule(
            "HolterReconcileErrors",
            f"sum(rate({errors}[5m])) > 0",
            "10m",
            Severity.WARNING,
            "reconciles end in errors: some cohorts are not kept as they should be",
            log,
        ),
        Rule(
            "HolterReconcileSlow",
            f"histogram_quantile(0.99, sum by (le) (rate({of('holter_operator_reconcile_seconds_bucket')}[10m]))) > 10",
            "15m",
            Severity.WARNING,
            "1 in 100 reconciles takes longer than 10 s",
            "Look at the API server's and InfluxDB's latency, and at the operator's CPU.",
        ),
        Rule(
            "HolterReconcileBacklog",
            f"max(min_over_time({of('holter_operator_queue')}[10m])) > 20",
            "5m",
            Severity.WARNING,
            "{{ $value }} cohorts wait for a reconcile and the queue does not get shorter",
            "Raise operator.workers in the chart's values, or look at HolterReconcileSlow.",
        ),
        Rule(
            "HolterCohortsDegraded",
            f"sum({degraded}) > 0",
            "10m",
            Severity.WARNING,
            "{{ $value }} cohorts are Degraded: something there will not pass by itself",
            "kubectl get cohorts -A, then kubectl holter status NAME -n NAMESPACE",
        ),
        Rule(
            "HolterCohortsNotReady",
            f"sum({unready}) > 0",
            "30m",
            Severity.WARNING,
            "{{ $value }} cohorts have not become Ready for half an hour",
            "kubectl get cohorts -A, then kubectl holter status NAME -n NAMESPACE",
        ),
        Rule(
            "HolterDeletionStuck",
            f"sum({deleting}) > 0",
            "30m",
            Severity.WARNING,
            "{{ $value }} cohorts are being deleted for half an hour",
            log,
        ),
        Rule(
            "HolterRepairsRepeated",
            f"sum by (kind) (increase({of('holter_operator_repairs_total')}[1h])) > 20",
            "0m",
            Severity.WARNING,
            "{{ $labels.kind }} objects are set right again and again: somebody else writes them too",
            "The Events FieldConflict and DriftRepaired name the other manager.",
        ),
        Rule(
            "HolterApiCallsFailing",
            f"sum by (kind, verb, code) (increase({failing}[15m])) > 5",
            "5m",
            Severity.WARNING,
            "the API server answers {{ $labels.code }} to {{ $labels.verb }} {{ $labels.kind }}",
            "403: the chart's Role lacks a rule. 0, 429, 5xx: the API server is not well.",
        ),
    )
