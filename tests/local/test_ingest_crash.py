"""kill -9 in the middle of a load: every acknowledged sample is in the store afterwards, none twice.

HOLTER_FULL=1 runs it with 500 devices and 10 kills.
"""

import asyncio
import base64
import json
import os
import random
import signal
import socket
import sys
from dataclasses import dataclass, field

import numpy as np
import orjson
import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import WebSocketClosedError, websocket_connect

from holter.chunk import SHARDS, Chunk
from holter.frame import Status, decode_acks, encode
from holter.keys import bearer, mac_key
from holter.store.open import open_store

FULL = os.environ.get("HOLTER_FULL") == "1"
DEVICES, KILLS = (500, 10) if FULL else (50, 3)
GATEWAYS = 10
FS = 250
START = 1_760_000_000_000_000
KEY = bytes(range(32))
ALIVE = 1.5  # seconds of load between two kills


def samples_of(device: int, first: int, n: int) -> np.ndarray:
    """A sample is a function of its device and index: a lost, doubled or misplaced one shows."""
    return ((np.arange(first, first + n) * 7 + device * 131) % 20_000 - 10_000).astype(np.int16)


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@dataclass
class Server:
    folder: object
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process = None

    async def start(self):
        config = {"cohort": "ward", "namespace": "test", "flushInterval": 0.2}
        (self.folder / "ingest.json").write_text(json.dumps(config))
        (self.folder / "current").write_bytes(base64.urlsafe_b64encode(KEY))
        environment = os.environ | {
            "HOLTER_CONFIG": str(self.folder),
            "HOLTER_DEVICE_KEYS": str(self.folder),
            "HOLTER_STORE": f"sqlite:{self.folder / 'store.db'}",
            "HOLTER_STATE": str(self.folder / "state"),
            "HOLTER_LISTEN": "127.0.0.1",
            "HOLTER_PORT_HTTP": str(self.port),
            "HOLTER_PORT_UDP": str(free_port(socket.SOCK_DGRAM)),
            "HOLTER_PORT_METRICS": str(free_port()),
        }
        with (self.folder / "ingest.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", "from holter.cli import main; main()", "ingest", env=environment, stderr=log
            )
        async with asyncio.timeout(30):
            while True:
                assert self.process.returncode is None, (self.folder / "ingest.log").read_text()[-2000:]
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    await writer.wait_closed()
                    return

    async def kill(self, number=signal.SIGKILL) -> int:
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 40)


class Gateway:
    """Sends one frame of each of its devices every 100 ms and again what was not acknowledged."""

    def __init__(self, port: int, devices: list[int]) -> None:
        self.port, self.devices = port, devices
        self.unacknowledged: dict[tuple[str, int], bytes] = {}
        self.acknowledged: set[tuple[str, int]] = set()
        self.resent = 0
        self.stopping = False

    async def run(self) -> None:
        second = 0
        while not self.stopping or self.unacknowledged:
            try:
                connection = await websocket_connect(f"ws://127.0.0.1:{self.port}/stream", connect_timeout=2)
            except Exception:
                await asyncio.sleep(0.05)
                continue
            reading = asyncio.create_task(self.read(connection))
            try:
                self.resent += len(self.unacknowledged)
                for frame in list(self.unacknowledged.values()):
                    await connection.write_message(frame, binary=True)
                while not reading.done() and not (self.stopping and not self.unacknowledged):
                    if not self.stopping:
                        frames = [self.frame(d, second) for d in self.devices]
                        second += 1
                        await connection.write_message(b"".join(frames), binary=True)
                    await asyncio.sleep(0.1)
            except WebSocketClosedError:
                pass
            finally:
                connection.close()
                await reading

    def frame(self, device: int, second: int) -> bytes:
        device_id = f"ws-{device}"
        t0 = START + second * 1_000_000
        chunk = Chunk(device_id, t0, float(FS), samples_of(device, second * FS, FS), second)
        frame = self.unacknowledged[device_id, t0] = encode(chunk, mac_key(KEY, device_id))
        return frame

    async def read(self, connection) -> None:
        while (message := await connection.read_message()) is not None:
            assert isinstance(message, bytes), message
            for ack in decode_acks(message):
                assert ack.status is not Status.REFUSED
                if ack.status is Status.ACCEPTED:
                    self.acknowledged.add((ack.device_id, ack.t0))
                    self.unacknowledged.pop((ack.device_id, ack.t0), None)


