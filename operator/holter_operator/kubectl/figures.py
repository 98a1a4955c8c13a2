"""What a cohort's pods do now, from two readings of their metrics a few seconds apart. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

Reading = Mapping[str, str]
"""Metrics text by pod."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums over pods; rates are per second, between the two readings.

    Attributes:
        seconds: between them.
        samples: accepted.
        refused: requests answered 429 or 5xx.
        unauthorized: requests answered 401 or 403.
        requests: all requests.
        log_bytes: of the fullest write-ahead log.
        patients: that workers look at.
        unowned: shards that nobody judges, as the most worried worker sees it.
        windows: scored.
        delay: s, mean from sample to decision of the life-threatening path; None when nothing was decided.
        store_errors: failed calls.
        undelivered: failed deliveries by sink.
        revisions: of the model, by worker.
        raised: alerts since the workers began, by priority.
    """

    seconds: float
    samples: float
    refused: float
    unauthorized: float
    requests: float
    log_bytes: float
    patients: int
    unowned: int
    windows: float
    delay: float | None
    store_errors: float
    undelivered: Mapping[str, float]
    revisions: Mapping[str, int]
    raised: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Sample:
    pod: str
    name: str
    labels: Mapping[str, str]
    value: float


def figures(before: Reading, after: Reading, seconds: float) -> Figures:
    """From two readings; a pod that is in one of them alone counts for what it is, not for what it does."""
    old = {_identity(each): each.value for each in _samples(before)}
    new = tuple(_samples(after))

    def total(name: str, **labels: tuple[str, ...]) -> float:
        return sum(
            max(0.0, each.value - old[_identity(each)])
            for each in new
            if each.name == name and _matches(each, labels) and _identity(each) in old
        )

    def gauges(name: str) -> list[float]:
        return [each.value for each in new if each.name == name]

    def rate(name: str, **labels: tuple[str, ...]) -> float:
        return total(name, **labels) / seconds if seconds else 0.0

    path = {"path": ("life_threatening",)}
    decided = total("holter_sample_to_decision_seconds_count", **path)
    waited = total("holter_sample_to_decision_seconds_sum", **path)
    codes = sorted({each.labels.get("code", "") for each in new if each.name == "holter_ingest_requests_total"})
    sinks = sorted({each.labels["sink"] for each in new if each.name == "holter_alert_delivery_failures_total"})
    priorities = ("high", "medium", "low")
    return Figures(
        seconds=seconds,
        samples=rate("holter_ingest_samples_total"),
        refused=rate("holter_ingest_requests_total", code=tuple(c for c in codes if c == "429" or c.startswith("5"))),
        unauthorized=rate("holter_ingest_requests_total", code=("401", "403")),
        requests=rate("holter_ingest_requests_total"),
        log_bytes=max(gauges("holter_ingest_wal_bytes"), default=0.0),
        patients=round(sum(gauges("holter_inference_patients"))),
        unowned=round(max(gauges("holter_shards_unowned"), default=0.0)),
        windows=rate("holter_inference_windows_total"),
        delay=waited / decided if decided else None,
        store_errors=rate("holter_store_errors_total"),
        undelivered={s: found for s in sinks if (found := rate("holter_alert_delivery_failures_total", sink=(s,)))},
        revisions={each.pod: round(each.value) for each in new if each.name == "holter_model_revision"},
        raised={
            priority: round(
                sum(e.value for e in new if e.name == "holter_alerts_total" and e.labels["priority"] == priority)
            )
            for priority in priorities
        },
    )


def _samples(reading: Reading) -> Iterable[_Sample]:
    for pod, text in reading.items():
        for family in text_string_to_metric_families(text):
            for each in family.samples:
                yield _Sample(pod, each.name, each.labels, each.value)


def _identity(sample: _Sample) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    return sample.pod, sample.name, tuple(sorted(sample.labels.items()))


def _matches(sample: _Sample, labels: Mapping[str, tuple[str, ...]]) -> bool:
    return all(sample.labels.get(name) in values for name, values in labels.items())
