"""The refit CronJob, and the right to patch the one ConfigMap that it leaves its candidate in."""

from holter_operator.api.cohort import Cohort
from holter_operator.build import mounts, names
from holter_operator.build.given import Component, Given
from holter_operator.build.meta import Object, child, labels
from holter_operator.build.pods import Container, template

_RBAC = "rbac.authorization.k8s.io"


def cronjob(cohort: Cohort, given: Given) -> Object:
    """The CronJob."""
    spec = cohort.spec.refit
    pod = template(
        cohort,
        given,
        Container(
            component=Component.REFIT,
            command=("holter", "refit"),
            settings=spec,
            mounts=(
                mounts.config(cohort),
                mounts.influxdb(cohort, Component.REFIT),
                mounts.model(cohort),
                mounts.api_token(),
                mounts.scratch(),
            ),
            ports=(),  # its metrics are the candidate's, and the operator's to expose
            grace=30,
            environment={"HOLTER_CANDIDATE": f"configmap:{cohort.namespace}/{names.candidate(cohort)}"},
        ),
    )
    pod["spec"]["restartPolicy"] = "Never"  # each try keeps its log
    built = child("batch/v1", "CronJob", names.component(cohort, Component.REFIT), cohort, given, Component.REFIT)
    built["spec"] = {
        "schedule": spec.schedule,
        "timeZone": spec.time_zone,
        "suspend": spec.suspend,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 600,
        "successfulJobsHistoryLimit": 2,
        "failedJobsHistoryLimit": 2,
        "jobTemplate": {
            "metadata": {"labels": labels(cohort, Component.REFIT)},
            "spec": {
                "backoffLimit": 2,
                "activeDeadlineSeconds": 3600,
                "ttlSecondsAfterFinished": 86400,  # those started by hand, too
                "template": pod,
            },
        },
    }
    return built


def role(cohort: Cohort, given: Given) -> Object:
    """Patch one ConfigMap, and nothing else."""
    name = names.component(cohort, Component.REFIT)
    built = child(f"{_RBAC}/v1", "Role", name, cohort, given, Component.REFIT)
    built["rules"] = [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": [names.candidate(cohort)],
            "verbs": ["patch"],
        }
    ]
    return built


def role_binding(cohort: Cohort, given: Given) -> Object:
    """The Role, for refit's ServiceAccount."""
    name = names.component(cohort, Component.REFIT)
    built = child(f"{_RBAC}/v1", "RoleBinding", name, cohort, given, Component.REFIT)
    built["roleRef"] = {"apiGroup": _RBAC, "kind": "Role", "name": name}
    built["subjects"] = [{"kind": "ServiceAccount", "name": name, "namespace": cohort.namespace}]
    return built


def candidate(cohort: Cohort, given: Given) -> Object:
    """The ConfigMap that refit patches.

    It says nothing of data: under server-side apply its content is refit's alone, and no reconcile empties it.
    """
    return child("v1", "ConfigMap", names.candidate(cohort), cohort, given, Component.REFIT)
