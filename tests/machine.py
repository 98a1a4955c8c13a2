"""A cohort's services as processes on this machine, in the environment of docs/architecture.md. No pytest in here."""

import base64
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

from holter.alert import AlertEvent
from holter.sim.endpoints import Target
from holter.store.open import open_store


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Machine:
    """`holter ingest` and `holter infer` on one SQLite store.

    Args:
        folder: for configuration, state, store and logs.
        workers: how many `holter infer` there are, by the names infer, infer-1, infer-2 …
        inference: further fields of `inference.json`; with `source="Feed"` they are fed.
    """

    def __init__(self, folder: Path, workers: int = 1, **inference: object) -> None:
        self.folder = folder
        self.fed = inference.get("source") == "Feed"
        names = ("infer", *(f"infer-{i}" for i in range(1, workers)))
        self.key = secrets.token_bytes(32)
        self.store_url = f"sqlite:{folder / 'store.db'}"
        self.ports = {name: free_port() for name in ("http", "udp", "feed", "ingest", *names)}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        common = {"cohort": "ward", "namespace": "test"}
        for name, config in (
            ("ingest", {"udp": True}),
            ("inference", {"source": "Store", "replicas": workers, **inference}),
        ):
            self._write(f"config/{name}.json", json.dumps({**common, **config}))
        self._write("keys/current", base64.urlsafe_b64encode(self.key).decode())

    def _write(self, name: str, content: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    @property
    def target(self) -> Target:
        """For `holter.sim`'s senders: binary frames over HTTP."""
        return Target("binary", f"http://127.0.0.1:{self.ports['http']}", None, self.key, self.store_url)

    def start(self, *names: str) -> None:
        """Start `ingest`, `infer`, `infer-1` …: any of them."""
        for name in names:
            environment = {
                **os.environ,
                "HOLTER_CONFIG": str(self.folder / "config"),
                "HOLTER_STORE": self.store_url,
                "HOLTER_LISTEN": "127.0.0.1",
                "HOLTER_PORT_HTTP": str(self.ports["http"]),
                "HOLTER_PORT_UDP": str(self.ports["udp"]),
                "HOLTER_PORT_METRICS": str(self.ports[name]),
                "HOLTER_STATE": str(self.folder / f"state-{name}"),
                "HOLTER_POD": f"ward-{name}" if name[-1].isdigit() else f"ward-{name}-0",
                "HOLTER_DEVICE_KEYS": str(self.folder / "keys"),
            }
            if self.fed:
                environment["HOLTER_PORT_FEED"] = str(self.ports["feed"])
                environment["HOLTER_FEED_PEERS"] = f"127.0.0.1:{self.ports['feed']}"
            (self.folder / f"state-{name}").mkdir(exist_ok=True)
            with (self.folder / f"{name}.log").open("ab") as log:
                command = [str(Path(sys.executable).with_name("holter")), name.partition("-")[0]]
                self.processes[name] = subprocess.Popen(command, env=environment, stderr=log, stdout=log)

    def fetch(self, name: str, path: str) -> str | None:
        """GET from a service's metrics port; None while it does not answer 200."""
        try:
            with urlopen(f"http://127.0.0.1:{self.ports[name]}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            return None

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
                time.sleep(0.1)

    def log(self, name: str) -> str:
        """All that a service has logged."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def kill(self, name: str) -> None:
        """kill -9."""
        self.processes[name].kill()
        self.processes[name].wait()

    def stop(self, *names: str, seconds: float = 30.0) -> None:
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

    def close(self) -> None:
        """Kill what still runs."""
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()

    def alerts(self) -> tuple[AlertEvent, ...]:
        """Alert events in the store."""
        store = open_store(self.store_url, layout="Chunks", writer="test")
        try:
            return store.read_alerts(0)
        finally:
            store.close()

    def stored(self) -> dict[str, set[int]]:
        """Of each device the times (`t0`) of its chunks in the store."""
        store = open_store(self.store_url, layout="Chunks", writer="test")
        found: dict[str, set[int]] = {}
        cursor = 0
        try:
            while (page := store.read_chunks(range(64), cursor)).cursor != cursor:
                cursor = page.cursor
                for chunk in page.chunks:
                    found.setdefault(chunk.device_id, set()).add(chunk.t0)
        finally:
            store.close()
        return found
