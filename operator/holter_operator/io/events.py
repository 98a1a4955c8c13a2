"""Kubernetes Events about a cohort: told once, not in each pass."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from holter_operator.build.meta import Object
from holter_operator.io.kube import Kube, KubeError
from holter_operator.reconcile.kinds import COHORT, EVENT
from holter_operator.reconcile.live import MANAGER

SILENCE = 600.0
"""Seconds in which the same Event is not told again."""

MOST = 1000
"""Characters of a message: the API server takes 1024."""

log = structlog.get_logger()


class Events:
    """Tells. An Event that cannot be told costs nothing but itself."""

    def __init__(
        self, kube: Kube, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._kube = kube
        self._clock = clock
        self._wall = wall
        self._told: dict[tuple[str, str, str], float] = {}

    def tell(self, cohort: Object, reason: str, message: str, *, warning: bool = False) -> None:
        """An Event about a cohort, unless it was told of late.

        Args:
            cohort: the object.
            reason: CamelCase.
            message: in words.
            warning: something is not as it should be.
        """
        metadata, now = cohort["metadata"], self._clock()
        key = (metadata["uid"], reason, message)
        if now - self._told.get(key, -SILENCE) < SILENCE:
            return
        if len(self._told) > 10_000:
            self._told = {each: at for each, at in self._told.items() if now - at < SILENCE}
        self._told[key] = now
        at = datetime.fromtimestamp(self._wall(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        log.log(30 if warning else 20, message, event_reason=reason)
        document = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": COHORT.api_version,
                "kind": COHORT.name,
                **{field: metadata[field] for field in ("name", "namespace", "uid", "resourceVersion")},
            },
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "message": message[:MOST],
            "source": {"component": MANAGER},
            "reportingComponent": MANAGER,
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }
        try:
            self._kube.create(EVENT, document)
        except KubeError as error:
            log.warning("an Event could not be told", event_reason=reason, error=str(error))
