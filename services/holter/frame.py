"""The binary frame, and its acknowledgement: docs/protocol.md is their specification."""

import hmac
import struct
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Self

import numpy as np

from holter.chunk import DEVICE_ID, FS_MAX, FS_MIN, GAP_BEFORE, LEAD_OFF, Chunk
from holter.keys import MAC_BYTES, Signer

MAGIC = b"HLTR"
ACK_MAGIC = b"HACK"
VERSION = 1
NO_T0 = 1 << 7
"""Frame flag: the device has no clock; `t0` is 0 and ingest places the chunk in time."""

# magic, version, flags, n, seq, fs in mHz, t0 in µs, device id padded with NUL
_HEADER = struct.Struct("<4sBBHIIq32s")
# magic, version, status, seconds to wait, seq, t0 in µs, device id padded with NUL
_ACK = struct.Struct("<4sBBHIq32s")
_ACK_HEAD, _T0 = struct.Struct("<4sBBH"), struct.Struct("<q")
HEADER_BYTES = _HEADER.size
ID_BYTES = 32
DEVICE_ID_SPAN = slice(HEADER_BYTES - ID_BYTES, HEADER_BYTES)
"""Where a header has its device id."""
ACK_BYTES = _ACK.size
MAX_SAMPLES = int(FS_MAX)
MAX_FRAME_BYTES = HEADER_BYTES + 2 * MAX_SAMPLES + MAC_BYTES
MAX_DATAGRAM_BYTES = 1400
"""Fits an Ethernet packet whatever the tunnels on its way: 668 samples."""
MAX_T0 = 1 << 53
"""µs since the epoch: the year 2255. Beyond it JSON readers lose precision."""

_FLAGS = LEAD_OFF | GAP_BEFORE | NO_T0
_SAMPLES = np.dtype("<i2")


