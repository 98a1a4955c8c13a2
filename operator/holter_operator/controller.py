"""The running operator: what the watches tell, who is looked at when, and what has to be seen to by the clock."""

import asyncio
import time
from base64 import b64decode
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import structlog
from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_exponential_jitter
from tornado.httpserver import HTTPServer

from holter_operator.build.meta import COHORT_LABEL, Object
from holter_operator.io.events import Events
from holter_operator.io.influx import Influx
from holter_operator.io.kube import Kube, KubeError, connect
from holter_operator.observe.metrics import Metrics
from holter_operator.observe.serving import serve
from holter_operator.reconcile.kinds import CHILDREN, COHORT, SECRET, Kind
from holter_operator.reconcile.live import Cache, trim
from holter_operator.reconcile.provisioning import Provisioning
from holter_operator.reconcile.queue import Queue
from holter_operator.reconcile.reconciler import Reconciler
from holter_operator.settings import Settings

Name = tuple[str, str]
"""Namespace and name of a cohort."""

DISCOVERY = 30.0
"""Seconds after which it is asked again which optional kinds there are."""

INFLUXDB = 5.0
"""Seconds after which buckets and tokens are compared again."""

HUNG = 300.0
"""Seconds of one reconcile after which the operator says that it is not alive."""

_PATIENT = AsyncRetrying(
    retry=retry_if_exception(lambda error: isinstance(error, KubeError) and error.passing),
    wait=wait_exponential_jitter(multiplier=0.5, max=5),
    stop=stop_after_delay(120),
    reraise=True,
)
"""An API server may be starting as we do."""

log = structlog.get_logger()


