"""The ways in which a cohort fails its patients, each with the alert that says so.

A counter's rate is compared with others of the same services, never with a fixed number of patients: a ward of five and
one of five thousand have the same rules.
"""

from datetime import UTC, datetime
from itertools import pairwise

from cronsim import CronSim

from holter_operator.api.cohort import Cohort
from holter_operator.build.config import ingest
from holter_operator.build.given import Component
from holter_operator.build.monitoring.rule import Rule, Severity
from holter_operator.build.monitoring.series import Series
from holter_operator.build.podmonitor import COMPONENT_LABEL

_DAY = 86_400
_CRITICAL, _WARNING = Severity.CRITICAL, Severity.WARNING


def rules(cohort: Cohort) -> tuple[Rule, ...]:
    """All of them; those on refits and the model's age only where refits are to keep it young."""
    refits_expected = not cohort.spec.refit.suspend and cohort.spec.model.pinned_revision is None
    return (
        *_reach(cohort),
        *_intake(cohort),
        *_log_and_store(cohort),
        *_judging(cohort),
        *_telling(cohort),
        *(_model(cohort) if refits_expected else ()),
    )


class _Series(Series):
    def rate(self, metric: str, more: str = "", over: str = "5m") -> str:
        return f"sum(rate({self(metric, more)}[{over}]))"

    def down(self, component: Component) -> str:
        up = self.process("up", f'{COMPONENT_LABEL}="{component}"')
        return f"(sum({up}) or vector(0)) == 0"


def _pods(cohort: Cohort, component: Component) -> str:
    return (
        f"kubectl -n {cohort.namespace} describe pods -l "
        f"app.kubernetes.io/instance={cohort.name},app.kubernetes.io/component={component}"
    )


def _reach(cohort: Cohort) -> tuple[Rule, ...]:
    """Whether the services are there at all."""
    of = _Series(cohort)
    console = Rule(
        "HolterConsoleDown",
        of.down(Component.CONSOLE),
        "5m",
        _WARNING,
        "the ward console does not answer: alerts are raised and sent, but nobody sees the ward",
        _pods(cohort, Component.CONSOLE),
    )
    return (
        Rule(
            "HolterIngestDown",
            of.down(Component.INGEST),
            "1m",
            _CRITICAL,
            "no ingest pod answers: devices cannot deliver",
            _pods(cohort, Component.INGEST),
        ),
        Rule(
            "HolterInferenceDown",
            of.down(Component.INFERENCE),
            "1m",
            _CRITICAL,
            "no inference worker answers: no patient is watched",
            _pods(cohort, Component.INFERENCE),
        ),
        *((console,) if cohort.spec.console.enabled else ()),
        Rule(
            "HolterRestarting",
            f"max by ({COMPONENT_LABEL}, pod) (changes({of.process('process_start_time_seconds')}[30m])) > 2",
            "0m",
            _WARNING,
            "{{ $labels.pod }} has started three times within half an hour",
            f"kubectl -n {cohort.namespace} logs {{{{ $labels.pod }}}} --previous --tail=50",
        ),
    )


def _intake(cohort: Cohort) -> tuple[Rule, ...]:
    """Whether devices' samples come in."""
    of = _Series(cohort)
    requests, samples = of.rate("holter_ingest_requests_total"), of.rate("holter_ingest_samples_total")

    gaps = of.rate("holter_gap_samples_total", 'reason="t0"', "15m")

    def share(codes: str) -> str:
        answered = of.rate("holter_ingest_requests_total", f'code=~"{codes}"')
        return f"{answered} / {requests}"

    return (
        Rule(
            "HolterNoSamples",
            f"{of.rate('holter_ingest_samples_total', over='2m')} == 0 and "
            f"sum(increase({of('holter_ingest_samples_total')}[1h])) > 0",
            "1m",
            _CRITICAL,
            "no sample has come in from any device, and within the last hour there were some",
            "Look at the way from the devices: access points, gateway, DNS, load balancer, certificate, NetworkPolicy.",
        ),
        Rule(
            "HolterIngestRefusing",
            f"{share('429|5..')} > 0.01",
            "5m",
            _WARNING,
            "{{ $value | humanizePercentage }} of requests are refused with 429 or 5xx",
            "429: raise spec.ingest.replicas or maxPatientsPerReplica. 503: the log is full, look at the store.",
        ),
        Rule(
            "HolterDevicesUnauthorized",
            f"{share('401|403')} > 0.05",
            "10m",
            _WARNING,
            "{{ $value | humanizePercentage }} of requests have no valid token: some devices deliver nothing",
            "Who is missing in the console? Was the device key rotated twice, or restored from an old backup?",
        ),
        Rule(
            "HolterBadInput",
            f"{share('400|413|415')} > 0.05",
            "10m",
            _WARNING,
            "{{ $value | humanizePercentage }} of requests are refused as malformed",
            "The answer names field and reason. Usually it is new firmware, or a gateway in between.",
        ),
        Rule(
            "HolterSamplesMissing",
            f"{gaps} / ({of.rate('holter_ingest_samples_total', over='15m')} + {gaps}) > 0.05",
            "15m",
            _WARNING,
            "{{ $value | humanizePercentage }} of the samples between first and last of each device never came",
            "Look at radio coverage and device buffers; the console shows whose strip has holes.",
        ),
        Rule(
            "HolterChunksLate",
            f"{of.rate('holter_late_chunks_total', over='15m')} > "
            f"0.05 * {of.rate('holter_ingest_samples_total', over='15m')} / {cohort.spec.signal.sample_rate:g}",
            "15m",
            _WARNING,
            "more than 1 in 20 chunks come after newer ones: what is in them is judged late or not at all",
            "Look for retries and queues between devices and ingest, and for two senders with one device id.",
        ),
        Rule(
            "HolterIngestSlow",
            f"histogram_quantile(0.99, sum by (le) (rate({of('holter_ingest_request_seconds_bucket')}[5m]))) > 1"
            f" and {samples} > 0",
            "10m",
            _WARNING,
            "1 in 100 requests waits longer than 1 s for its answer",
            "Look at the disk of the log (an answer waits for fsync) and at ingest's CPU; raise spec.ingest.replicas.",
        ),
    )


