"""The status of a cohort, from what a reconcile saw. Pure, and the only place that makes conditions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from holter_operator.reconcile.diagnosis import Trouble, Workload

Status = dict[str, Any]

MOST = 4000
"""Characters of a message."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that does not pass by itself.

    Attributes:
        reason: CamelCase.
        message: in words that can be acted on.
    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Bucket:
    """The bucket in InfluxDB, or why there is none; `problem` is None where all is well."""

    name: str | None = None
    id: str | None = None
    adopted: bool = False
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """The model at work, and what became of the newest candidate.

    Attributes:
        revision: None while there is none.
        trained_at: of it, RFC 3339.
        windows: that it was fitted to.
        threshold: of it.
        candidate: verdict, reason and trainedAt, as status has them.
        problem: for example, a pinned revision that is not there.
        words: what is at work, or is waited for.
    """

    revision: int | None = None
    trained_at: str | None = None
    windows: int | None = None
    threshold: float | None = None
    candidate: Mapping[str, Any] | None = None
    problem: Problem | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """What a reconcile saw.

    Attributes:
        generation: of the cohort.
        paused: nothing was changed.
        deleting: it is on its way out, and what it waits for.
        problems: of the cohort as a whole, the gravest first.
        bucket: None before it was looked at.
        model: None before it was looked at.
        ingest: None before it was looked at.
        inference: the same.
        troubles: by workload that is not available, where its pods have been looked at.
        endpoint: where wearables reach ingest.
        selector: of the workers' pods.
    """

    generation: int
    paused: bool = False
    deleting: str | None = None
    problems: tuple[Problem, ...] = ()
    bucket: Bucket | None = None
    model: Model | None = None
    ingest: Workload | None = None
    inference: Workload | None = None
    troubles: Mapping[str, Trouble] = field(default_factory=dict)
    endpoint: str | None = None
    selector: str | None = None


@dataclass(frozen=True, slots=True)
class _Condition:
    type: str
    status: bool | None
    reason: str
    message: str


def status(view: View, before: Mapping[str, Any], now: datetime) -> Status:
    """The status to be written; what was not looked at in this pass stays as it was.

    Args:
        view: this pass.
        before: the status that stands.
        now: with a time zone.
    """
    ready, progressing, degraded = _ready(view), _progressing(view), _degraded(view)
    conditions = [ready, progressing, degraded]
    if view.bucket:
        conditions.append(_bucket_ready(view.bucket))
    if view.model:
        conditions.append(_model_ready(view.model))
    conditions.append(_paused(view))
    built: Status = {
        **{key: before[key] for key in ("bucket", "model", "ingest", "inference") if key in before},
        "observedGeneration": view.generation,
        "phase": _phase(view, ready, degraded),
        "conditions": _dated(conditions, view.generation, before, now),
    }
    if view.bucket and view.bucket.name:
        found = {"name": view.bucket.name, "id": view.bucket.id, "adopted": view.bucket.adopted}
        built["bucket"] = {key: value for key, value in found.items() if value is not None}
    if view.model:
        built["model"] = _model(view.model)
    if view.ingest:
        built["ingest"] = _numbers(view.ingest) | ({"endpoint": view.endpoint} if view.endpoint else {})
    if view.inference:
        built["inference"] = _numbers(view.inference) | ({"selector": view.selector} if view.selector else {})
    return built


