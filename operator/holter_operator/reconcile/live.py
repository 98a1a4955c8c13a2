"""What is there: objects as the API server last told of them, cut down to what a reconcile looks at."""

import hashlib
import json
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from threading import RLock
from typing import Any

from holter_operator.build.meta import COHORT_LABEL
from holter_operator.reconcile.kinds import CONFIG_MAP, SECRET, Kind

MANAGER = "holter-operator"
"""Our field manager."""

Key = tuple[str, str, str]
"""Kind's plural, namespace, name."""

Read = Callable[[str, str], Mapping[str, str] | None]
"""Reads a Secret's values, by namespace and name; None when it is not there."""


@dataclass(frozen=True, slots=True)
class Live:
    """One object.

    Attributes:
        kind: its kind.
        namespace: where.
        name: its name.
        uid: of this incarnation.
        version: its resourceVersion; a greater one is newer.
        labels: its labels.
        annotations: its annotations.
        created: RFC 3339.
        owned: the fields that we own, as `managedFields` says it; empty where we have applied nothing.
        deleting: whether it is on its way out.
        spec: of a workload.
        status: of a workload.
        generation: of its spec.
        data: of a Secret of ours; None when only metadata was told.
        content: digest of a ConfigMap's data; None when only metadata was told.
    """

    kind: Kind
    namespace: str
    name: str
    uid: str
    version: int
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    created: str
    owned: Mapping[str, Any] = field(repr=False)
    deleting: bool
    spec: Mapping[str, Any] = field(default_factory=dict, repr=False)
    status: Mapping[str, Any] = field(default_factory=dict, repr=False)
    generation: int = 0
    data: Mapping[str, str] | None = field(default=None, repr=False)
    content: str | None = None

    @property
    def key(self) -> Key:
        """What finds it."""
        return (self.kind.plural, self.namespace, self.name)

    @property
    def cohort(self) -> str | None:
        """The name of the cohort it belongs to."""
        return self.labels.get(COHORT_LABEL)


def opened(secret: Live, read: Read) -> Mapping[str, str] | None:
    """A Secret's values: as last told, or read where only its metadata was."""
    return secret.data if secret.data is not None else read(secret.namespace, secret.name)


def trim(kind: Kind, document: Mapping[str, Any]) -> Live:
    """What is kept of an object, or of its metadata alone."""
    metadata = document["metadata"]
    ours = [
        entry.get("fieldsV1", {})
        for entry in metadata.get("managedFields", ())
        if entry.get("manager") == MANAGER and entry.get("operation") == "Apply" and not entry.get("subresource")
    ]
    whole = document.get("kind") in (None, kind.name)
    data = document.get("data") or {}
    return Live(
        kind=kind,
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        uid=metadata["uid"],
        version=int(metadata["resourceVersion"]),
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        created=metadata.get("creationTimestamp") or "",
        owned=ours[0] if ours else {},
        deleting="deletionTimestamp" in metadata,
        spec=(document.get("spec") or {}) if kind.runs else {},
        status=(document.get("status") or {}) if kind.runs else {},
        generation=metadata.get("generation", 0),
        data={k: b64decode(v).decode(errors="replace") for k, v in data.items()} if kind is SECRET and whole else None,
        content=digest([data, document.get("binaryData") or {}]) if kind is CONFIG_MAP and whole else None,
    )


def digest(value: Any) -> str:
    """16 hexadecimal digits that are the same for equal JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


class Cache:
    """Children by cohort. Fed by watches, by our own writes' answers and, against what a watch missed, by lists.

    Safe for threads. What is newer wins, whichever way it comes.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._objects: dict[Key, Live] = {}
        self._by_cohort: dict[tuple[str, str], set[Key]] = {}
        self._gone: dict[Key, int] = {}

    def of(self, namespace: str, cohort: str) -> dict[Key, Live]:
        """All children of a cohort."""
        with self._lock:
            return {key: self._objects[key] for key in self._by_cohort.get((namespace, cohort), ())}

    def put(self, live: Live) -> bool:
        """Take an object in.

        Returns:
            Whether it tells anything new.
        """
        with self._lock:
            before = self._objects.get(live.key)
            if before is not None and before.version >= live.version:
                if before.version == live.version:
                    self._objects[live.key] = _richer(before, live)
                return False
            if self._gone.get(live.key, -1) >= live.version:
                return False
            self._drop(live.key)
            self._objects[live.key] = live
            if live.cohort:
                self._by_cohort.setdefault((live.namespace, live.cohort), set()).add(live.key)
            return True

    def remove(self, live: Live) -> bool:
        """An object is gone, in this version or an older one.

        Returns:
            Whether it was there.
        """
        with self._lock:
            self._gone[live.key] = max(live.version, self._gone.get(live.key, -1))
            before = self._objects.get(live.key)
            if before is None or (before.uid != live.uid and before.version > live.version):
                return False
            self._drop(live.key)
            return True

    def unlabelled(self, live: Live) -> str | None:
        """An object that belongs to no cohort.

        Returns:
            The cohort that it belonged to when it was last told of.
        """
        with self._lock:
            before = self._objects.get(live.key)
            if before is None or before.version >= live.version:
                return None
            self._drop(live.key)
            return before.cohort

    def replace(
        self, kind: Kind, found: Iterable[Live], version: int, namespaces: Iterable[str]
    ) -> set[tuple[str, str]]:
        """A whole list of a kind, as of `version`, in these namespaces; in none of them named: in all.

        Returns:
            The cohorts (namespace, name) for which it tells anything new.
        """
        within = set(namespaces)
        told = set()
        with self._lock:
            listed = {live.key: live for live in found}
            for live in listed.values():
                if self.put(live) and live.cohort:
                    told.add((live.namespace, live.cohort))
            for key, live in list(self._objects.items()):
                here = live.kind is kind and (not within or live.namespace in within)
                if here and key not in listed and live.version <= version:
                    self._drop(key)
                    if live.cohort:
                        told.add((live.namespace, live.cohort))
            # What left before this list is in no list to come.
            self._gone = {key: v for key, v in self._gone.items() if key[0] != kind.plural or v > version}
        return told

    def __len__(self) -> int:
        return len(self._objects)

    def _drop(self, key: Key) -> None:
        live = self._objects.pop(key, None)
        if live and live.cohort:
            keys = self._by_cohort.get((live.namespace, live.cohort), set())
            keys.discard(key)
            if not keys:
                self._by_cohort.pop((live.namespace, live.cohort), None)


def _richer(before: Live, live: Live) -> Live:
    """Of two tellings of one version: metadata alone, and the whole."""
    return replace(
        before,
        data=before.data if before.data is not None else live.data,
        content=before.content if before.content is not None else live.content,
    )
