"""One `holter ingest` process under measurement, in the environment of docs/architecture.md."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

KEY = bytes(range(32))
"""The device key of every measured cohort."""


@dataclass(frozen=True, slots=True)
class Service:
    """A running process.

    Attributes:
        process: it.
        ports: by name: http, udp, metrics, feed.
    """

    process: "subprocess.Popen[bytes]"
    ports: dict[str, int]

    def cpu_seconds(self) -> float:
        """User and system time of all of its threads so far, from the scheduler's clock of the process."""
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def resident_bytes(self) -> int:
        """What it holds in memory now."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's series that have these labels."""
        url = f"http://127.0.0.1:{self.ports['metrics']}/metrics"
        with urlopen(url, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        found = [x for x in lines if x.startswith(f"{name}{{") and all(label in x for label in wanted)]
        return sum(float(line.rpartition(" ")[2]) for line in found)


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port that was free a moment ago."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def ingest(store: str, state: Path, **config: object) -> Iterator[Service]:
    """Start `holter ingest`, ready; ended by SIGTERM.

    Args:
        store: HOLTER_STORE.
        state: folder of its log, configuration and what it says.
        config: further fields of `ingest.json`.

    Raises:
        RuntimeError: it does not become ready, or does not end well.
    """
    folder = state / "config"
    folder.mkdir(parents=True, exist_ok=True)
    document = {"cohort": "bench", "namespace": "bench", "maxPatients": 100_000, **config}
    (folder / "ingest.json").write_text(json.dumps(document))
    (folder / "current").write_bytes(base64.urlsafe_b64encode(KEY))
    ports = {name: free_port() for name in ("http", "metrics", "feed")} | {"udp": free_port(socket.SOCK_DGRAM)}
    environment = os.environ | {
        "HOLTER_CONFIG": str(folder),
        "HOLTER_DEVICE_KEYS": str(folder),
        "HOLTER_STORE": store,
        "HOLTER_STATE": str(state),
        "HOLTER_LISTEN": "127.0.0.1",
        "HOLTER_POD": "ingest-0",
        **{f"HOLTER_PORT_{name.upper()}": str(port) for name, port in ports.items()},
    }
    said = state / "ingest.log"
    with said.open("ab") as log:
        command = [sys.executable, "-c", "from holter.cli import main; main()", "ingest"]
        process = subprocess.Popen(command, env=environment, stderr=log, stdout=log)  # noqa: S603 - our own program
    service = Service(process, ports)
    try:
        _wait_ready(service, said)
        yield service
        process.send_signal(signal.SIGTERM)
        if process.wait(60) != 0:
            raise RuntimeError(f"ingest ended with {process.returncode}:\n{said.read_text()[-2000:]}")
    finally:
        process.kill()
        process.wait()


def _wait_ready(service: Service, said: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and service.process.poll() is None:
        try:
            with urlopen(f"http://127.0.0.1:{service.ports['metrics']}/readyz", timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"ingest is not ready:\n{said.read_text()[-2000:]}")
