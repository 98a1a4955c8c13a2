"""Records of ingest's log (`holter.ingest.records`) to columns, compiled: 1 µs each, their CRC looked at."""

import sys

import numpy as np
from numpy.typing import NDArray

from holter.batch.chunks import HEAD, Chunks
from holter.chunk import FS_MAX, FS_MIN, SHARDS
from holter.frame import HEADER_BYTES, MAX_SAMPLES, VERSION
from holter.model.jit import njit

TRAILER_BYTES = 12
"""i64 arrival, u32 CRC-32 of all before it."""
LEAST_BYTES = HEADER_BYTES + 2 + TRAILER_BYTES
_MAGIC = 0x52544C48  # "HLTR", little-endian
_FLAGS = 0b11
_LOW, _HIGH = round(FS_MIN * 1000), round(FS_MAX * 1000)
# Where a header has what, see docs/protocol.md.
_FLAGS_AT, _N_AT, _SEQ_AT, _FS_AT, _T0_AT, _DEVICE_AT = 5, 6, 8, 12, 16, 24


class RecordError(ValueError):
    """Bytes that are no sound record."""


def _crc_tables() -> NDArray[np.int64]:
    """Of CRC-32 (reflected 0xEDB88320) eight bytes at a time ("slicing by 8", Kounavis and Berry 2005)."""
    table = np.zeros((8, 256), np.int64)
    for i in range(256):
        value = i
        for _ in range(8):
            value = value >> 1 ^ (0xEDB88320 if value & 1 else 0)
        table[0, i] = value
    for k in range(1, 8):
        table[k] = table[k - 1] >> 8 ^ table[0][table[k - 1] & 0xFF]
    return table


_CRC = _crc_tables()


@njit()
def _crc(data: NDArray[np.uint8], start: int, stop: int, table: NDArray[np.int64]) -> int:
    crc = 0xFFFFFFFF
    at = start
    while at + 8 <= stop:
        crc ^= _four(data, at)
        crc = (
            table[7, crc & 0xFF]
            ^ table[6, crc >> 8 & 0xFF]
            ^ table[5, crc >> 16 & 0xFF]
            ^ table[4, crc >> 24]
            ^ table[3, data[at + 4]]
            ^ table[2, data[at + 5]]
            ^ table[1, data[at + 6]]
            ^ table[0, data[at + 7]]
        )
        at += 8
    while at < stop:
        crc = table[0, (crc ^ np.int64(data[at])) & 0xFF] ^ crc >> 8
        at += 1
    return crc ^ 0xFFFFFFFF


@njit()
def _two(data: NDArray[np.uint8], at: int) -> int:
    return int(np.int64(data[at]) | np.int64(data[at + 1]) << 8)


@njit()
def _four(data: NDArray[np.uint8], at: int) -> int:
    return _two(data, at) | _two(data, at + 2) << 16


@njit()
def _eight(data: NDArray[np.uint8], at: int) -> int:
    return _four(data, at) | _four(data, at + 4) << 32


@njit()
def _is_id(byte: int) -> bool:
    return (
        48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122 or byte == 46 or byte == 95 or byte == 45
    )  # fmt: skip


@njit()
def _scan(
    data: NDArray[np.uint8], start: int, head: NDArray[np.void], ids: NDArray[np.uint8], table: NDArray[np.int64]
) -> tuple[int, int]:
    """Read records from `start` on; how many, and where reading stopped: the end, or the first that is not sound."""
    at, count = start, 0
    while at + LEAST_BYTES <= data.size:
        n, fs = _two(data, at + _N_AT), _four(data, at + _FS_AT)
        end = at + HEADER_BYTES + 2 * n
        sound = (
            _four(data, at) == _MAGIC
            and data[at + 4] == VERSION
            and data[at + _FLAGS_AT] & ~_FLAGS == 0
            and 0 < n <= MAX_SAMPLES
            and _LOW <= fs <= _HIGH
            and n * 1000 <= fs
            and end + TRAILER_BYTES <= data.size
        )
        if not sound or _crc(data, at, end + 8, table) != _four(data, end + 8):
            break
        length = 0
        while length < 32 and _is_id(data[at + _DEVICE_AT + length]):
            ids[count, length] = data[at + _DEVICE_AT + length]
            length += 1
        if length == 0:
            break
        row = head[count]
        row.t0 = _eight(data, at + _T0_AT)
        row.arrived = _eight(data, end)
        row.fs = fs / 1000
        row.start = (at + HEADER_BYTES) // 2
        row.n = n
        row.seq = _four(data, at + _SEQ_AT)
        row.flags = data[at + _FLAGS_AT]
        row.shard = _crc(data, at + _DEVICE_AT, at + _DEVICE_AT + length, table) % SHARDS
        count += 1
        at = end + TRAILER_BYTES
    return count, at


_PLAIN = np.dtype([(name, HEAD.fields[name][0]) for name in HEAD.names or () if name != "device"], align=True)  # type: ignore[index]


def read_records(data: bytes, start: int) -> Chunks:
    """All records from `start` (even) to the end of `data`, which the samples stay views of.

    Raises:
        RecordError: says at which byte one is not sound.
    """
    most = (len(data) - start) // LEAST_BYTES + 1
    plain, ids = np.zeros(most, _PLAIN), np.zeros((most, 32), np.uint8)
    count, end = _scan(np.frombuffer(data, np.uint8), start, plain, ids, _CRC)
    if end != len(data):
        raise RecordError(f"record at byte {end}: it is cut short, breaks a rule, or its CRC does not match")
    head = np.zeros(count, HEAD)
    head["device"] = ids[:count].reshape(-1).view("S32")
    for name in _PLAIN.names or ():
        head[name] = plain[name][:count]
    samples = np.frombuffer(data, "<i2", len(data) // 2)
    return Chunks(head, samples if sys.byteorder == "little" else samples.astype(np.int16))
