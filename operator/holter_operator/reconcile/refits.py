"""First refits: while a cohort has no model, a Job is started from its CronJob every 10 minutes."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from holter_operator.build.meta import Object

SLOT = 600
"""Seconds."""


def slot(now: float) -> int:
    """Which 10 minutes since the epoch."""
    return int(now // SLOT)


def until_next(now: float) -> float:
    """Seconds until the next 10 minutes begin."""
    return SLOT - now % SLOT


def job(cronjob: Mapping[str, Any], cronjob_uid: str, number: int) -> Object:
    """The Job of one slot, as `kubectl create job --from=cronjob/…` makes it. Its name is the slot's: there is one.

    Args:
        cronjob: the CronJob as it is desired.
        cronjob_uid: of the live one, which owns the Job.
        number: of the slot.
    """
    metadata, pattern = cronjob["metadata"], deepcopy(cronjob["spec"]["jobTemplate"])
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{metadata['name']}-first-{number}",
            "namespace": metadata["namespace"],
            "labels": pattern["metadata"]["labels"],
            "annotations": {"cronjob.kubernetes.io/instantiate": "manual"},
            "ownerReferences": [
                {
                    "apiVersion": "batch/v1",
                    "kind": "CronJob",
                    "name": metadata["name"],
                    "uid": cronjob_uid,
                    "controller": True,
                }
            ],
        },
        "spec": pattern["spec"],
    }


def active(found: Mapping[str, Any]) -> bool:
    """Whether a Job is still at it."""
    done = {c["type"] for c in found.get("status", {}).get("conditions", ()) if c["status"] == "True"}
    return not done & {"Complete", "Failed"}
