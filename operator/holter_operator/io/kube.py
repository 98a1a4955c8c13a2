"""The API server, through the official client: dicts in, dicts out, each call counted.

Blocking: called from worker threads, never from the event loop.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

import urllib3
from kubernetes import client, config

from holter_operator.build.meta import Object
from holter_operator.reconcile.kinds import EVENT, POD, Kind, of
from holter_operator.reconcile.live import MANAGER

TIMEOUT = (5, 30)
"""Seconds to connect and to read."""

PAGE = 500
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_WRITES = frozenset({"POST", "PATCH", "PUT", "DELETE"})

Count = Callable[[str, str, str, bool], None]
"""Told of each call: kind, verb, HTTP status (0: no answer), whether it writes."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One field of a refusal: on a conflict, which other manager has it."""

    field: str
    message: str


class KubeError(Exception):
    """The API server refused, or did not answer (status 0).

    Attributes:
        status: HTTP status.
        reason: its word: NotFound, Conflict, Invalid, Forbidden, ….
        causes: fields.
        retry_after: seconds, where it said so.
    """

    def __init__(
        self, status: int, reason: str, message: str, causes: tuple[Cause, ...] = (), retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.causes = causes
        self.retry_after = retry_after

    @property
    def passing(self) -> bool:
        """Whether the same call may succeed a moment later."""
        return self.status in (0, 408, 429) or self.status >= 500

    @property
    def unserved(self) -> bool:
        """Whether the kind itself is gone, or its definition is on its way out and takes no new object."""
        leaving = self.status == 403 and "custom resource definition is terminating" in str(self)
        return leaving or self.status == 404


def connect(environ: Mapping[str, str] = os.environ) -> client.ApiClient:
    """A client of the cluster we are in, or of the one KUBECONFIG names.

    Raises:
        kubernetes.config.ConfigException: neither is there.
    """
    configuration = client.Configuration()
    if "KUBERNETES_SERVICE_HOST" in environ and not environ.get("KUBECONFIG"):
        config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    else:
        config.load_kube_config(client_configuration=configuration, persist_config=False)  # type: ignore[no-untyped-call]
    configuration.retries = False  # a pass is repeated as a whole
    configuration.connection_pool_maxsize = 64
    api = client.ApiClient(configuration)
    api.user_agent = MANAGER
    return api


class Kube:
    """Calls."""

    def __init__(self, api: client.ApiClient, count: Count, manager: str = MANAGER) -> None:
        self._api = api
        self._count = count
        self._manager = manager

    def list(
        self, kind: Kind, namespace: str | None = None, *, labels: str = "", fields: str = "", metadata: bool = False
    ) -> tuple[list[Object], int]:
        """All objects of a kind, in pages.

        Args:
            kind: of what.
            namespace: where; None for everywhere.
            labels: a label selector.
            fields: a field selector.
            metadata: whether their metadata is enough.

        Returns:
            The objects, and the list's resourceVersion.

        Raises:
            KubeError: refused.
        """
        found: list[Object] = []
        following = ""
        while True:
            query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(PAGE), "continue": following}
            accept = _METADATA_ONLY if metadata else "application/json"
            page = self._call("GET", kind, "list", kind.path(namespace), query, accept=accept)
            found += page.get("items") or []
            following = page["metadata"].get("continue", "")
            if not following:
                return found, int(page["metadata"]["resourceVersion"])

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """One object, or None.

        Raises:
            KubeError: refused.
        """
        try:
            return self._call("GET", kind, "get", kind.path(namespace, quote(name)))
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    def apply(self, document: Object, *, force: bool = False, manager: str = MANAGER, status: bool = False) -> Object:
        """Server-side apply, of the whole set of fields that are ours.

        Raises:
            KubeError: refused; 409 with its causes where another manager has a field and `force` is not set.
        """
        kind, metadata = of(document), document["metadata"]
        path = kind.path(metadata["namespace"], metadata["name"]) + ("/status" if status else "")
        query = {"fieldManager": manager, "force": "true" if force else "", "fieldValidation": "Strict"}
        return self._call("PATCH", kind, "apply", path, query, document, "application/apply-patch+yaml")

    def create(self, kind: Kind, document: Object) -> Object:
        """Create an object; 409 (AlreadyExists) where it is there.

        Raises:
            KubeError: refused.
        """
        query = {"fieldManager": self._manager}
        return self._call("POST", kind, "create", kind.path(document["metadata"]["namespace"]), query, document)

    def patch(self, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        """A merge patch.

        Raises:
            KubeError: refused; 409 where `metadata.resourceVersion` is given and no longer the newest.
        """
        path = kind.path(namespace, name)
        return self._call(
            "PATCH", kind, "patch", path, {"fieldManager": self._manager}, body, "application/merge-patch+json"
        )

    def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str, propagation: str = "Background"
    ) -> Object | None:
        """Delete this incarnation of an object.

        Returns:
            The object while something still holds it; None once it is gone, or was.

        Raises:
            KubeError: refused; 409 where another incarnation is there.
        """
        body = {"propagationPolicy": propagation, "preconditions": {"uid": uid}}
        try:
            answer = self._call("DELETE", kind, "delete", kind.path(namespace, name), {}, body)
        except KubeError as error:
            if error.status == 404:
                return None
            raise
        return answer if answer.get("metadata", {}).get("deletionTimestamp") else None

    def served(self, group_version: str) -> frozenset[str]:
        """Names of the kinds that the server knows in a group's version.

        Raises:
            KubeError: refused.
        """
        kind = Kind(group_version, "APIResourceList", "")
        try:
            answer = self._call("GET", kind, "get", kind.path(None).rstrip("/"))
        except KubeError as error:
            if error.status == 404:
                return frozenset()
            raise
        return frozenset(f"{group_version}/{each['kind']}" for each in answer["resources"])

    def _call(
        self,
        method: str,
        kind: Kind,
        verb: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
        *,
        accept: str = "application/json",
    ) -> Object:
        headers = {"Accept": accept}
        if body is not None:
            headers["Content-Type"] = content_type
        request = self._api.param_serialize(
            method,
            path,
            header_params=headers,
            query_params=[(name, value) for name, value in (query or {}).items() if value],
            body=body,
            auth_settings=["BearerToken"],
        )
        status = 0
        try:
            response = self._api.call_api(*request, _request_timeout=TIMEOUT)
            content: bytes = response.read()  # type: ignore[no-untyped-call]
            status = response.status
        except (client.ApiException, urllib3.exceptions.HTTPError, OSError) as error:
            raise KubeError(0, "Unreachable", f"no answer from the API server: {error}") from error
        finally:
            self._count(kind.name, verb, str(status), method in _WRITES)
        if status >= 300:
            raise _error(status, content, response.headers.get("Retry-After"))
        answer: Object = json.loads(content)
        return answer


def _error(status: int, content: bytes, retry_after: str | None) -> KubeError:
    try:
        answer = json.loads(content)
        details = answer.get("details") or {}
        causes = tuple(Cause(c.get("field", ""), c.get("message", "")) for c in details.get("causes") or ())
        return KubeError(
            status,
            answer.get("reason", "Unknown"),
            answer.get("message", "no message"),
            causes,
            float(retry_after) if retry_after and retry_after.isdigit() else None,
        )
    except (ValueError, AttributeError):
        return KubeError(status, "Unknown", content[:300].decode(errors="replace"))


def events_of(kube: Kube, namespace: str, kind: str, name: str) -> Iterator[Object]:
    """Events about an object."""
    found, _ = kube.list(EVENT, namespace, fields=f"involvedObject.kind={kind},involvedObject.name={name}")
    yield from found


def pods_of(kube: Kube, namespace: str, labels: Mapping[str, str]) -> list[Object]:
    """Pods with these labels."""
    found, _ = kube.list(POD, namespace, labels=",".join(f"{name}={value}" for name, value in labels.items()))
    return found
