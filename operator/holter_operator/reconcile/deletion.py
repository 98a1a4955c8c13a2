"""The end of a cohort: pods drain, tokens go, the bucket goes or stays, and none of it for ever."""

from collections.abc import Callable, Mapping
from datetime import datetime

from holter_operator.api.cohort import Cohort
from holter_operator.build import names
from holter_operator.build.meta import COHORT_LABEL, Object
from holter_operator.io.events import Events
from holter_operator.io.kube import Kube, pods_of
from holter_operator.reconcile.children import KEPT, Children
from holter_operator.reconcile.kinds import CRON_JOB, DEPLOYMENT, SECRET, STATEFUL_SET
from holter_operator.reconcile.live import Key, Live
from holter_operator.reconcile.provision_state import Refused
from holter_operator.reconcile.provisioning import Provisioning
from holter_operator.settings import Settings

DRAINING = 0.6
"""Share of the time a deletion may take that pods have to drain their logs to the bucket."""

_WORKLOADS = frozenset({DEPLOYMENT, STATEFUL_SET, CRON_JOB})


class Deletion:
    """Steps towards the end."""

    def __init__(
        self,
        settings: Settings,
        kube: Kube,
        provisioning: Provisioning,
        children: Children,
        events: Events,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._kube = kube
        self._provisioning = provisioning
        self._children = children
        self._events = events
        self._clock = clock

    def step(self, document: Object, cohort: Cohort | None, live: Mapping[Key, Live]) -> str | None:
        """Go on with it. What is left to the garbage collector has the cohort as its owner.

        Returns:
            What is waited for; None when the cohort may go.

        Raises:
            KubeError: refused, or no answer.
        """
        asked = datetime.fromisoformat(document["metadata"]["deletionTimestamp"]).timestamp()
        age, most = self._clock() - asked, self._settings.deletion
        workloads = [each for each in live.values() if each.kind in _WORKLOADS and each.owned]
        for each in workloads:
            if not each.deleting:
                self._children.delete(each, "the cohort is deleted")
        # Tokens must outlive the pods: what a log holds is still to be written.
        labels = {COHORT_LABEL: document["metadata"]["name"]}
        pods = pods_of(self._kube, document["metadata"]["namespace"], labels) if age < DRAINING * most else []
        if pods:
            return f"{len(pods)} pods drain, for {DRAINING * most - age:.0f} s at most"
        if cohort is None:
            known = document.get("status", {}).get("bucket", {}).get("name")
            if known:
                self._left(document, f"the spec is not valid, so bucket {known} and its tokens are left in InfluxDB")
            return None
        answer = self._provisioning.remove(cohort, document["metadata"]["uid"])
        if isinstance(answer, Refused):
            if age < most and document.get("status", {}).get("bucket"):
                return f"{answer.message}; tried for {most - age:.0f} s more"
            if document.get("status", {}).get("bucket"):
                self._left(document, f"{self._leftovers(cohort)} are left in InfluxDB: {answer.message}")
        else:
            for change in answer.changes:
                self._events.tell(document, change.reason, change.message)
        if cohort.spec.storage.deletion_policy == "Delete":
            self._forget_key(cohort, live)
        return None

    def _forget_key(self, cohort: Cohort, live: Mapping[Key, Live]) -> None:
        key = live.get((SECRET.plural, cohort.namespace, names.device_key(cohort)))
        if key is not None and KEPT in key.labels:
            self._children.delete(key, "storage.deletionPolicy is Delete")

    def _left(self, document: Object, message: str) -> None:
        self._events.tell(document, "LeftBehind", message, warning=True)

    def _leftovers(self, cohort: Cohort) -> str:
        tokens = f"tokens described holter.dev/… of bucket {names.bucket(cohort)}"
        return f"{tokens} and the bucket" if cohort.spec.storage.deletion_policy == "Delete" else tokens
