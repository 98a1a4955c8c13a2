"""`python -m holter.bench.players`: a process that sends patients' seconds, paced as they live (JSON in, out).

What is not acknowledged is sent again, until it is or the time is over. It is cheap, so that it can share the cores
with what it loads: ready-made frames over bare sockets, an unmasked-looking (zero) mask, acknowledgements by the array.
"""

import asyncio
import base64
import json
import os
import socket
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from holter.bench.playing import ACK, Patients, Tape, record

TICKS = 20
"""Bursts a second: patients are spread over them."""
MESSAGE_BYTES = 200_000
PATIENCE = 60.0
_ACCEPTED, _REFUSED = 0, 1


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send.

    Attributes:
        transport: json_http, websocket (a few gateways), websocket_device (a message a frame), udp or tutorial.
        port: on 127.0.0.1; several are used in turn by connections.
        key: base64 of the cohort's device key.
        patients: how many.
        seconds: how long each lives; each second is one chunk.
        connections: gateways, or connections with one request under way each.
        post: seconds a JSON post holds.
        prefix: of the device ids.
        rhythms: of the patients, in turn.
        onset: seconds of each minute at which they change.
        base: event time of the first sample, µs; 0: now.
        patience: seconds after which what is not acknowledged is given up.
    """

    transport: str
    port: tuple[int, ...]
    key: str
    patients: int
    seconds: int
    connections: int = 4
    post: int = 1
    prefix: str = "bench"
    rhythms: tuple[str, ...] = ("resting",)
    onset: float = 0.0
    base: int = 0
    patience: float = PATIENCE


@dataclass(slots=True)
class Sent:
    """What became of it.

    Attributes:
        chunks: seconds of patients sent.
        acknowledged: of them, each once.
        refused: of them, for good.
        codes: answers by HTTP code, or acknowledgements by status.
        connects: connections made.
        late: the longest that a burst was behind its time, seconds.
        began: wall clock, s.
        ended: wall clock, s.
        base: event time of the first sample, µs.
        cpu: seconds that this process used.
    """

    chunks: int = 0
    acknowledged: int = 0
    refused: int = 0
    codes: dict[str, int] = field(default_factory=dict)
    connects: int = 0
    late: float = 0.0
    began: float = 0.0
    ended: float = 0.0
    base: int = 0
    cpu: float = 0.0

    def note(self, answer: str) -> None:
        """Count an answer."""
        self.codes[answer] = self.codes.get(answer, 0) + 1


class _Load:
    def __init__(self, plan: Plan, tape: Tape) -> None:
        self.plan, self.sent = plan, Sent()
        self.sent.began = time.time()
        self.sent.base = plan.base or round(self.sent.began * 1e6)
        self.patients = Patients(tape, plan.patients, base64.b64decode(plan.key), self.sent.base, plan.prefix)
        self._clock = time.monotonic()

    async def bursts(self, lane: int, lanes: int) -> Any:
        """Of this lane's patients those whose second is full, burst by burst: lists of (patient, second)."""
        plan, n = self.plan, self.plan.patients
        # A post of k seconds is sent when the last of them is over.
        for burst in range(TICKS * plan.seconds):
            second, tick = divmod(burst, TICKS)
            due = self._clock + (burst + 1) / TICKS + 1.0
            wait = due - time.monotonic()
            if wait > 0:
                await asyncio.sleep(min(wait, plan.patience))
            else:
                self.sent.late = max(self.sent.late, -wait)
            first, last = n * tick // TICKS, n * (tick + 1) // TICKS
            first += (lane - first) % lanes
            ready = [(i, second) for i in range(first, last, lanes) if (second + 1 + i) % plan.post == 0]
            yield [(i, second + 1 - plan.post) for i, second in ready if second + 1 >= plan.post]

    def count(self, chunks: int) -> None:
        self.sent.chunks += chunks


async def _http(load: _Load, lane: int, path: str, *, timed: bool) -> None:
    plan, patients, sent = load.plan, load.patients, load.sent
    port = plan.port[lane % len(plan.port)]
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    tokens: dict[int, str] = {}
    async for burst in load.bursts(lane, plan.connections):
        for patient, second in burst:
            load.count(plan.post)
            body = patients.body(patient, second, plan.post, timed=timed)
            if timed and patient not in tokens:
                tokens[patient] = f"Authorization: Bearer {patients.bearer(patient)}\r\n"
            head = (
                f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
                f"{tokens.get(patient, '')}Content-Length: {len(body)}\r\n\r\n"
            ).encode()
            until = time.monotonic() + plan.patience
            while time.monotonic() < until:
                try:
                    if streams is None:
                        streams = await asyncio.open_connection("127.0.0.1", port)
                        sent.connects += 1
                    streams[1].write(head + body)
                    code, wait = await _answer(streams[0])
                except (OSError, asyncio.IncompleteReadError):
                    streams = None
                    await asyncio.sleep(0.2)
                    continue
                sent.note(code)
                if code in ("429", "503"):
                    await asyncio.sleep(min(wait, plan.patience))
                    continue
                if code.startswith("2"):
                    sent.acknowledged += plan.post
                else:
                    sent.refused += plan.post
                break
    if streams is not None:
        streams[1].close()


async def _answer(reader: asyncio.StreamReader) -> tuple[str, float]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    await reader.readexactly(int(headers.get("content-length", 0)))
    return head[9:12], float(headers.get("retry-after", 1))


