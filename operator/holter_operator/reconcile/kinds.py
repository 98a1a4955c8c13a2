"""The kinds of a cohort's children, and how the API server spells them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holter_operator.api import crd
from holter_operator.build.given import POD_MONITOR, PROMETHEUS_RULE


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind.

    Attributes:
        api_version: group and version, or the version alone of the core group.
        name: as objects say it.
        plural: as paths say it.
        runs: whether its spec and status are looked at.
        optional: as `build.given` names it, where the kind may be missing.
    """

    api_version: str
    name: str
    plural: str
    runs: bool = False
    optional: str | None = None

    @property
    def group(self) -> str:
        """Empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """Of the group."""
        return self.api_version.rpartition("/")[2]

    def path(self, namespace: str | None, name: str | None = None) -> str:
        """Of the collection, or of one object."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"
        within = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}{within}/{self.plural}" + (f"/{name}" if name else "")


COHORT = Kind(crd.API_VERSION, crd.KIND, crd.PLURAL)
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
SECRET = Kind("v1", "Secret", "secrets")
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments", runs=True)
STATEFUL_SET = Kind("apps/v1", "StatefulSet", "statefulsets", runs=True)
CRON_JOB = Kind("batch/v1", "CronJob", "cronjobs")
JOB = Kind("batch/v1", "Job", "jobs")
SERVICE = Kind("v1", "Service", "services", runs=True)
POD = Kind("v1", "Pod", "pods")
EVENT = Kind("v1", "Event", "events")
ROLE_BINDING = Kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")

CHILDREN = (
    Kind("v1", "ServiceAccount", "serviceaccounts"),
    Kind("rbac.authorization.k8s.io/v1", "Role", "roles"),
    ROLE_BINDING,
    Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    SECRET,
    CONFIG_MAP,
    SERVICE,
    Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    DEPLOYMENT,
    STATEFUL_SET,
    Kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    CRON_JOB,
    Kind("monitoring.coreos.com/v1", "PodMonitor", "podmonitors", optional=POD_MONITOR),
    Kind("monitoring.coreos.com/v1", "PrometheusRule", "prometheusrules", optional=PROMETHEUS_RULE),
)
"""All that a cohort's children may be."""

_BY_NAME = {(kind.api_version, kind.name): kind for kind in (*CHILDREN, COHORT)}


def of(document: Mapping[str, Any]) -> Kind:
    """The kind of an object.

    Raises:
        KeyError: it is not among `CHILDREN`, nor a cohort.
    """
    return _BY_NAME[document["apiVersion"], document["kind"]]
