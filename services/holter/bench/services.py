"""Holter's services as processes, in the environment that a pod or `holter up` gives them (docs/architecture.md)."""

import base64
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.request import urlopen

from holter.bench import usage

_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that was free a moment ago."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Services:
    """`holter ingest` and any number of `holter infer`; killed at the end of the `with`.

    Args:
        folder: for configuration, state and logs.
        store: as HOLTER_STORE names it.
        patients: that ingest has to take.
        workers: how many `holter infer` there may be: `infer-0`, `infer-1` …
        ingests: how many `holter ingest` there may be: `ingest-0` …
        ingest: further fields of `ingest.json`.
        inference: further fields of `inference.json`.
    """

    def __init__(
        self,
        folder: Path,
        store: str,
        *,
        patients: int,
        workers: int = 1,
        ingests: int = 1,
        ingest: dict[str, object] | None = None,
        inference: dict[str, object] | None = None,
    ) -> None:
        self.folder = folder
        self.key = secrets.token_bytes(32)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._store = store
        self.ingest_names = tuple(f"ingest-{i}" for i in range(ingests))
        self.infer_names = tuple(f"infer-{i}" for i in range(workers))
        self.ports = {
            name: {
                kind: free_port(socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
                for kind in ("http", "udp", "feed", "metrics")
            }
            for name in (*self.ingest_names, *self.infer_names)
        }
        common = {"cohort": "bench", "namespace": "bench"}
        self._write("config/ingest.json", {**common, "maxPatients": patients + 100, **(ingest or {})})
        self.configure_inference(replicas=workers, **(inference or {}))
        (folder / "keys").mkdir()
        (folder / "keys/current").write_text(base64.urlsafe_b64encode(self.key).decode())

    def configure_inference(self, **fields: object) -> None:
        """Write `inference.json` anew; running workers follow."""
        self._write("config/inference.json", {"cohort": "bench", "namespace": "bench", **fields})

    def _write(self, name: str, content: dict[str, object]) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(content))
        fresh.replace(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()

    def start(self, *names: str, **environment: str) -> None:
        """Start some of them, with these variables besides."""
        peers = ",".join(f"127.0.0.1:{self.ports[name]['feed']}" for name in self.ingest_names)
        for name in names:
            state = self.folder / f"state-{name}"
            state.mkdir(exist_ok=True)
            ports = {f"HOLTER_PORT_{kind.upper()}": str(port) for kind, port in self.ports[name].items()}
            variables = {
                "HOLTER_CONFIG": str(self.folder / "config"),
                "HOLTER_STORE": self._store,
                "HOLTER_LISTEN": "127.0.0.1",
                "HOLTER_STATE": str(state),
                "HOLTER_POD": f"bench-{name}",
                "HOLTER_DEVICE_KEYS": str(self.folder / "keys"),
                "HOLTER_FEED_PEERS": peers,
                **ports,
                **environment,
            }
            with (self.folder / f"{name}.log").open("ab") as log:
                command = [str(Path(sys.executable).with_name("holter")), name.partition("-")[0]]
                self.processes[name] = subprocess.Popen(  # noqa: S603 - this very Python
                    command,
                    env={**os.environ, **variables},
                    stdout=log,
                    stderr=log,
                    preexec_fn=usage.die_with_parent,
                )

    def wait_ready(self, *names: str, seconds: float = 300.0) -> None:
        """Return when they are ready.

        Raises:
            RuntimeError: one ended or did not become ready in time; its log's end is in the message.
        """
        until = time.monotonic() + seconds
        for name in names:
            while self.fetch(name, "/readyz") is None:
                if self.processes[name].poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"{name} is not ready:\n{self.log(name)[-3000:]}")
                time.sleep(0.05)

    def fetch(self, name: str, path: str) -> str | None:
        """GET from a service's metrics port; None while it does not answer 200."""
        try:
            with urlopen(f"http://127.0.0.1:{self.ports[name]['metrics']}{path}", timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:
            return None

    def metrics(self, name: str) -> dict[tuple[str, str], float]:
        """A service's metrics, by name and labels as text."""
        found = _SAMPLE.findall(self.fetch(name, "/metrics") or "")
        return {(metric, labels): float(value) for metric, labels, value in found}

    def metric(self, name: str, metric: str, *labels: str) -> float:
        """The sum of a metric's series whose labels hold all of `labels` (`code="202"`)."""
        return sum(
            value
            for (known, text), value in self.metrics(name).items()
            if known == metric and all(label in text for label in labels)
        )

    def dropped(self, name: str) -> int:
        """Datagrams that the kernel had no room for, as an ingest counts them."""
        return round(self.metric(name, "holter_ingest_datagrams_dropped_total"))

    def cpu(self, name: str) -> float:
        """CPU seconds of a process so far."""
        return usage.cpu(self.processes[name].pid)

    def memory(self, name: str) -> int:
        """Bytes of a process's own."""
        return usage.memory(self.processes[name].pid)

    def log(self, name: str) -> str:
        """All that a service has logged."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def kill(self, name: str) -> None:
        """End it as a crash would."""
        self.processes[name].kill()
        self.processes[name].wait()

    def stop(self, *names: str, seconds: float = 60.0) -> None:
        """SIGTERM, and wait.

        Raises:
            RuntimeError: it did not end by itself, or not with 0.
        """
        for name in names:
            self.processes[name].send_signal(signal.SIGTERM)
        for name in names:
            try:
                code = self.processes[name].wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill(name)
                raise RuntimeError(f"{name} did not stop within {seconds:g} s:\n{self.log(name)[-3000:]}") from None
            if code != 0:
                raise RuntimeError(f"{name} ended with {code}:\n{self.log(name)[-3000:]}")

    def wait_stored(self, *names: str, seconds: float = 120.0) -> bool:
        """Wait until the store has all that is in the log of these ingest processes; whether it came to that."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if all(self.metric(name, "holter_ingest_wal_bytes") == 0 for name in names):
                return True
            time.sleep(0.2)
        return False