class _Gateway:
    """One WebSocket of many patients: what is not acknowledged is sent again over the next connection."""

    def __init__(self, load: _Load, lane: int) -> None:
        self._load, self._lane = load, lane
        self._open: dict[tuple[bytes, int], bytes] = {}  # not acknowledged: device id, seq → frame
        self._again: deque[tuple[float, tuple[bytes, int]]] = deque()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._single = load.plan.transport == "websocket_device"
        self._tries = 0

    async def run(self) -> None:
        plan, patients = self._load.plan, self._load.patients
        ids = [device_id.encode() for device_id in patients.ids]
        async for burst in self._load.bursts(self._lane, plan.connections):
            frames = []
            for patient, second in burst:
                frame = patients.frame(patient, second)
                self._open[ids[patient], second] = frame
                frames.append(frame)
            self._load.count(len(frames))
            if await self._connected():
                await self._send(frames)
        until = time.monotonic() + plan.patience
        while self._open and time.monotonic() < until:
            await self._connected()
            await asyncio.sleep(0.05)
        if self._reading is not None:
            self._reading.cancel()
        if self._streams is not None:
            self._streams[1].close()

    async def _connected(self) -> bool:
        """Whether what follows may be sent; after a new connection all that is open has been sent again."""
        if self._reading is not None and self._reading.done():
            self._streams = self._reading = None
        if self._streams is None:
            try:
                await self._connect()
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                self._streams = None
                await asyncio.sleep(0.2)
                return False
            self._again.clear()
            await self._send(list(self._open.values()))
            return False  # the newest were among them
        now, due = time.monotonic(), []
        while self._again and self._again[0][0] <= now:
            key = self._again.popleft()[1]
            if key in self._open:
                due.append(self._open[key])
        if due:
            await self._send(due)
        return True

    async def _connect(self) -> None:
        ports = self._load.plan.port
        # Another one of several after each fall, and when one is not there.
        port = ports[(self._lane + self._tries) % len(ports)]
        self._tries += 1
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        self._load.sent.connects += 1
        writer.write(
            b"GET /stream HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n" % base64.b64encode(os.urandom(16))
        )
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            self._load.sent.note(head[9:12].decode())
            writer.close()
            raise ConnectionError(head[:80].decode("latin-1"))
        self._streams = reader, writer
        self._reading = asyncio.create_task(self._read(reader))

    async def _send(self, frames: list[bytes]) -> None:
        assert self._streams is not None
        writer = self._streams[1]
        message: list[bytes] = []
        size = 0
        try:
            for frame in frames:
                message.append(frame)
                size += len(frame)
                if self._single or size >= MESSAGE_BYTES:
                    writer.write(_websocket(b"".join(message)))
                    message, size = [], 0
            if message:
                writer.write(_websocket(b"".join(message)))
            await writer.drain()
        except OSError:
            return  # the reader has ended too; all that is open is sent again

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                first, length = await reader.readexactly(2)
                if length == 126:
                    length = int.from_bytes(await reader.readexactly(2), "big")
                elif length == 127:
                    length = int.from_bytes(await reader.readexactly(8), "big")
                payload = await reader.readexactly(length)
                if first & 15 == 2:
                    self._settle(payload)
                elif first & 15 == 8:
                    return
                elif first & 15 == 1:
                    self._load.sent.note(payload.decode()[:200])
        except (OSError, asyncio.IncompleteReadError):
            return

    def _settle(self, payload: bytes) -> None:
        acks = np.frombuffer(payload, ACK)
        sent = self._load.sent
        for device_id, seq, status, wait in zip(
            acks["id"].tolist(), acks["seq"].tolist(), acks["status"].tolist(), acks["wait"].tolist(), strict=True
        ):
            if status in (_ACCEPTED, _REFUSED):
                if self._open.pop((device_id, seq), None) is not None:
                    if status == _ACCEPTED:
                        sent.acknowledged += 1
                    else:
                        sent.refused += 1
            else:
                self._again.append((time.monotonic() + wait, (device_id, seq)))
            if status != _ACCEPTED:
                sent.note(f"status {status}")


def _websocket(payload: bytes) -> bytes:
    """A final binary message of a client; a mask of zeros changes nothing."""
    n = len(payload)
    if n < 126:
        length = bytes([0x80 | n])
    else:
        length = b"\xfe" + n.to_bytes(2, "big") if n < 1 << 16 else b"\xff" + n.to_bytes(8, "big")
    return b"\x82" + length + b"\0\0\0\0" + payload


async def _udp(load: _Load) -> None:
    ports = load.plan.port
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in ports]
    for one, port in zip(sockets, ports, strict=True):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        one.connect(("127.0.0.1", port))
    async for burst in load.bursts(0, 1):
        for patient, second in burst:
            sockets[patient % len(ports)].send(load.patients.frame(patient, second))
        load.count(len(burst))
    for one in sockets:
        one.close()


async def send(plan: Plan) -> Sent:
    """Send it all."""
    load = _Load(plan, record(plan.rhythms, onset=plan.onset))
    lanes = range(plan.connections)
    match plan.transport:
        case "json_http":
            await asyncio.gather(*(_http(load, lane, "/ingest", timed=True) for lane in lanes))
        case "tutorial":
            await asyncio.gather(*(_http(load, lane, "/ingest", timed=False) for lane in lanes))
        case "websocket" | "websocket_device":
            await asyncio.gather(*(_Gateway(load, lane).run() for lane in lanes))
        case "udp":
            await _udp(load)
        case other:
            raise ValueError(f"transport {other!r}")
    load.sent.ended = time.time()
    load.sent.cpu = time.process_time()
    return load.sent


def main() -> None:
    """Plan on stdin, what became of it on stdout."""
    given = json.load(sys.stdin)
    plan = Plan(**{**given, "port": tuple(given["port"]), "rhythms": tuple(given.get("rhythms", ("resting",)))})
    json.dump(asdict(asyncio.run(send(plan))), sys.stdout)


if __name__ == "__main__":
    main()
