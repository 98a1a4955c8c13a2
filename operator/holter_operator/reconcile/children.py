"""A cohort's children: each applied when it has to be, each removed when it is no longer desired."""

import re
from collections.abc import Iterable, Mapping

import structlog

from holter_operator.api import crd
from holter_operator.build.meta import Object
from holter_operator.build.models import REVISION_LABEL
from holter_operator.io.events import Events
from holter_operator.io.kube import Cause, Kube, KubeError
from holter_operator.observe.metrics import Metrics
from holter_operator.reconcile.difference import difference, drifted, stamped
from holter_operator.reconcile.kinds import ROLE_BINDING, STATEFUL_SET, Kind, of
from holter_operator.reconcile.live import Cache, Key, Live, trim
from holter_operator.reconcile.status import Problem

HANDOVER = "holter-operator-handover"
"""Field manager of `replicas` between us and an autoscaler."""

KEPT = f"{crd.GROUP}/kept"
"""Label of what no reconcile removes: the device key."""

_RECREATED = {STATEFUL_SET: "Orphan", ROLE_BINDING: "Background"}
"""Kinds with immutable fields that can be made anew at no cost, and what becomes of their dependents: pods stay."""

log = structlog.get_logger()


class Children:
    """Writes, and what they leave in the cache."""

    def __init__(self, kube: Kube, cache: Cache, events: Events, metrics: Metrics) -> None:
        self._kube = kube
        self._cache = cache
        self._events = events
        self._metrics = metrics
        self._seen = dict[Key, str]()

    def apply(self, cohort: Object, desired: Object, live: Live | None, of_what: object = None) -> Problem | None:
        """Make an object as desired, if it is not.

        Args:
            cohort: whose it is.
            desired: the object.
            live: as it is.
            of_what: what stands for its content in the digest, where the object itself is large.

        Returns:
            Why it cannot be, where the API server refuses it for good.

        Raises:
            KubeError: it may be a moment later.
        """
        kind, built = of(desired), stamped(desired, of_what)
        key = (kind.plural, desired["metadata"]["namespace"], desired["metadata"]["name"])
        reason = difference(built, live)
        if live is not None:
            self._seen[key] = live.uid
        if reason is None or (live is not None and live.deleting):
            return None  # what is on its way out is made anew when it is gone
        if live is not None:
            self._hand_over(kind, built, live)
        try:
            answer = self._apply(cohort, kind, built)
        except KubeError as error:
            return self._refused(cohort, kind, built, live, error)
        self._cache.put(trim(kind, answer))
        name = f"{kind.name} {key[2]}"
        log.info("applied", object=name, why=reason)
        if drifted(reason) and key in self._seen:
            what = "was gone: it is made anew" if reason == "missing" else f"{reason} was changed: it is set right"
            self._events.tell(cohort, "DriftRepaired", f"{name}: {what}", warning=True)
            self._metrics.repaired(kind.name)
        self._seen[key] = answer["metadata"]["uid"]
        return None

    def settled(self, desired: Object, live: Live) -> bool:
        """Whether an object is as desired."""
        return difference(stamped(desired), live) is None

    def create(self, desired: Object) -> Live:
        """Make an object that is not there.

        Raises:
            KubeError: it is there (409), or refused.
        """
        kind = of(desired)
        live = trim(kind, self._kube.create(kind, stamped(desired)))
        self._cache.put(live)
        self._seen[live.key] = live.uid
        log.info("created", object=f"{kind.name} {live.name}")
        return live

    def read(self, live: Live) -> Object | None:
        """The whole of an object, as it is now; None when it is gone.

        Raises:
            KubeError: refused.
        """
        found = self._kube.get(live.kind, live.namespace, live.name)
        if found is not None:
            self._cache.put(trim(live.kind, found))
        return found

    def delete(self, live: Live, why: str) -> None:
        """Remove an object.

        Raises:
            KubeError: refused.
        """
        self._seen.pop(live.key, None)
        if self._kube.delete(live.kind, live.namespace, live.name, uid=live.uid) is None:
            self._cache.remove(live)
        log.info("deleted", object=f"{live.kind.name} {live.name}", why=why)

    def prune(self, live: Mapping[Key, Live], desired: Iterable[Object], spared: Iterable[Kind]) -> None:
        """Remove what we made and is no longer desired; never a model, nor the device key.

        Args:
            live: all the cohort's children.
            desired: those that should be.
            spared: kinds of which it is not known what is desired.

        Raises:
            KubeError: refused.
        """
        wanted = {(of(each).plural, each["metadata"]["namespace"], each["metadata"]["name"]) for each in desired}
        kept = set(spared)
        for key, each in live.items():
            ours = each.owned and not each.deleting and KEPT not in each.labels and REVISION_LABEL not in each.labels
            if ours and key not in wanted and each.kind not in kept:
                self.delete(each, "no longer asked for")

    def forget(self, namespace: str, live: Iterable[Key]) -> None:
        """A cohort is gone."""
        for key in live:
            if key[1] == namespace:
                self._seen.pop(key, None)

    def _apply(self, cohort: Object, kind: Kind, built: Object) -> Object:
        try:
            return self._kube.apply(built)
        except KubeError as error:
            if error.status != 409 or not error.causes:
                raise
            rivals = [cause for cause in error.causes if _manager(cause) != HANDOVER]
            if rivals:
                fields = ", ".join(f"{cause.field.lstrip('.')} ({_manager(cause)})" for cause in rivals)
                name = f"{kind.name} {built['metadata']['name']}"
                message = f"{name}: fields of other managers are taken back: {fields}"
                self._events.tell(cohort, "FieldConflict", message, warning=True)
            return self._kube.apply(built, force=True)

    def _hand_over(self, kind: Kind, built: Object, live: Live) -> None:
        """Leave `replicas` to the autoscaler as they are: let go of, the API server would set them to 1."""
        released = "f:replicas" in live.owned.get("f:spec", {}) and "replicas" not in built.get("spec", {})
        if kind.runs and released:
            partial = {
                "apiVersion": built["apiVersion"],
                "kind": built["kind"],
                "metadata": {"name": live.name, "namespace": live.namespace},
                "spec": {"replicas": live.spec["replicas"]},
            }
            self._kube.apply(partial, manager=HANDOVER, force=True)

    def _refused(
        self, cohort: Object, kind: Kind, built: Object, live: Live | None, error: KubeError
    ) -> Problem | None:
        if error.passing or error.status in (401, 409):
            raise error
        if kind.optional and error.unserved:
            return None  # what is known of the kinds follows
        name = f"{kind.name} {built['metadata']['name']}"
        propagation = _RECREATED.get(kind)
        if error.reason == "Invalid" and live is not None and propagation:
            message = f"{name} has changed where it cannot: it is made anew, its pods stay"
            self._events.tell(cohort, "Recreated", message)
            self._kube.delete(kind, live.namespace, live.name, uid=live.uid, propagation=propagation)
            self._seen.pop(live.key, None)
            return None  # its deletion wakes us
        log.warning("refused", object=name, status=error.status, error=str(error))
        return Problem("ChildRefused", f"{name} is refused by the API server: {error}")


def _manager(cause: Cause) -> str:
    found = re.search(r'conflict with "([^"]*)"', cause.message)
    return found[1] if found else "another manager"