def _log_and_store(cohort: Cohort) -> tuple[Rule, ...]:
    """Whether what was acknowledged is kept."""
    of, room = _Series(cohort), ingest(cohort)["logBytes"]
    damaged = of("holter_ingest_rejected_total", 'reason="damaged"')
    refused = of("holter_ingest_rejected_total", 'reason="store_refused"')
    log = f"max({of('holter_ingest_wal_bytes')})"
    return (
        Rule(
            "HolterLogFilling",
            f"{log} > 0.5 * {room}",
            "5m",
            _WARNING,
            "a write-ahead log is more than half full: the store takes less than comes in",
            "Look at HolterStoreErrors and at InfluxDB; nothing is lost yet.",
        ),
        Rule(
            "HolterLogFull",
            f"{log} > 0.9 * {room}",
            "1m",
            _CRITICAL,
            "a write-ahead log is almost full: ingest is about to answer 503, and devices to drop samples",
            "Bring the store back, or raise spec.ingest.log.size.",
        ),
        Rule(
            "HolterLogDamaged",
            f"sum(increase({damaged}[15m])) > 0",
            "0m",
            _CRITICAL,
            "stretches of a write-ahead log cannot be read: acknowledged samples are lost",
            "Look at the node's disk and kernel log; ingest's log has the segment (log_damaged).",
        ),
        Rule(
            "HolterStoreErrors",
            f"{of.rate('holter_store_errors_total')} > 0",
            "5m",
            _WARNING,
            "the store refuses or does not answer; what was acknowledged waits in the log",
            "Look at InfluxDB and at holter_ingest_wal_bytes: when the log is full, ingest answers 503.",
        ),
        Rule(
            "HolterStoreRefuses",
            f"sum(increase({refused}[15m])) > 0",
            "0m",
            _WARNING,
            "the store refuses chunks for good: they are judged, but not kept",
            "Ingest's log has InfluxDB's own words (chunk_refused_by_store): usually samples older than the retention.",
        ),
        Rule(
            "HolterStoreSlow",
            f"histogram_quantile(0.99, sum by (le) (rate({of('holter_store_write_seconds_bucket')}[5m]))) > 5",
            "10m",
            _WARNING,
            "1 in 100 batches takes the store longer than 5 s",
            "Look at InfluxDB's CPU, memory and disk.",
        ),
        Rule(
            "HolterScoresDropped",
            f"sum(increase({of('holter_scores_dropped_total')}[15m])) > 0",
            "0m",
            _WARNING,
            "window scores could not be stored: history and the next refit lack them",
            "Look at InfluxDB and at the worker's log.",
        ),
    )


