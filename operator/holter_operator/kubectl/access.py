"""The cluster as a person sees it: a kubeconfig's context, their rights, and pods reached through the API server."""

import http.client
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from kubernetes import client, config
from kubernetes.config.config_exception import ConfigException
from kubernetes.stream import portforward

from holter_operator.build.meta import Object
from holter_operator.io.kube import TIMEOUT, Kube, KubeError

T = TypeVar("T")
MANAGER = "kubectl-holter"
"""Our field manager: what a person changed is never the operator's."""


class AccessError(Exception):
    """No cluster, no right, or no answer; says what would be right."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """What could not be looked at, and why."""

    why: str


class Access:
    """A connection.

    Args:
        kubeconfig: a file; the usual places when None.
        context: of it; the current one when None.
        namespace: the context's own when None.

    Raises:
        AccessError: there is no such file or context.
    """

    def __init__(self, kubeconfig: str | None, context: str | None, namespace: str | None) -> None:
        try:
            contexts, current = config.list_kube_config_contexts(config_file=kubeconfig)  # type: ignore[no-untyped-call]
            named = {each["name"]: each["context"] for each in contexts}
            chosen = context or current["name"]
            if chosen not in named:
                raise AccessError(f"--context {chosen}: kubeconfig has {', '.join(sorted(named)) or 'none'}")
            api = config.new_client_from_config(config_file=kubeconfig, context=chosen, persist_config=False)  # type: ignore[no-untyped-call]
        except (ConfigException, OSError) as error:
            raise AccessError(f"no cluster: {error}; set KUBECONFIG, or name a file with --kubeconfig") from error
        api.configuration.retries = False
        api.user_agent = MANAGER
        self._api = api
        self.context = chosen
        self.namespace: str = namespace or named[chosen].get("namespace") or "default"
        self.kube = Kube(api, lambda *_: None, MANAGER)

    def pod_log(
        self, namespace: str, pod: str, lines: int, *, seconds: int | None = None, previous: bool = False
    ) -> str:
        """The end of a pod's log: at most so many lines, of the last `seconds`.

        Raises:
            KubeError: refused.
        """
        try:
            text: str = client.CoreV1Api(self._api).read_namespaced_pod_log(
                pod, namespace, tail_lines=lines, since_seconds=seconds, previous=previous, _request_timeout=TIMEOUT
            )
        except client.ApiException as error:
            raise KubeError(error.status or 0, error.reason or "Unknown", str(error.reason)) from error
        return text or ""  # the client gives None for an empty one

    def version(self) -> Mapping[str, Any]:
        """Of the API server."""
        found: Mapping[str, Any] = client.VersionApi(self._api).get_code(_request_timeout=TIMEOUT).to_dict()
        return found

    def fetch(
        self, namespace: str, pod: str, port: int, path: str, token: str | None = None, *, tls: bool = False
    ) -> bytes:
        """GET from a pod's port, by port-forward: any pod, whatever NetworkPolicy says of its peers.

        Raises:
            KubeError: no right to, no such port, or an answer that is not 200.
        """
        # A client of its own: the library turns the one that it is given into one that speaks WebSocket.
        connect = client.CoreV1Api(self._api.__class__(self._api.configuration)).connect_get_namespaced_pod_portforward
        forward, connection = None, http.client.HTTPConnection("pod", timeout=TIMEOUT[1])
        try:
            forward = portforward(connect, pod, namespace, ports=str(port), _request_timeout=TIMEOUT)
            raw = forward.socket(port)
            raw.settimeout(TIMEOUT[1])
            # The way to the pod is the API server's; its certificate has another name than the pod's.
            connection.sock = _unnamed_tls().wrap_socket(raw) if tls else raw
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
            answer = connection.getresponse()
            content = answer.read()
        except client.ApiException as error:
            raise KubeError(error.status or 0, "PortForward", _reason(str(error.reason))) from error
        except (OSError, http.client.HTTPException) as error:
            why = (forward and forward.error(port)) or error or type(error).__name__
            raise KubeError(0, "PortForward", f"{pod}:{port}{path}: {why}") from error
        finally:
            connection.close()
            if forward:
                forward.close()
        if answer.status != http.HTTPStatus.OK:
            raise KubeError(answer.status, "PortForward", f"{pod}:{port}{path} answered {answer.status}")
        return content

    def fetch_json(self, *arguments: Any, **named: Any) -> Object:
        """`fetch`, of JSON."""
        found: Object = json.loads(self.fetch(*arguments, **named))
        return found


def look(read: Callable[[], T]) -> T | Unseen:
    """What a call gives, or why it cannot be seen."""
    try:
        return read()
    except KubeError as error:
        return Unseen(str(error))


def _reason(handshake: str) -> str:
    """What the API server said, out of what the client makes of a refused handshake: status, headers, body."""
    status, *_, body = handshake.split(" -+-+- ")
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return status


def _unnamed_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
