"""kubectl, for the end-to-end test and the demo on a cluster."""

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Object = dict[str, Any]
Answer = TypeVar("Answer")

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
"""Labels of a namespace under the restricted Pod Security Standard."""


class KubectlError(Exception):
    """What kubectl wrote to standard error."""


class Kubectl:
    """Commands on the cluster of KUBECONFIG."""

    def run(self, *arguments: object, stdin: str | bytes | None = None, check: bool = True) -> str:
        """What it prints.

        Raises:
            KubectlError: it fails, and `check` is set.
        """
        content = stdin.encode() if isinstance(stdin, str) else stdin
        command = ["kubectl", *map(str, arguments)]
        done = subprocess.run(command, input=content, capture_output=True, check=False)  # noqa: S603 - no shell
        if check and done.returncode:
            raise KubectlError(f"{' '.join(command)}: {done.stderr.decode().strip()}")
        return done.stdout.decode()

    def apply(self, *documents: Object) -> None:
        """Create or change objects."""
        self.run("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))

    def get(self, kind: str, name: str = "", *, namespace: str | None = None, labels: str = "") -> Object | None:
        """An object, a list where no name is given, or None."""
        where = ("-n", namespace) if namespace else ()
        chosen = ("-l", labels) if labels else ()
        text = self.run("get", kind, *filter(None, (name,)), *where, *chosen, "--ignore-not-found", "-o", "json")
        return json.loads(text) if text.strip() else None

    def items(self, kind: str, *, namespace: str | None = None, labels: str = "") -> list[Object]:
        """Objects of a kind."""
        return (self.get(kind, namespace=namespace, labels=labels) or {"items": []})["items"]


def eventually(what: str, look: Callable[[], Answer], *, seconds: float, pause: float = 0.5) -> Answer:
    """The first true answer of `look`.

    Raises:
        AssertionError: there was none; it tells the last answer.
    """
    end, answer = time.monotonic() + seconds, None
    while True:
        answer = look()
        if answer:
            return answer
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s; last seen: {answer!r}"
        time.sleep(pause)


def restricted(
    name: str,
    namespace: str,
    image: str,
    command: Sequence[str],
    *,
    mounts: Sequence[Object] = (),
    volumes: Sequence[Object] = (),
    **spec: Any,
) -> Object:
    """A pod under the restricted standard, on a read-only root with a `/tmp`."""
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(command),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *mounts],  # noqa: S108 - the pod's own
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app": name, "app.kubernetes.io/part-of": "holter"},
        },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {}}, *volumes],
            **spec,
        },
    }


def receiver(namespace: str, image: str, code: str, secret: str) -> tuple[Object, ...]:
    """A webhook receiver: its messages are its log, `secret` is what they are signed with."""
    head = {"apiVersion": "v1", "metadata": {"name": "receiver", "namespace": namespace}}
    mount, volume = {"name": "code", "mountPath": "/code"}, {"name": "code", "configMap": {"name": "receiver"}}
    return (
        head | {"kind": "ConfigMap", "data": {"receiver.py": code}},
        head | {"kind": "Secret", "stringData": {"secret": secret}},
        head | {"kind": "Service", "spec": {"selector": {"app": "receiver"}, "ports": [{"port": 8080}]}},
        restricted("receiver", namespace, image, ["python", "/code/receiver.py"], mounts=[mount], volumes=[volume]),
    )
