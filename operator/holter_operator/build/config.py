"""The ConfigMap `<cohort>-config`: what each service is told, in the form of `services/holter/config.py`."""

import json
from typing import Any

from holter_operator.api.cohort import Cohort, size_in_bytes
from holter_operator.build import names
from holter_operator.build.given import Given
from holter_operator.build.meta import Object, child

LOG_SHARE = 0.9
"""How much of its volume the log may fill: a pod beyond its emptyDir's limit is evicted, a file system needs room."""


def services(cohort: Cohort, given: Given) -> Object:
    """The ConfigMap."""
    files = {
        "ingest": ingest(cohort),
        "inference": inference(cohort),
        "refit": refit(cohort),
        "console": console(cohort),
    }
    built = child("v1", "ConfigMap", names.config(cohort), cohort, given)
    built["data"] = {
        f"{name}.json": json.dumps(_common(cohort) | content, indent=2) + "\n" for name, content in files.items()
    }
    return built


def ingest(cohort: Cohort) -> dict[str, Any]:
    """`ingest.json`."""
    spec = cohort.spec.ingest
    return {
        "udp": spec.udp.enabled,
        "batchSize": spec.batch.size,
        "flushInterval": spec.batch.flush_interval,
        "maxPatients": spec.max_patients_per_replica,
        "logBytes": int(size_in_bytes(spec.log.size) * LOG_SHARE),
        "layout": cohort.spec.storage.layout,
        "access": cohort.spec.access.mode,
        "retention": cohort.spec.storage.retention,
    }


def inference(cohort: Cohort) -> dict[str, Any]:
    """`inference.json`."""
    spec, alerting = cohort.spec.inference, cohort.spec.alerting
    return {
        "replicas": spec.replicas,
        "source": spec.source,
        "layout": cohort.spec.storage.layout,
        "window": spec.window,
        "interval": spec.interval,
        "cooldown": alerting.cooldown,
        "falseAlertsPerPatientDay": alerting.false_alerts_per_patient_day,
        "webhooks": [{"name": webhook.name, "url": webhook.url} for webhook in alerting.webhooks],
        "alertmanager": alerting.alertmanager.url if alerting.alertmanager else None,
    }


def refit(cohort: Cohort) -> dict[str, Any]:
    """`refit.json`."""
    spec, model = cohort.spec.refit, cohort.spec.model
    return {
        "layout": cohort.spec.storage.layout,
        "interval": cohort.spec.inference.interval,
        "estimators": model.estimators,
        "contamination": model.contamination,
        "maxSamples": model.max_samples,
        "components": model.components,
        "maxTrainingWindows": model.max_training_windows,
        "lookback": spec.lookback,
        "minWindows": spec.min_windows,
        "falseAlertsPerPatientDay": cohort.spec.alerting.false_alerts_per_patient_day,
    }


def console(cohort: Cohort) -> dict[str, Any]:
    """`console.json`."""
    return {"layout": cohort.spec.storage.layout}


def _common(cohort: Cohort) -> dict[str, Any]:
    return {"cohort": cohort.name, "namespace": cohort.namespace, "sampleRate": cohort.spec.signal.sample_rate}
