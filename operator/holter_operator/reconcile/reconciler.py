"""One pass over one cohort: whatever woke us, look at all of it, and write what differs."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import structlog
from pydantic import ValidationError

from holter_operator.api import crd, schema
from holter_operator.api.cohort import Cohort, parse
from holter_operator.build import ingest, meta, names
from holter_operator.build import secrets as secret_objects
from holter_operator.build.everything import objects
from holter_operator.build.given import Component, Given
from holter_operator.build.meta import Object
from holter_operator.io.events import Events
from holter_operator.io.kube import Kube, KubeError, events_of, pods_of
from holter_operator.observe.metrics import Metrics
from holter_operator.reconcile import refits
from holter_operator.reconcile.candidates import Candidates
from holter_operator.reconcile.children import Children
from holter_operator.reconcile.credentials import ISSUED, Credentials, generated
from holter_operator.reconcile.deletion import Deletion
from holter_operator.reconcile.diagnosis import Trouble, Workload, trouble, workload
from holter_operator.reconcile.kinds import COHORT, SECRET
from holter_operator.reconcile.live import Cache, Key, Live
from holter_operator.reconcile.provisioning import Provisioning, Step
from holter_operator.reconcile.refits import Refits, Remembered
from holter_operator.reconcile.status import Problem, View, condition, status
from holter_operator.settings import Settings

FINALIZER = f"{crd.GROUP}/finalizer"
FIRST_LOOK, SELDOM = 5.0, 60.0
"""Seconds after which pods of a workload that is not available are looked at, first and at last."""

log = structlog.get_logger()


@dataclass(slots=True)
class Memory:
    """What is remembered of a cohort between passes; all of it may be lost.

    Attributes:
        checked: the last document that was validated, and what came of it.
        look: when its pods are to be looked at, and the seconds until the time after.
        troubles: what was seen then.
        refits: what is remembered of refits.
        asked: what InfluxDB was asked, while all was well there.
    """

    checked: tuple[tuple[str, int], Cohort | None, tuple[Problem, ...]] | None = None
    look: tuple[float, float] | None = None
    troubles: Mapping[str, Trouble] = field(default_factory=dict)
    refits: Remembered = field(default_factory=Remembered)
    asked: Step | None = None


class Reconciler:
    """Passes, one at a time for each cohort; from any thread."""

    def __init__(
        self,
        settings: Settings,
        kube: Kube,
        cache: Cache,
        cohorts: Mapping[tuple[str, str], Object],
        provisioning: Provisioning,
        events: Events,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._kube = kube
        self._cache = cache
        self._cohorts = cohorts
        self._provisioning = provisioning
        self._events = events
        self._metrics = metrics
        self._clock = clock
        self._children = Children(kube, cache, events, metrics)
        self._credentials = Credentials(self._children, events, provisioning.secret)
        self._refits = Refits(kube, clock)
        self._candidates = Candidates(kube, self._children, events, metrics)
        self._deletion = Deletion(settings, kube, provisioning, self._children, events, clock)
        self._memory = dict[str, Memory]()
        self.kinds: frozenset[str] = frozenset()
        self.written: Callable[[Object], None] = lambda _: None

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Look at one cohort.

        Returns:
            Seconds until the next look; None when it is gone.

        Raises:
            KubeError: to be tried again.
        """
        document = self._cohorts.get((namespace, name))
        if document is None:
            self._metrics.phase(namespace, name, None)
            self._children.forget(namespace, self._cache.of(namespace, name))
            return None
        memory = self._memory.setdefault(document["metadata"]["uid"], Memory())
        cohort, faults = self._checked(document, memory)
        if "deletionTimestamp" in document["metadata"]:
            return self._delete(document, cohort)
        if FINALIZER not in document["metadata"].get("finalizers", ()):
            document = self._finalizer(document, [*document["metadata"].get("finalizers", ()), FINALIZER])
        live = self._cache.of(namespace, name)
        if cohort is None:
            self._tell(document, self._seen(document, None, live, memory, problems=faults))
            return self._settings.resync
        if cohort.spec.paused:
            view = self._seen(document, cohort, live, memory)
            self._tell(document, replace(view, paused=True))
            return self._settings.resync
        return self._apply(document, cohort, live, memory)

    def forget(self, uid: str) -> None:
        """A cohort is gone."""
        self._memory.pop(uid, None)

    def asked(self) -> dict[str, Step]:
        """By uid, what InfluxDB was asked where all was well."""
        return {uid: memory.asked for uid, memory in list(self._memory.items()) if memory.asked}

    def _apply(self, document: Object, cohort: Cohort, live: dict[Key, Live], memory: Memory) -> float:
        given = Given(
            images=self._settings.images,
            owner_uid=document["metadata"]["uid"],
            image_pull_policy=self._settings.image_pull_policy,
            kinds=self.kinds,
            console_tokens=self._credentials.console(cohort, live),
        )
        problems: list[Problem] = []
        lost = self._credentials.device_key(document, cohort, given, live)
        if lost:
            problems.append(lost)
        memory.asked = None
        step = self._provisioning.step(document, cohort, given, live)
        for change in step.changes:
            self._events.tell(document, change.reason, change.message)
        given = replace(given, influxdb=step.connections)
        # Tokens are shown once: into their Secrets before anything else.
        entrusted = (*secret_objects.connections(cohort, given), secret_objects.console_tokens(cohort, given))
        for built in filter(None, entrusted):
            problems += self._child(document, built, live)
        model, candidate, refused = self._candidates.step(document, cohort, given, live)
        problems += refused
        desired = objects(cohort, given)
        for built in desired:
            if built["kind"] != "Secret" and built["metadata"]["name"] != candidate["metadata"]["name"]:
                problems += self._child(document, built, live)
        # A Secret whose token is not known now is not a Secret that nobody asks for.
        self._children.prune(live, [*desired, candidate], () if step.complete else (SECRET,))
        memory.asked = step if step.complete and not step.bucket.problem else None
        live = self._cache.of(cohort.namespace, cohort.name)
        view = self._seen(document, cohort, live, memory, problems=tuple(problems))
        unwell = self._refits.trouble(
            cohort, memory.refits, now_at_once=_degraded(document), otherwise=self._settings.resync
        )
        if unwell and not model.problem:
            model = replace(model, problem=Problem(unwell.reason, unwell.message))
        view = replace(view, bucket=step.bucket, model=model)
        document = self._tell(document, view)
        ready = condition(document.get("status", {}), "Ready").get("status") == "True"
        if ready and generated(cohort):
            self._issued(document)
        waits = [self._settings.resync, step.again, memory.look[0] - self._clock() if memory.look else None]
        if model.revision is None and not cohort.spec.refit.suspend:
            owner = _find(live, "CronJob", refits.name(cohort)) if ready else None
            waits.append(self._refits.first(cohort, given, owner.uid if owner else None, memory.refits))
        if model.revision is None or memory.refits.trouble:
            waits.append(memory.refits.look - self._clock() if memory.refits.look else None)
        if problems:
            waits.append(30.0)
        return max(0.1, min(wait for wait in waits if wait is not None))

    def _child(self, document: Object, built: Object, live: Mapping[Key, Live]) -> tuple[Problem, ...]:
        problem = self._children.apply(document, built, _find(live, built["kind"], built["metadata"]["name"]))
        return (problem,) if problem else ()

    def _issued(self, document: Object) -> None:
        if ISSUED not in document["metadata"].get("annotations", {}):
            metadata = {"resourceVersion": document["metadata"]["resourceVersion"], "annotations": {ISSUED: "true"}}
            self._patch(document, {"metadata": metadata})

    def _seen(
        self,
        document: Object,
        cohort: Cohort | None,
        live: Mapping[Key, Live],
        memory: Memory,
        problems: tuple[Problem, ...] = (),
    ) -> View:
        """How the workloads are; why they are not well is looked up less and less often."""
        view = View(document["metadata"]["generation"], problems=problems)
        if cohort is None:
            return view
        found = {
            Component.INGEST: _workload(live, ingest.kind(cohort), names.component(cohort, Component.INGEST)),
            Component.INFERENCE: _workload(live, "StatefulSet", names.component(cohort, Component.INFERENCE)),
        }
        if cohort.spec.console.enabled:
            found[Component.CONSOLE] = _workload(live, "Deployment", names.component(cohort, Component.CONSOLE))
        unwell = {part: each for part, each in found.items() if not each.available}
        now = self._clock()
        if not unwell:
            memory.look, memory.troubles = None, {}
        elif memory.look is None:
            first = 0.0 if _degraded(document) else FIRST_LOOK  # what stands there already is not taken back
            memory.look = now + first, FIRST_LOOK
        if memory.look and now >= memory.look[0]:
            memory.troubles = {each.name: self._trouble(cohort, part, each, live) for part, each in unwell.items()}
            wait = min(SELDOM, 2 * memory.look[1])
            memory.look = now + wait, wait
        names_unwell = {each.name for each in unwell.values()}
        return replace(
            view,
            ingest=found[Component.INGEST],
            inference=found[Component.INFERENCE],
            troubles={name: each for name, each in memory.troubles.items() if name in names_unwell},
            endpoint=_endpoint(cohort, _find(live, "Service", names.component(cohort, Component.INGEST))),
            selector=",".join(f"{k}={v}" for k, v in meta.selector(cohort, Component.INFERENCE).items()),
        )

    def _trouble(self, cohort: Cohort, part: Component, found: Workload, live: Mapping[Key, Live]) -> Trouble:
        pods = pods_of(self._kube, cohort.namespace, meta.selector(cohort, part))
        told = list(events_of(self._kube, cohort.namespace, found.kind, found.name))
        for pod in sorted(pods, key=lambda p: p["metadata"]["name"])[:3]:
            told += events_of(self._kube, cohort.namespace, "Pod", pod["metadata"]["name"])
        return trouble(found, _find(live, found.kind, found.name), pods, told)

    def _checked(self, document: Object, memory: Memory) -> tuple[Cohort | None, tuple[Problem, ...]]:
        """The cohort, or what is wrong with it: the API server has validated it, perhaps with an older CRD."""
        key = (document["metadata"]["uid"], document["metadata"]["generation"])
        if memory.checked is None or memory.checked[0] != key:
            plain = {**document, "metadata": {k: document["metadata"][k] for k in ("name", "namespace")}}
            defaulted, faults = schema.check(plain)
            cohort, problems = None, tuple(Problem("InvalidSpec", str(fault)) for fault in faults)
            if not faults:
                try:
                    cohort = parse(defaulted)
                except ValidationError as error:
                    problems = (Problem("InvalidSpec", f"this operator cannot read it: {error}"),)
            memory.checked = key, cohort, problems
        return memory.checked[1], memory.checked[2]

    def _delete(self, document: Object, cohort: Cohort | None) -> float | None:
        namespace, name = document["metadata"]["namespace"], document["metadata"]["name"]
        finalizers = document["metadata"].get("finalizers", ())
        if FINALIZER not in finalizers:
            return None
        waits = self._deletion.step(document, cohort, self._cache.of(namespace, name))
        if waits is None:
            self._finalizer(document, [each for each in finalizers if each != FINALIZER])
            return None
        self._tell(document, View(document["metadata"]["generation"], deleting=waits))
        return 2.0

    def _finalizer(self, document: Object, finalizers: list[str]) -> Object:
        metadata = {"resourceVersion": document["metadata"]["resourceVersion"], "finalizers": finalizers}
        return self._patch(document, {"metadata": metadata})

    def _patch(self, document: Object, body: Object) -> Object:
        metadata = document["metadata"]
        try:
            answer = self._kube.patch(COHORT, metadata["namespace"], metadata["name"], body)
        except KubeError as error:
            if error.status == 404:
                return document
            raise
        self.written(answer)
        return answer

    def _tell(self, document: Object, view: View) -> Object:
        """Write the status, if it says anything new."""
        metadata, before = document["metadata"], document.get("status", {})
        after = status(view, before, datetime.fromtimestamp(self._clock(), UTC))
        self._metrics.phase(metadata["namespace"], metadata["name"], after["phase"])
        if after == before:
            return document
        body: dict[str, Any] = {
            "apiVersion": COHORT.api_version,
            "kind": COHORT.name,
            "metadata": {field: metadata[field] for field in ("name", "namespace", "uid")},
            "status": after,
        }
        try:
            answer = self._kube.apply(body, force=True, status=True)
        except KubeError as error:
            if error.status in (404, 409):  # it is gone, or another of its name is there
                return document
            raise
        self.written(answer)
        self._transition(answer, before, after)
        return answer

    def _transition(self, document: Object, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        was, now = condition(before, "Ready"), condition(after, "Ready")
        if now["reason"] == "Deleting":
            return
        if was.get("status") != now["status"] and (was or now["status"] == "True"):
            ready = now["status"] == "True"
            self._events.tell(document, "Ready" if ready else "NotReady", now["message"], warning=not ready)
        faulty, healthy = condition(after, "Degraded"), condition(before, "Degraded")
        if faulty["status"] == "True" and healthy.get("message") != faulty["message"]:
            self._events.tell(document, faulty["reason"], faulty["message"], warning=True)


def _degraded(document: Object) -> bool:
    return condition(document.get("status", {}), "Degraded").get("status") == "True"


def _find(live: Mapping[Key, Live], kind: str, name: str) -> Live | None:
    return next((each for each in live.values() if each.kind.name == kind and each.name == name), None)


def _workload(live: Mapping[Key, Live], kind: str, name: str) -> Workload:
    return workload(kind, name, _find(live, kind, name))


def _endpoint(cohort: Cohort, service: Live | None) -> str | None:
    """Where wearables reach ingest: a balancer's address where there is one, else the name inside the cluster."""
    if service is None:
        return None
    scheme, port = "https" if cohort.spec.tls else "http", cohort.spec.ingest.http.port
    balancer = service.status.get("loadBalancer", {}).get("ingress") or [{}]
    host = balancer[0].get("hostname") or balancer[0].get("ip") or f"{service.name}.{cohort.namespace}.svc"
    return f"{scheme}://{host}:{port}"