class Poster:
    """One device that posts JSON; after a failure it sends from half a second before what was acknowledged."""

    def __init__(self, port: int, device: int) -> None:
        self.port, self.device = port, device
        self.acknowledged = 0  # samples
        self.overlaps = 0
        self.stopping = False
        self.client = AsyncHTTPClient(force_instance=True)

    async def run(self) -> None:
        first = 0
        device_id = f"http-{self.device}"
        headers = {"Authorization": f"Bearer {bearer(KEY, device_id)}", "Content-Type": "application/json"}
        while not self.stopping:
            n = self.acknowledged + FS - first
            document = {
                "device_id": device_id,
                "t0": (START + first * 1_000_000 // FS) / 1000,
                "samples": [x / 1000 for x in samples_of(self.device, first, n).tolist()],
            }
            url = f"http://127.0.0.1:{self.port}/ingest"
            request = HTTPRequest(url, "POST", headers, orjson.dumps(document), request_timeout=3)
            try:
                response = await self.client.fetch(request, raise_error=False)
            except Exception:
                response = None
            if response is not None and response.code == 202:
                assert orjson.loads(response.body) == {"accepted": n}
                first = self.acknowledged = self.acknowledged + FS
            else:
                assert response is None or response.code in (503, 599), response.body
                self.overlaps += first == self.acknowledged > 0
                first = max(0, self.acknowledged - FS // 2)
            await asyncio.sleep(0.05)
        self.client.close()


MISSING = 1 << 20


def samples_in_store(path) -> dict[str, np.ndarray]:
    """By device: the values of its samples, by index; `MISSING` where there is none.

    Raises:
        AssertionError: a sample is there twice.
    """
    store = open_store(f"sqlite:{path}", layout="Chunks", writer="test")
    parts: dict[str, list[tuple[int, np.ndarray]]] = {}
    cursor, more = 0, True
    while more:
        page = store.read_chunks(range(SHARDS), cursor)
        more, cursor = bool(page.chunks), page.cursor
        for chunk in page.chunks:
            first = round((chunk.t0 - START) * FS / 1_000_000)
            parts.setdefault(chunk.device_id, []).append((first, chunk.samples))
    store.close()
    found = {}
    for device_id, rows in parts.items():
        index = np.concatenate([np.arange(first, first + len(samples)) for first, samples in rows])
        times = np.bincount(index)
        assert times.max() == 1, f"{device_id}: sample {times.argmax()} is stored {times.max()} times"
        found[device_id] = np.full(len(times), MISSING)
        found[device_id][index] = np.concatenate([samples for _, samples in rows])
    return found


@pytest.mark.timeout(600 if FULL else 120)
async def test_killed_again_and_again_it_loses_nothing_and_doubles_nothing(tmp_path):
    rng = random.Random(7)
    server = Server(tmp_path)
    await server.start()
    posters = [Poster(server.port, d) for d in range(DEVICES // 10)]
    streamed = range(DEVICES - len(posters))
    gateways = [Gateway(server.port, list(streamed[g::GATEWAYS])) for g in range(GATEWAYS)]
    load = [asyncio.create_task(x.run()) for x in (*posters, *gateways)]
    for _ in range(KILLS):
        await asyncio.sleep(ALIVE * (0.5 + rng.random()))
        # A kill between two rounds would hit nothing.
        while not any(gateway.unacknowledged for gateway in gateways):  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.001)
        await server.kill()
        await server.start()
    await asyncio.sleep(ALIVE)
    for x in (*posters, *gateways):
        x.stopping = True
    await asyncio.wait_for(asyncio.gather(*load), 60)
    assert await server.kill(signal.SIGTERM) == 0

    found = samples_in_store(tmp_path / "store.db")
    acknowledged = 0
    for gateway in gateways:
        assert gateway.acknowledged
        for device_id, t0 in gateway.acknowledged:
            first = (t0 - START) * FS // 1_000_000
            expected = samples_of(int(device_id.removeprefix("ws-")), first, FS)
            assert np.array_equal(found[device_id][first : first + FS], expected)
            acknowledged += FS
    for poster in posters:
        assert poster.acknowledged
        expected = samples_of(poster.device, 0, poster.acknowledged)
        assert np.array_equal(found[f"http-{poster.device}"][: poster.acknowledged], expected)
        acknowledged += poster.acknowledged
    # The kills have hit: something had to be sent again, and something overlapped.
    resent, overlaps = sum(g.resent for g in gateways), sum(p.overlaps for p in posters)
    assert resent
    assert overlaps
    told = f"{acknowledged} samples acknowledged, {resent} frames sent again, {overlaps} posts that overlap"
    print(f"{KILLS} kills, {DEVICES} devices: {told}")  # noqa: T201 - what a full run reports


async def test_sigterm_answers_what_is_under_way_and_stores_everything(tmp_path):
    server = Server(tmp_path)
    await server.start()
    gateways = [Gateway(server.port, [g]) for g in range(3)]
    load = [asyncio.create_task(g.run()) for g in gateways]
    await asyncio.sleep(1)
    assert await server.kill(signal.SIGTERM) == 0
    acknowledged = {a for g in gateways for a in g.acknowledged}
    found = samples_in_store(tmp_path / "store.db")
    assert acknowledged
    for device_id, t0 in acknowledged:
        assert found[device_id][(t0 - START) * FS // 1_000_000] != MISSING
    # Nothing is left to store: the log is behind its checkpoint.
    await server.start()
    assert b'"bytes_to_store": 0, "event": "log_recovered"' in (tmp_path / "ingest.log").read_bytes().splitlines()[-3]
    for gateway in gateways:
        gateway.stopping = True
    await asyncio.wait_for(asyncio.gather(*load), 30)
    assert await server.kill(signal.SIGTERM) == 0
