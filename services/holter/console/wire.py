"""What goes to a browser. Binary: batches of chunks; text: JSON messages with a `type`.

A batch is records one after another, all little-endian:

    u8   length of the device id      f64  t0, µs since the epoch     u16  n
    …    device id, ASCII             f32  rate, Hz                   n × int16  samples, µV
    u8   flags, as in a chunk
"""

import struct
from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson

from holter.chunk import Chunk

_HEAD = struct.Struct("<BdfH")
_MOST = 0xFFFF


def record(chunk: Chunk) -> bytes:
    """One chunk, or a strip of at most 65,535 samples.

    Raises:
        ValueError: it is longer.
    """
    count = len(chunk.samples)
    if count > _MOST:
        raise ValueError(f"samples: {count} are too many for one record: at most {_MOST}")
    name = chunk.device_id.encode()
    head = _HEAD.pack(chunk.flags & 0xFF, chunk.t0, chunk.fs, count)
    return bytes([len(name)]) + name + head + chunk.samples.astype("<i2", copy=False).tobytes()


def batch(chunks: Iterable[Chunk]) -> bytes:
    """Records of these chunks."""
    return b"".join(map(record, chunks))


def parse(data: bytes) -> list[Chunk]:
    """A batch as chunks: what a browser makes of it."""
    found, at = [], 0
    while at < len(data):
        end = at + 1 + data[at]
        device_id = data[at + 1 : end].decode()
        flags, t0, fs, count = _HEAD.unpack_from(data, end)
        start = end + _HEAD.size
        at = start + 2 * count
        found.append(Chunk(device_id, int(t0), fs, np.frombuffer(data, "<i2", count, start), 0, flags))
    return found


def message(type_: str, **content: Any) -> str:
    """A JSON message; a NaN becomes null."""
    return orjson.dumps({"type": type_, **content}, option=orjson.OPT_SERIALIZE_NUMPY).decode()
