"""What is wrong with a cohort, and what to do about it, from what was seen. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from holter_operator.api.cohort import seconds, size_in_bytes
from holter_operator.build.config import LOG_SHARE
from holter_operator.build.monitoring.rule import RUNBOOKS
from holter_operator.kubectl.access import Unseen
from holter_operator.kubectl.figures import Figures
from holter_operator.kubectl.snapshot import NO_POD, Snapshot
from holter_operator.reconcile.status import condition


class Level(IntEnum):
    """How grave, the gravest last."""

    NOTE = 0
    UNKNOWN = 1
    FAULT = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to know.

    Attributes:
        level: how grave.
        what: is the case.
        do: next; a command where there is one.
        runbook: name of the alert whose runbook tells more.
    """

    level: Level
    what: str
    do: str
    runbook: str = ""

    @property
    def link(self) -> str:
        """The runbook's address; empty without one."""
        return f"{RUNBOOKS}/{self.runbook}/" if self.runbook else ""


def findings(seen: Snapshot) -> tuple[Finding, ...]:
    """All, the gravest first."""
    found = (*_operator(seen), *_objects(seen), *_running(seen), *_devices(seen), *_model(seen), *_notes(seen))
    return tuple(sorted(found, key=lambda finding: -finding.level))


def exit_code(found: tuple[Finding, ...]) -> int:
    """0 well, 1 not well, 2 cannot tell."""
    worst = max((finding.level for finding in found), default=Level.NOTE)
    return {Level.NOTE: 0, Level.UNKNOWN: 2, Level.FAULT: 1}[worst]


def _here(seen: Snapshot) -> tuple[str, str]:
    metadata = seen.cohort["metadata"]
    return metadata["namespace"], metadata["name"]


def _operator(seen: Snapshot) -> Iterator[Finding]:
    generation, status = seen.cohort["metadata"]["generation"], seen.cohort.get("status") or {}
    observed, there = status.get("observedGeneration", 0), seen.operator
    behind = observed < generation
    if there and not there.ready and (there.deployments or behind):
        yield Finding(
            Level.FAULT,
            "no operator runs: what breaks is not repaired, no change takes effect",
            f"kubectl get deployments -A -l {_OPERATOR}",
            "HolterOperatorDown",
        )
    elif behind:
        never = "" if observed else " or any before"
        yield Finding(
            Level.UNKNOWN,
            f"the operator has not looked at generation {generation}{never} yet",
            "wait a few seconds; if it stays so, does an operator watch this namespace? (chart value watchNamespaces)",
            "HolterOperatorDown",
        )
    elif there and not there.deployments:
        yield Finding(
            Level.NOTE,
            "no Deployment of an operator is in this cluster, though one has looked at this generation",
            "nothing, if it runs elsewhere; else install the chart charts/holter",
        )


def _objects(seen: Snapshot) -> Iterator[Finding]:
    namespace, name = _here(seen)
    status = seen.cohort.get("status") or {}
    if seen.cohort["metadata"].get("deletionTimestamp"):
        message = condition(status, "Ready").get("message", "no word of the operator")
        yield Finding(Level.FAULT, f"it is being deleted: {message}", "wait 2 minutes at most", "HolterDeletionStuck")
        return
    degraded, ready = condition(status, "Degraded"), condition(status, "Ready")
    told = ""
    if degraded.get("status") == "True":
        told = degraded["message"]
        yield Finding(Level.FAULT, f"{degraded['reason']}: {told}", _next_step(degraded["reason"], seen))
    if ready.get("status") == "False" and ready["message"] not in told:
        yield Finding(Level.FAULT, f"{ready['reason']}: {ready['message']}", _next_step(ready["reason"], seen))
        told += ready["message"]
    if ready.get("status", "Unknown") == "Unknown" and status:
        yield Finding(
            Level.UNKNOWN, "the operator cannot say whether it is Ready", f"kubectl -n {namespace} get events"
        )
    if isinstance(seen.parts, Unseen):
        yield Finding(Level.UNKNOWN, f"its workloads cannot be seen: {seen.parts.why}", "ask for the role `view`")
        return
    # Before the operator has looked, nothing is there, and why not has been told.
    for part in seen.parts if status else ():
        trouble = part.trouble
        if trouble and trouble.message not in told:
            # The console is no part of Ready: it is looked at here alone.
            yield Finding(
                Level.FAULT,
                f"{part.component}: {trouble.reason}: {trouble.message}",
                f"kubectl -n {namespace} describe pods -l "
                f"app.kubernetes.io/instance={name},app.kubernetes.io/component={part.component}",
                {"ingest": "HolterIngestDown", "inference": "HolterInferenceDown"}.get(
                    part.component, "HolterConsoleDown"
                ),
            )


