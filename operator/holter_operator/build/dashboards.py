"""The Grafana dashboards of a cohort and its patients, in a ConfigMap that Grafana's sidecar finds by its label."""

import json

from holter_operator.api.cohort import Cohort
from holter_operator.build.given import Given
from holter_operator.build.meta import Object, child
from holter_operator.build.monitoring import cohort_dashboard, patient_dashboard

SIDECAR_LABEL = {"grafana_dashboard": "1"}
FOLDER = {"grafana_folder": "Holter"}


def dashboards(cohort: Cohort, given: Given) -> Object | None:
    """The ConfigMap."""
    if not cohort.spec.monitoring.dashboards:
        return None
    labels = {**cohort.spec.monitoring.labels, **SIDECAR_LABEL}
    name = f"{cohort.name}-dashboard"
    built = child("v1", "ConfigMap", name, cohort, given, extra_labels=labels, annotations=FOLDER)
    # The sidecar puts the dashboards of all namespaces into one folder.
    here = f"holter.{cohort.namespace}.{cohort.name}"
    contents = {here: cohort_dashboard.content(cohort), f"{here}.patient": patient_dashboard.content(cohort)}
    built["data"] = {f"{name}.json": json.dumps(content, indent=1) + "\n" for name, content in contents.items()}
    return built
