"""How a workload is, and why it is not well, from itself, its pods and events. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holter_operator.build.meta import Object
from holter_operator.reconcile.live import Live

_STARTING = frozenset({"ContainerCreating", "PodInitializing"})
_BY_ITSELF = frozenset({"Pending", "Starting", "Unready", "Rolling"})
_ALIKE = {"ErrImagePull": "ImagePullBackOff"}
"""What a kubelet says in turn of one thing: a condition's reason is not to flicker."""
MOST = 400
"""Characters of another program's message that a condition repeats."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a workload is not available.

    Attributes:
        reason: CamelCase.
        message: names the pod and its last reason.
        waits: it may well pass by itself; what does not is a fault.
    """

    reason: str
    message: str
    waits: bool


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload's numbers.

    Attributes:
        kind: Deployment or StatefulSet.
        name: its name.
        wanted: pods that it should have.
        replicas: pods that there are.
        updated: those of the newest template.
        ready: those that are ready.
        observed: whether its controller has seen the newest spec.
    """

    kind: str
    name: str
    wanted: int = 0
    replicas: int = 0
    updated: int = 0
    ready: int = 0
    observed: bool = False

    @property
    def available(self) -> bool:
        """Whether all that is wanted is there, in its newest form."""
        return self.observed and self.updated >= self.wanted and self.ready >= self.wanted > 0

    @property
    def rolling(self) -> bool:
        """Whether it is on its way to its newest form."""
        return not self.observed or self.updated < self.wanted or self.replicas != self.wanted

    @property
    def lacking(self) -> str:
        """What it lacks, in words."""
        if not self.observed:
            return "its controller has not seen its newest form yet"
        if self.updated < self.wanted:
            return f"{self.updated} of {self.wanted} pods are of the newest form"
        if self.replicas > self.wanted:
            return f"{self.replicas} pods run, {self.wanted} are wanted"
        return f"{self.ready} of {self.wanted} pods are ready"

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def workload(kind: str, name: str, live: Live | None) -> Workload:
    """The numbers of a Deployment or StatefulSet."""
    if live is None:
        return Workload(kind, name)
    status, wanted = live.status, live.spec.get("replicas", 1)
    # A StatefulSet that has rolled says nothing of updated pods.
    rolled = kind == "StatefulSet" and status.get("currentRevision") == status.get("updateRevision")
    updated = status.get("replicas", 0) if rolled else status.get("updatedReplicas", 0)
    return Workload(
        kind,
        name,
        wanted=wanted,
        replicas=status.get("replicas", 0),
        updated=updated,
        ready=status.get("readyReplicas", 0),
        observed=status.get("observedGeneration", 0) >= live.generation and not live.deleting,
    )


def trouble(found: Workload, live: Live | None, pods: Sequence[Object], events: Iterable[Object]) -> Trouble:
    """Why a workload that is not available is not.

    Args:
        found: its numbers.
        live: itself.
        pods: its pods.
        events: about itself, and about its pods.
    """
    told = _newest_first(events)
    faults = [fault for pod in sorted(pods, key=lambda p: p["metadata"]["name"]) if (fault := _pod(pod, told))]
    if faults:
        # What a container says is nearer to the cause than what a scheduler does, and that than to wait.
        reason, message = min(faults, key=lambda fault: (fault[0] in _BY_ITSELF, fault[0] == "Unschedulable"))
        return Trouble(reason, f"{found}: {message}", waits=reason in _BY_ITSELF)
    conditions = live.status.get("conditions", ()) if live else ()
    for condition in conditions:
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return Trouble("PodsRefused", f"{found} makes no pod: {condition['message'][:MOST]}", waits=False)
    if len(pods) < found.wanted:
        for event in told:
            if event.get("reason") == "FailedCreate":
                return Trouble("PodsRefused", f"{found} makes no pod: {event['message'][:MOST]}", waits=False)
    return Trouble("Rolling" if found.rolling else "Unready", f"{found}: {found.lacking}", waits=True)


def refit_trouble(job: Object, pods: Sequence[Object], events: Sequence[Object]) -> Trouble | None:
    """Why a refit's Job has failed, or does not get on; None where it has ended well, runs, or may well start yet.

    Args:
        job: the Job.
        pods: its pods.
        events: about itself, and about its pods.
    """
    name = job["metadata"]["name"]
    for condition in job.get("status", {}).get("conditions", ()):
        if condition["type"] == "Failed" and condition["status"] == "True":
            why = f"{condition.get('reason', 'no reason')}: {condition.get('message', '')[:MOST]}"
            return Trouble("RefitFailed", f"Job {name} has failed, {why}; the logs of its pods tell more", waits=False)
    told = _newest_first(events)
    faults = [fault for pod in pods if (fault := _pod(pod, told)) and fault[0] not in _BY_ITSELF]
    if faults:
        return Trouble(faults[0][0], f"Job {name}: {faults[0][1]}", waits=False)
    refused = [e for e in told if e.get("reason") == "FailedCreate"] if not pods else []
    if refused:
        return Trouble("PodsRefused", f"Job {name} makes no pod: {refused[0]['message'][:MOST]}", waits=False)
    return None


def _newest_first(events: Iterable[Object]) -> list[Object]:
    return sorted(events, key=lambda e: e.get("lastTimestamp") or e.get("eventTime") or "", reverse=True)


def _pod(pod: Object, events: Iterable[Object]) -> tuple[str, str] | None:
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    if "deletionTimestamp" in pod["metadata"] or _is(status, "Ready"):
        return None
    of_pod = [e for e in events if e["involvedObject"].get("name") == name]
    for container in status.get("containerStatuses", ()):
        waiting, last = container["state"].get("waiting"), container.get("lastState", {}).get("terminated")
        if waiting and waiting.get("reason") not in _STARTING:
            ended = f"; it last ended with {last['exitCode']} ({last.get('reason', 'no reason')})" if last else ""
            said = waiting.get("message") or "no message"
            said_reason = waiting["reason"]
            words = f"pod {name} is waiting, {said_reason}: {said[:MOST]}{ended}"
            return _ALIKE.get(said_reason, said_reason), words
    scheduled = next((c for c in status.get("conditions", ()) if c["type"] == "PodScheduled"), None)
    if scheduled and scheduled["status"] == "False":
        return "Unschedulable", f"pod {name} finds no node: {scheduled.get('message', '')[:MOST]}"
    for event in of_pod:
        if event.get("type") == "Warning" and event.get("reason") in ("FailedMount", "FailedAttachVolume", "Failed"):
            return event["reason"], f"pod {name}, {event['reason']}: {event['message'][:MOST]}"
    for event in of_pod:
        if event.get("type") == "Warning" and event.get("reason") == "Unhealthy":
            return "Unready", f"pod {name} runs but is not ready: {event['message'][:MOST]}"
    if status.get("phase") in (None, "Pending"):
        return "Pending", f"pod {name} is not scheduled yet" if not scheduled else f"pod {name} is starting"
    return "Starting", f"pod {name} is not ready yet"


def _is(status: Mapping[str, Any], kind: str) -> bool:
    return any(c["type"] == kind and c["status"] == "True" for c in status.get("conditions", ()))
