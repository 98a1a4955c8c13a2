"""A cohort as it is at one moment: its objects, its pods' figures, its last alerts. What may not be seen says why."""

import re
import time
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from holter_operator.build.console import HTTP_PORT
from holter_operator.build.meta import COHORT_LABEL, Object
from holter_operator.build.pods import METRICS
from holter_operator.io.kube import KubeError
from holter_operator.kubectl.access import Access, Unseen, look
from holter_operator.kubectl.figures import Figures, Reading, figures
from holter_operator.kubectl.refused import LINES, RECENT, Refused, refused
from holter_operator.reconcile.diagnosis import Trouble, Workload, trouble, workload
from holter_operator.reconcile.kinds import (
    COHORT,
    CONFIG_MAP,
    CRON_JOB,
    DEPLOYMENT,
    EVENT,
    JOB,
    POD,
    SECRET,
    STATEFUL_SET,
    Kind,
)
from holter_operator.reconcile.live import trim

OPERATOR = "app.kubernetes.io/part-of=holter,app.kubernetes.io/component=operator"
COMPONENT = "app.kubernetes.io/component"
NO_POD = "no pod runs"
RUNNING = ("ingest", "inference", "console")


@dataclass(frozen=True, slots=True)
class Operators:
    """The operator's Deployments in the whole cluster, and their pods that are ready."""

    deployments: int
    ready: int


