"""Ingest under load while InfluxDB, its network, its disk or itself fails: what was sent is stored, each chunk once.

Patients send over a few WebSockets and send again what was not acknowledged. Afterwards InfluxDB is asked.
Sizes: HOLTER_PATIENTS (200), HOLTER_KILLS (3), HOLTER_FAULT_SECONDS (6) that a fault lasts. At full size: 2000, 10, 60.
`INFLUXD` names the program that is killed and started anew; influxd on PATH without it.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import replace

import orjson
import pytest
from tests.integration.streaming import Gate

from holter.bench.bucket import NoInfluxError, own_bucket
from holter.bench.influxd import Influxd
from holter.bench.players import Plan
from holter.bench.running import key_of, play
from holter.bench.services import Services
from holter.chunk import MICROSECONDS
from holter.ingest.wal import _RESERVE
from holter.store.open import open_store

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]
PATIENTS = int(os.environ.get("HOLTER_PATIENTS") or 200)
KILLS = int(os.environ.get("HOLTER_KILLS") or 3)
FAULT = float(os.environ.get("HOLTER_FAULT_SECONDS") or 6)
CALM = 4.0
"""Seconds of load before a fault, and behind it."""
RECORD = 56 + 500 + 12


class Trouble(Gate):
    """A gate that can also answer for InfluxDB, or say nothing at all."""

    def __init__(self, url):
        super().__init__(url)
        self.answer = None
        self.mute = False
        self.answered = Counter()

    async def _pass(self, reader, writer):
        if self.answer is None and not self.mute:
            await super()._pass(reader, writer)
            return
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = next((int(x[15:]) for x in head.splitlines() if x.lower().startswith("content-length:")), 0)
            await reader.readexactly(length)
            while self.mute:  # noqa: ASYNC110 - another thread ends it
                await asyncio.sleep(0.1)
            if self.answer is not None:
                self.answered[self.answer] += 1
                status, wait = self.answer
                body = orjson.dumps({"code": "unavailable", "message": "trouble"})
                writer.write(
                    f"HTTP/1.1 {status} Trouble\r\nRetry-After: {wait}\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                )
                writer.write(body)
                await writer.drain()
        writer.close()

    def now(self, answer=None, *, mute=False):
        """From now on; what is under way is cut."""
        self.answer, self.mute = answer, mute
        for writer in tuple(self._writers):
            self.loop.call_soon_threadsafe(writer.transport.abort)


@pytest.fixture
def influx():
    try:
        with own_bucket() as influx:
            yield influx
    except NoInfluxError as error:
        pytest.skip(str(error).partition("\n")[0])


@contextmanager
def serving(folder, influx, url=None, ingests=1, states=None):
    """Ingest processes that are ready, behind a gate where `url` is one."""
    where = influx if url is None else replace(influx, url=url)
    with Services(folder, where.secret(folder / "influxdb"), patients=PATIENTS, workers=0, ingests=ingests) as services:
        services.start(*services.ingest_names, **(states or {}))
        services.wait_ready(*services.ingest_names)
        yield services


def load(services, seconds):
    ports = tuple(services.ports[name]["http"] for name in services.ingest_names)
    return play(Plan("websocket", ports, key_of(services), PATIENTS, round(seconds), connections=6, patience=240.0))


def assert_all_stored(influx, services, running, ingests=None):
    """Everything that was sent was acknowledged, and InfluxDB has each chunk, once."""
    sent = running.wait()
    assert sent.acknowledged == sent.chunks == PATIENTS * running.plan.seconds
    assert services.wait_stored(*(services.ingest_names if ingests is None else ingests), seconds=240)
    found = influx.count_by_device("ecg_chunk", "pcm", sent.base - 10 * MICROSECONDS)
    assert len(found) == PATIENTS
    assert set(found.values()) == {running.plan.seconds}
    # A point is one by its series and time: a device must not have two series.
    store = open_store(influx.secret(services.folder / "look"), layout="Chunks", writer="look")
    try:
        for device in sorted(found)[:: max(1, PATIENTS // 10)]:
            chunks = store.read_span(device, sent.base - MICROSECONDS, sent.base + 10**6 * MICROSECONDS)
            assert [c.seq for c in chunks] == list(range(running.plan.seconds))
            assert {len(c.samples) for c in chunks} == {250}
    finally:
        store.close()
    told = f"{sent.chunks} chunks sent, {len(found)} devices x {running.plan.seconds} stored, answers {sent.codes}"
    print(told)  # noqa: T201 - what a full run reports
    return sent


@pytest.fixture
def influxd(tmp_path):
    program = os.environ.get("INFLUXD") or shutil.which("influxd")
    if program is None:
        pytest.skip("neither INFLUXD is set nor is influxd on PATH: none can be killed")
    server = Influxd(program, tmp_path / "influxd")
    server.start()
    yield server
    server.kill()


def test_influxdb_killed_and_started_anew(influxd, tmp_path):
    with own_bucket(influxd.environment) as influx, serving(tmp_path / "s", influx) as services:
        running = load(services, 2 * CALM + FAULT)
        time.sleep(CALM)
        influxd.kill()
        time.sleep(FAULT)
        assert services.metric("ingest-0", "holter_store_errors_total") > 0
        influxd.start()
        assert_all_stored(influx, services, running)


@pytest.mark.parametrize("trouble", [(503, 1), (429, 2), "hang", "cut"], ids=str)
def test_influxdb_in_trouble(influx, tmp_path, trouble):
    with Trouble(influx.url) as gate, serving(tmp_path / "s", influx, gate.url) as services:
        running = load(services, 2 * CALM + FAULT)
        time.sleep(CALM)
        match trouble:
            case "hang":
                gate.now(mute=True)
            case "cut":
                gate.shut()
            case _:
                gate.now(trouble)
        time.sleep(FAULT)
        assert services.metric("ingest-0", "holter_ingest_wal_bytes") > 0
        gate.now()
        gate.open()
        assert_all_stored(influx, services, running)
        if isinstance(trouble, tuple):
            # It was asked again when it had said so, not at once and not ten times a second.
            assert 1 <= gate.answered[trouble] <= 4 * (FAULT / trouble[1] + 2)


def test_ingest_killed_again_and_again(influx, tmp_path):
    with serving(tmp_path / "s", influx) as services:
        running = load(services, (KILLS + 1) * CALM)
        for _ in range(KILLS):
            time.sleep(0.6 * CALM)
            services.kill("ingest-0")
            services.start("ingest-0")
            services.wait_ready("ingest-0")
        sent = assert_all_stored(influx, services, running)
        assert sent.connects > 2 * KILLS  # the kills have hit


def test_ingest_terminated_while_influxdb_is_away(influx, tmp_path):
    """Ephemeral: the folder of the pod that ends is gone with it."""
    with Trouble(influx.url) as gate, serving(tmp_path / "s", influx, gate.url, ingests=2) as services:
        running = load(services, 2 * CALM + FAULT)
        time.sleep(CALM)
        gate.shut()
        time.sleep(FAULT / 2)
        leave(services, "ingest-0")
        assert services.metric("ingest-1", "holter_ingest_wal_bytes") > 0
        time.sleep(FAULT / 2)
        gate.open()
        assert_all_stored(influx, services, running, ["ingest-1"])


def test_ingest_scaled_from_three_to_one_while_influxdb_is_away(influx, tmp_path):
    with Trouble(influx.url) as gate, serving(tmp_path / "s", influx, gate.url, ingests=3) as services:
        running = load(services, 2 * CALM + FAULT)
        time.sleep(CALM)
        gate.shut()
        time.sleep(FAULT / 2)
        leave(services, "ingest-1", "ingest-2")
        time.sleep(FAULT / 2)
        gate.open()
        assert_all_stored(influx, services, running, ["ingest-0"])


def leave(services, *names):
    for name in names:
        services.processes[name].send_signal(signal.SIGTERM)
    services.stop(*names)
    for name in names:
        assert "handed_over" in services.log(name)
        shutil.rmtree(services.folder / f"state-{name}")


@pytest.fixture
def small_disk(tmp_path):
    """As large as what is kept free, and half of the fault's chunks."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("not root: no small file system can be mounted")
    size = _RESERVE + round(PATIENTS * RECORD * (CALM + FAULT / 2)) + (1 << 20)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_the_disk_of_the_log_is_full(influx, tmp_path, small_disk):
    state = {"HOLTER_STATE": str(small_disk)}
    with Trouble(influx.url) as gate, serving(tmp_path / "s", influx, gate.url, states=state) as services:
        running = load(services, 2 * CALM + 2 * FAULT)
        time.sleep(CALM)
        gate.shut()
        until = time.monotonic() + 2 * FAULT + 30
        while not services.metric("ingest-0", "holter_ingest_requests_total", 'code="503"'):
            assert time.monotonic() < until, "the disk never filled"
            time.sleep(0.2)
        while services.fetch("ingest-0", "/readyz") is not None:  # a few small frames may still fit
            assert time.monotonic() < until, "it refuses and says that it is ready"
            time.sleep(0.2)
        assert services.fetch("ingest-0", "/healthz") is not None
        gate.open()
        sent = assert_all_stored(influx, services, running)
        assert sent.codes["status 2"] > 0