def _judging(cohort: Cohort) -> tuple[Rule, ...]:
    """Whether every patient is looked at, in time."""
    of = _Series(cohort)

    def p99(path: str) -> str:
        series = of("holter_sample_to_decision_seconds_bucket", f'path="{path}"')
        return f"histogram_quantile(0.99, sum by (le) (rate({series}[5m])))"

    slowest = max(10, 2 * cohort.spec.inference.interval)
    return (
        Rule(
            "HolterShardsUnowned",
            f"max({of('holter_shards_unowned')}) > 0",
            "1m",
            _CRITICAL,
            "{{ $value }} of 64 shards have no worker: their patients are not watched",
            "Look at the inference pods: fewer run than spec.inference.replicas, or one hangs.",
        ),
        Rule(
            "HolterNobodyJudged",
            f"{of.rate('holter_ingest_samples_total', over='2m')} > 0 and "
            f"{of.rate('holter_inference_windows_total', over='2m')} == 0",
            "2m",
            _CRITICAL,
            "samples come in, and no window has been judged for 2 minutes",
            "Look at the worker's log: it cannot reach the feed or the store, or hangs.",
        ),
        Rule(
            "HolterDecisionsLate",
            f"{p99('life_threatening')} > 5",
            "5m",
            _CRITICAL,
            "1 in 100 life-threatening decisions takes longer than 5 s",
            "Look at the worker's CPU and at holter_inference_cycle_seconds; raise spec.inference.replicas.",
        ),
        Rule(
            "HolterWindowsLate",
            f"{p99('window')} > {slowest}",
            "10m",
            _WARNING,
            f"1 in 100 windows is judged later than {slowest} s after its last sample came",
            "Look at the worker's CPU and at holter_inference_cycle_seconds; raise spec.inference.replicas.",
        ),
        Rule(
            "HolterFeedDropping",
            f"sum(increase({of('holter_feed_dropped_chunks_total')}[5m])) > 0",
            "5m",
            _WARNING,
            "a worker reads the feed too slowly and falls back on the store: alarms come seconds later",
            "Look at the worker's CPU; raise spec.inference.replicas.",
        ),
    )


def _telling(cohort: Cohort) -> tuple[Rule, ...]:
    """Whether alerts get to people."""
    of = _Series(cohort)
    if not cohort.spec.alerting.webhooks and cohort.spec.alerting.alertmanager is None:
        return ()
    delivery = of("holter_alert_delivery_seconds_bucket")
    return (
        Rule(
            "HolterAlertsUndelivered",
            f"sum by (sink) (rate({of('holter_alert_delivery_failures_total')}[5m])) > 0",
            "2m",
            _CRITICAL,
            "alerts do not reach {{ $labels.sink }}",
            "Look at the receiver and at the worker's log; undelivered alerts wait in its outbox.",
        ),
        Rule(
            "HolterAlertsGivenUp",
            f"sum by (sink) (increase({of('holter_alert_deliveries_given_up_total')}[15m])) > 0",
            "0m",
            _CRITICAL,
            "alerts were given up: {{ $labels.sink }} will never be told",
            "The worker's log names alert and reason. Look at these patients in the console now.",
        ),
        Rule(
            "HolterAlertsSlow",
            f"histogram_quantile(0.95, sum by (le, sink) (rate({delivery}[15m]))) > 10",
            "5m",
            _WARNING,
            "1 in 20 alerts takes {{ $labels.sink }} longer than 10 s to take",
            "Look at the receiver, and at the way to it.",
        ),
    )


def _model(cohort: Cohort) -> tuple[Rule, ...]:
    """Whether the model is kept young."""
    of, where = _Series(cohort), f'cohort_namespace="{cohort.namespace}",cohort="{cohort.name}"'
    oldest, every = 2 * cohort.spec.refit.lookback, longest_wait(cohort.spec.refit.schedule)
    describe = f"kubectl holter status {cohort.name} -n {cohort.namespace}"
    return (
        Rule(
            "HolterNoModel",
            f"min({of('holter_model_revision')}) == 0",
            "6h",
            _WARNING,
            "a worker without a model: its ordered score and life-threatening path work alone",
            f"{describe}: the verdict on the last candidate says why.",
        ),
        Rule(
            "HolterModelOld",
            f"max({of('holter_model_age_seconds')}) > {oldest}",
            "1h",
            _WARNING,
            "the model is older than two look-backs of the refit",
            f"{describe}, and the log of its last refit Job.",
        ),
        Rule(
            "HolterRefitFailing",
            f"time() - max(holter_refit_trained_timestamp_seconds{{{where}}}) > {2 * every + 3600}",
            "15m",
            _WARNING,
            "the last two refits have left no candidate",
            f"kubectl -n {cohort.namespace} logs -l app.kubernetes.io/component=refit --tail=50",
        ),
        Rule(
            "HolterCandidateRefused",
            f"max(holter_refit_accepted{{{where}}}) == 0",
            f"{(2 * every + 3600) // 60}m",
            _WARNING,
            "the gate refuses one refit after another: the model gets no younger",
            f"{describe}: the verdict on the last candidate says why.",
        ),
    )


def longest_wait(schedule: str) -> int:
    """Seconds between two runs of a cron schedule, where they are farthest apart among the next 60."""
    runs = CronSim(schedule, datetime(2026, 1, 1, tzinfo=UTC))
    times = [run for run, _ in zip(runs, range(60), strict=False)]
    return round(max(((later - run).total_seconds() for run, later in pairwise(times)), default=_DAY))
