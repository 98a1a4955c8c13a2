"""A console before a store that somebody fills as it goes: many patients, without a worker to compute them."""

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.request import urlopen

import numpy as np

from holter.alert import AlertEvent, Kind, Priority, Transition, alert_id
from holter.bench.services import free_port
from holter.chunk import MICROSECONDS, Chunk
from holter.sim.ward import mix, ward
from holter.store.sqlite import SqliteStore
from holter.window import WindowScores

_LOOP = 60
"""Seconds of each distinct patient that are played over and over."""
NAMES = ("residual_own", "width", "prematurity", "rr_change", "spread", "kurtosis")


def now() -> int:
    return time.time_ns() // 1000


class Stage:
    """Patients who send each second, and `holter console` on their store."""

    def __init__(self, folder: Path, patients: int) -> None:
        self.folder, self.patients = folder, patients
        self.store = SqliteStore(folder / "store.db")
        self.view, self.acknowledge = (secrets.token_urlsafe(32) for _ in range(2))
        for name, content in (
            ("config/console.json", json.dumps({"cohort": "cardiology-ward", "namespace": "st-mary"})),
            ("tokens/view", self.view),
            ("tokens/acknowledge", self.acknowledge),
        ):
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
        self.ports = {"http": free_port(), "metrics": free_port()}
        self.url = f"http://127.0.0.1:{self.ports['http']}/"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._silent: set[str] = set()
        beds = ward(mix(20), base=0, onset=0.0)
        self._samples = [self._seconds(bed.patient.chunks(0)) for bed in beds]
        self.ids = [f"bed{n + 1:03d}" for n in range(patients)]
        self.process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def _seconds(chunks) -> np.ndarray:
        return np.concatenate([next(chunks).samples for _ in range(_LOOP)]).reshape(_LOOP, 250)

    def start(self) -> None:
        self._thread.start()
        self.start_console()

    def start_console(self) -> None:
        environment = {
            **os.environ,
            "HOLTER_CONFIG": str(self.folder / "config"),
            "HOLTER_STORE": f"sqlite:{self.folder / 'store.db'}",
            "HOLTER_LISTEN": "127.0.0.1",
            "HOLTER_PORT_HTTP": str(self.ports["http"]),
            "HOLTER_PORT_METRICS": str(self.ports["metrics"]),
            "HOLTER_CONSOLE_TOKENS": str(self.folder / "tokens"),
        }
        with (self.folder / "console.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).with_name("holter")), "console"], env=environment, stderr=log, stdout=log
            )
        until = time.monotonic() + 60
        while True:
            try:
                urlopen(f"http://127.0.0.1:{self.ports['metrics']}/readyz", timeout=2).close()
                break
            except OSError:
                assert time.monotonic() < until, self.log()
                assert self.process.poll() is None, self.log()
                time.sleep(0.1)

    def log(self) -> str:
        return (self.folder / "console.log").read_text()

    def stop_console(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)
        if self.process is not None and self.process.poll() is None:
            self.stop_console()
        self.store.close()

    def silence(self, *ids: str) -> None:
        """These send no more."""
        self._silent |= set(ids)

    def raise_alert(
        self, device: str, kind: Kind, priority: Priority, reason: str, ago: float = 0.0, delay: float = 3.4
    ) -> str:
        onset = now() - round((ago + delay) * MICROSECONDS)
        identity = alert_id("st-mary", "cardiology-ward", device, kind, onset)
        self.store.write_alert(
            AlertEvent(
                id=f"{identity}-0",
                alert_id=identity,
                event=Transition.RAISED,
                device_id=device,
                kind=kind,
                priority=priority,
                onset=onset,
                decided_at=onset + round(delay * MICROSECONDS),
                reason=reason,
            )
        )
        return identity

    def _play(self) -> None:
        second = now() // MICROSECONDS - 12
        while not self._stop.is_set():
            if second > now() // MICROSECONDS:
                time.sleep(0.1)
                continue
            base = (second - 1) * MICROSECONDS
            here = [device for device in self.ids if device not in self._silent]
            self.store.write_chunks([self._chunk(device, second, base) for device in here])
            if second % 5 == 0:
                self._score(here, second)
            second += 1

    def _chunk(self, device: str, second: int, base: int) -> Chunk:
        number = int(device[3:]) - 1
        loop = self._samples[number % len(self._samples)]
        samples = loop[(second + 7 * number) % _LOOP]
        return Chunk(device, base + 4000 * (number % 250), 250.0, samples, second & 0xFFFF, arrived=now())

    def _score(self, devices: list[str], second: int) -> None:
        n = len(devices)
        rng = np.random.default_rng(second)
        self.store.write_scores(
            WindowScores(
                tuple(devices),
                np.full(n, second * MICROSECONDS),
                NAMES,
                rng.gamma(2, 0.1, (n, len(NAMES))).astype(np.float32),
                rng.normal(-1, 0.3, n).astype(np.float32),
                rng.normal(0.45, 0.02, n).astype(np.float32),
                rng.normal(-1.5, 0.4, n).astype(np.float32),
                rng.uniform(0.7, 1, n).astype(np.float32),
                np.zeros(n, bool),
                np.zeros(n, bool),
                np.full(n, 3, np.int32),
            )
        )
