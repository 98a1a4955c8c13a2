"""Refits: while a cohort has no model, a Job is started from its CronJob every 10 minutes; how the newest Job fares."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from holter_operator.api.cohort import Cohort
from holter_operator.build import meta, names, refit
from holter_operator.build.given import Component, Given
from holter_operator.build.meta import Object
from holter_operator.io.kube import Kube, KubeError, events_of, pods_of
from holter_operator.reconcile.diagnosis import Trouble, refit_trouble
from holter_operator.reconcile.kinds import JOB

SLOT = 600
"""Seconds."""

LOOK = 60.0
"""Seconds after which a Job that is not well, or was just started, is looked at."""


@dataclass(slots=True)
class Remembered:
    """What is remembered of a cohort's refits between passes.

    Attributes:
        slot: the last 10 minutes for which a first refit was seen to.
        look: when its Jobs are to be looked at; None before the first pass.
        trouble: what was seen then.
    """

    slot: int | None = None
    look: float | None = None
    trouble: Trouble | None = None


class Refits:
    """The steps of a pass that are about refits."""

    def __init__(self, kube: Kube, clock: Callable[[], float]) -> None:
        self._kube = kube
        self._clock = clock

    def first(self, cohort: Cohort, given: Given, owner_uid: str | None, known: Remembered) -> float:
        """Start the refit of these 10 minutes, if there is none.

        Args:
            cohort: the cohort.
            given: what it does not say.
            owner_uid: of the live CronJob; None where nothing is to be started yet.
            known: what is remembered.

        Returns:
            Seconds until the next 10 minutes begin.

        Raises:
            KubeError: refused.
        """
        now = self._clock()
        if owner_uid is not None and known.slot != slot(now):
            built = job(refit.cronjob(cohort, given), owner_uid, slot(now))
            found = self._jobs(cohort)
            if built["metadata"]["name"] not in {each["metadata"]["name"] for each in found} and not any(
                map(active, found)
            ):
                try:
                    self._kube.create(JOB, built)
                except KubeError as error:
                    if error.status != 409:
                        raise
                known.look = now + LOOK
            known.slot = slot(now)
        return until_next(now)

    def trouble(self, cohort: Cohort, known: Remembered, *, now_at_once: bool, otherwise: float) -> Trouble | None:
        """Why the newest refit does not get on, as seen a minute ago at the most while it does not.

        Args:
            cohort: the cohort.
            known: what is remembered.
            now_at_once: whether the first look is not to wait.
            otherwise: seconds after which one that is well is looked at again.

        Raises:
            KubeError: refused.
        """
        now = self._clock()
        if known.look is None:
            known.look = now if now_at_once else now + LOOK
        if now >= known.look:
            known.trouble = self._look(cohort)
            known.look = now + (LOOK if known.trouble else otherwise)
        return known.trouble

    def _look(self, cohort: Cohort) -> Trouble | None:
        found = self._jobs(cohort)
        if not found:
            return None
        newest = max(found, key=lambda each: (each["metadata"]["creationTimestamp"], each["metadata"]["name"]))
        if not active(newest):
            return refit_trouble(newest, (), ())
        name = newest["metadata"]["name"]
        pods = pods_of(self._kube, cohort.namespace, {"batch.kubernetes.io/job-name": name})
        told = list(events_of(self._kube, cohort.namespace, "Job", name))
        for pod in pods:
            told += events_of(self._kube, cohort.namespace, "Pod", pod["metadata"]["name"])
        return refit_trouble(newest, pods, told)

    def _jobs(self, cohort: Cohort) -> list[Object]:
        labels = ",".join(f"{k}={v}" for k, v in meta.selector(cohort, Component.REFIT).items())
        found, _ = self._kube.list(JOB, cohort.namespace, labels=labels)
        return found


def name(cohort: Cohort) -> str:
    """Of the CronJob."""
    return names.component(cohort, Component.REFIT)


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