class FrameError(ValueError):
    """A frame that cannot be read.

    Attributes:
        field: of the frame.
        value: what was found there, if that helps.
        reason: what is wrong and what would be right.
        device_id: whose frame it says it is, where that could be read.
    """

    device_id: str | None = None

    def __init__(self, field: str, reason: str, value: str | int | float | None = None) -> None:
        super().__init__(f"{field}: {reason}" if value is None else f"{field}: {reason} (got {value!r})")
        self.field, self.reason, self.value = field, reason, value

    def about(self, device_id: str) -> Self:
        """Say whose frame it is."""
        self.device_id = device_id
        return self


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that could be read; nothing says yet that it is genuine.

    Attributes:
        chunk: what it holds; `t0` is 0 when `timed` is False.
        timed: whether the device gave a `t0`.
        signed: the bytes that the MAC covers, header and samples.
        mac: 8 bytes.
    """

    chunk: Chunk
    timed: bool
    signed: bytes
    mac: bytes

    def is_signed_by(self, *mac_keys: bytes | Signer) -> bool:
        """Whether one of these keys made its MAC; compared in constant time."""
        return any(hmac.compare_digest(self.mac, _signer(key).mac(self.signed)) for key in mac_keys)

    def __len__(self) -> int:
        return len(self.signed) + MAC_BYTES


class Status(IntEnum):
    """What became of a frame on a WebSocket."""

    ACCEPTED = 0
    """It is on disk: forget it."""
    REFUSED = 1
    """It will never be taken: forget it."""
    RETRY = 2
    """Not now: send it again after the given seconds."""


_STATUSES = frozenset(Status)


@dataclass(frozen=True, slots=True)
class Ack:
    """An acknowledgement.

    Attributes:
        device_id: of the frame.
        seq: of the frame.
        t0: of the frame; where the device gave none, the one that ingest chose (0 if it was not accepted).
        status: what became of it.
        wait: seconds to wait before sending again, when `status` is RETRY.
    """

    device_id: str
    seq: int
    t0: int
    status: Status = Status.ACCEPTED
    wait: int = 0


def pack(chunk: Chunk, *, timed: bool = True) -> bytes:
    """Header and samples of a chunk, without a MAC; False leaves `t0` out, as a device without a clock does.

    Raises:
        FrameError: the chunk breaks a rule of the protocol.
    """
    fs = round(chunk.fs * 1000)
    if not DEVICE_ID.fullmatch(chunk.device_id):
        raise FrameError("device_id", f"has to match {DEVICE_ID.pattern}", chunk.device_id)
    if not 0 <= chunk.seq < 1 << 32:
        raise FrameError("seq", "has to be an unsigned 32-bit integer", chunk.seq)
    _check(chunk.flags, fs, len(chunk.samples), chunk.t0 if timed else 0)
    flags, t0 = (chunk.flags, chunk.t0) if timed else (chunk.flags | NO_T0, 0)
    header = _HEADER.pack(MAGIC, VERSION, flags, len(chunk.samples), chunk.seq, fs, t0, chunk.device_id.encode())
    return header + chunk.samples.astype(_SAMPLES, copy=False).tobytes()


def unpack(data: bytes, offset: int = 0, trailer: int = 0) -> tuple[Chunk, bool, int]:
    """Read header and samples that begin at `offset` and are followed by at least `trailer` bytes.

    Returns:
        The chunk, whose samples are a read-only view of `data`; whether it has a `t0`; where its samples end.

    Raises:
        FrameError: names the first field that is wrong.
    """
    if len(data) - offset < HEADER_BYTES:
        raise FrameError("frame", f"is cut short: a header has {HEADER_BYTES} bytes", len(data) - offset)
    magic, version, flags, n, seq, fs, t0, device = _HEADER.unpack_from(data, offset)
    if magic != MAGIC:
        raise FrameError("magic", f"has to be {MAGIC.decode()!r}", magic.hex())
    if version != VERSION:
        raise FrameError("version", f"has to be {VERSION}", version)
    try:
        _check(flags, fs, n, t0)
    except FrameError as error:
        with suppress(FrameError):  # the first fault is told, even if the id is one, too
            error.about(_device_id(device))
        raise
    device_id = _device_id(device)
    end = offset + HEADER_BYTES + 2 * n
    if end + trailer > len(data):
        raise FrameError("frame", f"is cut short: {end + trailer - len(data)} bytes after the header are missing")
    samples = np.frombuffer(data, _SAMPLES, n, offset + HEADER_BYTES)
    # NO_T0 is about the frame, not about the chunk.
    return Chunk(device_id, t0, fs / 1000, samples, seq, flags & ~NO_T0), not flags & NO_T0, end


def encode(chunk: Chunk, mac_key: bytes | Signer, *, timed: bool = True) -> bytes:
    """Make the frame of a chunk.

    Args:
        chunk: at most one second.
        mac_key: 32 bytes, see `holter.keys.mac_key`; or its signer, for a device that makes many frames.
        timed: False leaves `t0` out, as a device without a clock does.

    Raises:
        FrameError: the chunk breaks a rule of the protocol.
    """
    signed = pack(chunk, timed=timed)
    return signed + _signer(mac_key).mac(signed)


def decode(data: bytes, offset: int = 0) -> Frame:
    """Read the frame that begins at `offset`; what follows it is let be. The samples are a view of `data`, read-only.

    Raises:
        FrameError: names the first field that is wrong.
    """
    chunk, timed, end = unpack(data, offset, MAC_BYTES)
    return Frame(chunk, timed, data[offset:end], data[end : end + MAC_BYTES])


def decode_one(data: bytes) -> Frame:
    """Read a message that is exactly one frame (a datagram).

    Raises:
        FrameError: it is not.
    """
    frame = decode(data)
    if len(frame) != len(data):
        raise FrameError("frame", f"is followed by {len(data) - len(frame)} more bytes; one frame was expected")
    return frame


def is_one_frame(data: bytes) -> bool:
    """Whether the length of a message is that of the one frame that its header speaks of."""
    return len(data) > HEADER_BYTES and len(data) == HEADER_BYTES + 2 * (data[6] | data[7] << 8) + MAC_BYTES


def encode_ack(ack: Ack) -> bytes:
    """Make an acknowledgement; several may be joined into one message."""
    return _ACK.pack(ACK_MAGIC, VERSION, ack.status, ack.wait, ack.seq, ack.t0, ack.device_id.encode())


def answer(data: bytes, at: int, t0: int, status: Status, wait: int = 0) -> bytes:
    """`encode_ack` for the frame at `at`, whose header can be trusted: seq and device are copied from it."""
    head = _ACK_HEAD.pack(ACK_MAGIC, VERSION, status, wait)
    return head + data[at + 8 : at + 12] + _T0.pack(t0) + data[at + DEVICE_ID_SPAN.start : at + HEADER_BYTES]


def not_now(ack: bytes, wait: int) -> bytes:
    """An acknowledgement made anew for a frame that was not taken after all; one that says so already is left."""
    return ack if ack[5] else _ACK_HEAD.pack(ACK_MAGIC, VERSION, Status.RETRY, wait) + ack[_ACK_HEAD.size :]


def decode_acks(data: bytes) -> tuple[Ack, ...]:
    """Read the acknowledgements of one message.

    Raises:
        FrameError: it is not a row of acknowledgements.
    """
    if not data or len(data) % ACK_BYTES:
        raise FrameError("acknowledgement", f"has to be a multiple of {ACK_BYTES} bytes", len(data))
    acks = []
    for magic, version, status, wait, seq, t0, device in _ACK.iter_unpack(data):
        if magic != ACK_MAGIC or version != VERSION:
            raise FrameError("magic", f"has to be {ACK_MAGIC.decode()!r}, version {VERSION}", magic.hex())
        if status not in _STATUSES:
            raise FrameError("status", f"has to be 0..{max(Status)}", status)
        acks.append(Ack(_device_id(device), seq, t0, Status(status), wait))
    return tuple(acks)


def _check(flags: int, fs: int, n: int, t0: int) -> None:
    if flags & ~_FLAGS:
        raise FrameError("flags", f"has unknown bits; known are {_FLAGS:#04x}", flags)
    if not FS_MIN * 1000 <= fs <= FS_MAX * 1000:
        raise FrameError("fs", f"has to be {FS_MIN * 1000:.0f}..{FS_MAX * 1000:.0f} mHz", fs)
    if n == 0:
        raise FrameError("n", "has to be at least 1 sample", n)
    if n * 1000 > fs:
        raise FrameError("n", f"is more than one second; at {fs / 1000:g} Hz a frame holds at most {fs // 1000}", n)
    if not 0 <= t0 < MAX_T0:
        raise FrameError("t0", f"has to be microseconds since the epoch, 0..{MAX_T0 - 1}", t0)


@lru_cache(16_384)
def _device_id(raw: bytes) -> str:
    text = raw.rstrip(b"\0").decode("latin-1")
    if not DEVICE_ID.fullmatch(text):
        raise FrameError("device_id", f"has to match {DEVICE_ID.pattern}, padded with NUL to 32 bytes", text)
    return text


def _signer(mac_key: bytes | Signer) -> Signer:
    return mac_key if isinstance(mac_key, Signer) else Signer(mac_key)