@dataclass(frozen=True, slots=True)
class Part:
    """A workload of the cohort, and why it is not available."""

    component: str
    workload: Workload
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True)
class Refit:
    """The newest refit Job.

    Attributes:
        name: of the Job.
        state: running, complete or failed.
        started: RFC 3339; None while its pod has not begun.
        why: of a failure.
    """

    name: str
    state: str
    started: str | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One cohort.

    Attributes:
        now: when.
        cohort: the object.
        parts: its workloads; Unseen without the right to.
        refit: the newest; None when there was none.
        revisions: kept models.
        warnings: newest Events of type Warning about the cohort, newest first.
        operator: None where it may not be seen.
        figures: what pods do; Unseen where they cannot be reached, None when not asked for.
        alerts: as the console tells of them, newest first; Unseen without the right to.
        refused: devices that ingest refused lately; Unseen without the right to, None when pods are not asked.
    """

    now: datetime
    cohort: Object
    parts: tuple[Part, ...] | Unseen
    refit: Refit | Unseen | None
    revisions: tuple[int, ...] | Unseen
    warnings: tuple[Object, ...] | Unseen
    operator: Operators | None
    figures: Figures | Unseen | None
    alerts: tuple[Object, ...] | Unseen | None
    refused: tuple[Refused, ...] | Unseen | None = None

    @property
    def name(self) -> str:
        """`namespace/name`."""
        return f"{self.cohort['metadata']['namespace']}/{self.cohort['metadata']['name']}"


def take(
    access: Access, cohort: Object, *, measure: float, alerts: int, sleep: Callable[[float], None] = time.sleep
) -> Snapshot:
    """Look at a cohort.

    Args:
        access: the cluster.
        cohort: the object, just read.
        measure: seconds between the two readings of the pods' metrics; 0: pods are not asked.
        alerts: how many to ask the console for; 0: it is not asked.
        sleep: waits.

    Raises:
        KubeError: the API server does not answer.
    """
    namespace, name = cohort["metadata"]["namespace"], cohort["metadata"]["name"]
    labels = f"{COHORT_LABEL}={name}"

    def listed(kind: Kind) -> list[Object]:
        return access.kube.list(kind, namespace, labels=labels)[0]

    pods = look(lambda: listed(POD))
    found: Figures | Unseen | None = None
    turned_away: tuple[Refused, ...] | Unseen | None = None
    if measure and isinstance(pods, Unseen):
        found = turned_away = pods
    elif measure and not isinstance(pods, Unseen):
        found = _figures(access, namespace, pods, measure, sleep)
        turned_away = look(lambda: _refused(access, namespace, pods))
    told: tuple[Object, ...] | Unseen | None = None
    alerts = alerts if cohort["spec"]["console"]["enabled"] else 0
    if alerts and isinstance(pods, Unseen):
        told = pods
    elif alerts and not isinstance(pods, Unseen):
        told = look(lambda: _alerts(access, cohort, pods, alerts))
    return Snapshot(
        now=datetime.now(UTC),
        cohort=cohort,
        parts=look(lambda: _parts(access, cohort, listed, () if isinstance(pods, Unseen) else pods)),
        refit=look(lambda: _newest_refit(listed(JOB))),
        revisions=look(
            lambda: revisions(name, access.kube.list(CONFIG_MAP, namespace, labels=labels, metadata=True)[0])
        ),
        warnings=look(lambda: _warnings(access, cohort)),
        operator=_operator(access),
        figures=found,
        alerts=told,
        refused=turned_away,
    )


def revisions(name: str, config_maps: Sequence[Object]) -> tuple[int, ...]:
    """Numbers of the models that are kept."""
    pattern = re.compile(rf"{re.escape(name)}-model-r(\d+)")
    return tuple(sorted(int(m[1]) for each in config_maps if (m := pattern.fullmatch(each["metadata"]["name"]))))


def _parts(
    access: Access, cohort: Object, listed: Callable[[Kind], list[Object]], pods: Sequence[Object]
) -> tuple[Part, ...]:
    namespace, name = cohort["metadata"]["namespace"], cohort["metadata"]["name"]
    persistent = cohort["spec"]["ingest"]["log"]["volume"] == "Persistent"
    kinds = {"ingest": STATEFUL_SET if persistent else DEPLOYMENT, "inference": STATEFUL_SET, "console": DEPLOYMENT}
    there = {
        (kind.name, each["metadata"]["name"]): each for kind in (DEPLOYMENT, STATEFUL_SET) for each in listed(kind)
    }
    found = []
    for component in RUNNING:
        if component == "console" and not cohort["spec"]["console"]["enabled"]:
            continue
        kind, called = kinds[component], f"{name}-{component}"
        document = there.get((kind.name, called))
        live = trim(kind, document) if document else None
        numbers = workload(kind.name, called, live)
        why = None
        if document is None:
            why = Trouble("Missing", f"{numbers} is not there", waits=True)
        elif not numbers.available:
            own = [pod for pod in pods if pod["metadata"]["labels"].get(COMPONENT) == component]
            about = {called, *(pod["metadata"]["name"] for pod in own)}
            events = look(lambda: access.kube.list(EVENT, namespace)[0])
            told = [] if isinstance(events, Unseen) else events
            why = trouble(numbers, live, own, [e for e in told if e["involvedObject"].get("name") in about])
        found.append(Part(component, numbers, why))
    return tuple(found)


def _newest_refit(jobs: Sequence[Object]) -> Refit | None:
    if not jobs:
        return None
    return refit_of(max(jobs, key=lambda job: job["metadata"]["creationTimestamp"]))


def refit_of(job: Object) -> Refit:
    """What a Job says of itself."""
    status = job.get("status") or {}
    state, why = "running", ""
    for condition in status.get("conditions", ()):
        if condition["status"] == "True" and condition["type"] in ("Complete", "Failed"):
            state, why = condition["type"].lower(), condition.get("message", "")
    return Refit(job["metadata"]["name"], state, status.get("startTime"), why)


def _warnings(access: Access, cohort: Object) -> tuple[Object, ...]:
    metadata = cohort["metadata"]
    found, _ = access.kube.list(
        EVENT, metadata["namespace"], fields=f"involvedObject.uid={metadata['uid']},type=Warning"
    )
    return tuple(sorted(found, key=lambda e: e.get("lastTimestamp") or e.get("eventTime") or "", reverse=True))


def _operator(access: Access) -> Operators | None:
    found = look(lambda: access.kube.list(DEPLOYMENT, labels=OPERATOR)[0])
    if isinstance(found, Unseen):
        return None
    return Operators(len(found), sum(int((each.get("status") or {}).get("readyReplicas", 0)) for each in found))


def running(pods: Sequence[Object], *components: str) -> list[Object]:
    """Pods of these components that have been started and are not ending."""
    return [
        pod
        for pod in pods
        if pod["metadata"]["labels"].get(COMPONENT) in components
        and pod["status"].get("phase") == "Running"
        and "deletionTimestamp" not in pod["metadata"]
    ]


def read_metrics(access: Access, namespace: str, pods: Sequence[Object]) -> tuple[Reading, str]:
    """Metrics by pod, and the first fault."""
    found, fault = {}, ""
    for pod in running(pods, *RUNNING):
        name = pod["metadata"]["name"]
        try:
            found[name] = access.fetch(namespace, name, METRICS.number, "/metrics").decode()
        except KubeError as error:
            fault = fault or str(error)
    return found, fault


def _figures(
    access: Access, namespace: str, pods: Sequence[Object], measure: float, sleep: Callable[[float], None]
) -> Figures | Unseen:
    before, fault = read_metrics(access, namespace, pods)
    if not before:
        return Unseen(fault or NO_POD)
    began = time.monotonic()
    sleep(measure)
    after, fault = read_metrics(access, namespace, pods)
    return figures(before, after, time.monotonic() - began) if after else Unseen(fault)


def _refused(access: Access, namespace: str, pods: Sequence[Object]) -> tuple[Refused, ...]:
    names = [pod["metadata"]["name"] for pod in running(pods, "ingest")]
    return refused(access.pod_log(namespace, name, LINES, seconds=RECENT) for name in names)


def _alerts(access: Access, cohort: Object, pods: Sequence[Object], number: int) -> tuple[Object, ...]:
    namespace, name = cohort["metadata"]["namespace"], cohort["metadata"]["name"]
    there = running(pods, "console")
    if not there:
        raise KubeError(0, "NoConsole", f"{NO_POD} of the console, which tells of them")
    secret = access.kube.get(SECRET, namespace, f"{name}-console")
    if secret is None:
        raise KubeError(404, "NotFound", f"Secret {name}-console is missing")
    token = b64decode(secret["data"]["view"]).decode()
    pod = there[0]["metadata"]["name"]
    tls = "tls" in cohort["spec"]
    answer = access.fetch_json(namespace, pod, HTTP_PORT.number, f"/api/alerts?newest={number}", token, tls=tls)
    return tuple(answer["alerts"])


def cohorts(access: Access, namespace: str | None) -> list[Object]:
    """All cohorts of a namespace, or of all.

    Raises:
        KubeError: refused.
    """
    return access.kube.list(COHORT, namespace)[0]


def cron_job(access: Access, cohort: Object) -> Object | None:
    """The refit's CronJob."""
    metadata: Mapping[str, str] = cohort["metadata"]
    return access.kube.get(CRON_JOB, metadata["namespace"], f"{metadata['name']}-refit")
