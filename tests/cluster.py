"""kubectl, for tests that need pods. No pytest in here."""

import json
import subprocess
import time
from collections.abc import Callable


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
        done = subprocess.run(command, input=content, capture_output=True, check=False)
        if check and done.returncode:
            raise KubectlError(f"{' '.join(command)}: {done.stderr.decode().strip()}")
        return done.stdout.decode()

    def apply(self, *documents: dict) -> None:
        """Create or change objects."""
        self.run("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))

    def get(self, kind: str, name: str = "", *, namespace: str | None = None, labels: str = "") -> dict | None:
        """An object, a list where no name is given, or None."""
        where = ("-n", namespace) if namespace else ()
        chosen = ("-l", labels) if labels else ()
        text = self.run("get", kind, *filter(None, (name,)), *where, *chosen, "--ignore-not-found", "-o", "json")
        return json.loads(text) if text.strip() else None

    def items(self, kind: str, *, namespace: str | None = None, labels: str = "") -> list[dict]:
        """Objects of a kind."""
        return (self.get(kind, namespace=namespace, labels=labels) or {"items": []})["items"]


def eventually(what: str, look: Callable[[], object], *, seconds: float, pause: float = 0.5):
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
