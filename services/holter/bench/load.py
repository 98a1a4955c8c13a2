"""Load on one ingest: prebuilt bytes, paced evenly over each second, so that sending costs next to nothing."""

import asyncio
import base64
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from holter.bench.service import KEY, Service
from holter.chunk import MICROSECONDS, Chunk
from holter.frame import ACK_BYTES, encode
from holter.keys import bearer, mac_key
from holter.sim.ward import MIX, ward

FS = 250
TRANSPORTS = ("json_http", "websocket", "udp")
Transport = Literal["json_http", "websocket", "udp"]
_TICK = {"json_http": 0.01, "udp": 0.01, "websocket": 0.1}
"""Seconds between two sendings: a gateway joins what it has."""
_CONNECTIONS = 32
"""Keep-alive connections that JSON is posted over."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent.

    Attributes:
        transport: how.
        patients: how many, each at 250 Hz.
        seconds: of signal from each.
        post_seconds: of signal in one JSON post; frames hold one second always.
        gateways: WebSocket connections that the patients share.
        frames_per_message: of one WebSocket message at most.
    """

    transport: Transport
    patients: int
    seconds: int
    post_seconds: int = 1
    gateways: int = 8
    frames_per_message: int = 64

    @property
    def chunks(self) -> int:
        """Seconds of one patient in all."""
        return self.patients * self.seconds


@dataclass(frozen=True, slots=True)
class Sent:
    """What the other end said.

    Attributes:
        chunks: that were sent.
        acknowledged: chunks, 0 over UDP.
    """

    chunks: int
    acknowledged: int


async def send(load: Load, service: Service, signal: NDArray[np.int16], start: int) -> Sent:
    """Send the load in real time.

    Args:
        load: what.
        service: where to.
        signal: int16 µV at 250 Hz, any length; each patient begins at another place of it.
        start: t0 of the first second, µs since the epoch.

    Raises:
        RuntimeError: something was refused.
    """
    links = await _open(load, service)
    acknowledged = 0
    lanes = [range(lane, load.patients, len(links)) for lane in range(len(links))]
    try:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        ticks = round(load.post_seconds / _TICK[load.transport])
        for second in range(0, load.seconds, load.post_seconds):
            done = [0] * len(links)
            for tick in range(1, ticks + 1):
                for lane, link in enumerate(links):
                    upto = len(lanes[lane]) * tick // ticks
                    if upto > done[lane]:
                        link.give(_messages(load, lanes[lane][done[lane] : upto], second, signal, start))
                        done[lane] = upto
                wait = begun + second + tick * load.post_seconds / ticks - loop.time()
                if wait > 0:
                    await asyncio.sleep(wait)
        for link in links:
            acknowledged += await link.settle()
    finally:
        for link in links:
            link.close()
    return Sent(load.chunks, acknowledged)


def _messages(
    load: Load, patients: Sequence[int], second: int, signal: NDArray[np.int16], start: int
) -> list[tuple[bytes, int]]:
    """Bytes to send, with the number of chunks in each."""
    t0 = start + second * MICROSECONDS
    if load.transport == "json_http":
        return [(_post(p, t0, _cut(signal, p, second, load.post_seconds)), load.post_seconds) for p in patients]
    frames = [encode(Chunk(_name(p), t0, float(FS), _cut(signal, p, second, 1), second), _mac_key(p)) for p in patients]
    if load.transport == "udp":
        return [(frame, 1) for frame in frames]
    size = load.frames_per_message
    groups = [frames[i : i + size] for i in range(0, len(frames), size)]
    return [(_websocket_frame(b"".join(group)), len(group)) for group in groups]


def _name(patient: int) -> str:
    return f"bench-{patient:06d}"


_KEYS: dict[int, bytes] = {}


def _mac_key(patient: int) -> bytes:
    if patient not in _KEYS:
        _KEYS[patient] = mac_key(KEY, _name(patient))
    return _KEYS[patient]


def _cut(signal: NDArray[np.int16], patient: int, second: int, seconds: int) -> NDArray[np.int16]:
    length = seconds * FS
    first = (patient * 977 + second * FS) % (len(signal) - length)
    return signal[first : first + length]