_OPERATOR = "app.kubernetes.io/part-of=holter,app.kubernetes.io/component=operator"
_IMAGE = "does the image exist, and may the node pull it? (chart values services.image, imagePullSecrets)"
_STEPS = {
    "InvalidSpec": "correct the cohort (kubectl edit cohort {name} -n {namespace}); what runs goes on meanwhile",
    "DeviceKeyLost": "put Secret {name}-device-key back from a backup; its annotation says how to give it up instead",
    "InfluxDBUnavailable": "is InfluxDB there? Its address is in the connection Secret (key url)",
    "InfluxDBUnauthorized": "the token in the connection Secret is not valid in that organisation: put in one that is",
    "BucketOwnedByAnother": "choose another spec.storage.bucket, or delete the other cohort's bucket in InfluxDB",
    "ConnectionMissing": "make the Secret that spec.storage.influxdb.connectionSecretRef names (keys url, org, token)",
    "PinnedRevisionMissing": "kubectl holter rollback {name} -n {namespace} --to REVISION, or --release",
    "ChildRefused": "the message has the API server's reason: a quota, an admission policy, a missing right",
    "RefitFailed": "kubectl -n {namespace} logs -l app.kubernetes.io/component=refit --tail=50",
    "Unschedulable": "give it a node: kubectl describe nodes, or lower what it requests",
    "PodsRefused": "kubectl -n {namespace} describe resourcequota; the message has the reason",
    "ImagePullBackOff": _IMAGE,
    "ErrImagePull": _IMAGE,
    "ErrImageNeverPull": "load the image into the node, or let it be pulled (chart value services.image.pullPolicy)",
    "CrashLoopBackOff": "kubectl -n {namespace} logs -l app.kubernetes.io/instance={name} --previous --tail=50",
    "OOMKilled": "raise resources.limits.memory of that component",
    "CreateContainerConfigError": "a Secret or ConfigMap that the pod names is missing: the message names it",
}


def _next_step(reason: str, seen: Snapshot) -> str:
    namespace, name = _here(seen)
    fallback = "kubectl -n {namespace} describe cohort {name}"
    return _STEPS.get(reason, fallback).format(namespace=namespace, name=name)


def _running(seen: Snapshot) -> Iterator[Finding]:
    if isinstance(seen.figures, Unseen):
        yield Finding(
            Level.UNKNOWN,
            f"its pods could not be asked whether patients are watched: {seen.figures.why}",
            "see its workloads above"
            if seen.figures.why == NO_POD
            else "the role `edit` may (pods/portforward); --measure 0 leaves it out",
        )
    elif seen.figures is not None:
        yield from _of_figures(seen, seen.figures)


def _of_figures(seen: Snapshot, now: Figures) -> Iterator[Finding]:
    namespace, name = _here(seen)
    ingest = seen.cohort["spec"]["ingest"]
    room = size_in_bytes(ingest["log"]["size"]) * LOG_SHARE
    logs = (
        f"kubectl -n {namespace} logs -l app.kubernetes.io/instance={name},app.kubernetes.io/component={{}} --tail=50"
    )
    if now.unowned:
        yield Finding(
            Level.FAULT,
            f"{now.unowned} of 64 shards have no worker: their patients are not watched",
            logs.format("inference"),
            "HolterShardsUnowned",
        )
    if now.patients and not now.samples and now.seconds >= 1:
        yield Finding(
            Level.FAULT,
            f"{now.patients} patients are known, and no sample came within {now.seconds:.0f} s",
            "look at the way from the devices; nothing is to be done if the ward was emptied on purpose",
            "HolterNoSamples",
        )
    if now.requests and now.refused > 0.01 * now.requests:
        share = now.refused / now.requests
        yield Finding(
            Level.FAULT,
            f"{share:.0%} of requests are refused with 429 or 5xx",
            "429: raise spec.ingest.replicas or maxPatientsPerReplica; 503: look at the store",
            "HolterIngestRefusing",
        )
    if now.requests and now.unauthorized > 0.05 * now.requests:
        yield Finding(
            Level.FAULT,
            f"{now.unauthorized / now.requests:.0%} of requests have no valid token",
            f"kubectl holter token DEVICE -n {namespace} {name}: provision those devices anew",
            "HolterDevicesUnauthorized",
        )
    if now.log_bytes > 0.5 * room:
        yield Finding(
            Level.FAULT,
            f"a write-ahead log is {now.log_bytes / room:.0%} full: the store takes less than comes in",
            logs.format("ingest"),
            "HolterLogFull" if now.log_bytes > 0.9 * room else "HolterLogFilling",
        )
    if now.store_errors:
        yield Finding(
            Level.FAULT,
            "calls of the store fail: what is acknowledged waits in the log",
            logs.format("ingest"),
            "HolterStoreErrors",
        )
    if now.delay is not None and now.delay > 5:
        yield Finding(
            Level.FAULT,
            f"life-threatening decisions take {now.delay:.1f} s on average",
            "raise spec.inference.replicas, or the workers' CPU",
            "HolterDecisionsLate",
        )
    for sink, rate in now.undelivered.items():
        yield Finding(
            Level.FAULT,
            f"alerts do not reach {sink}: {rate * now.seconds:.0f} attempts failed within {now.seconds:.0f} s",
            logs.format("inference"),
            "HolterAlertsUndelivered",
        )