class Operator:
    """All of it. Its methods are called in kopf's event loop; reconciles run in threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.metrics = Metrics()
        self._cache = Cache()
        self._cohorts: dict[Name, Object] = {}
        self._secrets: dict[Name, Mapping[str, str] | None] = {}
        self._named: dict[Name, set[Name]] = {}
        self._busy: dict[Name, float] = {}
        self._ids = count(1)
        self._pool = ThreadPoolExecutor(settings.workers + 2, thread_name_prefix="reconcile")
        self._tasks: list[asyncio.Task[None]] = []
        self._server: HTTPServer | None = None

    async def start(self) -> None:
        """Connect, see what is there, and begin.

        Raises:
            KubeError: the API server refuses us; kopf tries again.
        """
        self._kube = Kube(await asyncio.to_thread(connect), self.metrics.call)
        self._influx = Influx()
        self._provisioning = Provisioning(self._influx, self._settings.influxdb, self._secret)
        events = Events(self._kube)
        self._reconciler = Reconciler(
            self._settings, self._kube, self._cache, self._cohorts, self._provisioning, events, self.metrics
        )
        self._reconciler.written = self._written
        self._queue: Queue[Name] = Queue(self._reconcile)
        async for attempt in _PATIENT.copy():
            with attempt:
                await self._discover()
                await self._list()
        self._server, port = serve(self.metrics, self._health, self._settings.listen, self._settings.port)
        log.info("serving", port=port, namespaces=self._settings.namespaces or "all", cohorts=len(self._cohorts))
        self._tasks = [
            asyncio.create_task(self._queue.run(self._settings.workers)),
            asyncio.create_task(self._every(DISCOVERY, self._discover)),
            asyncio.create_task(self._every(self._settings.resync, self._list)),
            asyncio.create_task(self._every(INFLUXDB, self._compare)),
        ]

    async def stop(self) -> None:
        """End; a reconcile under way is waited for."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server:
            self._server.stop()
            await self._server.close_all_connections()
        await asyncio.to_thread(self._pool.shutdown)

    async def cohort(self, event: str | None, document: Mapping[str, Any]) -> None:
        """A watch tells of a cohort."""
        self.metrics.heard()
        name = (document["metadata"]["namespace"], document["metadata"]["name"])
        if event == "DELETED":
            known = self._cohorts.get(name)
            if known is None or known["metadata"]["uid"] == document["metadata"]["uid"]:
                self._cohorts.pop(name, None)
                self._reconciler.forget(document["metadata"]["uid"])
                self._queue.add(name)
        elif self._keep(document):
            self._queue.add(name)

    async def child(self, kind: Kind, event: str | None, document: Mapping[str, Any]) -> None:
        """A watch tells of a child, or of a Secret."""
        self.metrics.heard()
        metadata = document["metadata"]
        cohort = metadata.get("labels", {}).get(COHORT_LABEL)
        if kind is SECRET:
            self._secret_changed((metadata["namespace"], metadata["name"]))
        live = trim(kind, {**document, "kind": kind.name})
        if cohort is None:
            # A watch with a selector says DELETED instead; Secrets' has none, and this one may have lost its label.
            told = self._cache.unlabelled(live)
            if told:
                self._queue.add((live.namespace, told))
            return
        if self._cache.remove(live) if event == "DELETED" else self._cache.put(live):
            self._queue.add((live.namespace, cohort))

    def _keep(self, document: Mapping[str, Any]) -> bool:
        """Remember a cohort, if this is news."""
        metadata = document["metadata"]
        name = (metadata["namespace"], metadata["name"])
        known = self._cohorts.get(name)
        if known is not None and int(known["metadata"]["resourceVersion"]) >= int(metadata["resourceVersion"]):
            return False
        slim = {key: value for key, value in metadata.items() if key != "managedFields"}
        self._cohorts[name] = {**document, "metadata": slim}
        own = document["spec"].get("storage", {}).get("influxdb", {}).get("connectionSecretRef", {}).get("name")
        key = document["spec"].get("access", {}).get("keySecretRef", {}).get("name") or f"{metadata['name']}-device-key"
        for secret in filter(None, (own, key)):
            self._named.setdefault((metadata["namespace"], secret), set()).add(name)
        return True

    def _written(self, document: Object) -> None:
        """A cohort as it is after a write of ours: with the last finalizer it goes."""
        metadata = document["metadata"]
        if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            name = (metadata["namespace"], metadata["name"])
            self._cohorts.pop(name, None)
            self._reconciler.forget(metadata["uid"])
            self.metrics.phase(*name, None)
        else:
            self._keep(document)

    def _secret_changed(self, secret: Name) -> None:
        self._secrets.pop(secret, None)
        for name in self._named.get(secret, ()):
            if name in self._cohorts:
                self._queue.add(name)

    def _secret(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """A Secret's values, remembered until a watch tells that it has changed."""
        key = (namespace, name)
        if self._secrets.get(key) is None:
            found = self._kube.get(SECRET, namespace, name)
            data = (found.get("data") or {}) if found else None
            self._secrets[key] = (
                None if data is None else {k: b64decode(v).decode(errors="replace") for k, v in data.items()}
            )
        return self._secrets[key]

    async def _reconcile(self, name: Name) -> float | None:
        self.metrics.queued(len(self._queue))
        self._busy[name] = time.monotonic()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._pass, name)
        finally:
            self._busy.pop(name, None)

    def _pass(self, name: Name) -> float | None:
        began, writes, result = time.monotonic(), self.metrics.writes(), "error"
        context: dict[str, Any] = {"namespace": name[0], "cohort": name[1], "reconcile": next(self._ids)}
        with structlog.contextvars.bound_contextvars(service="operator", **context):
            try:
                again = self._reconciler.reconcile(*name)
                result = "changed" if self.metrics.writes() != writes else "unchanged"
            except KubeError as error:
                result = "retry"
                log.warning("to be tried again", status=error.status, reason=error.reason, error=str(error))
                raise
            except Exception:
                log.exception("a fault of the operator's own: to be tried again")
                raise
            finally:
                self.metrics.reconciled(result, time.monotonic() - began)
        return again

    async def _every(self, seconds: float, work: Any) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except KubeError as error:
                log.warning("to be tried again", work=work.__name__, error=str(error))

    async def _discover(self) -> None:
        """Which optional kinds there are."""
        versions = {kind.api_version for kind in CHILDREN if kind.optional}
        served = [await asyncio.to_thread(self._kube.served, version) for version in sorted(versions)]
        found = frozenset().union(*served)
        kinds = frozenset(kind.optional for kind in CHILDREN if kind.optional and kind.optional in found)
        if kinds != self._reconciler.kinds:
            self._reconciler.kinds = kinds
            log.info("optional kinds", kinds=sorted(kinds))
            for name in self._cohorts:
                self._queue.add(name)

    async def _list(self) -> None:
        """All that is there, against what a watch has missed."""
        for namespace in self._settings.namespaces or (None,):
            found, version = await asyncio.to_thread(self._kube.list, COHORT, namespace)
            there = set()
            for document in found:
                document |= {"apiVersion": COHORT.api_version, "kind": COHORT.name}
                name = (document["metadata"]["namespace"], document["metadata"]["name"])
                there.add(name)
                if self._keep(document):
                    self._queue.add(name)
            for name, document in list(self._cohorts.items()):
                within = namespace in (None, name[0]) and int(document["metadata"]["resourceVersion"]) <= version
                if within and name not in there:
                    await self.cohort("DELETED", document)
            await self._list_children(namespace)

    async def _list_children(self, namespace: str | None) -> None:
        for kind in CHILDREN:
            if kind.optional and kind.optional not in self._reconciler.kinds:
                continue
            try:
                found, version = await asyncio.to_thread(
                    self._kube.list, kind, namespace, labels=COHORT_LABEL, metadata=not kind.runs
                )
            except KubeError as error:
                if kind.optional and error.unserved:
                    continue  # what is known of the kinds follows
                raise
            live = [trim(kind, document) for document in found]
            for name in self._cache.replace(kind, live, version, [namespace] if namespace else []):
                self._queue.add(name)

    async def _compare(self) -> None:
        """Cohorts whose bucket or tokens are no longer as InfluxDB was left."""
        uids = {document["metadata"]["uid"]: name for name, document in self._cohorts.items()}
        asked = self._reconciler.asked()
        for uid in await asyncio.get_running_loop().run_in_executor(self._pool, self._unsettled, asked):
            if uid in uids:
                self._queue.add(uids[uid])

    def _unsettled(self, asked: Mapping[str, Any]) -> list[str]:
        return [uid for uid, step in asked.items() if step.asked and not self._influx.settled(*step.asked)]

    def _health(self) -> str | None:
        ended = [task.get_coro() for task in self._tasks if task.done()]
        if ended:
            return f"a task has ended: {ended[0]}"
        now = time.monotonic()
        hung = [f"{'/'.join(name)} for {now - since:.0f} s" for name, since in self._busy.items() if now - since > HUNG]
        return f"a reconcile hangs: {', '.join(hung)}" if hung else None
