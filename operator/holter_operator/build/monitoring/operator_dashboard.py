"""The dashboard of the operator, for the chart: the same for every release, which the variables tell apart."""

from holter_operator.build.monitoring.grafana import (
    PROMETHEUS,
    Json,
    Panel,
    Query,
    Row,
    dashboard,
    query_variable,
    source_variable,
)

_HERE = 'namespace="$namespace",service="$service"'
_RATE = "$__rate_interval"


def content() -> Json:
    """In Grafana's JSON model."""
    services = 'label_values(holter_operator_queue{namespace="$namespace"}, service)'
    return dashboard(
        "operator",
        "Holter / Operator",
        (_cohorts(), _reconciling(), _process()),
        variables=[
            source_variable("datasource", "prometheus"),
            query_variable("namespace", "Namespace", PROMETHEUS, "label_values(holter_operator_queue, namespace)"),
            query_variable("service", "Operator", PROMETHEUS, services),
        ],
    )


def _of(metric: str, more: str = "") -> str:
    return f"{metric}{{{_HERE}{',' if more else ''}{more}}}"


def _rate(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({_of(metric)}[{_RATE}]))"


def _cohorts() -> Row:
    def count(title: str, about: str, phase: str, bad: float | None = None) -> Panel:
        series = _of("holter_operator_cohorts", f'phase=~"{phase}"')
        return Panel(title, about, "short", (Query(f"sum({series})"),), "stat", width=4, height=4, bad=bad)

    return Row(
        "Cohorts",
        (
            count("Ready", "All that they need is there.", "Ready"),
            count(
                "On their way", "Pending or Progressing; longer than half an hour is a fault.", "Pending|Progressing"
            ),
            count("Degraded", "Something will not pass by itself: kubectl holter status says what.", "Degraded", 1),
            count("Paused", "spec.paused: nothing is repaired there.", "Paused"),
            count("Deleting", "For 2 minutes at most.", "Deleting"),
            Panel(
                "Waiting",
                "Cohorts in the queue.",
                "short",
                (Query(f"sum({_of('holter_operator_queue')})"),),
                "stat",
                width=4,
                height=4,
                bad=20,
            ),
            Panel(
                "By phase",
                "Over time.",
                "short",
                (Query(f"sum by (phase) ({_of('holter_operator_cohorts')})", "{{phase}}"),),
            ),
            Panel(
                "Newest refit: age",
                "Since each cohort's newest candidate was fitted.",
                "s",
                (
                    Query(
                        f"time() - {_of('holter_refit_trained_timestamp_seconds')}", "{{cohort_namespace}}/{{cohort}}"
                    ),
                ),
            ),
            Panel(
                "Newest refit",
                "How long it took, how many windows it read, and whether the gate accepted it (1) or not (0).",
                "short",
                (
                    Query(_of("holter_refit_seconds"), "s: {{cohort_namespace}}/{{cohort}}"),
                    Query(_of("holter_refit_windows"), "windows: {{cohort_namespace}}/{{cohort}}"),
                    Query(_of("holter_refit_accepted"), "accepted: {{cohort_namespace}}/{{cohort}}"),
                ),
            ),
        ),
    )


def _reconciling() -> Row:
    seconds = _of("holter_operator_reconcile_seconds_bucket")
    return Row(
        "Reconciling",
        (
            Panel(
                "Reconciles",
                "By result. `unchanged` is the rule; `error` is a fault of the operator.",
                "ops",
                (Query(_rate("holter_operator_reconcile_total", "result"), "{{result}}"),),
            ),
            Panel(
                "Time of a reconcile",
                "One pass over one cohort.",
                "s",
                tuple(
                    Query(f"histogram_quantile({q:g}, sum by (le) (rate({seconds}[{_RATE}])))", f"p{100 * q:g}")
                    for q in (0.5, 0.99)
                ),
            ),
            Panel(
                "Calls of the API server",
                "By kind, verb and answer; code 0: none came.",
                "reqps",
                (Query(_rate("holter_operator_api_calls_total", "kind, verb, code"), "{{verb}} {{kind}} {{code}}"),),
            ),
            Panel(
                "Writes",
                "Stands still while nothing differs.",
                "ops",
                (Query(f"sum(rate({_of('holter_operator_writes_total')}[{_RATE}]))", "writes"),),
            ),
            Panel(
                "Repairs",
                "Objects set right after somebody else's change, per hour.",
                "short",
                (Query(f"sum by (kind) (increase({_of('holter_operator_repairs_total')}[1h]))", "{{kind}}"),),
            ),
            Panel(
                "Last word of a watch",
                "Since any watch told something; grows in a quiet cluster, falls with the next change.",
                "s",
                (Query(f"min({_of('holter_operator_watch_event_age_seconds')})", "age"),),
            ),
        ),
    )


def _process() -> Row:
    return Row(
        "Process",
        (
            Panel("Up", "1: it is scraped.", "short", (Query(f"sum({_of('up')})", "up"),)),
            Panel(
                "CPU",
                "Cores.",
                "short",
                (Query(f"sum(rate({_of('process_cpu_seconds_total')}[{_RATE}]))", "cores"),),
            ),
            Panel("Memory", "Resident.", "bytes", (Query(_of("process_resident_memory_bytes"), "{{pod}}"),)),
        ),
    )
