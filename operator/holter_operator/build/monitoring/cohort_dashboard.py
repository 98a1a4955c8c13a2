"""The dashboard of a cohort: from its devices to whoever is told, the way of a sample."""

from holter_operator.api.cohort import Cohort
from holter_operator.build.config import ingest
from holter_operator.build.monitoring.grafana import PROMETHEUS, Json, Panel, Query, Row, dashboard, source_variable
from holter_operator.build.monitoring.series import Series
from holter_operator.build.podmonitor import COMPONENT_LABEL

_RATE = "$__rate_interval"


def content(cohort: Cohort) -> Json:
    """In Grafana's JSON model."""
    where = f"{cohort.namespace}/{cohort.name}"
    firing = f'ALERTS{{cohort_namespace="{cohort.namespace}",cohort="{cohort.name}",alertstate="firing"}}'
    annotation: Json = {
        "name": "Alerts on Holter",
        "datasource": dict(PROMETHEUS),
        "enable": True,
        "expr": firing,
        "iconColor": "red",
        "titleFormat": "{{alertname}}",
        "tagKeys": "severity",
        "step": "60s",
    }
    return dashboard(
        where,
        f"Holter / Cohort {where}",
        (
            _at_a_glance(cohort),
            _intake(cohort),
            _store(cohort),
            _judging(cohort),
            _telling(cohort),
            _processes(cohort),
        ),
        variables=[source_variable("datasource", "prometheus")],
        annotations=[annotation],
    )


class _Series(Series):
    def rate(self, metric: str, by: str = "", over: str = _RATE) -> str:
        return f"sum{f' by ({by}) ' if by else ''}(rate({self(metric)}[{over}]))"

    def quantile(self, q: float, metric: str, by: str = "") -> str:
        labels = f"le, {by}" if by else "le"
        return f"histogram_quantile({q:g}, sum by ({labels}) (rate({self(f'{metric}_bucket')}[{_RATE}])))"

    @property
    def up(self) -> str:
        return f"min by ({COMPONENT_LABEL}) ({self.process('up')})"


def _at_a_glance(cohort: Cohort) -> Row:
    of, room = _Series(cohort), ingest(cohort)["logBytes"]
    late = of("holter_sample_to_decision_seconds_bucket", 'path="life_threatening"')
    failures = f"sum(increase({of('holter_alert_delivery_failures_total')}[10m])) or vector(0)"

    def stat(title: str, about: str, unit: str, query: str, bad: float | None = None) -> Panel:
        return Panel(title, about, unit, (Query(query),), "stat", width=4, height=4, bad=bad)

    return Row(
        "At a glance",
        (
            stat("Patients watched", "By the workers, now.", "short", f"sum({of('holter_inference_patients')})"),
            stat(
                "Sample to decision, p99",
                "Of the life-threatening path; beyond 5 s HolterDecisionsLate pages.",
                "s",
                f"histogram_quantile(0.99, sum by (le) (rate({late}[{_RATE}])))",
                5,
            ),
            stat(
                "Shards unowned",
                "Of 64; their patients are not watched.",
                "short",
                f"max({of('holter_shards_unowned')})",
                1,
            ),
            stat(
                "Log",
                "The fullest write-ahead log. When it is full, devices are refused.",
                "percentunit",
                f"max({of('holter_ingest_wal_bytes')}) / {room}",
                0.5,
            ),
            stat("Failed deliveries", "Attempts within 10 minutes, of all sinks.", "short", failures, 1),
            stat("Model revision", "0: the ordered score works alone.", "short", f"min({of('holter_model_revision')})"),
        ),
    )


def _intake(cohort: Cohort) -> Row:
    of = _Series(cohort)
    return Row(
        "From the devices",
        (
            Panel(
                "Scraped",
                "1: Prometheus reaches every pod of the component.",
                "short",
                (Query(of.up, "{{" + COMPONENT_LABEL + "}}"),),
            ),
            Panel(
                "Samples",
                "New ones that were accepted; a patient sends as many a second as the device's rate.",
                "cps",
                (Query(of.rate("holter_ingest_samples_total", "pod"), "{{pod}}"),),
            ),
            Panel(
                "Requests",
                "By transport and answer. 202 is good; what the others mean is in the protocol.",
                "reqps",
                (Query(of.rate("holter_ingest_requests_total", "transport, code") + " > 0", "{{transport}} {{code}}"),),
            ),
            Panel(
                "Time to answer",
                "An answer waits for the fsync of the log.",
                "s",
                tuple(
                    Query(of.quantile(q, "holter_ingest_request_seconds"), f"p{100 * q:g}") for q in (0.5, 0.95, 0.99)
                ),
            ),
            Panel(
                "Not taken",
                "By reason; `repeated` is harmless: a device that sent again.",
                "cps",
                (
                    Query(of.rate("holter_ingest_rejected_total", "reason") + " > 0", "{{reason}}"),
                    Query(of.rate("holter_ingest_repeated_samples_total"), "repeated samples"),
                ),
            ),
            Panel(
                "Missing and late",
                "Samples that never came, and chunks that came after newer ones.",
                "cps",
                (
                    Query(of.rate("holter_gap_samples_total", "reason"), "missing: {{reason}}"),
                    Query(of.rate("holter_late_chunks_total"), "late chunks"),
                ),
            ),
        ),
    )