def condition(of: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """One condition of a status; empty where it is not there."""
    return next((each for each in of.get("conditions", ()) if each["type"] == kind), {})


def _workloads(view: View) -> tuple[tuple[str, Workload], ...]:
    both = (("Ingest", view.ingest), ("Inference", view.inference))
    return tuple((name, found) for name, found in both if found is not None)


def _unavailable(view: View) -> tuple[str, str] | None:
    """Reason and message of the first workload that is not available."""
    for name, found in _workloads(view):
        if not found.available:
            known = view.troubles.get(found.name)
            return (known.reason, known.message) if known else (f"{name}Unavailable", f"{found}: {found.lacking}")
    return None


def _ready(view: View) -> _Condition:
    if view.deleting is not None:
        return _Condition("Ready", False, "Deleting", view.deleting)
    if view.problems:
        return _Condition("Ready", False, view.problems[0].reason, view.problems[0].message)
    if view.bucket and view.bucket.problem:
        return _Condition("Ready", False, view.bucket.problem.reason, view.bucket.problem.message)
    unavailable = _unavailable(view)
    if unavailable:
        return _Condition("Ready", False, *unavailable)
    if not view.ingest or not view.inference:
        return _Condition("Ready", None, "Unknown", "not looked at yet")
    words = f"ingest {view.ingest.ready}/{view.ingest.wanted}, inference {view.inference.ready}/{view.inference.wanted}"
    return _Condition("Ready", True, "Available", f"bucket, tokens and pods are there: {words}")


def _progressing(view: View) -> _Condition:
    if view.deleting is not None:
        return _Condition("Progressing", True, "Deleting", view.deleting)
    if view.paused:
        return _Condition("Progressing", False, "Paused", "nothing is changed while spec.paused is true")
    for name, found in _workloads(view):
        if found.rolling:
            return _Condition("Progressing", True, f"{name}Rolling", f"{found}: {found.lacking}")
        known = view.troubles.get(found.name)
        if not found.available and (known is None or known.waits):
            return _Condition("Progressing", True, f"{name}Starting", f"{found}: {found.lacking}")
    return _Condition("Progressing", False, "Settled", "all objects are as the cohort asks for")


def _degraded(view: View) -> _Condition:
    faults = [*view.problems]
    if view.bucket and view.bucket.problem:
        faults.append(view.bucket.problem)
    faults += [Problem(t.reason, t.message) for t in view.troubles.values() if not t.waits]
    if view.model and view.model.problem:
        faults.append(view.model.problem)
    if not faults or view.deleting is not None:
        return _Condition("Degraded", False, "AsExpected", "no fault is known")
    return _Condition("Degraded", True, faults[0].reason, "; ".join(fault.message for fault in faults))


def _bucket_ready(bucket: Bucket) -> _Condition:
    if bucket.problem:
        return _Condition("BucketReady", False, bucket.problem.reason, bucket.problem.message)
    whose = "was there before and is adopted" if bucket.adopted else "is there"
    return _Condition("BucketReady", True, "Available", f"bucket {bucket.name} {whose}; each component has its token")


def _model_ready(model: Model) -> _Condition:
    if model.problem:
        return _Condition("ModelReady", model.revision is not None, model.problem.reason, model.problem.message)
    if model.revision is None:
        return _Condition("ModelReady", False, "Learning", model.words)
    return _Condition("ModelReady", True, "InUse", model.words)


def _paused(view: View) -> _Condition:
    if view.paused:
        return _Condition("Paused", True, "SpecPaused", "spec.paused is true: children are left as they are")
    return _Condition("Paused", False, "NotPaused", "spec.paused is false")


def _phase(view: View, ready: _Condition, degraded: _Condition) -> str:
    if view.deleting is not None:
        return "Deleting"
    if view.paused:
        return "Paused"
    if degraded.status:
        return "Degraded"
    if ready.status:
        return "Ready"
    started = any(found.replicas for _, found in _workloads(view))
    return "Progressing" if started else "Pending"


def _model(model: Model) -> Status:
    found = {
        "revision": model.revision or 0,
        "trainedAt": model.trained_at,
        "windows": model.windows,
        "threshold": model.threshold,
        "candidate": dict(model.candidate) if model.candidate else None,
    }
    return {key: value for key, value in found.items() if value is not None}


def _numbers(found: Workload) -> Status:
    return {"replicas": found.replicas, "readyReplicas": found.ready}


def _dated(found: list[_Condition], generation: int, before: Mapping[str, Any], now: datetime) -> list[Status]:
    """Conditions with the time at which their status last changed."""
    told = {each.type for each in found}
    kept = [dict(each) for each in before.get("conditions", ()) if each["type"] not in told]
    built = []
    for each in found:
        value = "Unknown" if each.status is None else str(each.status)
        old = condition(before, each.type)
        since = old["lastTransitionTime"] if old.get("status") == value else now.strftime("%Y-%m-%dT%H:%M:%SZ")
        built.append(
            {
                "type": each.type,
                "status": value,
                "observedGeneration": generation,
                "lastTransitionTime": since,
                "reason": re.sub(r"^[^A-Za-z]+|[^A-Za-z0-9]", "", each.reason) or "Unknown",
                "message": each.message[:MOST],
            }
        )
    return built + kept