_NAMED = 3
"""Refused devices that are told one by one."""


def _devices(seen: Snapshot) -> Iterator[Finding]:
    """A note, not a fault of the cohort: a stranger may send whatever id."""
    if not isinstance(seen.refused, tuple):
        return
    namespace, name = _here(seen)
    for one in seen.refused[:_NAMED]:
        if one.code in (401, 403):
            do, runbook = f"kubectl holter token {one.device} {name} -n {namespace}", "HolterDevicesUnauthorized"
        elif one.code == 429:
            do, runbook = "send it to another replica, or raise maxPatientsPerReplica", "HolterIngestRefusing"
        else:
            do, runbook = "correct what the device sends: the reason says what would be right", "HolterBadInput"
        what = f"ingest refuses {one.device} ({one.count} times, {one.code}): {one.field} {one.reason}"
        yield Finding(Level.NOTE, what, do, runbook)
    more = len(seen.refused) - _NAMED
    if more > 0:
        logs = f"kubectl -n {namespace} logs -l app.kubernetes.io/instance={name},app.kubernetes.io/component=ingest"
        yield Finding(Level.NOTE, f"{more} more faults of devices", f"{logs} --since=15m | grep refused")


def _model(seen: Snapshot) -> Iterator[Finding]:
    namespace, name = _here(seen)
    spec, model = seen.cohort["spec"], (seen.cohort.get("status") or {}).get("model") or {}
    candidate = model.get("candidate") or {}
    refit = f"kubectl holter refit {name} -n {namespace}"
    if not isinstance(seen.refit, Unseen) and seen.refit and seen.refit.state == "failed":
        yield Finding(
            Level.FAULT,
            f"the last refit, {seen.refit.name}, has failed: {seen.refit.why}",
            f"kubectl -n {namespace} logs job/{seen.refit.name}; then {refit}",
            "HolterRefitFailing",
        )
    if candidate.get("verdict") == "Refused":
        yield Finding(
            Level.NOTE,
            f"the gate refused the last refit: {candidate.get('reason', 'no reason told')}",
            "the model at work stays; the next refit may do better",
            "HolterCandidateRefused",
        )
    age = model_age(seen)
    held = spec["refit"]["suspend"] or spec["model"].get("pinnedRevision") is not None
    if age is not None and not held and age > 2 * seconds(spec["refit"]["lookback"]):
        yield Finding(Level.FAULT, f"the model is {words(age)} old, more than two look-backs", refit, "HolterModelOld")
    if isinstance(seen.figures, Figures) and len(set(seen.figures.revisions.values())) > 1:
        at_work = ", ".join(f"{pod} r{number}" for pod, number in sorted(seen.figures.revisions.items()))
        yield Finding(Level.NOTE, f"workers differ in their model: {at_work}", "they take up a new one within a minute")


def _notes(seen: Snapshot) -> Iterator[Finding]:
    namespace, name = _here(seen)
    spec, status = seen.cohort["spec"], seen.cohort.get("status") or {}
    if spec["paused"]:
        yield Finding(
            Level.NOTE, "paused: nothing is changed or repaired", f"kubectl holter resume {name} -n {namespace}"
        )
    if spec["refit"]["suspend"]:
        yield Finding(Level.NOTE, "refits are suspended (spec.refit.suspend)", "set it to false to learn again")
    if (pinned := spec["model"].get("pinnedRevision")) is not None:
        do = f"kubectl holter rollback {name} -n {namespace} --release"
        yield Finding(Level.NOTE, f"the model is held at revision {pinned} (spec.model.pinnedRevision)", do)
    learning = condition(status, "ModelReady")
    if learning.get("reason") == "Learning":
        yield Finding(Level.NOTE, learning["message"], "nothing: alarms work without", "HolterNoModel")
    if isinstance(seen.alerts, Unseen):
        yield Finding(
            Level.NOTE,
            f"alerts could not be asked for: {seen.alerts.why}",
            "see the console above"
            if seen.alerts.why.startswith(NO_POD)
            else "the role `edit` may (secrets, pods/portforward); --alerts 0 leaves them out",
        )


def model_age(seen: Snapshot) -> float | None:
    """Seconds since the model at work was fitted; None without one."""
    trained = ((seen.cohort.get("status") or {}).get("model") or {}).get("trainedAt")
    return (seen.now - datetime.fromisoformat(trained)).total_seconds() if trained else None


def words(age: float) -> str:
    """A duration, as people say it."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if age >= 2 * length:
            return f"{age / length:.0f} {unit}"
    return f"{max(age, 0):.0f} s"