def _store(cohort: Cohort) -> Row:
    of = _Series(cohort)
    return Row(
        "Log and store",
        (
            Panel(
                "Write-ahead log",
                "What the store has not taken yet. A saw-tooth near 0 is well.",
                "bytes",
                (Query(f"max by (pod) ({of('holter_ingest_wal_bytes')})", "{{pod}}"),),
            ),
            Panel(
                "Time of a write",
                "One batch of chunks.",
                "s",
                tuple(Query(of.quantile(q, "holter_store_write_seconds"), f"p{100 * q:g}") for q in (0.5, 0.99)),
            ),
            Panel(
                "Failed calls",
                "By component; scores that were given up are missing in the history.",
                "cps",
                (
                    Query(of.rate("holter_store_errors_total", COMPONENT_LABEL), "{{" + COMPONENT_LABEL + "}}"),
                    Query(of.rate("holter_scores_dropped_total"), "scores given up"),
                ),
            ),
        ),
    )


def _judging(cohort: Cohort) -> Row:
    of = _Series(cohort)
    return Row(
        "Judging",
        (
            Panel(
                "Sample to decision, p99",
                "From the arrival of the sample that completed a second, or a window, to its committed decision.",
                "s",
                (Query(of.quantile(0.99, "holter_sample_to_decision_seconds", "path"), "{{path}}"),),
            ),
            Panel(
                "Work of a worker",
                "Seconds of each stage in a second; a worker whose stages add up to 1 is at its limit.",
                "percentunit",
                (Query(of.rate("holter_inference_cycle_seconds_sum", "pod, stage"), "{{pod}} {{stage}}"),),
                options={"fieldConfig": {"defaults": {"custom": {"stacking": {"mode": "normal"}, "fillOpacity": 20}}}},
            ),
            Panel(
                "Windows",
                "Scored per second: patients divided by spec.inference.interval.",
                "cps",
                (Query(of.rate("holter_inference_windows_total", "pod"), "{{pod}}"),),
            ),
            Panel(
                "Patients by worker",
                "A worker that is gone leaves its patients to its standby.",
                "short",
                (Query(f"sum by (pod) ({of('holter_inference_patients')})", "{{pod}}"),),
            ),
            Panel(
                "Dropped from the feed",
                "Chunks that a worker was too slow for; it reads the store instead.",
                "cps",
                (Query(of.rate("holter_feed_dropped_chunks_total", "pod"), "{{pod}}"),),
            ),
            Panel(
                "Model",
                "Age in hours, and revision.",
                "short",
                (
                    Query(f"max({of('holter_model_age_seconds')}) / 3600", "age, h"),
                    Query(f"max({of('holter_model_revision')})", "revision"),
                ),
            ),
        ),
    )


def _telling(cohort: Cohort) -> Row:
    of = _Series(cohort)
    panels = [
        Panel(
            "Alerts raised",
            "Per hour, by priority and kind. Physiological and technical.",
            "short",
            (
                Query(
                    f"sum by (priority, kind) (increase({of('holter_alerts_total')}[1h])) > 0",
                    "{{priority}} {{kind}}",
                ),
            ),
            width=16,
        ),
        Panel(
            "Console",
            "Browsers that look, and acknowledgements an hour.",
            "short",
            (
                Query(f"sum({of('holter_console_browsers')})", "browsers"),
                Query(f"sum(increase({of('holter_console_acknowledgements_total')}[1h]))", "acknowledged"),
            ),
        ),
    ]
    if not cohort.spec.console.enabled:
        panels.pop()
    if cohort.spec.alerting.webhooks or cohort.spec.alerting.alertmanager:
        panels += [
            Panel(
                "Delivery",
                "From an event's commit to the sink's answer, retries included.",
                "s",
                (Query(of.quantile(0.95, "holter_alert_delivery_seconds", "sink"), "p95 {{sink}}"),),
                width=12,
            ),
            Panel(
                "Failed deliveries",
                "Attempts that a sink did not answer or refused, and what was given up.",
                "cps",
                (
                    Query(of.rate("holter_alert_delivery_failures_total", "sink"), "{{sink}}"),
                    Query(of.rate("holter_alert_deliveries_given_up_total", "sink"), "{{sink}}, given up"),
                ),
                width=12,
            ),
        ]
    return Row("Telling", tuple(panels))


def _processes(cohort: Cohort) -> Row:
    of = _Series(cohort)
    return Row(
        "Processes",
        (
            Panel(
                "CPU",
                "Cores, by pod.",
                "short",
                (Query(f"sum by (pod) (rate({of.process('process_cpu_seconds_total')}[{_RATE}]))", "{{pod}}"),),
            ),
            Panel(
                "Memory",
                "Resident, by pod. One that grows for days is a fault.",
                "bytes",
                (Query(f"max by (pod) ({of.process('process_resident_memory_bytes')})", "{{pod}}"),),
            ),
            Panel(
                "Up for",
                "Since the process began; falls to 0 at each restart.",
                "s",
                (Query(f"time() - max by (pod) ({of.process('process_start_time_seconds')})", "{{pod}}"),),
            ),
        ),
    )
