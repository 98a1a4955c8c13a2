"""Names of a cohort's children. A cohort's name has at most 40 characters, so that each of these fits a label (63)."""

from holter_operator.api.cohort import Cohort
from holter_operator.build.given import Component


def component(cohort: Cohort, of: Component) -> str:
    """Workload, ServiceAccount, Service, PodDisruptionBudget and NetworkPolicy of a component."""
    return f"{cohort.name}-{of}"


def headless(cohort: Cohort, of: Component) -> str:
    """The Service that lists a component's pods."""
    return f"{cohort.name}-{of}-headless"


def influxdb(cohort: Cohort, of: Component) -> str:
    """The Secret with a component's connection."""
    return f"{cohort.name}-influxdb-{of}"


def device_key(cohort: Cohort) -> str:
    """The Secret that devices' tokens are derived from: the cohort's choice, or the generated one."""
    named = cohort.spec.access.key_secret_ref
    return named.name if named else f"{cohort.name}-device-key"


def bucket(cohort: Cohort) -> str:
    """The cohort's bucket in InfluxDB."""
    return cohort.spec.storage.bucket or f"{cohort.namespace}.{cohort.name}"


def config(cohort: Cohort) -> str:
    """The ConfigMap that every service reads."""
    return f"{cohort.name}-config"


def candidate(cohort: Cohort) -> str:
    """The ConfigMap that a refit leaves its model in."""
    return f"{cohort.name}-model-candidate"


def model(cohort: Cohort) -> str:
    """The ConfigMap of the model in use."""
    return f"{cohort.name}-model"


def revision(cohort: Cohort, number: int) -> str:
    """The immutable ConfigMap of an accepted model."""
    return f"{cohort.name}-model-r{number}"
