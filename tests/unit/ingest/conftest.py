"""An ingest process inside the test's event loop, with the real SQLite store."""

import asyncio
import base64
import json
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson
import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.websocket import websocket_connect

from holter.chunk import SHARDS, Chunk
from holter.frame import encode
from holter.ingest.service import Service
from holter.keys import bearer, mac_key
from holter.settings import Settings
from holter.store.open import open_store

KEY = bytes(range(32))
T0 = 1_750_000_000_000_000


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@dataclass
class Ingest:
    folder: Path
    service: Service = None
    stop: asyncio.Event = None
    task: asyncio.Task = None
    metrics_port: int = field(default_factory=free_port)
    streams: list = field(default_factory=list)
    client: AsyncHTTPClient = field(default_factory=lambda: AsyncHTTPClient(force_instance=True))

    def configure(self, **config) -> None:
        """Write the configuration; a running service follows it."""
        document = {"cohort": "ward", "namespace": "test", "flushInterval": 0.05, **config}
        (self.folder / "config" / "ingest.json").write_text(json.dumps(document))

    async def start(self, store: str | None = None, peers: str | None = None, state=None, **config) -> None:
        for name in ("config", "keys"):
            (self.folder / name).mkdir(exist_ok=True)
        (self.folder / "keys" / "current").write_bytes(base64.urlsafe_b64encode(KEY))
        self.configure(**config)
        settings = Settings(
            config=self.folder / "config",
            store=store or f"sqlite:{self.folder / 'store.db'}",
            state=state or self.folder / "state",
            listen="127.0.0.1",
            ports={"http": 0, "udp": 0, "metrics": self.metrics_port, "feed": 0},
            pod="ingest-0",
            device_keys=self.folder / "keys",
            feed_peers=peers,
        )
        self.service, self.stop = Service(settings), asyncio.Event()
        self.task = asyncio.create_task(self.service.run(self.stop))
        async with asyncio.timeout(10):
            while self.service._fault is not None:
                if self.task.done():
                    await self.task
                await asyncio.sleep(0.005)

    async def end(self) -> None:
        self.stop.set()
        async with asyncio.timeout(30):
            await self.task
        self.client.close()
        for stream in self.streams:
            stream.close()
        async with asyncio.timeout(10):
            while any(s.protocol is not None for s in self.streams):  # noqa: ASYNC110 - Tornado tells nobody
                await asyncio.sleep(0.01)

    async def send(
        self, body, *, token=None, content_type="application/json", path="/ingest", method="POST", **headers
    ):
        """POST; a document is sent as JSON with its device's token."""
        if isinstance(body, dict):
            token = bearer(KEY, body["device_id"]) if token is None else token
            body = orjson.dumps(body)
        if content_type:
            headers["Content-Type"] = content_type
        if token:
            headers["Authorization"] = f"Bearer {token}"
        url = f"http://127.0.0.1:{self.service.http_port}{path}"
        request = HTTPRequest(url, method, headers, body=body if method == "POST" else None, request_timeout=10)
        return await self.client.fetch(request, raise_error=False)

    async def frames(self, *frames: bytes) -> HTTPResponse:
        return await self.send(b"".join(frames), content_type="application/vnd.holter.chunks")

    async def stream(self, on_message=None):
        url = f"ws://127.0.0.1:{self.service.http_port}/stream"
        self.streams.append(await websocket_connect(url, on_message_callback=on_message))
        return self.streams[-1]

    def count(self, name: str, **labels) -> float:
        return self.service.measures.metrics.registry.get_sample_value(name, {"cohort": "ward", **labels}) or 0.0

    async def drained(self) -> None:
        """Wait until the log is in the store."""
        async with asyncio.timeout(20):
            while self.service.log.backlog or not self.service.commits.idle:  # noqa: ASYNC110 - a thread changes it
                await asyncio.sleep(0.01)

    async def stored(self) -> tuple[Chunk, ...]:
        """What the store holds, once the log is in it, by device and time."""
        await self.drained()
        store = open_store(f"sqlite:{self.folder / 'store.db'}", layout="Chunks", writer="test")
        try:
            chunks = store.read_chunks(range(SHARDS), 0).chunks
        finally:
            store.close()
        return tuple(sorted(chunks, key=lambda c: (c.device_id, c.t0)))


@pytest.fixture
async def ingest(tmp_path):
    running = Ingest(tmp_path)
    await running.start()
    yield running
    await running.end()


@pytest.fixture
def start(tmp_path):
    @asynccontextmanager
    async def begin(store: str | None = None, name: str | None = None, **options):
        """`name` keeps it apart from others of the same test."""
        folder = tmp_path if name is None else tmp_path / name
        folder.mkdir(exist_ok=True)
        running = Ingest(folder)
        await running.start(store, **options)
        try:
            yield running
        finally:
            await running.end()

    return begin


@pytest.fixture
def chunk():
    def make(t0: int = T0, n: int = 250, *, device_id: str = "wearable-1", fs: float = 250.0, first: int = 0, **more):
        samples = (first + np.arange(n) % 1000).astype(np.int16)
        return Chunk(device_id, t0, fs, samples, **more)

    return make


@pytest.fixture
def frame(chunk):
    def make(*args, timed=True, key=KEY, **more) -> bytes:
        made = chunk(*args, **more)
        return encode(made, mac_key(key, made.device_id), timed=timed)

    return make


@pytest.fixture
def document():
    def make(n: int = 250, device_id: str = "wearable-1", **more):
        return {"device_id": device_id, "samples": [round(0.001 * (i % 1000), 3) for i in range(n)], **more}

    return make


@pytest.fixture
def token_of():
    return lambda device_id: bearer(KEY, device_id)
