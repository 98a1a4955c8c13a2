"""`holter up` with the real services: from a device's post to the store, and clean and unclean ends."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

HOLTER = Path(sys.executable).with_name("holter")
READY_WITHIN = 150.0  # the first start on a machine compiles the hot path

COHORT = """
apiVersion: holter.dev/v1alpha1
kind: MonitoredCohort
metadata: {name: ward, namespace: st-mary}
spec:
  ingest:
    batch: {flushInterval: 1s}
"""

pytestmark = pytest.mark.timeout(300)


class Up:
    """A running `holter up`."""

    def __init__(self, folder: Path) -> None:
        self.file, self.state, self.log = folder / "ward.yaml", folder / "state", folder / "up.log"
        if not self.file.exists():
            self.file.write_text(COHORT)
        command = (HOLTER, "up", self.file, "--state", self.state, "--port", "http=0", "--port", "udp=0")
        with self.log.open("a") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        self.where = self.wait_for(self.addresses, READY_WITHIN)

    def read(self, name: str) -> str:
        path = self.state / name
        return path.read_text() if path.exists() else ""

    def addresses(self) -> dict:
        """Those of this process: a killed one leaves its own behind."""
        where = json.loads(self.read("endpoints.json") or "{}")
        return where if where.get("pid") == self.process.pid else {}

    def wait_for(self, look, limit: float = 60.0):
        until = time.monotonic() + limit
        while not (found := look()):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.1)
        return found

    def pids(self) -> dict[str, int]:
        return {name: c["pid"] for name, c in json.loads(self.read("status.json"))["components"].items()}

    def post(self, device: str, **body) -> dict:
        token = subprocess.run(
            [HOLTER, "token", device, "--key", self.where["device_keys"]], check=True, capture_output=True, text=True
        ).stdout.strip()
        request = Request(
            f"{self.where['ingest']}/ingest",
            data=json.dumps({"device_id": device, **body}).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        with urlopen(request, timeout=30) as response:
            assert response.status == 202
            return json.load(response)

    def stored(self, device: str, count: int):
        """The samples' times and values, once `count` of them are in the store."""
        from holter.store.sqlite import SqliteStore

        store = SqliteStore(Path(self.where["store"].removeprefix("sqlite:")))
        try:

            def look():
                chunks = store.read_span(device, 0, 2**62)
                return chunks if sum(len(c.samples) for c in chunks) >= count else ()

            chunks = self.wait_for(look)
        finally:
            store.close()
        return [(c.t0 + round(n * 1e6 / c.fs), int(v)) for c in chunks for n, v in enumerate(c.samples)]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(120)


@pytest.fixture
def up(tmp_path):
    made = []

    def start() -> Up:
        made.append(Up(tmp_path))
        return made[-1]

    yield start
    for one in made:
        if one.process.poll() is None:
            one.process.terminate()
            one.process.wait(120)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_cohort_through_posts_an_edit_a_kill_and_a_clean_stop(up):
    """One long test, for each start of the real services takes its time."""
    first = up()
    samples = [round(0.001 * n, 3) for n in range(250)]

    # The well-known tutorial's own request, which sends no time.
    assert first.post("tutorial", samples=samples) == {"accepted": 250}
    stored = first.stored("tutorial", 250)
    assert [value for _, value in stored] == list(range(250)), "mV in, µV kept"
    assert {later - earlier for (earlier, _), (later, _) in pairwise(stored)} == {4000}, "4 ms apart"

    # An edit that the services reload restarts none of them, and what comes then is stored as before.
    pids = first.pids()
    config = Path(first.state / "mounts/ingest/etc/holter/config/ingest.json")
    first.file.write_text(COHORT.replace("flushInterval: 1s", "flushInterval: 2s"))
    first.wait_for(lambda: json.loads(config.read_bytes())["flushInterval"] == 2)
    t0 = datetime(2026, 3, 1, 10, 0, 0, tzinfo=UTC)
    first.post("timed", samples=samples, t0=t0.isoformat())
    assert first.stored("timed", 250)[0][0] == round(t0.timestamp() * 1e6)
    assert first.pids() == pids
    for url in first.where["metrics"].values():
        with urlopen(url, timeout=30) as response:
            assert b'cohort="ward"' in response.read()

    # Killed: nothing of it is left, and the next one is found at the same address, with the same key and data.
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait()
    second = up()
    assert all(map(gone, pids.values()))
    assert second.where["ingest"] == first.where["ingest"]
    second.post("timed", samples=samples, t0=t0.isoformat())  # the same chunk again, with the same token
    second.post("timed", samples=[0.25] * 250, t0=(t0 + timedelta(seconds=1)).isoformat())
    assert [value for _, value in second.stored("timed", 500)] == [*range(250), *[250] * 250]

    pids = second.pids()
    assert second.stop() == 0
    assert all(map(gone, pids.values()))
    assert not second.read("endpoints.json")
    assert "Traceback" not in second.log.read_text()