def _post(patient: int, t0: int, samples: NDArray[np.int16]) -> bytes:
    name = _name(patient)
    body = orjson.dumps({"device_id": name, "t0": t0 / 1000, "samples": (samples / 1000).tolist()})
    head = (
        f"POST /ingest HTTP/1.1\r\nHost: ingest\r\nAuthorization: Bearer {bearer(KEY, name)}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _websocket_frame(payload: bytes) -> bytes:
    """A masked binary message (RFC 6455, 5.2); a mask of zeros is as good as any other to the reader."""
    n = len(payload)
    length = bytes([0x80 | n]) if n < 126 else b"\xfe" + n.to_bytes(2, "big")
    if n >= 1 << 16:
        length = b"\xff" + n.to_bytes(8, "big")
    return b"\x82" + length + bytes(4) + payload


class _Stream(asyncio.Protocol):
    """A TCP connection: HTTP answers or WebSocket acknowledgements are counted, nothing else is read of them."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.closed = asyncio.Event()
        self.moved = asyncio.Event()
        self.buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.read()
        self.moved.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.closed.set()
        self.moved.set()

    def read(self) -> None:
        """Take what is whole off the buffer."""

    def close(self) -> None:
        """End the connection."""
        if self.transport is not None:
            self.transport.close()

    async def wait(self) -> None:
        """Until something has come."""
        self.moved.clear()
        if self.closed.is_set():
            raise RuntimeError("ingest closed the connection")
        async with asyncio.timeout(60):
            await self.moved.wait()


class _Http(_Stream):
    """One post at a time; what comes meanwhile waits."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[tuple[bytes, int]] = []
        self.open = 0
        self.acknowledged = 0
        self.refused: bytes | None = None

    def give(self, messages: list[tuple[bytes, int]]) -> None:
        self.waiting += messages
        self._next()

    def _next(self) -> None:
        if not self.open and self.waiting and self.transport is not None:
            message, self.open = self.waiting.pop(0)
            self.transport.write(message)

    def read(self) -> None:
        head, found, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        if not found:
            return
        length = next(int(x[15:]) for x in head.split(b"\r\n") if x[:15].lower() == b"content-length:")
        if len(rest) < length:
            return
        if not head.startswith(b"HTTP/1.1 202 "):
            self.refused = head + rest
        self.buffer = bytearray(rest[length:])
        self.acknowledged += self.open
        self.open = 0
        self._next()

    async def settle(self) -> int:
        while self.open or self.waiting:
            await self.wait()
            if self.refused is not None:
                raise RuntimeError(f"a post was refused: {self.refused[-300:]!r}")
        return self.acknowledged


class _WebSocket(_Stream):
    """Frames out, acknowledgements counted."""

    def __init__(self) -> None:
        super().__init__()
        self.ready = False
        self.sent = self.acknowledged = 0
        self.refused: bytes | None = None

    def give(self, messages: list[tuple[bytes, int]]) -> None:
        if self.transport is not None:
            self.transport.writelines([message for message, _ in messages])
        self.sent += sum(count for _, count in messages)

    def read(self) -> None:
        if not self.ready:
            at = self.buffer.find(b"\r\n\r\n")
            if at < 0:
                return
            self.ready = self.buffer.startswith(b"HTTP/1.1 101 ")
            del self.buffer[: at + 4]
        while len(self.buffer) >= 2:
            length, at = self.buffer[1], 2
            if length >= 126:
                at = 4 if length == 126 else 10
                length = int.from_bytes(self.buffer[2:at], "big")
            if len(self.buffer) < at + length:
                return
            payload = bytes(self.buffer[at : at + length])
            opcode = self.buffer[0] & 15
            del self.buffer[: at + length]
            if opcode == 2:
                statuses = payload[5::ACK_BYTES]
                self.acknowledged += statuses.count(0)
                if statuses.strip(b"\0"):
                    self.refused = payload
            elif opcode == 9 and self.transport is not None:
                self.transport.write(bytes([0x8A, 0x80 | length]) + bytes(4) + payload)
            elif opcode in (1, 8):
                self.refused = payload

    async def settle(self) -> int:
        while self.acknowledged < self.sent:
            if self.refused is not None:
                raise RuntimeError(f"a frame was refused: {self.refused[:300]!r}")
            await self.wait()
        return self.acknowledged


class _Udp:
    """Datagrams; nothing comes back."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))

    def give(self, messages: list[tuple[bytes, int]]) -> None:
        for message, _ in messages:
            self._socket.send(message)

    async def settle(self) -> int:
        return 0

    def close(self) -> None:
        self._socket.close()


async def _open(load: Load, service: Service) -> Sequence[_Http | _WebSocket | _Udp]:
    if load.transport == "udp":
        return [_Udp(service.ports["udp"])]
    loop = asyncio.get_running_loop()
    where = ("127.0.0.1", service.ports["http"])
    if load.transport == "json_http":
        return [(await loop.create_connection(_Http, *where))[1] for _ in range(min(_CONNECTIONS, load.patients))]
    links = [(await loop.create_connection(_WebSocket, *where))[1] for _ in range(min(load.gateways, load.patients))]
    nonce = base64.b64encode(os.urandom(16)).decode()
    for link in links:
        assert link.transport is not None
        link.transport.write(
            f"GET /stream HTTP/1.1\r\nHost: ingest\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {nonce}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        while not link.ready:
            await link.wait()
    return links


def signal(seconds: int = 240) -> NDArray[np.int16]:
    """Simulated ECG at 250 Hz, int16 µV: a ward's rhythms one after the other, half of them resting."""
    base = 1_750_000_000 * MICROSECONDS
    beds = ward(MIX, base=base, onset=5.0, seed=5, fs=FS)
    return np.concatenate([bed.patient.block(seconds / len(beds)) for bed in beds])
